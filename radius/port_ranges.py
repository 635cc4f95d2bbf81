"""Port blocks of a CGN in accounting packets: RFC 8045, and what Nokia SR OS and Huawei send in its place.

* RFC 8045 section 3.1.2: IP-Port-Range (241.6), TLVs 1 to 11. IP-Port-Alloc says what happened; a
  deallocation without ports is of all that the session had.
* Nokia, RADIUS Attributes Reference Guide 14.0: Alc-Nat-Port-Range (121),
  `203.0.113.1 1024-1055,2048-2079 router base`, several where one has not room for all. A Stop tells which
  block was given back; so does an interim whose Alc-Acct-Triggered-Reason (163) is Nat-Free (19).
* Huawei, attributes of the +1.1 set: address (161), first (162) and last port (163); HW-Nat-Port-Range-Update
  (165) is 0 for ports added, 1 for ports deleted, 3 for a change of the public address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from radius.codes import AcctStatus, Attr, Vendor
from radius.formats import split_tlvs
from radius.packet import VSA, Packet

MAX_PORT = 65_535

_EXTENDED_1 = 241
_IP_PORT_RANGE = 6
_TRANSPORT, _OUTSIDE, _INSIDE_4, _INSIDE_6, _ALLOC, _FIRST, _LAST = 1, 3, 4, 5, 8, 9, 10
_ALLOCATED, _DEALLOCATED = 1, 2
_ALC_PORT_RANGE, _ALC_REASON, _NAT_FREE = 121, 163, 19
_HW_OUTSIDE, _HW_FIRST, _HW_LAST, _HW_UPDATE = 161, 162, 163, 165
_HW_DELETED, _HW_CHANGED = 1, 3
_STOP = int(AcctStatus.STOP)
_ALC = re.compile(r"(\d+(?:\.\d+){3})\s+(\d{1,5}-\d{1,5}(?:\s*,\s*\d{1,5}-\d{1,5})*)(?:\s.*)?", re.ASCII)


class Told(StrEnum):
    """What a packet says of a block."""

    HELD = "held"  # it was given out, or still is
    RELEASED = "released"
    REPLACES = "replaces"  # it was given out, and the session has no other any more
    RELEASED_ALL = "released-all"  # whatever the session had, of `outside` where that is named


class PortRange(NamedTuple):
    """Ports of an outside address, both ends included, and what is said of them.

    `transport` is IP-Port-Type as it came; 0 is all protocols. `inside` is only there where the attribute
    itself names it. `outside` is None in a RELEASED_ALL of every address.
    """

    told: Told
    outside: IPv4Address | None
    first_port: int
    last_port: int
    transport: int = 0
    inside: IPv4Address | IPv6Address | None = None


class Reading(NamedTuple):
    """The blocks of a packet, and how many attributes about blocks made no sense."""

    ranges: tuple[PortRange, ...]
    unreadable: int


NOTHING = Reading((), 0)


def may_report(packet: Packet, profile: str) -> bool:
    """Tell whether a packet of a NAS with that profile can have port blocks at all: one or two look-ups."""
    return _EXTENDED_1 in packet.spots or (profile in _VENDORS and VSA in packet.spots)


def read(packet: Packet, profile: str) -> Reading:
    """Return the port blocks in an Accounting-Request, in wire order. Never raises.

    `profile` is the name of the NAS's vendor profile. Attributes that make no sense are left out and counted.
    """
    if not may_report(packet, profile):
        return NOTHING
    found = list(_standard(packet))
    vendor = _VENDORS.get(profile)
    if vendor is not None and VSA in packet.spots:
        found += vendor(packet)
    ranges = tuple(each for each in found if each is not None)
    return Reading(ranges, len(found) - len(ranges))


def _standard(packet: Packet) -> Iterator[PortRange | None]:
    for value in packet.all(_EXTENDED_1):
        if value[:1] != bytes((_IP_PORT_RANGE,)):
            continue
        tlvs = split_tlvs(value[1:])
        yield None if not tlvs else _of_tlvs(dict(tlvs))


def _of_tlvs(tlvs: dict[int, bytes]) -> PortRange | None:
    first, last = _number(tlvs.get(_FIRST)), _number(tlvs.get(_LAST))
    outside = _ipv4(tlvs.get(_OUTSIDE))
    alloc, transport = _number(tlvs.get(_ALLOC)), _number(tlvs.get(_TRANSPORT)) or 0
    if (_OUTSIDE in tlvs and outside is None) or (first is None) != (last is None):
        return None
    inside = _ipv4(tlvs.get(_INSIDE_4)) or _ipv6(tlvs.get(_INSIDE_6))
    if first is None or last is None:
        if alloc != _DEALLOCATED or _FIRST in tlvs or _LAST in tlvs:
            return None
        return PortRange(Told.RELEASED_ALL, outside, 0, MAX_PORT, transport, inside)
    told = {_ALLOCATED: Told.HELD, _DEALLOCATED: Told.RELEASED}.get(alloc or 0)
    if told is None or outside is None or not first <= last <= MAX_PORT:
        return None
    return PortRange(told, outside, first, last, transport, inside)


def _nokia(packet: Packet) -> Iterator[PortRange | None]:
    values: list[bytes] = []
    free = packet.find_int(Attr.ACCT_STATUS_TYPE) == _STOP
    for vendor, kind, value in packet.vendor_attributes():
        if vendor == Vendor.NOKIA_SR and kind == _ALC_PORT_RANGE:
            values.append(value)
        elif vendor == Vendor.NOKIA_SR and kind == _ALC_REASON and _number(value) == _NAT_FREE:
            free = True
    told = Told.RELEASED if free else Told.HELD
    for value in values:
        matched = _ALC.fullmatch(value.decode("utf-8", "replace").strip())
        if matched is None:
            yield None
            continue
        for each in matched[2].split(","):
            first, _, last = each.strip().partition("-")
            yield _block(told, _ipv4_text(matched[1]), int(first), int(last))


def _huawei(packet: Packet) -> Iterator[PortRange | None]:
    said: dict[int, list[bytes]] = {}
    for vendor, kind, value in packet.vendor_attributes():
        if vendor == Vendor.HUAWEI:
            said.setdefault(kind, []).append(value)
    firsts, lasts, outsides = (said.get(kind, []) for kind in (_HW_FIRST, _HW_LAST, _HW_OUTSIDE))
    update = _number(said.get(_HW_UPDATE, [b""])[-1])
    told = Told.REPLACES if update == _HW_CHANGED else Told.HELD
    if update == _HW_DELETED or packet.find_int(Attr.ACCT_STATUS_TYPE) == _STOP:
        told = Told.RELEASED
    if not firsts and not lasts:
        return  # an address without ports is a one-to-one translation, or no translation at all
    if len(firsts) != len(lasts) or len(outsides) not in (1, len(firsts)):
        yield None
        return
    for spot, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
        outside = _ipv4(outsides[spot if len(outsides) > 1 else 0])
        yield _block(told, outside, _number(first), _number(last))
        if told is Told.REPLACES:
            told = Told.HELD  # the second of a packet does not replace the first


def _block(told: Told, outside: IPv4Address | None, first: int | None, last: int | None) -> PortRange | None:
    if outside is None or first is None or last is None or not first <= last <= MAX_PORT:
        return None
    return PortRange(told, outside, first, last)


def _number(value: bytes | None) -> int | None:
    return int.from_bytes(value, "big") if value is not None and len(value) == 4 else None


def _ipv4(value: bytes | None) -> IPv4Address | None:
    """Return an address; None for 0.0.0.0, which is nobody's."""
    return IPv4Address(value) if value is not None and len(value) == 4 and any(value) else None


def _ipv4_text(text: str) -> IPv4Address | None:
    try:
        return _ipv4(IPv4Address(text).packed)
    except ValueError:
        return None


def _ipv6(value: bytes | None) -> IPv6Address | None:
    return IPv6Address(value) if value is not None and len(value) == 16 else None


_VENDORS = {"nokia": _nokia, "huawei": _huawei}
