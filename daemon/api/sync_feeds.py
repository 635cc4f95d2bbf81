"""The routes of feeds: how they stand, what they refuse, and what an operator does with them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request, Response

from daemon.api.models import Page
from daemon.api.security.guard import Reach, scope, tenant_of
from daemon.api.sync_feed_models import (
    AppliedView,
    DigestsView,
    FeedDesk,
    FeedView,
    ForgottenView,
    HeldView,
    NackView,
    Objects,
    PositionView,
    ResyncView,
    SyncFeeds,
    applied_view,
    brake_view,
    feed_view,
    nack_view,
)
from daemon.api.sync_feed_push import add_push
from daemon.api.sync_feed_refusals import refused
from daemon.sync.feed.model import Refused

_Limit = Annotated[int, Query(ge=1, le=1000)]
_Offset = Annotated[int, Query(ge=0, le=1_000_000)]
_READ = [scope("sync:read", Reach.OWN)]
_WRITE = [scope("sync:write", Reach.OWN)]


def add_sync_feeds(router: APIRouter, feeds: SyncFeeds) -> None:
    """Add the routes `/sync/feeds`. A feed is seen by its own tenant, and by who may see all of them."""
    add_push(router, feeds)
    _add_brake(router, feeds)
    _add_resync(router, feeds)
    _add_forget(router, feeds)
    _add_nacks(router, feeds)
    _add_digests(router, feeds)
    _add_status(router, feeds)  # the last: a feed's name may have slashes


def _add_status(router: APIRouter, feeds: SyncFeeds) -> None:
    async def view(desk: FeedDesk) -> FeedView:
        wanted = desk.feed.name in feeds.wanted
        return feed_view(desk, await desk.feed.status(), feeds.clock.wall(), wanted=wanted)

    @router.get("/sync/feeds", dependencies=_READ)
    async def list_feeds(request: Request, limit: _Limit = 100, offset: _Offset = 0) -> Page[FeedView]:
        own = tenant_of(request)
        seen = [each for _, each in sorted(feeds.desks.items()) if own in (None, each.feed.tenant)]
        items = [await view(each) for each in seen[offset : offset + limit]]
        return Page(items=items, count=len(seen), limit=limit, offset=offset)

    @router.get("/sync/feeds/{feed:path}", dependencies=_READ)
    async def show_feed(request: Request, feed: str) -> FeedView:
        return await view(desk_of(feeds, request, feed))


def _add_nacks(router: APIRouter, feeds: SyncFeeds) -> None:
    @router.get("/sync/feeds/{feed:path}/nacks", dependencies=_READ)
    async def list_nacks(
        request: Request,
        feed: str,
        kind: Annotated[str | None, Query(max_length=100)] = None,
        limit: _Limit = 100,
        offset: _Offset = 0,
    ) -> Page[NackView]:
        found = await desk_of(feeds, request, feed).feed.nacks()
        wanted = sorted(each for each in found if kind in (None, each.kind))
        items = [nack_view(each) for each in wanted[offset : offset + limit]]
        return Page(items=items, count=len(wanted), limit=limit, offset=offset)


def _add_digests(router: APIRouter, feeds: SyncFeeds) -> None:
    @router.get("/sync/feeds/{feed:path}/digests", dependencies=_READ)
    async def digests(request: Request, feed: str) -> DigestsView:
        found = desk_of(feeds, request, feed).feed
        if found.position is None:
            raise HTTPException(
                409, f"feed {feed} has not had its first snapshot: there is nothing to compare"
            )
        now = await found.digests()
        return DigestsView(
            position=PositionView(epoch=now.position.epoch, rev=now.position.rev),
            root=now.root.hex(),
            digests=[each.hex() for each in now.buckets],
        )


def _add_resync(router: APIRouter, feeds: SyncFeeds) -> None:
    @router.post("/sync/feeds/{feed:path}/resync", dependencies=_WRITE)
    async def resync(request: Request, feed: str) -> ResyncView:
        desk = desk_of(feeds, request, feed)
        if desk.source is None:
            feeds.wanted.add(feed)
            return ResyncView(
                feed=feed, says="the platform is told with its next batch: it has to push a snapshot"
            )
        desk.source.resync()
        return ResyncView(feed=feed, says="all of it is read again; what is there is served meanwhile")


def _add_forget(router: APIRouter, feeds: SyncFeeds) -> None:
    @router.post("/sync/feeds/{feed:path}/forget", dependencies=_WRITE)
    async def forget(
        request: Request,
        feed: str,
        objects: Annotated[Objects, Query(description="keep: operators change them from now on")],
    ) -> ForgottenView:
        tenant = None if feeds.ending is None else feeds.ending.left.get(feed)
        if feeds.ending is None or tenant is None or tenant_of(request) not in (None, tenant):
            desk_of(feeds, request, feed)
            raise HTTPException(409, f"feed {feed} is in the settings: take it out of sync.feeds first")
        done = await feeds.ending.forget(feed, keep=objects is Objects.KEEP)
        return ForgottenView(**done._asdict())


def _add_brake(router: APIRouter, feeds: SyncFeeds) -> None:
    @router.get("/sync/feeds/{feed:path}/brake", dependencies=_READ)
    async def show_brake(request: Request, feed: str) -> HeldView:
        return HeldView(brake=brake_view(desk_of(feeds, request, feed).feed.brake))

    @router.post("/sync/feeds/{feed:path}/brake/release", dependencies=_WRITE, response_model=AppliedView)
    async def release(request: Request, feed: str) -> AppliedView | Response:
        desk = desk_of(feeds, request, feed)
        if desk.feed.brake is None:
            raise HTTPException(409, f"the brake of feed {feed} holds nothing")
        done = await desk.feed.release_brake()
        if isinstance(done, Refused):
            return refused(request, done)
        return applied_view(done, wants_snapshot=feed in feeds.wanted)


def desk_of(feeds: SyncFeeds, request: Request, feed: str) -> FeedDesk:
    """Return a feed that the asker may see. Raises HTTPException 404."""
    desk = feeds.desks.get(feed)
    if desk is None or tenant_of(request) not in (None, desk.feed.tenant):
        raise HTTPException(404, f"no feed has the name {feed}; `sync status` lists them")
    return desk
