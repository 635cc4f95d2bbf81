"""MikroTik RouterOS (vendor 14988): one rate string, upload first; address lists; PPP profiles.

RouterOS prefers Mikrotik-Rate-Limit to every other rate attribute, so it is the only one sent. DNS, local
address and VRF come from the PPP profile, which Mikrotik-Group names. A walled garden is an address list
(or a firewall chain, Filter-Id) with rules on the router; WISPr-Redirection-URL only names the page that a
hotspot shows after the login.
"""

from __future__ import annotations

from collections.abc import Iterator

from radius.codes import Vendor
from radius.errors import Unencodable
from radius.grant import Access, Grant, Privilege, Rate, Rendered
from radius.rates import MikrotikRate, parse_mikrotik
from radius.vendors import parts
from radius.vendors.base import COMMON, MOST_32_BIT, Profile, check_rates, vendor
from radius.vendors.difference import mikrotik_meaning

GROUP = vendor(Vendor.MIKROTIK, 3, "Mikrotik-Group")
RATE_LIMIT = vendor(Vendor.MIKROTIK, 8, "Mikrotik-Rate-Limit")
TOTAL_LIMIT = vendor(Vendor.MIKROTIK, 17, "Mikrotik-Total-Limit")
TOTAL_LIMIT_GIGAWORDS = vendor(Vendor.MIKROTIK, 18, "Mikrotik-Total-Limit-Gigawords")
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
    if grant.access is not Access.PPP:
        yield from parts.redirect_url(grant, parts.WISPR_REDIRECTION_URL)
    yield from parts.timers(grant)
    yield from _volume(grant)


def _rate(grant: Grant) -> Iterator[Rendered]:
    rate = check_rates(grant, RATE_LIMIT.name)
    if grant.rate_text is not None:
        _check_text(grant.rate_text, rate)
        yield RATE_LIMIT.text(grant.rate_text, "rate_text")
    elif rate is not None:
        meant = mikrotik_meaning(grant)
        assert isinstance(meant, MikrotikRate)
        yield RATE_LIMIT.text(meant.text(), "rate")


def _volume(grant: Grant) -> Iterator[Rendered]:
    """Yield the octets left, both directions together; a zero would mean that there is no limit."""
    volume = grant.volume_octets
    if volume is None:
        return
    if volume < 1:
        raise Unencodable(TOTAL_LIMIT.name, f"volume_octets is {volume}", "at least 1 is needed")
    yield TOTAL_LIMIT.integer(volume & MOST_32_BIT, "volume_octets")
    yield TOTAL_LIMIT_GIGAWORDS.integer(volume >> 32, "volume_octets")


def _staff(privilege: Privilege, group: str | None) -> Iterator[Rendered]:
    """Yield the user group; `read`, `write` and `full` exist on every router."""
    if group is None:
        yield GROUP.text(privilege.value, "privilege")
    else:
        yield GROUP.text(group, "group")


def _half_said(grant: Grant) -> tuple[str, ...]:
    return ("redirect_url",) if grant.redirect_url is not None and grant.access is Access.PPP else ()


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
        "redirect_url",
        "volume_octets",
    },
    rendering=_render,
    half_said=_half_said,
    walls=("address_list", "filter_id"),
    # RouterOS has no words for leaving an address list, or for no rate at all.
    changes=frozenset({"rate", "burst", "committed", "priority", "rate_text", "address_list", "captive"}),
    # One identifier alone has been seen not to do (lirantal/daloradius#463, retailnext/node-radius#67).
    identities=((1, 44, 8), (1, 8)),
    logins=_staff,
)
