"""A platform pushes a feed: batches, snapshots, buckets; what is refused, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import APIRouter, FastAPI, Request

from daemon.api.application import _add_failures
from daemon.api.security.principals import ALL_TENANTS, Kind, Principal
from daemon.api.security.scopes import SCOPES
from daemon.api.sync_feed_models import FeedDesk, SyncFeeds
from daemon.api.sync_feeds import add_sync_feeds
from daemon.clock import SystemClock
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.signing import Keys
from tests.daemon.sync_feeds.stage import FEED, feed_at, fill, line, served
from tests.twins.platform import Platform, loads
from tests.twins.platform_book import bucket_of, item_json

BASE = f"/api/v1/sync/feeds/{FEED}"


def application(*desks: FeedDesk, tenant: str = ALL_TENANTS, scopes: frozenset[str] | None = None) -> FastAPI:
    """Return the routes, asked by somebody who is known."""
    app, router = FastAPI(), APIRouter(prefix="/api/v1")

    @app.middleware("http")
    async def door(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        request.state.principal = Principal(
            kind=Kind.KEY,
            name="k",
            tenant=tenant,
            scopes=frozenset(SCOPES) if scopes is None else scopes,
        )
        return await call_next(request)

    _add_failures(app)
    add_sync_feeds(router, SyncFeeds({desk.feed.name: desk for desk in desks}, SystemClock()))
    app.include_router(router)
    return app


@asynccontextmanager
async def asking(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        yield client


async def pages_of(platform: Platform) -> list[list[Any]]:
    """Return the pages of a snapshot, the trailer last on the last."""
    pages: list[list[Any]] = []
    cursor = ""
    transport = httpx.ASGITransport(platform.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://platform") as client:
        while True:
            answer = await client.get(f"/v1/edge/feeds/{FEED}/snapshot", params={"cursor": cursor})
            pages.append(loads(answer.content))
            cursor = pages[-1][0]["next"]
            if cursor is None:
                return pages


def ndjson(rows: list[Any]) -> bytes:
    import json

    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


async def push_snapshot(client: httpx.AsyncClient, platform: Platform) -> httpx.Response:
    """Push everything, and return the last answer."""
    pages = await pages_of(platform)
    head = pages[0][0]
    begun = await client.post(
        f"{BASE}/snapshots", json={"epoch": head["epoch"], "start_rev": head["start_rev"]}
    )
    assert begun.status_code == 201
    where = f"{BASE}/snapshots/{begun.json()['snapshot']}"
    for number, (_, *lines) in enumerate(pages):
        items = [each for each in lines if "trailer" not in each]
        done = await client.post(f"{where}/pages", params={"cursor": f"p{number + 1}"}, content=ndjson(items))
        assert done.status_code == 200, done.text
    return await client.post(f"{where}/finish", json=pages[-1][-1]["trailer"])


def batch_of(platform: Platform, after: int) -> dict[str, Any]:
    found = platform.batch(FEED, platform.book.epoch, after, 500)
    assert isinstance(found, dict)
    return found


def test_a_snapshot_and_batches_are_pushed_and_digests_are_equal(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 250)
        async with feed_at(tmp_path) as feed, asking(application(FeedDesk(feed=feed))) as client:
            early = await client.post(f"{BASE}/batches", json=batch_of(platform, 0))
            assert (early.status_code, early.json()["code"]) == (409, "feed-epoch")
            assert early.json()["details"] == [{"position": None}]
            done = await push_snapshot(client, platform)
            assert done.status_code == 200
            rev = platform.book.rev
            platform.put("subscriber", "S00001", line(1, access_mode="maybe"))
            batch = batch_of(platform, rev)
            applied = await client.post(f"{BASE}/batches", json=batch)
            assert applied.json()["position"] == {"epoch": platform.book.epoch, "rev": rev + 1}
            assert [each["id"] for each in applied.json()["nacks"]] == ["S00001"]
            again = (await client.post(f"{BASE}/batches", json=batch)).json()
            assert again["duplicate"]
            digests = (await client.get(f"{BASE}/digests")).json()
            assert digests["root"] == platform.root().hex()
            nacks = (await client.get(f"{BASE}/nacks")).json()
            assert (nacks["count"], nacks["items"][0]["code"]) == (1, "unknown-word")
            shown = (await client.get("/api/v1/sync/feeds")).json()["items"][0]
            assert (shown["state"], shown["mode"], shown["lag"]) == ("NACKED", "push", 0)
            assert (await client.get(BASE)).json()["feed"] == FEED

    asyncio.run(run())


def test_a_gap_is_answered_with_the_position_to_go_on_from(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 3)
        async with feed_at(tmp_path) as feed, asking(application(FeedDesk(feed=feed))) as client:
            await push_snapshot(client, platform)
            rev = platform.book.rev
            platform.put("subscriber", "lost", line(77))
            platform.put("subscriber", "p", line(78))
            gap = await client.post(f"{BASE}/batches", json=batch_of(platform, rev + 1))
            assert (gap.status_code, gap.json()["code"]) == (409, "feed-gap")
            assert gap.json()["details"] == [{"position": {"epoch": platform.book.epoch, "rev": rev}}]
            assert "p" not in served(feed)

    asyncio.run(run())


def test_a_snapshot_that_was_interrupted_goes_on_and_one_that_differs_from_its_trailer_is_refused(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        platform = Platform(FEED, page_items=10)
        fill(platform, 30)
        pages = await pages_of(platform)
        begin = {"epoch": platform.book.epoch, "start_rev": 31}
        async with feed_at(tmp_path) as feed, asking(application(FeedDesk(feed=feed))) as client:
            name = (await client.post(f"{BASE}/snapshots", json=begin)).json()["snapshot"]
            await client.post(
                f"{BASE}/snapshots/{name}/pages", params={"cursor": "p1"}, content=ndjson(pages[0][1:])
            )
        async with (
            feed_at(tmp_path) as feed,
            asking(application(FeedDesk(feed=feed))) as client,
        ):  # the daemon was started again
            lost = await client.post(f"{BASE}/snapshots/{name}/finish", json=pages[-1][-1]["trailer"])
            assert (lost.status_code, lost.json()["code"]) == (404, "not-found")
            begun = (await client.post(f"{BASE}/snapshots", json=begin)).json()
            assert (begun["snapshot"], begun["resume_at"]) == (name, "p1")
            short = await client.post(f"{BASE}/snapshots/{name}/finish", json=pages[-1][-1]["trailer"])
            assert (short.status_code, short.json()["code"]) == (422, "feed-mismatch")
            done = await push_snapshot(client, platform)
            assert done.status_code == 200
            repeated = await client.post(f"{BASE}/snapshots/{name}/finish", json=pages[-1][-1]["trailer"])
            assert repeated.json() == done.json()

    asyncio.run(run())


def test_what_is_malformed_is_refused_with_its_path_and_shows_no_secret(tmp_path: Path) -> None:
    async def run() -> None:
        async with feed_at(tmp_path) as feed, asking(application(FeedDesk(feed=feed))) as client:
            item = {"k": "subscriber", "id": "S1", "rev": "7", "op": "put", "body": {"password": "hunter2"}}
            batch = {"feed": FEED, "epoch": "e", "from": 0, "to": 9, "head": 9, "items": [item]}
            refused = await client.post(f"{BASE}/batches", json=batch)
            assert (refused.status_code, refused.json()["code"]) == (422, "malformed")
            assert refused.json()["details"][0]["path"] == "items[0].rev"
            cut = await client.post(f"{BASE}/batches", content=b'{"feed": "hunter2')
            assert cut.status_code == 422
            other = await client.post(f"{BASE}/batches", json=batch | {"feed": "t2/x", "items": []})
            assert (other.status_code, other.json()["code"]) == (422, "feed-feed")
            begun = await client.post(f"{BASE}/snapshots", json={"epoch": "e", "start_rev": 1})
            where = f"{BASE}/snapshots/{begun.json()['snapshot']}/pages?cursor=x"
            page = await client.post(where, content=ndjson([item | {"rev": 1}, item]))
            assert page.json()["details"][0]["path"] == "line 2.rev"
            for each in (refused, cut, other, page):
                assert "hunter2" not in each.text

    asyncio.run(run())


def test_what_the_brake_holds_is_423_until_it_is_released(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 10)
        tight = BrakeOptions(percent=0.0, objects=2)
        async with feed_at(tmp_path, brake=tight) as feed, asking(application(FeedDesk(feed=feed))) as client:
            await push_snapshot(client, platform)
            rev = platform.book.rev
            for number in range(5):
                platform.book.delete("subscriber", f"S{number:05}")
            held = await client.post(f"{BASE}/batches", json=batch_of(platform, rev))
            assert (held.status_code, held.json()["code"], held.json()["retryable"]) == (
                423,
                "feed-brake",
                True,
            )
            assert (await client.get(f"{BASE}/brake")).json()["brake"]["losses"] == 5
            assert (await client.get(BASE)).json()["state"] == "BRAKED"
            released = await client.post(f"{BASE}/brake/release")
            assert released.json()["position"]["rev"] == platform.book.rev
            assert (await client.get(f"{BASE}/brake")).json() == {"brake": None}
            assert (await client.post(f"{BASE}/brake/release")).status_code == 409

    asyncio.run(run())


def test_one_bucket_is_repaired_where_its_objects_are_signed(tmp_path: Path) -> None:
    async def run() -> None:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        keys = Keys({"k1": public}, required=True)
        platform = Platform(FEED, key=key)
        fill(platform, 10)
        bucket = bucket_of("subscriber", "S00004")
        async with (
            feed_at(tmp_path, keys=keys) as feed,
            asking(application(FeedDesk(feed=feed, keys=keys))) as client,
        ):
            await push_snapshot(client, platform)
            platform.book.corrupt("subscriber", "S00004", line(4, vlan_id=9))
            book = platform.book
            items = [
                item_json(each, found.rev, found)
                for each, found in book.objects.items()
                if bucket_of(each.kind, each.id) == bucket
            ]
            said = {"feed": FEED, "epoch": book.epoch, "rev": book.rev, "bucket": bucket, "items": items}
            unsigned = await client.post(f"{BASE}/buckets/{bucket}", json=said)
            assert (unsigned.status_code, unsigned.json()["code"]) == (422, "feed-signature")
            done = await client.post(f"{BASE}/buckets/{bucket}", json=platform.sign(said))
            assert done.status_code == 200
            assert (await client.get(f"{BASE}/digests")).json()["root"] == platform.root().hex()
            stale = platform.sign(said | {"rev": book.rev + 1})
            gap = await client.post(f"{BASE}/buckets/{bucket}", json=stale)
            assert (gap.status_code, gap.json()["code"]) == (409, "feed-gap")

    asyncio.run(run())


def test_a_feed_is_seen_by_its_own_tenant_and_by_who_may_only(tmp_path: Path) -> None:
    async def run() -> None:
        async with feed_at(tmp_path) as feed, asking(application(FeedDesk(feed=feed), tenant="t2")) as client:
            assert (await client.get("/api/v1/sync/feeds")).json()["items"] == []
            for method, path in (
                ("GET", BASE),
                ("GET", f"{BASE}/nacks"),
                ("GET", f"{BASE}/digests"),
                ("GET", f"{BASE}/brake"),
                ("POST", f"{BASE}/brake/release"),
                ("POST", f"{BASE}/resync"),
                ("POST", f"{BASE}/batches"),
                ("POST", f"{BASE}/buckets/1"),
                ("POST", f"{BASE}/snapshots/x/finish"),
                ("POST", f"{BASE}/snapshots/x/pages?cursor=c"),
            ):
                answer = await client.request(method, path)
                assert answer.status_code == 404, (method, path)
            begun = await client.post(f"{BASE}/snapshots", json={"epoch": "e", "start_rev": 1})
            assert begun.status_code == 404
        only_read = frozenset({"sync:read"})
        async with (
            feed_at(tmp_path) as feed,
            asking(application(FeedDesk(feed=feed), scopes=only_read)) as client,
        ):
            assert (await client.get(BASE)).status_code == 200
            assert (await client.post(f"{BASE}/batches")).status_code == 403
            assert (await client.post(f"{BASE}/resync")).status_code == 403

    asyncio.run(run())


def test_a_pushed_feed_asks_for_a_snapshot_and_one_that_is_pulled_takes_no_pushes(tmp_path: Path) -> None:
    class Source:
        name = "pull demo/other"
        resyncs = 0

        async def run(self) -> None:
            raise NotImplementedError

        def resync(self) -> None:
            self.resyncs += 1

    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 3)
        from_there = Source()
        place = tmp_path / "other"
        place.mkdir()
        async with (
            feed_at(tmp_path) as feed,
            feed_at(place, name="demo/other") as pulled,
            asking(application(FeedDesk(feed=feed), FeedDesk(feed=pulled, source=from_there))) as client,
        ):
            await push_snapshot(client, platform)
            assert "told with its next batch" in (await client.post(f"{BASE}/resync")).json()["says"]
            answer = await client.post(f"{BASE}/batches", json=batch_of(platform, 4))
            assert answer.json()["wants_snapshot"]
            await push_snapshot(client, platform)
            assert not (await client.get(BASE)).json()["wants_snapshot"]
            other = "/api/v1/sync/feeds/demo/other"
            assert (await client.post(f"{other}/resync")).status_code == 200
            assert from_there.resyncs == 1
            both = await client.post(f"{other}/batches", json=batch_of(platform, 4))
            assert both.status_code == 409
            assert "brought by pull demo/other" in both.json()["message"]

    asyncio.run(run())
