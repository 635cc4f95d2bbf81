"""MikroTik RouterOS (vendor 14988): one rate string, upload first; address lists; PPP profiles.

RouterOS prefers Mikrotik-Rate-Limit to every other rate attribute, so it is the only one sent. DNS, local
address and VRF come from the PPP profile, which Mikrotik-Group names.
"""

from __future__ import annotations

from collections.abc import Iterator

from radius.codes import Vendor
from radius.errors import Unencodable
from radius.grant import Grant, Rate, Rendered
from radius.rates import MikrotikRate, parse_mikrotik
from radius.vendors import parts
from radius.vendors.base import COMMON, Profile, check_rates, vendor

GROUP = vendor(Vendor.MIKROTIK, 3, "Mikrotik-Group")
RATE_LIMIT = vendor(Vendor.MIKROTIK, 8, "Mikrotik-Rate-Limit")
ADDRESS_LIST = vendor(Vendor.MIKROTIK, 19, "Mikrotik-Address-List")
DELEGATED_POOL = vendor(Vendor.MIKROTIK, 22, "Mikrotik-Delegated-IPv6-Pool")


def _render(grant: Grant) -> Iterator[Rendered]:
    if grant.vrf is not None and grant.group is None:
        why = "RouterOS takes the VRF from the PPP profile"
        raise Unencodable("vrf", why, "name a PPP profile that sets it (group)")
    yield from parts.service(grant)
    yield from _rate(grant)
    if grant.group is not None:
        yield GROUP.text(grant.group, "group")
    if grant.address_list is not None:
        yield ADDRESS_LIST.text(grant.address_list, "address_list")
    yield from parts.filter_id(grant)
    yield from parts.ipv4(grant)
    yield from parts.ipv6_prefix(grant)
    yield from parts.ipv6_delegated(grant, pool=DELEGATED_POOL)
    yield from parts.routes(grant)
    yield from parts.vlan(grant)
    yield from parts.timers(grant)


def _rate(grant: Grant) -> Iterator[Rendered]:
    rate = check_rates(grant, RATE_LIMIT.name)
    if grant.rate_text is not None:
        _check_text(grant.rate_text, rate)
        yield RATE_LIMIT.text(grant.rate_text, "rate_text")
    elif rate is not None:
        burst = grant.burst
        meant = MikrotikRate(
            rate=rate,
            burst=burst.rate if burst else None,
            threshold=burst.threshold if burst else None,
            upload_burst_s=burst.seconds if burst else 0,
            download_burst_s=burst.seconds if burst else 0,
            priority=grant.priority if grant.committed else 8,
            minimum=grant.committed or rate,
        )
        yield RATE_LIMIT.text(meant.text(), "rate")


def _check_text(text: str, rate: Rate | None) -> None:
    try:
        meant = parse_mikrotik(text)
    except ValueError as error:
        raise Unencodable(RATE_LIMIT.name, f"rate_text: {error}") from None
    if rate is None or rate.download_bps == rate.upload_bps:
        return
    if (meant.rate.upload_bps, meant.rate.download_bps) == (rate.download_bps, rate.upload_bps):
        why = f"rate_text {text!r} is the rate with upload and download swapped"
        raise Unencodable(RATE_LIMIT.name, why, "RouterOS wants the upload first")


PROFILE: Profile = Profile(
    name="mikrotik",
    renders=COMMON
    | {
        "rate",
        "burst",
        "committed",
        "group",
        "address_list",
        "filter_id",
        "ipv6_pool",
        "vlan_id",
    },
    rendering=_render,
)
