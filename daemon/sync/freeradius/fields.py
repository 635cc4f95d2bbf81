"""Reply attributes as fields of our plans and subscribers, where a field makes the same octets again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from daemon.sync.freeradius.wires import Said
from radius import rates
from radius.grant import Burst, Grant, Rate
from radius.vendors.difference import mikrotik_meaning

Json = Any  # a value as `json.loads` gives it
Body = dict[str, Json]

RATE_LIMIT = "Mikrotik-Rate-Limit"
ADDRESSES: Mapping[str, str] = {
    "Framed-IP-Address": "ipv4_address",
    "Framed-IPv6-Address": "ipv6_address",
    "Framed-IPv6-Prefix": "ipv6_prefix",
    "Delegated-IPv6-Prefix": "delegated_prefix",
}
ROUTES = frozenset({"Framed-Route", "Framed-IPv6-Route"})
# Of one login rather than of what is sold, where nothing else tells the two apart.
PERSONAL = (
    frozenset(ADDRESSES)
    | ROUTES
    | {
        "Framed-IP-Netmask",
        "Framed-Interface-Id",
        "Session-Timeout",
        "Reply-Message",
        "Class",
        "Callback-Number",
        "Tunnel-Private-Group-Id",
        "Mikrotik-Recv-Limit",
        "Mikrotik-Xmit-Limit",
        "Mikrotik-Total-Limit",
        "Mikrotik-Recv-Limit-Gigawords",
        "Mikrotik-Xmit-Limit-Gigawords",
        "Mikrotik-Total-Limit-Gigawords",
        "WISPr-Session-Terminate-Time",
    }
)
_NAMES = {"Framed-Pool": "ipv4_pool", "Framed-IPv6-Pool": "ipv6_pool", "Filter-Id": "filter_id"}
_MIKROTIK_NAMES = {
    "Mikrotik-Group": "group",
    "Mikrotik-Address-List": "address_list",
    "Mikrotik-Delegated-IPv6-Pool": "delegated_pool",
}
_SECONDS = {
    "Session-Timeout": ("session_timeout_s", 1),
    "Idle-Timeout": ("idle_timeout_s", 1),
    "Acct-Interim-Interval": ("interim_interval_s", 60),
}
_RESERVED = IPv4Address("240.0.0.0")


def service(said: Sequence[Said], *, mikrotik: bool) -> Body | None:
    """Return the fields of a service that say these values of one attribute, None where only raw ones can.

    `mikrotik` tells that no other vendor's attributes are beside it: then its own become fields too, which every
    NAS is told in its own words.
    """
    if len(said) != 1 or said[0].tag is not None:
        return None
    name, text = said[0].name, said[0].text
    field = _NAMES.get(name) or (_MIKROTIK_NAMES.get(name) if mikrotik else None)
    if field is not None:
        return {field: text} if _is_label(text) else None
    if name in _SECONDS:
        field, least = _SECONDS[name]
        seconds = int.from_bytes(said[0].octets[2:], "big")
        return {field: seconds} if seconds >= least else None
    if name == RATE_LIMIT and mikrotik:
        return rate(text)
    return None


def _is_label(text: str) -> bool:
    return 1 <= len(text.encode()) <= 247 and text.isprintable() and text == text.strip()


def rate(text: str) -> Body | None:
    """Return the fields that mean the same as a rate string of RouterOS, None where none do."""
    try:
        meant = rates.parse_mikrotik(text)
    except ValueError:
        return None
    pairs = [meant.rate, meant.minimum, *((meant.burst, meant.threshold) if meant.burst else ())]
    if any(pair is None or pair.download_bps < 1 or pair.upload_bps < 1 for pair in pairs):
        return None
    burst = None
    if meant.burst is not None and meant.threshold is not None:
        burst = Burst(rate=meant.burst, threshold=meant.threshold, seconds=meant.upload_burst_s)
        for most, least in ((meant.burst, meant.rate), (meant.burst, meant.threshold)):
            if most.download_bps < least.download_bps or most.upload_bps < least.upload_bps:
                return None
        if meant.upload_burst_s < 1:
            return None
    committed = meant.minimum if meant.minimum != meant.rate or meant.priority != 8 else None
    grant = Grant(rate=meant.rate, burst=burst, committed=committed, priority=meant.priority)
    if mikrotik_meaning(grant) != meant:
        return None
    body: Body = _pair(meant.rate)
    if burst is not None:
        body["burst"] = _pair(burst.rate) | {
            "threshold_download": rates.text(burst.threshold.download_bps),
            "threshold_upload": rates.text(burst.threshold.upload_bps),
            "seconds": burst.seconds,
        }
    if committed is not None:
        body["committed"] = _pair(committed)
    if meant.priority != 8:
        body["priority"] = meant.priority
    return body


def _pair(rate: Rate) -> Body:
    return {"download": rates.text(rate.download_bps), "upload": rates.text(rate.upload_bps)}


def address(said: Sequence[Said]) -> Body | None:
    """Return the field of a subscriber's own address or prefix, None where it is none that a subscriber has."""
    if len(said) != 1:
        return None
    name, text = said[0].name, said[0].text
    try:
        if name.endswith("-Address"):
            own = ip_address(text)
            if own.is_multicast or own.is_loopback or (isinstance(own, IPv4Address) and own >= _RESERVED):
                return None  # 255.255.255.254 and the like ask the NAS to choose
            return {ADDRESSES[name]: str(own)}
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    if network.version != 6 or network.prefixlen == 0 or network.is_multicast or network.is_loopback:
        return None
    return {ADDRESSES[name]: str(network)}


def routes(said: Sequence[Said]) -> list[Json] | None:
    """Return routes that are written as these attributes are, None where one of them is written otherwise."""
    found: list[Json] = []
    for each in said:
        parts = each.text.split(" ")
        if (
            len(parts) != 3
            or not parts[2].isdecimal()
            or len(parts[2]) > 5
            or not 0 <= int(parts[2]) <= 65_535
        ):
            return None
        try:
            prefix, gateway = ip_network(parts[0]), ip_address(parts[1])
        except ValueError:
            return None
        if f"{prefix} {gateway} {int(parts[2])}" != each.text or gateway.version != prefix.version:
            return None
        if (prefix.version == 6) != (each.name == "Framed-IPv6-Route"):
            return None
        route: Body = {"prefix": str(prefix), "metric": int(parts[2])}
        if not gateway.is_unspecified:
            if gateway.is_multicast or (isinstance(gateway, IPv6Address) and gateway.scope_id):
                return None
            route["gateway"] = str(gateway)
        found.append(route)
    return found
