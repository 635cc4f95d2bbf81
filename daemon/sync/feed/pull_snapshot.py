"""Reading a snapshot page by page into a staging, from where it was left."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from daemon.clock import Clock
from daemon.sync.feed.link import Answering, Link, LinkFailed
from daemon.sync.feed.model import Applied, LineFeed, Lines, LineStaging, Refused, SnapshotUnreadable
from daemon.sync.feed.pull_progress import Progress
from daemon.sync.feed.wire import MOST_OCTETS, PageEnd, PageHead, read_page_head, read_page_line
from daemon.sync.feed.wire_answers import Welcome
from daemon.sync.feed.wire_json import Malformed
from daemon.sync.feed.wire_lines import count_of, whole_lines

_ADDED_OCTETS = 131_072  # handed on at a time
_FIRST = 2  # the line behind the head
_TRAILER = b'"trailer"'  # what its line has in it; so may a few others


class _Page(NamedTuple):
    """What came of one page: the cursor of the next, or the end."""

    next: str
    end: PageEnd | None
    items: int


@dataclass(frozen=True, slots=True)
class Again:
    """The snapshot has to be begun anew: the platform knows its cursor no more, or its epoch has changed.

    `asked`: nothing is wrong, an operator wants it so.
    """

    why: str
    asked: bool = False


class _Taken:
    """What has come of a page behind its head; `count` are items, `octets` what was not handed on yet."""

    def __init__(self) -> None:
        self.end: PageEnd | None = None
        self.count = 0
        self.octets = 0
        self._parts: list[bytes] = []
        self._first = _FIRST

    def take(self, block: bytes, start_rev: int) -> None:
        """Take whole lines. Raises LinkFailed where something comes behind the trailer."""
        if not block:
            return
        if self.end is not None:
            raise LinkFailed("a page of the snapshot goes on behind the trailer")
        if _TRAILER in block:
            block = self._without_trailer(block, start_rev)
        self.count += count_of(block)
        self.octets += len(block)
        self._parts.append(block)

    def _without_trailer(self, block: bytes, start_rev: int) -> bytes:
        lines = whole_lines(block)
        for place, line in enumerate(lines):
            if _TRAILER not in line:
                continue
            found = read_page_line(line, self.count + _FIRST + place, start_rev)
            if isinstance(found, Malformed):
                raise LinkFailed(f"the snapshot cannot be read: {found}")
            if isinstance(found, PageEnd):
                self.end = found
                if place + 1 < len(lines):
                    raise LinkFailed("a page of the snapshot goes on behind the trailer")
                return b"".join(each + b"\n" for each in lines[:place])
        return block

    def lines(self, start_rev: int) -> Lines:
        """Return what was not handed on yet, and forget it."""
        lines = Lines(b"".join(self._parts), self._first, start_rev)
        self._parts, self.octets, self._first = [], 0, self.count + _FIRST
        return lines


class SnapshotReader:
    """Reads the snapshot of one feed over one link."""

    def __init__(self, link: Link, feed: LineFeed, path: str, clock: Clock, progress: Progress) -> None:
        self._link = link
        self._feed = feed
        self._path = path
        self._clock = clock
        self._progress = progress

    async def read(self, welcome: Welcome, stop: Callable[[], bool]) -> Applied | Refused | Again:
        """Return what came of it. Raises LinkFailed, StoreUnavailable, Superseded; then it can be gone on with."""
        try:
            return await self._read(welcome, stop)
        except SnapshotUnreadable as error:
            raise LinkFailed(f"the snapshot cannot be read: {error}") from None

    async def _read(self, welcome: Welcome, stop: Callable[[], bool]) -> Applied | Refused | Again:
        # The head of the hello is not after the first page, so that nothing is lost by reading changes from there.
        staging = await self._feed.snapshot(welcome.epoch, welcome.head)
        cursor = staging.resume_at
        self._progress.snapshot_begins(resumed=bool(cursor))
        while not stop():
            page = await self._page(staging, cursor, welcome.epoch)
            if isinstance(page, Again):
                await staging.drop()
                return page
            self._progress.page(page.items)
            if page.end is not None:
                return await self._finish(staging, page.end, welcome.epoch)
            if page.next == cursor:
                raise LinkFailed("a page of the snapshot names itself as the next one")
            cursor = page.next
        await staging.drop()
        return Again("an operator wants it", asked=True)

    async def _page(self, staging: LineStaging, cursor: str, epoch: str) -> _Page | Again:
        params = {"cursor": cursor} if cursor else {}
        async with self._link.answering(
            "GET", self._path, params=params, most=MOST_OCTETS, accept="application/x-ndjson"
        ) as answering:
            if answering.status != 200:
                return Again(f"the platform does not go on with it ({answering.status})")
            return await self._blocks(answering, staging, cursor, epoch)

    async def _blocks(
        self, answering: Answering, staging: LineStaging, cursor: str, epoch: str
    ) -> _Page | Again:
        """Hand on a page as it comes; only its head and the trailer are read here."""
        head: PageHead | None = None
        taken = _Taken()
        async with aclosing(answering.blocks()) as blocks:
            async for each in blocks:
                block = each
                if head is None:
                    first, _, block = block.partition(b"\n")
                    head = _head(first)
                    if head.epoch != epoch:
                        return Again("the platform has another epoch meanwhile")
                taken.take(block, head.start_rev)
                if taken.octets >= _ADDED_OCTETS:
                    # The page is not whole: it will be asked for again.
                    await staging.add_lines(taken.lines(head.start_rev), cursor)
                await self._clock.sleep(0)
        if head is None:
            raise LinkFailed("a page of the snapshot is empty")
        _see_whole(head, taken.end, taken.count)
        await staging.add_lines(taken.lines(head.start_rev), head.next or cursor)
        return _Page(head.next, taken.end, taken.count)

    async def _finish(self, staging: LineStaging, end: PageEnd, epoch: str) -> Applied | Refused:
        trailer = end.trailer
        if trailer.feed not in (None, self._feed.name) or trailer.epoch not in (None, epoch):
            await staging.drop()
            raise LinkFailed("the trailer of the snapshot is of another feed or epoch")
        done = await staging.finish(trailer)
        if isinstance(done, Refused):
            self._progress.refused(done)
        else:
            self._progress.snapshot_served()
        return done


def _see_whole(head: PageHead, end: PageEnd | None, count: int) -> None:
    """Refuse a page that was cut. Where its head tells no count, the trailer finds it out."""
    if head.items is not None and head.items != count:
        raise LinkFailed(f"a page of the snapshot has {count} items, and says that it has {head.items}")
    if not head.next and end is None:
        raise LinkFailed("the last page of the snapshot has no trailer")
    if head.next and end is not None:
        raise LinkFailed("a page of the snapshot has a trailer, and names a page behind it")


def _head(line: bytes) -> PageHead:
    head = read_page_head(line)
    if isinstance(head, Malformed):
        raise LinkFailed(f"the snapshot cannot be read: {head}")
    return head
