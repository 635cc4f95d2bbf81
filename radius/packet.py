"""One RADIUS packet as received: a view on its octets that knows where each attribute lies.

Nothing is copied or built for attributes that nobody reads. RFC 2865 section 3 gives the format, RFC 5080
section 2.2 the length rules. Wire order is kept; unknown attributes are just more octets.
"""

from __future__ import annotations

from collections.abc import Iterator

from radius.errors import Malformed, Unencodable

HEADER = 20
LONGEST = 4096
MOST_ATTRIBUTES = 200
VSA = 26


class Packet:
    """A decoded packet; `octets` is exactly the packet, padding after Length is cut off.

    `spots` maps an attribute type to the offset of its *last* occurrence.
    """

    __slots__ = ("authenticator", "code", "identifier", "octets", "spots")

    def __init__(self, octets: bytes, spots: dict[int, int]) -> None:
        self.octets = octets
        self.code = octets[0]
        self.identifier = octets[1]
        self.authenticator = octets[4:20]
        self.spots = spots

    def find(self, kind: int) -> bytes | None:
        """Return the value of the attribute of type `kind` (the last one, if there are several)."""
        spot = self.spots.get(kind)
        if spot is None:
            return None
        octets = self.octets
        return octets[spot + 2 : spot + octets[spot + 1]]

    def find_int(self, kind: int) -> int | None:
        """Return a 32-bit integer attribute; None where it is absent or not four octets long."""
        spot = self.spots.get(kind)
        if spot is None or self.octets[spot + 1] != 6:
            return None
        return int.from_bytes(self.octets[spot + 2 : spot + 6], "big")

    def find_text(self, kind: int) -> str | None:
        """Return a text attribute; octets that are not UTF-8 become escapes, never an error."""
        value = self.find(kind)
        return None if value is None else value.decode("utf-8", "backslashreplace")

    def attributes(self) -> Iterator[tuple[int, bytes]]:
        """Yield (type, value) in wire order."""
        octets = self.octets
        spot, end = HEADER, len(octets)
        while spot < end:
            length = octets[spot + 1]
            yield octets[spot], octets[spot + 2 : spot + length]
            spot += length

    def all(self, kind: int) -> list[bytes]:
        """Return every value of type `kind` in wire order; RFC 2865 section 5 lets some repeat."""
        if kind not in self.spots:
            return []
        return [value for each, value in self.attributes() if each == kind]

    def vendor_attributes(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield (vendor, type, value) of all vendor attributes in the usual 1,1 format (RFC 2865 5.26).

        Vendors with other formats are decoded by `radius.tree` with a dictionary; a sub-attribute that
        does not fit is left out here and preserved there.
        """
        for value in self.all(VSA):
            if len(value) < 6:
                continue
            vendor = int.from_bytes(value[:4], "big")
            spot, end = 4, len(value)
            while spot + 2 <= end:
                length = value[spot + 1]
                if length < 2 or spot + length > end:
                    break
                yield vendor, value[spot], value[spot + 2 : spot + length]
                spot += length

    def find_vendor(self, vendor: int, kind: int) -> bytes | None:
        """Return the first vendor attribute (format 1,1) of that vendor and type."""
        if VSA not in self.spots:
            return None
        for each_vendor, each_kind, value in self.vendor_attributes():
            if each_kind == kind and each_vendor == vendor:
                return value
        return None


def decode(octets: bytes) -> Packet:
    """Return the packet in a datagram.

    Octets beyond Length are padding and ignored (RFC 2865 section 3). Raises Malformed, with a slug, for a
    datagram that RFC 2865 or RFC 5080 tells to discard.
    """
    size = len(octets)
    if size < HEADER:
        raise Malformed("short-packet", f"{size} octets, at least {HEADER} expected")
    end = octets[2] << 8 | octets[3]
    if end != size:
        if end < HEADER or end > LONGEST or end > size:
            raise Malformed("bad-length", f"Length says {end}, {size} octets came")
        octets = octets[:end]
    elif end > LONGEST:
        raise Malformed("bad-length", f"Length says {end}, at most {LONGEST} allowed")
    spots: dict[int, int] = {}
    spot = HEADER
    last = end - 1
    while spot < last:
        length = octets[spot + 1]
        if length < 2:
            raise Malformed("bad-attribute", f"attribute {octets[spot]} at {spot} has length {length}")
        spots[octets[spot]] = spot
        spot += length
    if spot != end:
        raise Malformed("bad-attribute", f"the last attribute ends at {spot}, the packet at {end}")
    packet = Packet(octets, spots)
    if end > HEADER + 2 * MOST_ATTRIBUTES:  # below that there is no room for too many
        count = sum(1 for _ in packet.attributes())
        if count > MOST_ATTRIBUTES:
            raise Malformed("too-many-attributes", f"{count} attributes, at most {MOST_ATTRIBUTES} allowed")
    return packet


def header(code: int, identifier: int, length: int, authenticator: bytes) -> bytes:
    """Return the 20 octets of a packet header; raises Unencodable where `length` is above 4096."""
    if length > LONGEST:
        raise Unencodable("packet", f"{length} octets, at most {LONGEST} fit")
    return bytes((code, identifier, length >> 8, length & 0xFF)) + authenticator


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute in wire form; raises Unencodable where `value` is empty or above 253 octets."""
    size = len(value)
    if not 1 <= size <= 253:
        raise Unencodable(f"attribute {kind}", f"{size} octets, 1 to 253 fit")
    return bytes((kind, size + 2)) + value


def vendor_attribute(vendor: int, kind: int, value: bytes) -> bytes:
    """Return one vendor attribute, format 1,1 (RFC 2865 section 5.26); `value` has 1 to 247 octets."""
    size = len(value)
    if not 1 <= size <= 247:
        raise Unencodable(f"vendor {vendor} attribute {kind}", f"{size} octets, 1 to 247 fit")
    return bytes((VSA, size + 8)) + vendor.to_bytes(4, "big") + bytes((kind, size + 2)) + value
