"""Reads dictionary files in the format of FreeRADIUS 3, unmodified.

Statements: ATTRIBUTE, VALUE, VENDOR, BEGIN-VENDOR, END-VENDOR, BEGIN-TLV, END-TLV, FLAGS, $INCLUDE and
$INCLUDE-. A `#` starts a comment anywhere. Blocks end with their file. VALUE lines may come before their
ATTRIBUTE, so they are joined at the end. A later definition of the same name and number replaces the earlier.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from radius.definitions import (
    EMPTY_NAMES,
    EMPTY_NUMBERS,
    VENDOR_SPECIFIC,
    AttributeDef,
    Dictionary,
    Oid,
    Type,
    Vendor,
)
from radius.errors import DictionaryError

DEEPEST_INCLUDE = 16
ALIASES = {
    "text": Type.STRING,
    "uint8": Type.BYTE,
    "uint16": Type.SHORT,
    "uint32": Type.INTEGER,
    "uint64": Type.INTEGER64,
    "int32": Type.SIGNED,
    "enum": Type.INTEGER,
    "time": Type.DATE,
    "ipv4addr": Type.IPADDR,
    "ethernet": Type.ETHER,
}
TYPES: dict[str, Type] = {each.value: each for each in Type} | ALIASES
ENCRYPTIONS = {
    "1": 1,
    "2": 2,
    "3": 3,
    "user-password": 1,
    "tunnel-password": 2,
    "ascend-secret": 3,
}
CONTAINERS = frozenset({Type.TLV, Type.EXTENDED, Type.LONG_EXTENDED, Type.EVS, Type.VSA})
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:+-]*")
SIZED = re.compile(r"(octets|string|struct)\[(\d+)\]")
FORMAT = re.compile(r"format=([124]),([012])(,c)?")


def read(path: Path, base: Dictionary | None = None) -> Dictionary:
    """Return the dictionary in `path` and the files that it includes, on top of `base`.

    Raises DictionaryError, with file and line and what was expected there, for anything unusable.
    """
    reader = _Reader(base)
    reader.read_file(path, None)
    return reader.finish()


@dataclass(slots=True)
class _Scope:
    """Where the reader stands in one file: open blocks and what they put before each number."""

    file: str
    folder: Path
    depth: int
    line: int = 0
    vendor: Vendor | None = None
    prefix: Oid = ()
    tlvs: list[tuple[str, Oid]] = field(default_factory=list)
    flags: tuple[str, ...] = ()

    def fail(self, message: str) -> NoReturn:
        raise DictionaryError(self.file, self.line, message)

    def want(self, words: list[str], least: int, most: int, usage: str) -> None:
        if not least <= len(words) <= most:
            self.fail(f"{usage} expected, {len(words) - 1} words follow {words[0]}")


@dataclass(slots=True)
class _Flags:
    """What the words after an attribute's type say."""

    has_tag: bool = False
    encrypt: int = 0
    concat: bool = False
    array: bool = False
    vendor: Vendor | None = None
    others: tuple[str, ...] = ()


