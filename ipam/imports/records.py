"""What an import brings: neutral records, and findings that name file, line, field, expectation and remedy.

`file` and `line` of a record say where it stands, of a range where its first unit does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Block = IPv4Network | IPv6Network
"""One unit: a single address is a /32 or /128, a delegated prefix its own length."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to read: its name for the report, and its lines as text; they are read once, in order."""

    name: str
    lines: Iterable[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that could not be mapped. `line` counts from 1, None where the file as a whole is meant."""

    file: str
    line: int | None
    field: str
    got: str
    expected: str
    remedy: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        field = f" {self.field}:" if self.field else ""
        text = f"{place}:{field} got {self.got}; expected {self.expected}"
        text = f"{text}; {self.remedy}" if self.remedy else text
        # What stands in a file of others could steer a terminal.
        return "".join(
            each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
        )


class PrefixState(StrEnum):
    """What a prefix is for; the words of NetBox."""

    CONTAINER = "container"
    ACTIVE = "active"
    RESERVED = "reserved"
    DEPRECATED = "deprecated"


class Standing(StrEnum):
    """Why a block is set aside."""

    FIXED = "fixed"  # always for its owner
    RESERVED = "reserved"  # kept free, with or without an owner
    DISABLED = "disabled"  # never to be given out
    DECLINED = "declined"  # somebody else answered on it


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixRecord:
    """A prefix of the tree; parents follow from the addresses."""

    prefix: Block
    vrf: str = ""
    state: PrefixState = PrefixState.ACTIVE
    whole: bool = False  # its lowest and highest address can be used ("is a pool")
    tenant: str = ""
    site: str = ""
    role: str = ""
    description: str = ""
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeRecord:
    """Units of a pool, from the first to the last, both included; `length` is the prefix length of a unit."""

    pool: str
    first: Address
    last: Address
    length: int
    vrf: str = ""
    kind: str = ""  # where the length alone does not say it
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationRecord:
    """A block, or the blocks of the same length from it to `last`, set aside."""

    block: Block
    last: Block
    standing: Standing
    owner: str = ""
    subscriber: str = ""  # the id of the subscriber, where somebody has said it
    pool: str = ""
    vrf: str = ""
    description: str = ""
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRecord:
    """A block that an owner has or had last; `until` is epoch s, in the past for a lease that has run out."""

    block: Block
    owner: str
    until: float | None
    pool: str = ""
    vrf: str = ""
    key: str = ""  # what the book found the owner by, such as FreeRADIUS' pool_key
    circuit: str = ""  # Calling-Station-Id: a MAC or line
    nas: str = ""
    subscriber: str = ""  # the id of the subscriber, where somebody has said it
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """All that the files hold. `notes` says what they say beyond that and is not taken over."""

    prefixes: tuple[PrefixRecord, ...] = ()
    ranges: tuple[RangeRecord, ...] = ()
    reservations: tuple[ReservationRecord, ...] = ()
    leases: tuple[LeaseRecord, ...] = ()
    notes: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was taken over: `problems` in the order found, at most 1,000 of `count`."""

    problems: tuple[Finding, ...]
    count: int
