"""Vendor profiles: each renders a Grant into the attributes its NASes obey, and reads their usage."""

from __future__ import annotations

from radius.vendors import accel_ppp, cisco, huawei, juniper, mikrotik, nokia, standard, wispr
from radius.vendors.base import VendorProfile

PROFILES: tuple[VendorProfile, ...] = (
    standard.PROFILE,
    mikrotik.PROFILE,
    cisco.PROFILE,
    juniper.PROFILE,
    huawei.PROFILE,
    nokia.PROFILE,
    accel_ppp.PROFILE,
    wispr.PROFILE,
)


def names() -> tuple[str, ...]:
    """Return the names of all profiles, the general one first."""
    return tuple(profile.name for profile in PROFILES)


def find(name: str) -> VendorProfile | None:
    """Return the profile of that name; None where there is none."""
    for profile in PROFILES:
        if profile.name == name:
            return profile
    return None
