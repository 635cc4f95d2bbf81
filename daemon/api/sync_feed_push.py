"""The routes by which a platform pushes a feed: batches, snapshots page by page, the objects of one bucket.

All of them may be repeated: a batch is known by what it covers, a snapshot by its epoch and start, a page by its
objects. So a platform that did not hear the answer sends the same once more.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from daemon.api.security.guard import Reach, scope, tenant_of
from daemon.api.sync_feed_models import (
    AppliedView,
    FeedDesk,
    PageView,
    SnapshotBegin,
    SnapshotView,
    SyncFeeds,
    applied_view,
)
from daemon.api.sync_feed_refusals import malformed, refused
from daemon.clock import Clock
from daemon.sync.feed.model import Applied, Batch, Item, Refusal, Refused, Staging, Superseded, Trailer
from daemon.sync.feed.wire import MOST_ITEMS, PageEnd, read_page_line, read_trailer, reading_batch
from daemon.sync.feed.wire_answers import read_bucket
from daemon.sync.feed.wire_json import Malformed

_WRITE = [scope("sync:write", Reach.OWN)]
_READ_LINES = 20  # before others have a turn
_MOST_DONE = 16


def _body(media_type: str, text: str) -> dict[str, Any]:
    schema = {"type": "string"} if "ndjson" in media_type else {"type": "object"}
    content = {media_type: {"schema": schema}}
    return {"requestBody": {"required": True, "description": text, "content": content}}


@dataclass(slots=True)
class _Pushed:
    """A snapshot that a platform is pushing."""

    name: str
    staging: Staging
    start_rev: int


class _Pushes:
    """What is under way, by feed. One thing at a time is done to a feed."""

    def __init__(self, feeds: SyncFeeds) -> None:
        self._feeds = feeds
        self.under_way: dict[str, _Pushed] = {}
        self.done: dict[str, Applied] = {}  # of the latest snapshots, for who did not hear
        self._locks: dict[str, asyncio.Lock] = {}

    def desk(self, request: Request, feed: str) -> FeedDesk:
        """Return a feed that the asker may push. Raises HTTPException 404, 409."""
        desk = self._feeds.desks.get(feed)
        if desk is None or tenant_of(request) not in (None, desk.feed.tenant):
            raise HTTPException(404, f"no feed has the name {feed}; `sync status` lists them")
        if desk.source is not None:
            raise HTTPException(
                409, f"feed {feed} is brought by {desk.source.name}: it cannot be pushed as well"
            )
        return desk

    def lock(self, feed: str) -> asyncio.Lock:
        """Return what keeps two requests about a feed apart."""
        return self._locks.setdefault(feed, asyncio.Lock())

    def pushed(self, feed: str, name: str) -> _Pushed:
        """Return the snapshot under way. Raises HTTPException 404."""
        found = self.under_way.get(feed)
        if found is None or found.name != name:
            text = f"feed {feed} has no snapshot {name} under way; begin it again, it goes on where it was"
            raise HTTPException(404, text)
        return found

    def end(self, feed: str, name: str, done: Applied | Refused) -> None:
        """Note what came of a snapshot."""
        self.under_way.pop(feed, None)
        if isinstance(done, Applied):
            self.done[name] = done
            while len(self.done) > _MOST_DONE:
                self.done.pop(next(iter(self.done)))


def add_push(router: APIRouter, feeds: SyncFeeds) -> None:
    """Add `batches`, `snapshots` and `buckets` under `/sync/feeds/{feed}`."""
    pushes = _Pushes(feeds)
    _add_batches(router, feeds, pushes)
    _add_begin(router, feeds, pushes)
    _add_pages(router, feeds.clock, pushes)
    _add_finish(router, feeds, pushes)
    _add_buckets(router, feeds, pushes)


def _add_batches(router: APIRouter, feeds: SyncFeeds, pushes: _Pushes) -> None:
    @router.post(
        "/sync/feeds/{feed:path}/batches",
        dependencies=_WRITE,
        response_model=AppliedView,
        openapi_extra=_body("application/json", "one batch: feed, epoch, from, to, head, items"),
    )
    async def push_batch(request: Request, feed: str) -> AppliedView | Response:
        desk = pushes.desk(request, feed)
        asked_at = feeds.clock.wall()
        batch = await _read_batch(await request.body(), feeds.clock)
        if isinstance(batch, Malformed):
            return malformed(request, batch)
        if batch.feed != feed:
            text = f"the batch is of feed {batch.feed[:100]}; this is {feed}"
            return refused(request, Refused(Refusal.FEED, text, desk.feed.position))
        async with pushes.lock(feed):
            done = await desk.feed.apply(batch)
            if isinstance(done, Applied) or done.why is Refusal.BRAKE:
                await desk.feed.contact(batch.head, batch.server_time, asked_at, feeds.clock.wall())
        if isinstance(done, Refused):
            return refused(request, done)
        return applied_view(done, wants_snapshot=feed in feeds.wanted)


async def _read_batch(octets: bytes, clock: Clock) -> Batch | Malformed:
    reading = reading_batch(octets)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found: Batch | Malformed = end.value
            return found
        await clock.sleep(0)


def _add_begin(router: APIRouter, feeds: SyncFeeds, pushes: _Pushes) -> None:
    @router.post("/sync/feeds/{feed:path}/snapshots", dependencies=_WRITE, status_code=201)
    async def begin_snapshot(request: Request, feed: str, begin: SnapshotBegin) -> SnapshotView:
        desk = pushes.desk(request, feed)
        name = _name(feed, begin)
        async with pushes.lock(feed):
            known = pushes.under_way.get(feed)
            if known is None or known.name != name or _is_over(known.staging):
                staging = await desk.feed.snapshot(begin.epoch, begin.start_rev)
                known = pushes.under_way[feed] = _Pushed(name, staging, begin.start_rev)
            pushes.done.pop(name, None)
            feeds.wanted.discard(feed)
        return SnapshotView(
            snapshot=name,
            epoch=begin.epoch,
            start_rev=known.staging.start_rev,
            resume_at=known.staging.resume_at,
        )


def _is_over(staging: Staging) -> bool:
    """Tell whether another snapshot has begun meanwhile."""
    try:
        _ = staging.resume_at
    except Superseded:
        return True
    return False


def _name(feed: str, begin: SnapshotBegin) -> str:
    return hashlib.sha256(f"{feed}\n{begin.epoch}\n{begin.start_rev}".encode()).hexdigest()[:24]


def _add_pages(router: APIRouter, clock: Clock, pushes: _Pushes) -> None:
    @router.post(
        "/sync/feeds/{feed:path}/snapshots/{snapshot}/pages",
        dependencies=_WRITE,
        response_model=PageView,
        openapi_extra=_body("application/x-ndjson", f"up to {MOST_ITEMS} items, one a line"),
    )
    async def push_page(
        request: Request,
        feed: str,
        snapshot: str,
        cursor: Annotated[
            str, Query(max_length=500, description="where to go on behind this page, in the platform's words")
        ],
    ) -> PageView | Response:
        pushes.desk(request, feed)
        octets = await request.body()
        async with pushes.lock(feed):
            pushed = pushes.pushed(feed, snapshot)
            items = await _read_page(octets, pushed.start_rev, clock.sleep)
            if isinstance(items, Malformed):
                return malformed(request, items)
            try:
                await pushed.staging.add(items, cursor)
                return PageView(items=len(items), resume_at=pushed.staging.resume_at)
            except Superseded as error:
                pushes.under_way.pop(feed, None)
                raise HTTPException(409, f"{error}; begin it again") from None


async def _read_page(octets: bytes, start_rev: int, sleep: Callable[[float], Any]) -> list[Item] | Malformed:
    items: list[Item] = []
    for number, line in enumerate(octets.split(b"\n"), 1):
        if not line.strip():
            continue
        found = read_page_line(line, number, start_rev)
        if isinstance(found, Malformed):
            return found
        if isinstance(found, PageEnd) or len(items) == MOST_ITEMS:
            return Malformed(f"line {number}", "a trailer, or one item too many", f"up to {MOST_ITEMS} items")
        items.append(found)
        if number % _READ_LINES == 0:
            await sleep(0)
    return items


def _add_finish(router: APIRouter, feeds: SyncFeeds, pushes: _Pushes) -> None:
    @router.post(
        "/sync/feeds/{feed:path}/snapshots/{snapshot}/finish",
        dependencies=_WRITE,
        response_model=AppliedView,
        openapi_extra=_body("application/json", "the trailer: counts by kind, digests of the 256 buckets"),
    )
    async def finish_snapshot(request: Request, feed: str, snapshot: str) -> AppliedView | Response:
        desk = pushes.desk(request, feed)
        end = read_trailer(await request.body())
        if isinstance(end, Malformed):
            return malformed(request, end)
        async with pushes.lock(feed):
            done: Applied | Refused | None = pushes.done.get(snapshot)
            if done is None:
                done = await _finish(pushes, feed, snapshot, end.trailer)
                at = feeds.clock.wall()
                if isinstance(done, Applied) or done.why is Refusal.BRAKE:
                    await desk.feed.contact(None, None, at, at)
        if isinstance(done, Refused):
            return refused(request, done)
        return applied_view(done, wants_snapshot=False)


async def _finish(pushes: _Pushes, feed: str, snapshot: str, trailer: Trailer) -> Applied | Refused:
    pushed = pushes.pushed(feed, snapshot)
    try:
        done = await pushed.staging.finish(trailer)
    except Superseded as error:
        pushes.under_way.pop(feed, None)
        raise HTTPException(409, f"{error}; begin it again") from None
    pushes.end(feed, snapshot, done)
    return done


def _add_buckets(router: APIRouter, feeds: SyncFeeds, pushes: _Pushes) -> None:
    @router.post(
        "/sync/feeds/{feed:path}/buckets/{bucket}",
        dependencies=_WRITE,
        response_model=AppliedView,
        openapi_extra=_body("application/json", "feed, epoch, rev, bucket, items: all that there is in it"),
    )
    async def repair_bucket(
        request: Request, feed: str, bucket: Annotated[int, Path(ge=0, le=255)]
    ) -> AppliedView | Response:
        desk = pushes.desk(request, feed)
        found = read_bucket(await request.body())
        if isinstance(found, Malformed):
            return malformed(request, found)
        position = desk.feed.position
        if found.proof.feed != feed or found.bucket != bucket:
            return refused(
                request, Refused(Refusal.FEED, "the objects are of another feed or bucket", position)
            )
        if (why := desk.keys.refuse(found.proof)) is not None:
            return refused(request, Refused(Refusal.SIGNATURE, why, position))
        async with pushes.lock(feed):
            position = desk.feed.position
            if position is None or position.epoch != found.proof.epoch:
                text = "the objects are of another epoch than the feed"
                return refused(request, Refused(Refusal.EPOCH, text, position))
            done = await desk.feed.repair(bucket, found.rev, found.items)
        if isinstance(done, Refused):
            return refused(request, done)
        return applied_view(done, wants_snapshot=feed in feeds.wanted)
