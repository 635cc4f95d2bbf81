"""What to do with a batch, from its coverage alone: the rule that keeps a replica equal to its platform.

Revisions that concern us have holes, so that a loss shows only where a batch begins after our position.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from daemon.sync.feed.model import Batch, Item, Position


class Verdict(StrEnum):
    """What becomes of a batch."""

    APPLY = "apply"
    DUPLICATE = "duplicate"  # all of it is there already
    GAP = "gap"
    EPOCH = "epoch"


def judge(position: Position | None, batch: Batch) -> Verdict:
    """Return what becomes of a batch where the feed is at `position`."""
    if position is None or batch.epoch != position.epoch:
        return Verdict.EPOCH
    if batch.to <= position.rev:
        return Verdict.DUPLICATE
    if batch.after > position.rev:
        return Verdict.GAP
    return Verdict.APPLY


def news(position: Position, items: Iterable[Item]) -> list[Item]:
    """Return the items that are newer than `position`, of each object the newest, in the order of revisions."""
    newest: dict[tuple[str, str], Item] = {}
    for item in items:
        if item.rev > position.rev:
            had = newest.get((item.kind, item.id))
            if had is None or had.rev <= item.rev:
                newest[item.kind, item.id] = item
    return sorted(newest.values(), key=lambda item: item.rev)
