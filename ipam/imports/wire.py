"""The records of an import as lines of JSON: what a command that has read the files sends to the daemon.

One object a line: first prefixes and the ranges of pools, then reservations, then leases, those that end first before
others. What is empty is left out. A block is an address, a prefix or `first-last`; `file` and `line` say where it
stood, for reports.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from enum import StrEnum
from socket import AF_INET, inet_pton
from typing import Any, Final, NamedTuple

from ipam.address import Malformed, Unit, read_unit, text
from ipam.imports.records import (
    Block,
    Finding,
    Imported,
    LeaseRecord,
    PrefixRecord,
    PrefixState,
    ReservationRecord,
    Standing,
)
from ipam.kinds import BITS, Space


class What(StrEnum):
    """What a line is, in the order in which lines come."""

    NOTE = "note"
    PREFIX = "prefix"
    RANGE = "range"
    RESERVATION = "reservation"
    LEASE = "lease"


ORDER: Final = {what: place for place, what in enumerate(What)}
_KNOWN: Final = frozenset(
    {
        "what",
        "block",
        "length",
        "pool",
        "kind",
        "vrf",
        "state",
        "site",
        "role",
        "description",
        "standing",
        "owner",
        "subscriber",
        "until",
        "circuit",
        "nas",
        "file",
        "line",
        "field",
        "got",
        "expected",
        "remedy",
    }
)
_NUMBERS: Final[dict[str, tuple[type, ...]]] = {"length": (int,), "line": (int,), "until": (int, float)}
_TEXT: Final = (str,)


class Item(NamedTuple):
    """One line, checked for its form: `unit` is the block, `last` the last number of a span of units.

    `until` is epoch s, infinite for what does not end.
    """

    what: What
    unit: Unit
    last: int
    said: dict[str, Any]
    until: float = math.inf

    def get(self, name: str) -> str:
        """Return a text field, empty where it is missing."""
        found: str = self.said.get(name, "")
        return found

    def finding(self, field: str, expected: str, remedy: str = "", got: str | None = None) -> Finding:
        """Return a finding about a field of this line."""
        where: int | None = self.said.get("line")
        said = str(self.said.get(field, "")) if got is None else got
        return Finding(
            file=self.get("file"),
            line=where or None,
            field=field,
            got=said or "nothing",
            expected=expected,
            remedy=remedy,
        )


_NOWHERE = Unit(Space.IPV4, 0, 0)


# --- writing ---------------------------------------------------------------------------------------


def count(imported: Imported) -> int:
    """Return how many lines `lines` yields."""
    parts = (imported.notes, imported.prefixes, imported.ranges, imported.reservations, imported.leases)
    return sum(map(len, parts))


def lines(imported: Imported) -> Iterator[bytes]:
    """Yield the lines of everything, in their order."""
    for note in imported.notes:
        yield _line(What.NOTE, "", note.file, note.line or 0, _of_note(note))
    for prefix in imported.prefixes:
        yield _line(What.PREFIX, str(prefix.prefix), prefix.file, prefix.line, _of_prefix(prefix))
    for part in imported.ranges:
        block = f"{part.first}-{part.last}"
        fields = {"length": part.length, "pool": part.pool, "kind": part.kind, "vrf": part.vrf}
        yield _line(What.RANGE, block, part.file, part.line, fields)
    for kept in imported.reservations:
        block = str(kept.block) if kept.block == kept.last else f"{kept.block}-{kept.last}"
        yield _line(What.RESERVATION, block, kept.file, kept.line, _of_reservation(kept))
    # Oldest first: the daemon gives out again first what was free for the longest time, and keeps an owner's last.
    for lease in sorted(imported.leases, key=_until):
        yield _line(What.LEASE, _single(lease.block), lease.file, lease.line, _of_lease(lease))


def _line(what: What, block: str, file: str, line: int, fields: dict[str, Any]) -> bytes:
    said = {"what": what.value, "block": block, **fields, "file": file, "line": line}
    said = {name: value for name, value in said.items() if value not in ("", None, 0)}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _until(lease: LeaseRecord) -> float:
    return math.inf if lease.until is None else lease.until


def _single(block: Block) -> str:
    return str(block.network_address) if block.prefixlen == block.max_prefixlen else str(block)


def _of_note(note: Finding) -> dict[str, Any]:
    return {"field": note.field, "got": note.got, "expected": note.expected, "remedy": note.remedy}


def _of_prefix(record: PrefixRecord) -> dict[str, Any]:
    names = ("vrf", "site", "role", "description")
    return {"state": record.state.value, **{name: getattr(record, name) for name in names}}


def _of_reservation(record: ReservationRecord) -> dict[str, Any]:
    names = ("owner", "subscriber", "pool", "vrf", "description")
    return {"standing": record.standing.value, **{name: getattr(record, name) for name in names}}


def _of_lease(record: LeaseRecord) -> dict[str, Any]:
    names = ("owner", "subscriber", "pool", "vrf", "circuit", "nas", "until")
    return {name: getattr(record, name) for name in names}


# --- reading ---------------------------------------------------------------------------------------


def read(line: bytes, number: int) -> Item | Finding:
    """Return what a line says, or what is wrong with its form; `number` counts the lines, from 1."""
    try:
        said = json.loads(line)
    except ValueError:
        return _broken(number, "", _shown(line), "one JSON object a line")
    if not isinstance(said, dict):
        return _broken(number, "", _shown(line), "one JSON object a line")
    wrong = _wrong_field(said, number)
    if wrong is not None:
        return wrong
    try:
        what = What(said.get("what", ""))
    except ValueError:
        return _broken(number, "what", str(said.get("what", "nothing")), ", ".join(What))
    return _item(what, said, number)


def _wrong_field(said: dict[str, Any], number: int) -> Finding | None:
    for name, value in said.items():
        if name not in _KNOWN:
            return _broken(number, name, "a field that is not known", ", ".join(sorted(_KNOWN)))
        if not isinstance(value, _NUMBERS.get(name, _TEXT)) or isinstance(value, bool):
            expected = "a number" if name in _NUMBERS else "text"
            return _broken(number, name, repr(value), expected)
    return None


def _item(what: What, said: dict[str, Any], number: int) -> Item | Finding:
    if what is What.NOTE:
        return Item(what, _NOWHERE, 0, said)
    given = said.get("block", "")
    try:
        unit, last = _span(given) if what in (What.RANGE, What.RESERVATION) else (_unit(given), None)
        if what is What.RANGE:
            unit = _first_unit(unit, said.get("length", BITS[unit.space]))
        if what is What.RESERVATION:
            Standing(said.get("standing", ""))
        if what is What.PREFIX:
            PrefixState(said.get("state", PrefixState.ACTIVE))
    except Malformed as error:
        return _broken(number, "block", error.given or "nothing", error.expected)
    except ValueError:
        field, words = (
            ("standing", tuple(Standing)) if what is What.RESERVATION else ("state", tuple(PrefixState))
        )
        return _broken(number, field, str(said.get(field, "nothing")), ", ".join(words))
    until = said.get("until", math.inf)
    return Item(what, unit, unit.last if last is None else last, said, float(until))


def _unit(given: str) -> Unit:
    if "." in given and "/" not in given:  # most lines, in a tenth of the time
        try:
            return Unit(Space.IPV4, int.from_bytes(inet_pton(AF_INET, given), "big"), BITS[Space.IPV4])
        except (OSError, ValueError):
            raise Malformed(given, "an address or a prefix without host bits") from None
    return read_unit(given)


def _span(given: str) -> tuple[Unit, int]:
    first_text, hyphen, last_text = given.partition("-")
    first = read_unit(first_text)
    if not hyphen:
        return first, first.last
    last = read_unit(last_text)
    if (last.space, last.length) != (first.space, first.length) or last.value < first.value:
        raise Malformed(given, "a first block and a last one of the same length, in this order")
    return first, last.last


def _first_unit(unit: Unit, length: int) -> Unit:
    """Return the first unit of a range that is given by its first and last address."""
    if unit.length != BITS[unit.space]:
        length = unit.length if length == BITS[unit.space] else length
    if not 0 < length <= BITS[unit.space] or unit.value & ((1 << (BITS[unit.space] - length)) - 1):
        raise Malformed(text(unit.space, unit.value), f"the first address of a unit of length {length}")
    return Unit(unit.space, unit.value, length)


def _broken(number: int, field: str, got: str, expected: str) -> Finding:
    return Finding(file="the request", line=number, field=field, got=got, expected=expected)


def _shown(line: bytes) -> str:
    found = line.decode("utf-8", "backslashreplace").strip()
    return f"{found[:60]} ..." if len(found) > 60 else found or "an empty line"