class _Reader:
    """Collects definitions; nothing of it outlives `read`."""

    def __init__(self, base: Dictionary | None) -> None:
        self.attributes: dict[str, AttributeDef] = {}
        self.oids: dict[Oid, AttributeDef] = {}
        self.vendors: dict[str, Vendor] = {}
        self.values: dict[str, tuple[dict[int, str], dict[str, int]]] = {}
        self.value_spots: dict[str, tuple[str, int, str]] = {}  # first use of a name, for the message
        if base is not None:
            for each in base:
                self.add(each)
                if each.value_numbers:
                    self.values[each.name.lower()] = dict(each.value_names), dict(each.value_numbers)
            self.vendors = {each.name.lower(): each for each in base.vendors()}

    def add(self, definition: AttributeDef) -> None:
        name = definition.name.lower()
        self.attributes.pop(name, None)  # the later definition also takes the later place
        self.attributes[name] = definition
        self.oids[definition.oid] = definition

    def read_file(self, path: Path, includer: _Scope | None) -> None:
        try:
            # Comments may be in any encoding; names are checked to be ASCII.
            lines = path.read_text("utf-8", "replace").split("\n")
        except OSError as error:
            what = f"{path} cannot be read: {error.strerror}"
            if includer is None:
                raise DictionaryError(str(path), 0, what) from error
            raise DictionaryError(includer.file, includer.line, what) from error
        scope = _Scope(str(path), path.parent, includer.depth + 1 if includer else 0)
        if scope.depth > DEEPEST_INCLUDE:
            scope.fail(f"included {scope.depth} files deep, at most {DEEPEST_INCLUDE} expected: a circle?")
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if words:
                scope.line = number
                self.statement(words, scope)
        if scope.vendor is not None:
            scope.fail(f"END-VENDOR {scope.vendor.name} expected before the end of the file")

    def statement(self, words: list[str], scope: _Scope) -> None:
        match words[0].upper():
            case "VALUE":
                self.value(words, scope)
            case "ATTRIBUTE":
                self.attribute(words, scope)
            case "$INCLUDE" | "$INCLUDE-":
                scope.want(words, 2, 2, "$INCLUDE file")
                path = scope.folder / words[1]
                if words[0] == "$INCLUDE" or path.exists():
                    self.read_file(path, scope)
            case "VENDOR":
                self.vendor(words, scope)
            case "BEGIN-VENDOR":
                self.begin_vendor(words, scope)
            case "END-VENDOR":
                self.end_vendor(words, scope)
            case "BEGIN-TLV":
                self.begin_tlv(words, scope)
            case "END-TLV":
                _end_tlv(words, scope)
            case "FLAGS":
                scope.want(words, 2, 9, "FLAGS flag ...")
                scope.flags = tuple(words[1:])
            case _:
                scope.fail(f"ATTRIBUTE, VALUE, VENDOR, BEGIN-..., END-..., $INCLUDE expected, not {words[0]}")

    def attribute(self, words: list[str], scope: _Scope) -> None:
        scope.want(words, 4, 12, "ATTRIBUTE name number type [flags]")
        name = words[1]
        if NAME.fullmatch(name) is None:
            scope.fail(f"a name of letters, digits and -_./:+ expected, not {name}")
        kind, length = _type(words[3], scope)
        flags = self.flags(words[4:], scope)
        vendor = flags.vendor or scope.vendor
        prefix = (VENDOR_SPECIFIC, flags.vendor.number) if flags.vendor else scope.prefix
        oid = prefix + _oid(words[2], scope)
        if len(oid) > len(prefix) + 1:
            self.check_parent(oid, scope)
        old = self.attributes.get(name.lower())
        if old is not None and old.oid != oid:
            scope.fail(f"{name} is already attribute {_dotted(old.oid)}, another name expected")
        self.add(
            AttributeDef(
                name,
                oid,
                kind,
                vendor or self.vendor_of(oid),
                flags.has_tag,
                flags.encrypt,
                flags.concat,
                flags.array,
                length,
                scope.flags + flags.others,
            )
        )

    def vendor_of(self, oid: Oid) -> Vendor | None:
        """A dotted number may lead into a vendor's space without a block: 26.9.1, 241.26.9.1."""
        number = None
        if oid[0] == VENDOR_SPECIFIC and len(oid) > 2:
            number = oid[1]
        elif len(oid) > 3 and oid[1] == VENDOR_SPECIFIC:
            number = oid[2]
        latest = reversed(self.vendors.values())
        return next((each for each in latest if each.number == number), None)

    def check_parent(self, oid: Oid, scope: _Scope) -> None:
        parent = self.oids.get(oid[:-1])
        if parent is None and len(oid) > 2:
            parent = self.oids.get(oid[:-2])  # the number before the last may be a vendor's
            if parent is not None and parent.type not in (Type.EVS, Type.VSA):
                parent = None
        if parent is None or parent.type not in CONTAINERS:
            found = "there is none" if parent is None else f"{parent.name} is {parent.type}"
            scope.fail(f"{_dotted(oid[:-1])} of type tlv, extended or evs expected before this line; {found}")

    def flags(self, words: list[str], scope: _Scope) -> _Flags:
        result = _Flags()
        others = []
        for word in ",".join(words).split(",") if words else ():
            flag, _, argument = word.lower().partition("=")
            match flag:
                case "has_tag":
                    result.has_tag = True
                case "encrypt":
                    if argument not in ENCRYPTIONS:
                        scope.fail(f"encrypt=1, encrypt=2 or encrypt=3 expected, not {word}")
                    result.encrypt = ENCRYPTIONS[argument]
                case "concat":
                    result.concat = True
                case "array":
                    result.array = True
                case _ if flag in self.vendors and not argument:
                    result.vendor = self.vendors[flag]  # the old way to say BEGIN-VENDOR
                case _ if word:
                    others.append(word)
        result.others = tuple(others)
        return result

    def value(self, words: list[str], scope: _Scope) -> None:
        scope.want(words, 4, 4, "VALUE attribute name number")
        _, attribute, name, text = words
        number = _number(text, scope)
        key = attribute.lower()
        known = self.values.get(key)
        if known is None:
            known = self.values[key] = {}, {}
            self.value_spots[key] = scope.file, scope.line, attribute
        names, numbers = known
        if numbers.get(name, number) != number:
            scope.fail(f"{attribute} {name} is already {numbers[name]}, another name expected")
        names[number] = name
        numbers[name] = number

    def vendor(self, words: list[str], scope: _Scope) -> None:
        scope.want(words, 3, 4, "VENDOR name number [format=t,l]")
        name, number = words[1], _number(words[2], scope)
        if not 0 < number < 1 << 32:
            scope.fail(f"a vendor number from 1 to 4294967295 expected, not {words[2]}")
        old = self.vendors.get(name.lower())
        if old is not None and old.number != number:
            scope.fail(f"vendor {name} is already {old.number}, another name expected")
        sizes = 1, 1, False
        if len(words) == 4:
            match = FORMAT.fullmatch(words[3].lower())
            if match is None or (match[3] and match[1] + match[2] != "11"):
                scope.fail(
                    f"format=t,l with t of 1, 2 or 4 and l of 0, 1 or 2, or 1,1,c expected, not {words[3]}"
                )
            sizes = int(match[1]), int(match[2]), match[3] is not None
        # Popped so that the format read last also wins for the number, where two names share it.
        self.vendors.pop(name.lower(), None)
        self.vendors[name.lower()] = Vendor(name, number, *sizes)

    def begin_vendor(self, words: list[str], scope: _Scope) -> None:
        scope.want(words, 2, 3, "BEGIN-VENDOR name [format=Extended-Vendor-Specific-1]")
        if scope.vendor is not None:
            scope.fail(f"END-VENDOR {scope.vendor.name} expected before another BEGIN-VENDOR")
        vendor = self.vendors.get(words[1].lower())
        if vendor is None:
            scope.fail(f"VENDOR {words[1]} expected before BEGIN-VENDOR")
        prefix: Oid = (VENDOR_SPECIFIC,)
        if len(words) == 3:
            key, _, parent = words[2].partition("=")
            space = self.attributes.get(parent.lower())
            if key.lower() not in ("format", "parent") or space is None or space.type is not Type.EVS:
                scope.fail(f"format= and the name of an attribute of type evs expected, not {words[2]}")
            prefix = space.oid
        scope.vendor = vendor
        scope.prefix = (*prefix, vendor.number)

    def end_vendor(self, words: list[str], scope: _Scope) -> None:
        scope.want(words, 2, 2, "END-VENDOR name")
        if scope.tlvs:
            scope.fail(f"END-TLV {scope.tlvs[-1][0]} expected before END-VENDOR")
        if scope.vendor is None or scope.vendor.name.lower() != words[1].lower():
            wanted = f"END-VENDOR {scope.vendor.name}" if scope.vendor else "BEGIN-VENDOR"
            scope.fail(f"{wanted} expected, not {words[0]} {words[1]}")
        scope.vendor = None
        scope.prefix = ()

    def begin_tlv(self, words: list[str], scope: _Scope) -> None:
        scope.want(words, 2, 2, "BEGIN-TLV attribute")
        parent = self.attributes.get(words[1].lower())
        if parent is None or parent.type is not Type.TLV:
            scope.fail(f"the name of an attribute of type tlv expected, not {words[1]}")
        scope.tlvs.append((parent.name, scope.prefix))
        scope.prefix = parent.oid

    def finish(self) -> Dictionary:
        """Return the dictionary, each attribute with the values that were given for its name."""
        for key, (names, numbers) in self.values.items():
            definition = self.attributes.get(key)
            if definition is None:
                file, line, name = self.value_spots[key]
                near = difflib.get_close_matches(key, self.attributes, 1)
                hint = f"; did you mean {self.attributes[near[0]].name}?" if near else ""
                raise DictionaryError(file, line, f"ATTRIBUTE {name} expected somewhere, there is none{hint}")
            self.attributes[key] = _with_values(definition, names, numbers)
        return Dictionary(self.attributes.values(), self.vendors.values())


