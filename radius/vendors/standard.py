"""RFC attributes only: for any NAS that has no profile of its own. A rate has no such attribute."""

from __future__ import annotations

from collections.abc import Iterator

from radius.grant import Access, Grant, Rendered
from radius.vendors import parts
from radius.vendors.base import COMMON, Profile, refuse_rate_text, refuse_vrf

RENDERS = COMMON | {
    "filter_id",
    "ipv6_pool",
    "ipv6_address",
    "ipv6_address_pool",
    "dns6",
    "vlan_id",
}


def attributes(grant: Grant) -> Iterator[Rendered]:
    """Yield everything that RFC attributes can say, in the order of their subjects."""
    yield from parts.service(grant)
    yield from parts.filter_id(grant)
    yield from parts.ipv4(grant)
    yield from parts.ipv6_prefix(grant)
    yield from parts.ipv6_address(grant)
    yield from parts.ipv6_delegated(grant)
    yield from parts.routes(grant)
    if grant.access is Access.PPP:
        # RFC 2548 section 2.4; they answer what IPCP asks, and nothing else asks.
        yield from parts.dns4(grant, parts.MS_PRIMARY_DNS, parts.MS_SECONDARY_DNS)
    yield from parts.dns6(grant)
    yield from parts.vlan(grant)
    yield from parts.timers(grant)


def unsaid_dns(grant: Grant) -> tuple[str, ...]:
    """Return the name servers of a session that is not PPP, for which there is no attribute."""
    return ("dns4",) if grant.dns4 and grant.access is not Access.PPP else ()


def _render(grant: Grant) -> Iterator[Rendered]:
    refuse_rate_text(grant, "standard")
    refuse_vrf(grant, "standard")
    yield from attributes(grant)


PROFILE: Profile = Profile(
    name="standard",
    renders_rate=False,
    renders=RENDERS | {"dns4"},
    rendering=_render,
    half_said=unsaid_dns,
    walls=("filter_id",),
    # RFC 5176 lets a CoA carry Filter-Id, but who ACKs it need not obey it, and a wall that is ACKed and not
    # there would be an open door. hostapd changes nothing at all.
    changes=frozenset(),
    # hostapd NAKs a Disconnect-Request with any other session attribute (401), even Framed-IP-Address;
    # strongSwan wants User-Name beside Acct-Session-Id.
    identities=((44, 1), (1, 31)),
    logins=parts.staff,
)
