"""What a dictionary says: types, vendors, attributes, and the dictionary itself.

Everything here is immutable; `radius.dictionary_reader` builds it from files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

Oid = tuple[int, ...]

VENDOR_SPECIFIC = 26
EMPTY_NAMES: Mapping[int, str] = MappingProxyType({})
EMPTY_NUMBERS: Mapping[str, int] = MappingProxyType({})


class Type(StrEnum):
    """The data types of RFC 8044 under their dictionary names, and those that vendors added."""

    STRING = "string"  # UTF-8 text; RFC 8044 calls it text
    OCTETS = "octets"  # opaque; RFC 8044 calls it string
    INTEGER = "integer"
    BYTE = "byte"
    SHORT = "short"
    SIGNED = "signed"
    INTEGER64 = "integer64"
    DATE = "date"
    IPADDR = "ipaddr"
    IPV4PREFIX = "ipv4prefix"
    IPV6ADDR = "ipv6addr"
    IPV6PREFIX = "ipv6prefix"
    COMBO_IP = "combo-ip"
    IFID = "ifid"
    ETHER = "ether"
    ABINARY = "abinary"
    STRUCT = "struct"  # kept as octets: its members are not described in the format
    TLV = "tlv"
    VSA = "vsa"
    EXTENDED = "extended"
    LONG_EXTENDED = "long-extended"
    EVS = "evs"


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor and how it lays out its attributes: octets of type and length, continuation octet or not."""

    name: str
    number: int
    type_size: int = 1
    length_size: int = 1
    continuation: bool = False


@dataclass(frozen=True, slots=True)
class AttributeDef:
    """One attribute of a dictionary.

    `oid` is its path on the wire: (1,), (26, 14988, 8), (241, 1), (241, 26, 6527, 88), longer inside TLVs.
    `encrypt` is 0 (clear), 1 (RFC 2865 section 5.2), 2 (RFC 2868 section 3.5) or 3 (Ascend). `length` is the
    number of octets where the dictionary fixes it. `flags` are those without a field of their own.
    """

    name: str
    oid: Oid
    type: Type
    vendor: Vendor | None = None
    has_tag: bool = False
    encrypt: int = 0
    concat: bool = False
    array: bool = False
    length: int | None = None
    flags: tuple[str, ...] = ()
    value_names: Mapping[int, str] = field(default_factory=lambda: EMPTY_NAMES, hash=False, repr=False)
    value_numbers: Mapping[str, int] = field(default_factory=lambda: EMPTY_NUMBERS, hash=False, repr=False)

    @property
    def sensitive(self) -> bool:
        """Tell whether the value must not be shown: passwords, keys, and hashes made from a password."""
        return (
            self.encrypt != 0
            or self.oid in SENSITIVE
            or "secret" in self.flags
            or (self.type in _MAY_BE_SECRET and SECRET_NAME.search(self.name) is not None)
        )


class Dictionary:
    """Attributes and vendors by name and by number; immutable.

    Names are found in any case. Where several attributes share a number, the one read last names it.
    """

    __slots__ = ("_names", "_oids", "_vendor_names", "_vendors")

    def __init__(self, attributes: Iterable[AttributeDef], vendors: Iterable[Vendor]) -> None:
        self._names: dict[str, AttributeDef] = {}
        self._oids: dict[Oid, AttributeDef] = {}
        for attribute in attributes:
            self._names[attribute.name.lower()] = attribute
            self._oids[attribute.oid] = attribute
        self._vendors: dict[int, Vendor] = {}
        self._vendor_names: dict[str, Vendor] = {}
        for vendor in vendors:
            self._vendors[vendor.number] = vendor
            self._vendor_names[vendor.name.lower()] = vendor

    def __iter__(self) -> Iterator[AttributeDef]:
        """Yield the attributes in the order in which they were defined."""
        return iter(self._names.values())

    def __len__(self) -> int:
        """Return the number of attribute names."""
        return len(self._names)

    def by_name(self, name: str) -> AttributeDef | None:
        """Return the attribute of that name, in any case."""
        return self._names.get(name.lower())

    def by_oid(self, oid: Oid) -> AttributeDef | None:
        """Return the attribute at `oid`, for example (26, 14988, 8)."""
        return self._oids.get(oid)

    def vendor(self, number: int) -> Vendor | None:
        """Return the vendor with that private enterprise number."""
        return self._vendors.get(number)

    def vendor_by_name(self, name: str) -> Vendor | None:
        """Return the vendor of that name, in any case."""
        return self._vendor_names.get(name.lower())

    def vendors(self) -> Iterator[Vendor]:
        """Yield every vendor name with its number, in the order in which they were defined."""
        return iter(self._vendor_names.values())

    def suggest(self, name: str, count: int = 3) -> list[str]:
        """Return up to `count` names that look like `name`, nearest first, for an error message."""
        near = difflib.get_close_matches(name.lower(), self._names, count)
        return [self._names[each].name for each in near]


def unknown(oid: Oid, vendor: Vendor | None = None, flags: tuple[str, ...] = ()) -> AttributeDef:
    """Return a definition for an attribute that no dictionary knows: octets, named `Attr-26.9.250`."""
    return AttributeDef("Attr-" + ".".join(map(str, oid)), oid, Type.OCTETS, vendor, flags=flags)


# Who reads these can answer for the user, or try passwords until one fits: User-Password, CHAP-Password,
# Digest-Response, and Microsoft's responses, changed passwords and session keys (RFC 2548).
SENSITIVE: frozenset[Oid] = frozenset(
    {(2,), (3,), (103,), (206,)} | {(26, 311, kind) for kind in (1, 2, 3, 4, 5, 6, 12, 16, 17, 25, 26, 27)}
)
_MAY_BE_SECRET = frozenset({Type.STRING, Type.OCTETS})
SECRET_NAME = re.compile(r"(password|passphrase|secret|psk|key)$", re.IGNORECASE)
