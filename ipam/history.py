"""The history of leases: one event for each change of state, each with the hash of the one before.

An event is evidence: its hash is SHA-256 over the hash before it and the line of its fields (`canonical`), so that
none can be altered, left out or put in between without the chain showing it. `seq` counts from 1 without gaps for each
book; the order of events of one address is that of `seq`, whatever the clock did. Events of different addresses may
have been written in another order than they were made in.

The line is UTF-8: book, seq and the fields of `Change` in their order, with a tab between each two. Whole numbers are
decimal, `at` is the shortest decimal that reads back as the same double, with a point in it. Inside a field a
backslash is written `\\\\`, a tab `\\t`, a line feed `\\n`; so a line can be read back in one way only. No line feed
ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final, NamedTuple, cast

GENESIS: Final = bytes(32)
"""The hash before the first event."""


class Party(NamedTuple):
    """Who and where, as far as it is known; empty where it is not. `nas` is a name, `mac` as it was reported."""

    subscriber: str = ""
    nas: str = ""
    circuit: str = ""
    mac: str = ""


NOBODY: Final = Party()


class Change(NamedTuple):
    """One change of the state of one slot, before it has its place in the chain. `at` is epoch seconds.

    What is a closed set in `ipam.kinds` is plain text here, because it goes to the hash and the database as such.
    """

    at: float
    boot: int
    clock_quality: str
    tenant: str
    vrf: str
    pool: str
    kind: str
    address: str  # canonical text: an address, first address of a prefix, VLAN id, `address:first port`
    length: int  # prefix length; of a port block how many ports
    lease_id: int  # 0 where there is no lease: reservations, disabled slots
    owner: str
    subscriber: str
    session: str
    nas: str
    circuit: str
    mac: str
    old: str
    new: str
    cause: str
    seen: str  # of a conflict: who was seen there
    slot: int
    fence: int  # generation of the block at that time; 0 where the pool is not divided


class HistoryEvent(NamedTuple):
    """A change in its place. `book` is whose chain it is of: the node's name."""

    book: str
    seq: int
    change: Change
    prev_hash: bytes
    hash: bytes


# Half the time of calling the class, and there is one of each for every change of a lease.
new_party: Final = cast("Callable[[type[Party], tuple[str, ...]], Party]", tuple.__new__)
new_change: Final = cast("Callable[[type[Change], tuple[Any, ...]], Change]", tuple.__new__)
_new_event: Final = cast("Callable[[type[HistoryEvent], tuple[Any, ...]], HistoryEvent]", tuple.__new__)

_TABS: Final = len(Change._fields) + 1
_LINE: Final = "%s" + "\t%s" * _TABS


def canonical(book: str, seq: int, change: Change) -> bytes:
    """Return the octets that are hashed after the previous hash: see above."""
    line = _LINE % ((book, seq) + change)  # noqa: RUF005 - unpacking takes twice the time
    if "\\" in line or "\n" in line or line.count("\t") != _TABS:
        line = "\t".join(map(_escaped, (book, seq, *change)))
    return line.encode()


def _escaped(field: object) -> str:
    return str(field).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


class Chain:
    """Where the chain of one book ends."""

    __slots__ = ("book", "hash", "seq")

    def __init__(self, book: str, seq: int = 0, last_hash: bytes = GENESIS) -> None:
        self.book = book
        self.seq = seq
        self.hash = last_hash

    def append(self, change: Change) -> HistoryEvent:
        """Return the event that a change becomes; the chain ends with it now."""
        return self.extend((change,))[0]

    def extend(self, changes: Iterable[Change]) -> tuple[HistoryEvent, ...]:
        """Return the events that changes become, in their order; the chain ends with the last of them now."""
        book, seq, before = self.book, self.seq, self.hash
        events: list[HistoryEvent] = []
        for change in changes:
            seq += 1
            own = sha256(before + canonical(book, seq, change)).digest()
            events.append(_new_event(HistoryEvent, (book, seq, change, before, own)))
            before = own
        self.seq, self.hash = seq, before
        return tuple(events)


def broken(events: Iterable[HistoryEvent], before: Chain) -> int | None:
    """Return the `seq` of the first event that does not follow, None where all do.

    `before` is where the chain ended before the first event given; it is moved on.
    """
    for event in events:
        expected = before.append(event.change)
        if (event.book, event.seq, event.hash) != (expected.book, expected.seq, expected.hash):
            return event.seq
        if event.prev_hash != expected.prev_hash:
            return event.seq
    return None


def clean(text: str) -> str:
    """Return text that every database keeps as it is: what is not printable is written as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else f"\\u{{{ord(each):x}}}" for each in text)


def clean_party(party: Party) -> Party:
    """Return a party whose texts are clean."""
    subscriber, nas, circuit, mac = party
    return party if f"{subscriber}{nas}{circuit}{mac}".isprintable() else Party(*map(clean, party))
