"""Where attributes lie in a packet: vendor formats, extended attributes, fragments; both ways.

RFC 2865 section 5.26 and the vendors' own `format=t,l` headers; RFC 6929 sections 2.1 to 2.4 for extended and
long extended attributes, TLVs and extended vendor-specific attributes; WiMAX's continuation octet. Only the
layout is known here, not what the octets mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from radius.definitions import VENDOR_SPECIFIC, AttributeDef, Dictionary, Oid, Type, Vendor
from radius.errors import Unencodable
from radius.packet import Packet

LONGEST = 253  # octets that fit one attribute after type and length
LONGEST_FRAGMENT = 251  # of a long extended attribute, after its type and flags
MORE = 0x80  # in the flags of a long extended attribute, and WiMAX's continuation octet


@dataclass(frozen=True, slots=True)
class Piece:
    """The octets of one attribute, fragments joined; `broken` where the layout around them is wrong."""

    oid: Oid
    octets: bytes
    more: bool = False  # the next piece of the same oid continues this one
    broken: bool = False


def pieces(packet: Packet, dictionary: Dictionary) -> Iterator[Piece]:
    """Yield what a packet holds, in wire order, each piece at its full oid.

    Fragments and attributes flagged `concat` are joined where they stand next to each other. Never raises.
    """
    for piece in _joined(_fragments(packet, dictionary), dictionary):
        definition = dictionary.by_oid(piece.oid)
        if definition is None or definition.type is not Type.EVS:
            yield piece
        elif len(piece.octets) < 5:
            yield replace(piece, broken=True)
        else:
            vendor = int.from_bytes(piece.octets[:4], "big")
            yield Piece((*piece.oid, vendor, piece.octets[4]), piece.octets[5:], broken=piece.broken)


def split_tlvs(octets: bytes) -> list[tuple[int, bytes]] | None:
    """Return (type, value) of each TLV in `octets`; None where they are no whole TLVs (RFC 6929 section 2.3)."""
    found = []
    spot, end = 0, len(octets)
    while spot < end:
        length = octets[spot + 1] if spot + 1 < end else 0
        if length < 2 or spot + length > end:
            return None
        found.append((octets[spot], octets[spot + 2 : spot + length]))
        spot += length
    return found


def join_tlv(definition: AttributeDef, kind: int, body: bytes) -> bytes:
    """Return one TLV; raises Unencodable, naming `definition`, where it does not fit 255 octets."""
    _check_number(definition, kind)
    _check(definition, len(body), LONGEST)
    return bytes((kind, len(body) + 2)) + body


def wire(definition: AttributeDef, body: bytes, dictionary: Dictionary) -> bytes:
    """Return the attributes, with headers, that carry `body`: one, or several where the format has fragments.

    Raises Unencodable where the body is too long, and for numbers that no packet can carry.
    """
    oid = definition.oid
    space = dictionary.by_oid(oid[:1])
    kind = space.type if space is not None else None
    _check_number(definition, oid[0])
    if oid[0] == VENDOR_SPECIFIC and len(oid) == 2:
        body = oid[1].to_bytes(4, "big") + body
        oid = oid[:1]
    elif oid[0] == VENDOR_SPECIFIC and len(oid) > 2:
        vendor = dictionary.vendor(oid[1]) or Vendor(str(oid[1]), oid[1])
        return _vendor_attributes(definition, vendor, oid[2], _nest(definition, oid[3:], body))
    if len(oid) > 1 and kind in (Type.EXTENDED, Type.LONG_EXTENDED):
        return _extended(definition, body, long=kind is Type.LONG_EXTENDED)
    body = _nest(definition, oid[1:], body)
    if not definition.concat:
        _check(definition, len(body), LONGEST)
    return b"".join(bytes((oid[0], len(part) + 2)) + part for part in _parts(body, LONGEST))


def _fragments(packet: Packet, dictionary: Dictionary) -> Iterator[Piece]:
    for kind, value in packet.attributes():
        if kind == VENDOR_SPECIFIC:
            yield from _vendor_pieces(value, dictionary)
            continue
        definition = dictionary.by_oid((kind,))
        match definition.type if definition is not None else None:
            case Type.EXTENDED if value:
                yield Piece((kind, value[0]), value[1:])
            case Type.LONG_EXTENDED if len(value) > 1:
                yield Piece((kind, value[0]), value[2:], more=bool(value[1] & MORE))
            case Type.EXTENDED | Type.LONG_EXTENDED:
                yield Piece((kind,), value, broken=True)
            case _:
                yield Piece((kind,), value)


def _joined(fragments: Iterator[Piece], dictionary: Dictionary) -> Iterator[Piece]:
    """Join neighbours of one oid; a promise of more that nobody keeps breaks the piece."""
    last: Piece | None = None
    for piece in fragments:
        if last is None:
            last = piece
            continue
        if piece.oid == last.oid and not last.broken and (last.more or _concat(piece.oid, dictionary)):
            last = replace(piece, octets=last.octets + piece.octets)
            continue
        yield replace(last, broken=last.broken or last.more)
        last = piece
    if last is not None:
        yield replace(last, broken=last.broken or last.more)


def _concat(oid: Oid, dictionary: Dictionary) -> bool:
    definition = dictionary.by_oid(oid)
    return definition is not None and definition.concat


def _vendor_pieces(value: bytes, dictionary: Dictionary) -> Iterator[Piece]:
    """Take a Vendor-Specific apart; of a known vendor, what comes before an error is kept.

    RFC 2865 only recommends 1,1, so octets of an unknown vendor that do not fit it are whole, not broken.
    """
    if len(value) < 4:
        yield Piece((VENDOR_SPECIFIC,), value, broken=True)
        return
    number = int.from_bytes(value[:4], "big")
    known = dictionary.vendor(number)
    space = (VENDOR_SPECIFIC, number)
    vendor = known or Vendor(str(number), number)
    found, rest = _split(space, value[4:], vendor)
    if known is None and rest:
        yield Piece(space, value[4:])
        return
    yield from found
    if rest or not found:
        yield Piece(space, rest, broken=True)


def _split(space: Oid, octets: bytes, vendor: Vendor) -> tuple[list[Piece], bytes]:
    """Return the pieces in the vendor's octets, and what is left where the layout breaks."""
    found: list[Piece] = []
    type_size, length_size = vendor.type_size, vendor.length_size
    header = type_size + length_size + vendor.continuation
    while len(octets) >= header:
        kind = int.from_bytes(octets[:type_size], "big")
        if length_size == 0:
            return [Piece((*space, kind), octets[header:])], b""
        length = int.from_bytes(octets[type_size : type_size + length_size], "big")
        if not header <= length <= len(octets):
            break
        more = vendor.continuation and bool(octets[header - 1] & MORE)
        found.append(Piece((*space, kind), octets[header:length], more))
        octets = octets[length:]
    return found, octets


