"""Where the subscriber is attached: access line and MAC address, however the NAS spells them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from radius.codes import Vendor
from radius.packet import VSA, Packet

# Six octets with one kind of separator, three dotted groups, or bare; perhaps with the hardware type of a
# DHCP client identifier before ("1:") and the SSID of a Called-Station-Id behind (RFC 3580 section 3.20).
_MAC = re.compile(
    r"(?:0?1[:-])?"
    r"([0-9a-f]{2}([:-])(?:[0-9a-f]{2}\2){4}[0-9a-f]{2}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}|[0-9a-f]{12})",
    re.IGNORECASE,
)
_MAC_WITH_SSID = re.compile(
    r"([0-9a-f]{2}([:-])(?:[0-9a-f]{2}\2){4}[0-9a-f]{2}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}|[0-9a-f]{12})"
    # An EUI-64 is no MAC address with an SSID behind it.
    r":(?![0-9a-f]{2}:[0-9a-f]{2}\Z).*",
    re.IGNORECASE | re.DOTALL,
)
_SEPARATORS = str.maketrans("", "", ":-.")

_CISCO_AVPAIR = 1
_CIRCUIT_TAG = b"circuit-id-tag="
_REMOTE_TAG = b"remote-id-tag="
# (vendor, type): RFC 4679; Redback, now Ericsson; Junos; each says the same two things by other numbers.
_CIRCUIT = frozenset({(Vendor.ADSL_FORUM, 1), (Vendor.REDBACK, 97), (Vendor.JUNIPER_ERX, 110)})
_REMOTE = frozenset({(Vendor.ADSL_FORUM, 2), (Vendor.REDBACK, 96), (Vendor.JUNIPER_ERX, 182)})


@dataclass(frozen=True, slots=True)
class Line:
    """An access line as the access node named it; octets, since some nodes send binary."""

    circuit_id: bytes | None = None
    remote_id: bytes | None = None


_UNKNOWN = Line()


def read(packet: Packet) -> Line:
    """Return the access line that a request names.

    Read are ADSL-Forum (RFC 4679; also what Nokia, Huawei and RouterOS send), Redback and Junos
    attributes and the Cisco pairs `circuit-id-tag=` and `remote-id-tag=`. The first of each wins.
    """
    if VSA not in packet.spots:
        return _UNKNOWN
    circuit: bytes | None = None
    remote: bytes | None = None
    for vendor, kind, value in packet.vendor_attributes():
        if not value:
            continue  # an empty value names no line, and must never match another empty one
        place = (vendor, kind)
        if circuit is None and place in _CIRCUIT:
            circuit = value
        elif remote is None and place in _REMOTE:
            remote = value
        elif vendor == Vendor.CISCO and kind == _CISCO_AVPAIR:
            if circuit is None and value.startswith(_CIRCUIT_TAG):
                circuit = value[len(_CIRCUIT_TAG) :]
            elif remote is None and value.startswith(_REMOTE_TAG):
                remote = value[len(_REMOTE_TAG) :]
    return Line(circuit or None, remote or None)


def canonical_mac(text: str) -> str | None:
    """Return a MAC address as `aa:bb:cc:dd:ee:ff`; None where `text` is none.

    Accepted are `aa:bb:cc:dd:ee:ff`, `AA-BB-CC-DD-EE-FF`, `aabb.ccdd.eeff` and `aabbccddeeff`, after the
    `1:` of a DHCP client identifier, or before the `:SSID` of a Called-Station-Id.
    """
    match = _MAC.fullmatch(text) or _MAC_WITH_SSID.fullmatch(text)
    if match is None:
        return None
    found = match[1].lower()
    if match[2] == ":":
        return found
    digits = found.translate(_SEPARATORS)
    return ":".join((digits[0:2], digits[2:4], digits[4:6], digits[6:8], digits[8:10], digits[10:12]))
