"""Lists that may be long: walked in slices, so that a list of everything delays no login."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from daemon.api.models import Page

Source = TypeVar("Source")
Item = TypeVar("Item")
_SLICE = 2000


async def sliced(source: Iterable[Source]) -> AsyncIterator[Source]:
    """Yield what `source` yields, letting requests in between; `source` must be a snapshot."""
    for i, each in enumerate(source):
        yield each
        if i % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)


async def page(
    source: Iterable[Source],
    matches: Callable[[Source], bool],
    view: Callable[[Source], Item],
    *,
    limit: int,
    offset: int,
) -> Page[Item]:
    """Return the page of those that match; `source` must be a snapshot that does not change meanwhile."""
    items: list[Item] = []
    count = 0
    async for each in sliced(source):
        if matches(each):
            if offset <= count < offset + limit:
                items.append(view(each))
            count += 1
    return Page(items=items, count=count, limit=limit, offset=offset)
