"""Typed attributes: a packet as named, typed values in wire order, and back to octets.

Nothing on the path of a login needs this; it serves traces, dry runs, overrides and the command line.
"""

from __future__ import annotations

from dataclasses import dataclass

from radius import values
from radius.codes import Code
from radius.definitions import AttributeDef, Dictionary, Oid, Type, Vendor, unknown
from radius.envelope import Key, unwrap
from radius.errors import Malformed
from radius.formats import Piece, pieces, split_tlvs
from radius.packet import Packet
from radius.tree_encoder import encode
from radius.values import Value

__all__ = ["HIDDEN", "Attribute", "decode", "encode"]

HIDDEN = "<hidden>"
REPLIES = frozenset(
    {
        Code.ACCESS_ACCEPT,
        Code.ACCESS_REJECT,
        Code.ACCESS_CHALLENGE,
        Code.ACCOUNTING_RESPONSE,
        Code.DISCONNECT_ACK,
        Code.DISCONNECT_NAK,
        Code.COA_ACK,
        Code.COA_NAK,
        Code.PROTOCOL_ERROR,
    }
)

DIGEST_REQUESTS = frozenset({Code.ACCOUNTING_REQUEST, Code.COA_REQUEST, Code.DISCONNECT_REQUEST})


@dataclass(frozen=True, slots=True, repr=False)
class Attribute:
    """One attribute of a packet.

    `value` is typed; the raw octets where they do not fit the type (`invalid`), where no key was given to
    reveal them (`concealed`), and for a TLV, whose parts are in `children`.
    """

    definition: AttributeDef
    value: Value
    tag: int | None = None
    children: tuple[Attribute, ...] = ()
    invalid: bool = False
    concealed: bool = False

    def __repr__(self) -> str:
        """Return the text, secrets hidden."""
        return f"<Attribute {self.text()}>"

    def text(self, *, show_secrets: bool = False) -> str:
        """Return `Name = value`, or `Name:tag = value`; one line, secrets as `<hidden>` unless asked for."""
        name = self.definition.name if self.tag is None else f"{self.definition.name}:{self.tag}"
        return f"{name} = {self._shown(show_secrets)}"

    def _shown(self, show_secrets: bool) -> str:
        if self.definition.sensitive and not show_secrets:
            return HIDDEN
        if self.children:
            return "{ " + ", ".join(child.text(show_secrets=show_secrets) for child in self.children) + " }"
        shown = values.text(self.value, self.definition)
        if shown.isprintable():
            return shown
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def decode(
    packet: Packet,
    dictionary: Dictionary,
    *,
    secret: bytes | None = None,
    request_authenticator: bytes | None = None,
) -> tuple[Attribute, ...]:
    """Return the attributes of a packet in wire order; fragments are joined, sub-attributes stand in a row.

    Hidden values are revealed where `secret` is given; for a reply also `request_authenticator`, the one of
    its request, must be. What the dictionary does not know is named by numbers, `Attr-26.9.250`. Never raises
    on a packet that `radius.packet.decode` took.
    """
    key: Key | None = None
    authenticator = request_authenticator or _own_authenticator(packet)
    if secret is not None and authenticator is not None:
        key = Key(secret, authenticator)
    found: list[Attribute] = []
    for piece in pieces(packet, dictionary):
        found += _attributes(piece, dictionary, key)
    return tuple(found)


def _own_authenticator(packet: Packet) -> bytes | None:
    """Return what hides values in a request; a reply alone does not tell.

    The authenticator of accounting, CoA and Disconnect requests is a digest over the hidden values, so they
    are hidden with zeros; FreeRADIUS and pyrad do the same.
    """
    if packet.code in REPLIES:
        return None
    return bytes(16) if packet.code in DIGEST_REQUESTS else packet.authenticator


def _attributes(piece: Piece, dictionary: Dictionary, key: Key | None) -> list[Attribute]:
    definition = dictionary.by_oid(piece.oid)
    if definition is None or (piece.broken and definition.type is Type.VSA):
        # In broken octets a password may stand anywhere.
        flags = ("secret",) if piece.broken else ()
        definition = unknown(piece.oid, _vendor(piece.oid, dictionary), flags)
    if piece.broken:
        return [Attribute(definition, piece.octets, invalid=True)]
    size = definition.length or values.SIZES.get(definition.type)
    if definition.array and size and len(piece.octets) > size and not len(piece.octets) % size:
        octets = piece.octets
        parts = [octets[spot : spot + size] for spot in range(0, len(octets), size)]
        return [_attribute(part, definition, dictionary, key) for part in parts]
    return [_attribute(piece.octets, definition, dictionary, key)]


def _attribute(octets: bytes, definition: AttributeDef, dictionary: Dictionary, key: Key | None) -> Attribute:
    try:
        opened = unwrap(octets, definition, key)
    except Malformed:
        return Attribute(definition, octets, invalid=True)
    if opened.hidden:
        return Attribute(definition, opened.octets, opened.tag, concealed=True)
    if definition.type is Type.TLV:
        return _tlv(opened.octets, opened.tag, definition, dictionary, key)
    try:
        return Attribute(definition, values.decode(opened.octets, definition), opened.tag)
    except Malformed:
        return Attribute(definition, opened.octets, opened.tag, invalid=True)


def _tlv(
    octets: bytes, tag: int | None, definition: AttributeDef, dictionary: Dictionary, key: Key | None
) -> Attribute:
    parts = split_tlvs(octets)
    if not parts:
        return Attribute(definition, octets, tag, invalid=True)
    children: list[Attribute] = []
    for kind, value in parts:
        children += _attributes(Piece((*definition.oid, kind), value), dictionary, key)
    return Attribute(definition, octets, tag, tuple(children))


def _vendor(oid: Oid, dictionary: Dictionary) -> Vendor | None:
    number = oid[1] if len(oid) > 1 and oid[0] == 26 else oid[2] if len(oid) > 3 and oid[1] == 26 else None
    return None if number is None else dictionary.vendor(number)
