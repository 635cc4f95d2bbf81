"""Deadlines of bundles by the second: each is put down once, and looked at again when its second has come.

A deadline that was moved meanwhile costs nothing until then: the bundle is put down anew for its later second.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Wheel(Generic[Item]):
    """Items by the second in which they are due; seconds are monotonic."""

    __slots__ = ("_by_second", "_seconds")

    def __init__(self) -> None:
        self._by_second: dict[int, list[Item]] = {}
        self._seconds: list[int] = []  # a heap of the keys

    def put(self, item: Item, due: float) -> None:
        """Let `due` yield the item at that time, or up to a second later."""
        second = int(due)
        if second < due:
            second += 1
        items = self._by_second.get(second)
        if items is None:
            self._by_second[second] = [item]
            heapq.heappush(self._seconds, second)
        else:
            items.append(item)

    def due(self, now: float, most: int) -> Iterator[Item]:
        """Yield up to `most` items whose second has come; they are in the wheel no more."""
        while most > 0 and self._seconds and self._seconds[0] <= now:
            items = self._by_second[self._seconds[0]]
            while items and most > 0:
                most -= 1
                yield items.pop()
            if not items:
                del self._by_second[heapq.heappop(self._seconds)]
