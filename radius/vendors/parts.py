"""The pieces of a grant in standard attributes; each profile picks those that its NASes understand.

Each function yields the attributes of one piece, or none. Where a vendor has an attribute of its own for
a piece, the profile passes it in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from radius.codes import Attr, Vendor
from radius.errors import Unencodable
from radius.grant import Access, Grant, Privilege, Rendered, Route
from radius.vendors.base import MOST_32_BIT, ReplyAttribute, standard, vendor

SERVICE_TYPE = standard(Attr.SERVICE_TYPE, "Service-Type")
FRAMED_PROTOCOL = standard(Attr.FRAMED_PROTOCOL, "Framed-Protocol")
FRAMED_IP_ADDRESS = standard(Attr.FRAMED_IP_ADDRESS, "Framed-IP-Address")
FRAMED_IP_NETMASK = standard(Attr.FRAMED_IP_NETMASK, "Framed-IP-Netmask")
FILTER_ID = standard(Attr.FILTER_ID, "Filter-Id")
FRAMED_ROUTE = standard(Attr.FRAMED_ROUTE, "Framed-Route")
SESSION_TIMEOUT = standard(Attr.SESSION_TIMEOUT, "Session-Timeout")
IDLE_TIMEOUT = standard(Attr.IDLE_TIMEOUT, "Idle-Timeout")
TUNNEL_TYPE = standard(Attr.TUNNEL_TYPE, "Tunnel-Type")
TUNNEL_MEDIUM_TYPE = standard(Attr.TUNNEL_MEDIUM_TYPE, "Tunnel-Medium-Type")
TUNNEL_PRIVATE_GROUP_ID = standard(Attr.TUNNEL_PRIVATE_GROUP_ID, "Tunnel-Private-Group-Id")
ACCT_INTERIM_INTERVAL = standard(Attr.ACCT_INTERIM_INTERVAL, "Acct-Interim-Interval")
FRAMED_POOL = standard(Attr.FRAMED_POOL, "Framed-Pool")
FRAMED_IPV6_PREFIX = standard(Attr.FRAMED_IPV6_PREFIX, "Framed-IPv6-Prefix")
FRAMED_IPV6_ROUTE = standard(Attr.FRAMED_IPV6_ROUTE, "Framed-IPv6-Route")
FRAMED_IPV6_POOL = standard(Attr.FRAMED_IPV6_POOL, "Framed-IPv6-Pool")
DELEGATED_IPV6_PREFIX = standard(Attr.DELEGATED_IPV6_PREFIX, "Delegated-IPv6-Prefix")
FRAMED_IPV6_ADDRESS = standard(Attr.FRAMED_IPV6_ADDRESS, "Framed-IPv6-Address")
DNS_SERVER_IPV6_ADDRESS = standard(Attr.DNS_SERVER_IPV6_ADDRESS, "DNS-Server-IPv6-Address")
DELEGATED_IPV6_PREFIX_POOL = standard(Attr.DELEGATED_IPV6_PREFIX_POOL, "Delegated-IPv6-Prefix-Pool")
STATEFUL_IPV6_ADDRESS_POOL = standard(Attr.STATEFUL_IPV6_ADDRESS_POOL, "Stateful-IPv6-Address-Pool")
MS_PRIMARY_DNS = vendor(Vendor.MICROSOFT, 28, "MS-Primary-DNS-Server")
MS_SECONDARY_DNS = vendor(Vendor.MICROSOFT, 29, "MS-Secondary-DNS-Server")
WISPR_REDIRECTION_URL = vendor(Vendor.WISPR, 4, "WISPr-Redirection-URL")

ADMINISTRATIVE = 6
NAS_PROMPT = 7

_FRAMED = 2
_PPP = 1
_VLAN = 13
_IEEE_802 = 6
# RFC 2865 section 5.8: the user, or the NAS, shall choose the address.
_CHOICES = (IPv4Address("255.255.255.255"), IPv4Address("255.255.255.254"))


def service(grant: Grant) -> Iterator[Rendered]:
    """Yield Service-Type, and Framed-Protocol for PPP only: others take it for a reason to refuse."""
    yield SERVICE_TYPE.integer(_FRAMED, "access")
    if grant.access is Access.PPP:
        yield FRAMED_PROTOCOL.integer(_PPP, "access")


def staff(privilege: Privilege, _group: str | None) -> Iterator[Rendered]:
    """Yield Service-Type alone: a prompt for privileged commands, or one for the others (RFC 2865 section 5.6)."""
    prompt = NAS_PROMPT if privilege is Privilege.READ else ADMINISTRATIVE
    yield SERVICE_TYPE.integer(prompt, "privilege")


def redirect_url(grant: Grant, carrier: ReplyAttribute) -> Iterator[Rendered]:
    """Yield the address of the garden's portal."""
    if grant.redirect_url is not None:
        yield carrier.text(grant.redirect_url, "redirect_url")


