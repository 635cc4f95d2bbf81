"""How FreeRADIUS puts rows together: which blocks apply, and what each operator does to what is there already.

The operators act on what was in the list before the block; rows of one block do not see each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from daemon.sync.freeradius.items import FALL_THROUGH, Block, Operator, Row

_APPENDS = frozenset({Operator.EQUALS, Operator.SET, Operator.AT_MOST, Operator.AT_LEAST})
_COMPARES = frozenset({Operator.SUBTRACT, Operator.IS, Operator.AT_MOST, Operator.AT_LEAST})
_DIGITS = 4_000  # longer texts are no numbers to Python


@dataclass(slots=True)
class Merged:
    """What a login ends up with: control items, reply items, and the labels of the shared blocks that applied."""

    control: list[Row] = field(default_factory=list)
    reply: list[Row] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


@lru_cache(4096)
def name_of(attribute: str) -> str:
    """Return what says whether two rows are of one attribute: the name without tag, in lower case."""
    return attribute.partition(":")[0].lower()


def move(target: list[Row], rows: Iterable[Row]) -> list[Row]:
    """Return `target` after `rows` of one block were moved into it."""
    there: list[Row | None] = list(target)
    edited = [False] * len(there)
    added = [
        each
        for each in rows
        if each.op is Operator.ADD or (_absent(there, edited, each) and each.op in _APPENDS)
    ]
    return [each for each in there if each is not None] + added


def _absent(there: list[Row | None], edited: list[bool], new: Row) -> bool:
    """Let one row act on what is there; tell whether it is still to be appended."""
    name = name_of(new.attribute)
    for j, old in enumerate(there):
        if old is None or edited[j] or name_of(old.attribute) != name:
            continue
        if new.op is Operator.SET:
            there[j], edited[j] = new, True
            return False
        if new.op is Operator.EQUALS:
            return False
        if new.op is Operator.EXISTS_NOT:
            there[j] = None
        elif new.op in _COMPARES:
            order = compare(old.value, new.value)
            if (new.op is Operator.SUBTRACT and order == 0) or (new.op is Operator.IS and order != 0):
                there[j] = None
            elif (new.op is Operator.AT_MOST and order > 0) or (new.op is Operator.AT_LEAST and order < 0):
                there[j], edited[j] = new, True
                return False
    return True


def compare(one: str, other: str) -> int:
    """Return -1, 0 or 1 as `one` is less, equal or more; whole numbers by their value."""
    if one.isdecimal() and other.isdecimal() and max(len(one), len(other)) <= _DIGITS:
        return (int(one) > int(other)) - (int(one) < int(other))
    return (one > other) - (one < other)


def fall_through(rows: Sequence[Row]) -> bool | None:
    """Return what the replies of a block say about the blocks after it; None: nothing."""
    for each in rows:
        if name_of(each.attribute) == FALL_THROUGH.lower():
            return each.value.strip().lower() in ("yes", "1")
    return None


def walk(blocks: Sequence[Block], holds: Callable[[Block], bool], *, shared_only: bool = False) -> Merged:
    """Return what comes of the blocks whose checks hold, in order, as far as Fall-Through lets it come.

    With `shared_only` the blocks of the user itself decide how far, and give nothing.
    """
    merged = Merged()
    for each in blocks:
        if not holds(each):
            continue
        if each.shared or not shared_only:
            merged.control = move(merged.control, each.checks)
            merged.reply = move(
                merged.reply, [row for row in each.replies if name_of(row.attribute) != FALL_THROUGH.lower()]
            )
        if each.shared:
            merged.labels.append(each.label)
        goes_on = fall_through(each.replies)
        if not (each.goes_on if goes_on is None else goes_on):
            break
    return merged
