"""The brake on mass deletion: how much may go before somebody has to say that it is meant."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

WINDOW_S = 3600.0
_OFF = 100.0
_SEVERAL = {"subscriber": 10, "staff": 10, "selector": 10}
_SEVERAL_OTHERS = 2  # NASes, plans, pools: few, and everybody depends on them


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeOptions:
    """Most that may go of one kind, the larger of both: with a snapshot at once, with batches in an hour."""

    percent: float = 5.0
    objects: int = 100

    def most(self, kind: str, of: int) -> int:
        """Return how many of `of` objects of a kind may go. Where there are several, never more than half of them.

        With 100 percent nothing is held.
        """
        if self.percent >= _OFF:
            return sys.maxsize
        half = of // 2 if of >= _SEVERAL.get(kind, _SEVERAL_OTHERS) else of
        return max(min(self.objects, half), int(of * self.percent / 100))


@dataclass(frozen=True, slots=True)
class Window:
    """What has gone of each kind since `since`, epoch seconds, and how many there were then."""

    since: float = 0.0
    losses: Mapping[str, int] | None = None
    of: Mapping[str, int] | None = None

    def at(self, at: float, counts: Mapping[str, int]) -> Window:
        """Return this window, or a new one where it is over; `counts` are the objects that are there now."""
        if self.of is not None and self.since <= at < self.since + WINDOW_S:
            return self
        return Window(at, {}, dict(counts))

    def beside(self, counts: Mapping[str, int]) -> Window:
        """Return the window as of the larger of what there was and `counts`: what has come meanwhile counts, too."""
        of = dict(self.of or {})
        return replace(
            self, of={kind: max(of.get(kind, 0), counts.get(kind, 0)) for kind in {**of, **counts}}
        )

    def more(self, losses: Mapping[str, int]) -> Window:
        """Return the window with these losses added."""
        had = dict(self.losses or {})
        for kind, count in losses.items():
            had[kind] = had.get(kind, 0) + count
        return replace(self, losses=had)

    def too_much(self, options: BrakeOptions, kinds: Mapping[str, int]) -> tuple[str, int, int] | None:
        """Return a kind of `kinds` of which too much has gone, its losses and of how many; None where none has."""
        losses = self.losses or {}
        of = self.of or {}
        for kind in kinds:
            if kinds[kind] and losses.get(kind, 0) > options.most(kind, of.get(kind, 0)):
                return kind, losses[kind], of.get(kind, 0)
        return None


NO_WINDOW = Window()
"""Nothing was counted yet."""

USUAL = BrakeOptions()
"""What is not said otherwise."""