def timers(grant: Grant) -> Iterator[Rendered]:
    """Yield the timeouts and the interim interval, in seconds.

    Zero is refused: NASes disagree whether it means at once or never. Below 60 an interim interval is
    refused by RFC 2869 section 5.16.
    """
    if grant.session_timeout_s is not None:
        yield SESSION_TIMEOUT.integer(grant.session_timeout_s, "session_timeout_s", 1)
    if grant.idle_timeout_s is not None:
        yield IDLE_TIMEOUT.integer(grant.idle_timeout_s, "idle_timeout_s", 1)
    if grant.interim_interval_s is not None:
        yield ACCT_INTERIM_INTERVAL.integer(grant.interim_interval_s, "interim_interval_s", 60)


def ipv4(grant: Grant, pool: ReplyAttribute = FRAMED_POOL) -> Iterator[Rendered]:
    """Yield the IPv4 address with its netmask, else the pool; a netmask alone means nothing."""
    address = grant.ipv4_address
    if address is not None:
        if address not in _CHOICES and _unusable(address):
            raise Unencodable(FRAMED_IP_ADDRESS.name, f"{address} is no address of a subscriber")
        yield FRAMED_IP_ADDRESS.address(address, "ipv4_address")
        if grant.ipv4_netmask is not None:
            yield FRAMED_IP_NETMASK.address(_netmask(grant.ipv4_netmask), "ipv4_netmask")
    elif grant.ipv4_pool is not None:
        yield pool.text(grant.ipv4_pool, "ipv4_pool")


def ipv6_prefix(
    grant: Grant, fixed: ReplyAttribute = FRAMED_IPV6_PREFIX, pool: ReplyAttribute = FRAMED_IPV6_POOL
) -> Iterator[Rendered]:
    """Yield the prefix that the router advertises (SLAAC), else its pool."""
    if grant.ipv6_prefix is not None:
        yield fixed.prefix(_usable(grant.ipv6_prefix, fixed), "ipv6_prefix")
    elif grant.ipv6_pool is not None:
        yield pool.text(grant.ipv6_pool, "ipv6_pool")


def ipv6_address(
    grant: Grant,
    fixed: ReplyAttribute = FRAMED_IPV6_ADDRESS,
    pool: ReplyAttribute = STATEFUL_IPV6_ADDRESS_POOL,
) -> Iterator[Rendered]:
    """Yield the address that DHCPv6 gives (IA_NA), else its pool."""
    address = grant.ipv6_address
    if address is not None:
        if _unusable(address):
            raise Unencodable(fixed.name, f"{address} is no address of a subscriber")
        yield fixed.address(address, "ipv6_address")
    elif grant.ipv6_address_pool is not None:
        yield pool.text(grant.ipv6_address_pool, "ipv6_address_pool")


def ipv6_delegated(grant: Grant, pool: ReplyAttribute = DELEGATED_IPV6_PREFIX_POOL) -> Iterator[Rendered]:
    """Yield the delegated prefix (RFC 4818), else its pool."""
    if grant.ipv6_delegated is not None:
        prefix = _usable(grant.ipv6_delegated, DELEGATED_IPV6_PREFIX)
        yield DELEGATED_IPV6_PREFIX.prefix(prefix, "ipv6_delegated")
    elif grant.ipv6_delegated_pool is not None:
        yield pool.text(grant.ipv6_delegated_pool, "ipv6_delegated_pool")


