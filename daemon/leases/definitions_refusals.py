"""Why something is not done to a pool, as sentences."""

from __future__ import annotations

from collections.abc import Sequence

from daemon.leases import definitions_edits as edits
from daemon.leases.definitions_check import not_yours
from daemon.leases.definitions_edits import Problems, problem
from daemon.replica.pools import Span, range_space, span_text
from ipam.definition_rows import Definition
from ipam.kinds import PoolState
from ipam.model import Pool


def exists(wanted: Definition, known: Definition | None) -> Problems:
    """Return that a name is taken; nothing where it is not."""
    pool = wanted.pool
    if known is None:
        return ()
    if known.by is not wanted.by:
        return not_yours(known)
    text = f"tenant {pool.tenant} has a pool {pool.name} already; `pool resize` adds ranges to it"
    return problem("pool-exists", (pool.name,), text)


def still_draining(known: Definition) -> Problems:
    """Return that only ranges of a pool drain, and which."""
    pool = known.pool
    parts = [edits.part_text(pool, each) for each in pool.ranges if each.draining]
    if pool.state is not PoolState.ACTIVE or not parts:
        return ()
    options = " ".join(f"--range {each}" for each in parts)
    text = f"pool {pool.name} is active, only ranges of it drain: `pool undrain {pool.name} {options}`"
    return problem("pool-not-draining", (pool.name, *parts), text)


def outside(pool: Pool, spans: Sequence[Span]) -> Problems:
    """Return what of some spans is in no range of a pool."""
    beyond = edits.without(spans, [edits.part_span(pool, each) for each in pool.ranges])
    if not beyond:
        return ()
    shown = ", ".join(span_text(range_space(pool.kind), *each) for each in beyond)
    ranges = ", ".join(edits.part_text(pool, each) for each in pool.ranges) or "none"
    text = f"{shown} is not in pool {pool.name}; its ranges are {ranges}"
    return problem("exclusion-outside", (pool.name, shown), text)


def named(pool: Pool, by: Sequence[str]) -> Problems:
    """Return that others name a pool that was to go."""
    text = (
        f"pool {pool.name} is named by {', '.join(by)}: logins would be refused without it; "
        f"change these first, then delete it"
    )
    return problem("pool-named", (pool.name, *by), text)


def busy(pool: Pool) -> Problems:
    """Return that something of a pool is in use."""
    text = (
        f"pool {pool.name} is in use: addresses of it are leased, held or wait after a lease; "
        f"`pool drain {pool.name} --disconnect` empties it, then delete it"
    )
    return problem("pool-busy", (pool.name,), text)