def _with_values(definition: AttributeDef, names: dict[int, str], numbers: dict[str, int]) -> AttributeDef:
    return AttributeDef(
        definition.name,
        definition.oid,
        definition.type,
        definition.vendor,
        definition.has_tag,
        definition.encrypt,
        definition.concat,
        definition.array,
        definition.length,
        definition.flags,
        MappingProxyType(names) if names else EMPTY_NAMES,
        MappingProxyType(numbers) if numbers else EMPTY_NUMBERS,
    )


def _end_tlv(words: list[str], scope: _Scope) -> None:
    scope.want(words, 2, 2, "END-TLV attribute")
    if not scope.tlvs or scope.tlvs[-1][0].lower() != words[1].lower():
        wanted = f"END-TLV {scope.tlvs[-1][0]}" if scope.tlvs else "BEGIN-TLV"
        scope.fail(f"{wanted} expected, not {words[0]} {words[1]}")
    scope.prefix = scope.tlvs.pop()[1]


def _type(word: str, scope: _Scope) -> tuple[Type, int | None]:
    word = word.lower()
    kind = TYPES.get(word)
    if kind is not None:
        return kind, None
    match = SIZED.fullmatch(word)
    if match is None:
        near = difflib.get_close_matches(word, TYPES, 1)
        scope.fail(
            f"a type such as {near[0] if near else 'string, integer, ipaddr, octets'} expected, not {word}"
        )
    if not 1 <= int(match[2]) <= 253:
        scope.fail(f"{match[1]} of 1 to 253 octets expected, not {match[2]}")
    return TYPES[match[1]], int(match[2])


def _oid(text: str, scope: _Scope) -> Oid:
    return tuple([_number(part, scope) for part in text.split(".")])


def _number(text: str, scope: _Scope) -> int:
    try:
        return int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    except ValueError:
        scope.fail(f"a decimal or 0x number expected, not {text}")


def _dotted(oid: Oid) -> str:
    return ".".join(map(str, oid))