def routes(grant: Grant) -> Iterator[Rendered]:
    """Yield a Framed-Route or Framed-IPv6-Route for each route: `198.51.100.0/29 0.0.0.0 1`."""
    for route in grant.routes:
        carrier = FRAMED_ROUTE if isinstance(route.prefix, IPv4Network) else FRAMED_IPV6_ROUTE
        yield carrier.text(_route_text(route, carrier), "routes")


def dns4(grant: Grant, primary: ReplyAttribute, secondary: ReplyAttribute) -> Iterator[Rendered]:
    """Yield the two IPv4 name servers; raises Unencodable for a third."""
    yield from _pair(grant.dns4, "dns4", primary, secondary)


def dns6_pair(grant: Grant, primary: ReplyAttribute, secondary: ReplyAttribute) -> Iterator[Rendered]:
    """Yield the two IPv6 name servers; raises Unencodable for a third."""
    yield from _pair(grant.dns6, "dns6", primary, secondary)


def dns6(grant: Grant, each: ReplyAttribute = DNS_SERVER_IPV6_ADDRESS) -> Iterator[Rendered]:
    """Yield one attribute for each IPv6 name server (RFC 6911 section 3.2)."""
    for server in grant.dns6:
        yield each.address(_server(server, each), "dns6")


def vlan(grant: Grant) -> Iterator[Rendered]:
    """Yield the VLAN as RFC 3580 section 3.31 says, with tag 0, which for text is no octet at all."""
    if grant.vlan_id is None:
        return
    if not 1 <= grant.vlan_id <= 4094:
        raise Unencodable(TUNNEL_PRIVATE_GROUP_ID.name, f"VLAN {grant.vlan_id}", "1 to 4094")
    yield TUNNEL_TYPE.integer(_VLAN, "vlan_id")
    yield TUNNEL_MEDIUM_TYPE.integer(_IEEE_802, "vlan_id")
    yield TUNNEL_PRIVATE_GROUP_ID.text(str(grant.vlan_id), "vlan_id")


def filter_id(grant: Grant, carrier: ReplyAttribute = FILTER_ID) -> Iterator[Rendered]:
    """Yield the name of the filter."""
    if grant.filter_id is not None:
        yield carrier.text(grant.filter_id, "filter_id")


def _pair(
    servers: Sequence[IPv4Address | IPv6Address],
    source: str,
    primary: ReplyAttribute,
    secondary: ReplyAttribute,
) -> Iterator[Rendered]:
    if len(servers) > 2:
        raise Unencodable(primary.name, f"{len(servers)} name servers, this NAS takes 2")
    for carrier, server in zip((primary, secondary), servers, strict=False):
        yield carrier.address(_server(server, carrier), source)


def _server(address: IPv4Address | IPv6Address, carrier: ReplyAttribute) -> IPv4Address | IPv6Address:
    if address.is_unspecified or address.is_multicast:
        raise Unencodable(carrier.name, f"{address} is no address of a name server")
    return address


def _unusable(address: IPv4Address | IPv6Address) -> bool:
    # RouterOS takes the address of its own pool where it is sent one of these, without a word.
    reserved = isinstance(address, IPv4Address) and address.is_reserved
    return address.is_unspecified or address.is_loopback or address.is_multicast or reserved


def _usable(prefix: IPv6Network, carrier: ReplyAttribute) -> IPv6Network:
    if prefix.prefixlen == 0 or _unusable(prefix.network_address):
        raise Unencodable(carrier.name, f"{prefix} is no prefix of a subscriber")
    return prefix


def _netmask(mask: IPv4Address) -> IPv4Address:
    inverted = ~int(mask) & MOST_32_BIT
    if mask.is_unspecified or inverted & (inverted + 1):
        raise Unencodable(FRAMED_IP_NETMASK.name, f"{mask} is no netmask")
    return mask


def _route_text(route: Route, carrier: ReplyAttribute) -> str:
    gateway = route.gateway
    if gateway is None:
        gateway = IPv4Address(0) if route.prefix.version == 4 else IPv6Address(0)
    if gateway.version != route.prefix.version:
        raise Unencodable(carrier.name, f"gateway {gateway} of {route.prefix} is of the other family")
    if not 0 <= route.metric <= MOST_32_BIT:
        raise Unencodable(carrier.name, f"metric {route.metric} of {route.prefix}", "0 or more")
    return f"{route.prefix} {gateway} {route.metric}"
