"""What is held by the brake or not signed as it should be: nothing of it is served, and the source goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.pull_options import PullState
from daemon.sync.feed.signing import Keys
from tests.daemon.sync_feeds.stage import (
    FEED,
    Told,
    feed_at,
    fill,
    line,
    options,
    running,
    same,
    served,
    source,
    until,
)
from tests.twins.platform import Platform

TIGHT = BrakeOptions(percent=0.0, objects=3)


def test_a_change_that_the_brake_holds_waits_for_its_release(tmp_path: Path) -> None:
    async def run() -> None:
        platform, told = Platform(FEED), Told()
        fill(platform, 30)
        async with feed_at(tmp_path, brake=TIGHT) as feed, platform.serving() as port:
            pulled = source(feed, options(port, stream=False), told=told)
            async with running(pulled):
                await same(feed, platform)
                for number in range(10):
                    platform.book.delete("subscriber", f"S{number:05}")
                platform.tell()
                await until(lambda: pulled.status.state is PullState.BRAKED)
                await until(lambda: pulled.status.refused.get("brake", 0) >= 3)
                assert len(served(feed)) == 30
                await feed.release_brake()
                await same(feed, platform)
                await until(lambda: pulled.status.state is PullState.FOLLOWING)
                assert len(served(feed)) == 20
        assert [kind for kind, _ in told].count("feed-refused") == 1

    asyncio.run(run())


def test_a_snapshot_that_the_brake_holds_is_not_read_again_and_again(tmp_path: Path) -> None:
    async def run() -> None:
        platform = Platform(FEED)
        fill(platform, 30)
        async with feed_at(tmp_path, brake=TIGHT) as feed, platform.serving() as port:
            pulled = source(feed, options(port))
            async with running(pulled):
                await same(feed, platform)
                for number in range(10):
                    platform.book.delete("subscriber", f"S{number:05}")
                platform.restore(platform.book.backup())
                await until(lambda: pulled.status.state is PullState.BRAKED)
                await asyncio.sleep(0.5)
                assert platform.heard.requests["snapshot"] == 2
                assert len(served(feed)) == 30
                await feed.release_brake()
                await same(feed, platform)
                await until(lambda: pulled.status.state is PullState.FOLLOWING)
                assert platform.heard.requests["snapshot"] == 2

    asyncio.run(run())


def test_what_is_not_signed_as_it_should_be_is_not_applied_and_counts_for_no_contact(tmp_path: Path) -> None:
    async def run() -> None:
        good, bad = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        public = good.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        keys = Keys({"k1": public}, required=True)
        platform = Platform(FEED, key=good)
        fill(platform, 30)
        async with feed_at(tmp_path, keys=keys) as feed, platform.serving() as port:
            pulled = source(feed, options(port, digests_s=0.2), keys=keys)
            async with running(pulled):
                await same(feed, platform)
                await until(lambda: pulled.status.state is PullState.FOLLOWING)
                platform.key = bad
                await asyncio.sleep(0.3)
                contact_at, now = (await feed.status()).contact_at, feed.position
                platform.put("subscriber", "forged", line(4711))
                await until(lambda: pulled.status.refused.get("signature", 0) > 3)
                assert "forged" not in served(feed)
                assert (feed.position, (await feed.status()).contact_at) == (now, contact_at)
                platform.key = good
                await same(feed, platform)

    asyncio.run(run())


def test_the_objects_of_a_bucket_are_only_taken_signed(tmp_path: Path) -> None:
    async def run() -> None:
        key = Ed25519PrivateKey.generate()
        keys = Keys({"k1": key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)}, required=True)
        platform = Platform(FEED, key=key)
        fill(platform, 30)
        async with feed_at(tmp_path, keys=keys) as feed, platform.serving() as port:
            async with running(source(feed, options(port))):
                await same(feed, platform)
            platform.book.corrupt("subscriber", "S00007", line(7, vlan_id=99))
            platform.key = None
            pulled = source(feed, options(port), keys=keys)
            async with running(pulled):
                await until(
                    lambda: "objects of a bucket are not taken: it is not signed" in pulled.status.error
                )
                assert pulled.status.repairs == 0
                platform.key = key
                await same(feed, platform)
                assert pulled.status.repairs == 1

    asyncio.run(run())