def _vendor_attributes(definition: AttributeDef, vendor: Vendor, number: int, body: bytes) -> bytes:
    type_size, length_size = vendor.type_size, vendor.length_size
    if number >= 1 << 8 * type_size:
        raise Unencodable(
            definition.name, f"number {number} does not fit {type_size} octets of {vendor.name}"
        )
    header = type_size + length_size + vendor.continuation
    room = LONGEST - 4 - header
    if not (vendor.continuation or definition.concat):
        _check(definition, len(body), room)
    parts = _parts(body, room)
    result = b""
    for count, part in enumerate(parts, 1):
        inner = number.to_bytes(type_size, "big")
        if length_size:
            inner += (header + len(part)).to_bytes(length_size, "big")
        if vendor.continuation:
            inner += bytes((MORE if count < len(parts) else 0,))
        inner = vendor.number.to_bytes(4, "big") + inner + part
        result += bytes((VENDOR_SPECIFIC, len(inner) + 2)) + inner
    return result


def _extended(definition: AttributeDef, body: bytes, *, long: bool) -> bytes:
    oid = definition.oid
    _check_number(definition, oid[1])
    if oid[1] == VENDOR_SPECIFIC and len(oid) > 3:
        _check_number(definition, oid[3])
        body = oid[2].to_bytes(4, "big") + bytes((oid[3],)) + _nest(definition, oid[4:], body)
    else:
        body = _nest(definition, oid[2:], body)
    if not long:
        _check(definition, len(body), LONGEST - 1)
        return bytes((oid[0], len(body) + 3, oid[1])) + body
    parts = _parts(body, LONGEST_FRAGMENT)
    return b"".join(
        bytes((oid[0], len(part) + 4, oid[1], MORE if count < len(parts) else 0)) + part
        for count, part in enumerate(parts, 1)
    )


def _nest(definition: AttributeDef, path: Oid, body: bytes) -> bytes:
    """Put `body` into the TLVs of `path`, innermost last."""
    for kind in reversed(path):
        body = join_tlv(definition, kind, body)
    return body


def _parts(body: bytes, size: int) -> list[bytes]:
    return [body[spot : spot + size] for spot in range(0, len(body), size)]


def _check_number(definition: AttributeDef, number: int) -> None:
    """Numbers above 255 serve inside a server: control items, and DHCP or VMPS in FreeRADIUS's files."""
    if not 0 <= number <= 255:
        raise Unencodable(definition.name, f"no packet carries number {number}, 0 to 255 expected")


def _check(definition: AttributeDef, size: int, room: int) -> None:
    if size > room:
        what = "a shorter value, or several attributes, expected"
        raise Unencodable(definition.name, f"{size} octets, at most {room} fit one attribute", what)
