"""What becomes of a pool's definition by a change: functions from one definition to the next, nothing is touched.

Ranges keep the numbers of their slots for ever; a new range is numbered after all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from daemon.replica.pools import PoolSpec, Span, range_space, span_text
from ipam.address import Malformed, read_span
from ipam.definition_rows import DefinedBy, Definition
from ipam.kinds import Kind, PoolState
from ipam.model import Pool, Problem, Range, blocks_per_address, range_of, step

Problems = tuple[Problem, ...]

# What decides which slot is which address: with another value it would be another pool.
LASTING = ("vrf", "kind", "unit_length", "order", "key", "first_port", "last_port")


def part_span(pool: Pool, part: Range) -> Span:
    """Return the first and the last number of a range as it is written: of port blocks outside addresses."""
    if pool.kind is Kind.CGN_BLOCK:
        return part.first, part.first + (part.slots - 1) // blocks_per_address(pool)
    return part.first, part.first + part.slots * step(pool) - 1


def part_text(pool: Pool, part: Range) -> str:
    """Return a range as an operator writes it."""
    return span_text(range_space(pool.kind), *part_span(pool, part))


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans sorted, those that touch made one."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def without(spans: Iterable[Span], gone: Iterable[Span]) -> tuple[Span, ...]:
    """Return what is left of spans without others, merged."""
    left: list[Span] = []
    out = merged(gone)
    for first, last in merged(spans):
        begin = first
        for out_first, out_last in out:
            if out_last < begin or last < out_first:
                continue
            if begin < out_first:
                left.append((begin, out_first - 1))
            begin = out_last + 1
        if begin <= last:
            left.append((begin, last))
    return tuple(left)


def touched(pool: Pool, spans: Iterable[Span]) -> Iterator[Range]:
    """Yield the ranges of a pool that share a number with some spans."""
    some = list(spans)
    for part in pool.ranges:
        if not _is_outside(part_span(pool, part), some):
            yield part


def grown(definition: Definition, ranges: Sequence[str]) -> Definition:
    """Add ranges, given as text. Raises Malformed."""
    pool, next_slot = definition.pool, definition.pool.next_slot
    bare, made = replace(pool, ranges=()), list(pool.ranges)
    for given in ranges:
        part = replace(range_of(given, bare), first_slot=next_slot)
        made.append(part)
        next_slot += part.slots
    return replace(definition, pool=replace(pool, ranges=tuple(made)))


def find_parts(pool: Pool, ranges: Sequence[str]) -> list[Range] | Problems:
    """Return the ranges that are written so. Raises Malformed."""
    space = range_space(pool.kind)
    by_span = {part_span(pool, part): part for part in pool.ranges}
    found: list[Range] = []
    for given in ranges:
        part = by_span.get(read_span(space, given)) or _first_units(pool, by_span, given)
        if part is None:
            there = ", ".join(part_text(pool, each) for each in pool.ranges) or "none"
            return problem(
                "range-unknown",
                (pool.name, given),
                f"pool {pool.name} has no range {given}; its ranges are {there}. "
                f"A part of a range can be taken out with `pool exclude`",
            )
        found.append(part)
    return found


def _first_units(pool: Pool, by_span: dict[Span, Range], given: str) -> Range | None:
    """Return the range that a larger one has become, of which only the first units are leased."""
    with suppress(Malformed):
        return by_span.get(part_span(pool, range_of(given, replace(pool, ranges=()))))
    return None


def drained(definition: Definition, parts: Iterable[Range], *, draining: bool = True) -> Definition:
    """Let no lease begin in some ranges, or let them begin again."""
    slots = {part.first_slot for part in parts}
    ranges = tuple(
        replace(each, draining=draining) if each.first_slot in slots else each
        for each in definition.pool.ranges
    )
    leaving = definition.leaving if draining else definition.leaving - slots
    return replace(definition, pool=replace(definition.pool, ranges=ranges), leaving=leaving)


def left(definition: Definition, parts: Sequence[Range]) -> Definition:
    """Let some ranges drain, and go when nothing of them is used any more."""
    leaving = definition.leaving | {part.first_slot for part in parts}
    return replace(drained(definition, parts), leaving=leaving)


def shorn(definition: Definition, gone: Iterable[int]) -> Definition:
    """Take ranges away, named by their first slots."""
    slots = frozenset(gone)
    ranges = tuple(each for each in definition.pool.ranges if each.first_slot not in slots)
    return replace(
        definition, pool=replace(definition.pool, ranges=ranges), leaving=definition.leaving - slots
    )


def in_state(definition: Definition, state: PoolState) -> Definition:
    """Let a whole pool drain, be disabled or be active again."""
    return replace(definition, pool=replace(definition.pool, state=state))


def excluded(definition: Definition, spans: Iterable[Span]) -> Definition:
    """Exclude more numbers."""
    exclusions = merged((*definition.pool.exclusions, *spans))
    return replace(definition, pool=replace(definition.pool, exclusions=exclusions))


def included(definition: Definition, spans: Iterable[Span]) -> Definition:
    """Let numbers be given out again that were excluded."""
    exclusions = without(definition.pool.exclusions, spans)
    return replace(definition, pool=replace(definition.pool, exclusions=exclusions))


def conformed(definition: Definition, spec: PoolSpec) -> Definition:
    """Bring the platform's pool to what the platform wants now, with the slots that it has.

    A range of which a part is gone stays, with that part excluded; one that is gone as a whole drains and leaves.
    Raises Malformed.
    """
    pool, wants = definition.pool, spec.pool
    space = range_space(pool.kind)
    spans = [part_span(pool, part) for part in spec.parts()]
    gone = [part for part in pool.ranges if _is_outside(part_span(pool, part), spans)]
    kept = [part for part in pool.ranges if part not in gone]
    beyond = without((part_span(pool, part) for part in kept), spans)
    lasting = {name: getattr(pool, name) for name in LASTING}
    settled = replace(wants, ranges=pool.ranges, exclusions=merged((*wants.exclusions, *beyond)), **lasting)
    next_one = drained(replace(definition, pool=settled), kept, draining=False)
    next_one = left(next_one, gone)
    known = {part_span(pool, part) for part in pool.ranges}
    unknown = [span for span in spans if span not in known]
    return grown(next_one, [span_text(space, *each) for span in unknown for each in without([span], known)])


def _is_outside(span: Span, spans: Iterable[Span]) -> bool:
    return all(last < span[0] or span[1] < first for first, last in spans)


def of_platform(spec: PoolSpec, key: bytes) -> Definition:
    """Return a new pool of the platform; `key` is for a shuffled order."""
    return Definition(pool=replace(spec.pool, ranges=spec.parts(), key=key), by=DefinedBy.PLATFORM)


def problem(slug: str, names: tuple[str, ...], text: str) -> Problems:
    """Return one problem, as the value of an operation that was refused."""
    return (Problem(slug=slug, names=names, text=text),)
