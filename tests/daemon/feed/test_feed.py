"""What a feed does with batches and snapshots: applied once, refused alone, held where too much would go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import NotFound
from daemon.replica.records import Nas, Secret, SecretKind
from daemon.store.feed_rows import read_feeds, save_feed
from daemon.store.schema import OBJECT
from daemon.store.seal import Sealer
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.digest import bucket_of
from daemon.sync.feed.model import Applied, Item, Op, Pending, Position, Refusal, Refused, Superseded
from daemon.sync.feed.signing import Keys, sign, signed_octets
from daemon.sync.load import LoadRequest
from daemon.sync.owners import OwnedByFeed
from daemon.sync.problems import DataInvalid
from tests.daemon.feed.stage import KEY, KINDS, Edge, Platform, line, plan

SECRET = Secret(SecretKind.CLEARTEXT, b"secret-of-n1")
Play = Callable[[Path], Coroutine[Any, Any, None]]


def document(name: str) -> LoadRequest:
    """Return a data file of an operator with one plan."""
    text = f"[{{kind: tenant, id: demo}}, {{kind: plan, id: {name}, body: {{download: 1M, upload: 1M}}}}]"
    return LoadRequest(octets=text.encode(), name="plan.yaml")


def provider(subscribers: int = 3) -> Platform:
    platform = Platform()
    platform.put("plan", "home", plan())
    for number in range(subscribers):
        platform.put("subscriber", f"s{number}", line(f"user{number}"))
    return platform


def refusal(done: Applied | Refused) -> Refusal:
    assert isinstance(done, Refused)
    return done.why


def play(path: Path, story: Callable[[Edge, Platform], Coroutine[Any, Any, None]], **options: Any) -> None:
    async def scenario() -> None:
        async with Edge(path / "edge.db", **options).running() as edge:
            platform = provider()
            assert isinstance(await edge.load(platform), Applied)
            await story(edge, platform)

    asyncio.run(scenario())


def test_a_snapshot_is_served_and_is_there_after_a_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        platform = provider()
        async with Edge(tmp_path / "edge.db").running() as edge:
            assert edge.feed.position is None
            done = await edge.load(platform)
            assert done == Applied(Position("e1", platform.rev))
            assert edge.index.tenants["demo"].usernames[b"user1"].id == "s1"
            assert ("demo", "subscriber", "s2") in edge.told
            first = edge.records()
        async with Edge(tmp_path / "edge.db").running() as edge:
            assert (edge.records(), edge.feed.position) == (first, Position("e1", platform.rev))
            assert (await edge.feed.digests()).root == platform.root()

    asyncio.run(scenario())


def test_batches_are_applied_once_and_gaps_and_other_epochs_are_not(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        start = platform.rev
        platform.put("subscriber", "s9", line("user9"))
        platform.delete("subscriber", "s0")
        batch = platform.changes(start)
        assert isinstance(await edge.feed.apply(batch), Applied)
        again = await edge.feed.apply(batch)
        assert isinstance(again, Applied)
        assert again.duplicate
        known = edge.index.tenants["demo"].subscribers
        assert set(known) == {"s1", "s2", "s9"}
        gap = platform.batch(platform.rev + 1, platform.rev + 5, [])
        assert refusal(await edge.feed.apply(gap)) is Refusal.GAP
        platform.epoch = "e2"
        assert refusal(await edge.feed.apply(platform.changes(0))) is Refusal.EPOCH
        other = Platform(feed="other")
        assert refusal(await edge.feed.apply(other.changes(0))) is Refusal.FEED
        assert edge.feed.position == Position("e1", start + 2)

    play(tmp_path, story)


def test_an_object_that_is_wrong_is_refused_alone_and_its_last_good_form_serves(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        platform.put("subscriber", "s1", line("user1", plan=17, access_mode="maybe"))
        platform.put("subscriber", "s3", line("user3"))
        platform.put("teapot", "t1", {"short": True})
        platform.put("staff", "boss", {"username": "boss", "password": "longsecret"})
        platform.put("subscriber", "s2", line("user2b", colour="red"), schema=9, min_reader=9)
        done = await edge.follow(platform)
        assert isinstance(done, Applied)
        codes = {each.id: each.code for each in done.nacks}
        assert codes == {
            "s1": "unknown-word",
            "t1": "unsupported-kind",
            "boss": "kind-not-of-feed",
            "s2": "unsupported-schema",
        }
        (wrong,) = (each for each in done.nacks if each.id == "s1")
        assert "body.access_mode" in wrong.detail
        assert "secret-of" not in str(await edge.feed.nacks())
        known = edge.index.tenants["demo"]
        assert (b"user1" in known.usernames, b"user2" in known.usernames, b"user3" in known.usernames) == (
            True,
            True,
            True,
        )
        assert (await edge.feed.digests()).root == platform.root()
        kinds = {each.kind: each for each in (await edge.feed.status()).kinds}
        assert (kinds["subscriber"].objects, kinds["subscriber"].nacked) == (4, 2)
        platform.put("subscriber", "s1", line("user1", vlan_id=7))
        platform.delete("teapot", "t1")
        assert (await edge.follow(platform)) == Applied(Position("e1", platform.rev))
        assert {each.id for each in await edge.feed.nacks()} == {"boss", "s2"}
        assert known.subscribers["s1"].vlan_id == 7

    play(tmp_path, story)


def test_fields_of_a_newer_schema_are_kept_sealed(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        platform.put("subscriber", "s1", line("user1", mood="sunny"), schema=2)
        platform.put("subscriber", "s2", line("user2", mood="sunny"))
        done = await edge.follow(platform)
        assert isinstance(done, Applied)
        assert [(each.id, each.code) for each in done.nacks] == [("s2", "unknown-key")]
        from daemon.store import feed_rows

        (row,) = await feed_rows.read_objects(edge.engine, edge.feed._ledger.place, [("subscriber", "s1")])
        assert row.extra is not None
        assert b"sunny" not in row.extra
        assert Sealer(KEY).open(row.extra, b"subscriber/demo/s1") == b'{"mood":"sunny"}'

    play(tmp_path, story)


def test_what_another_one_has_is_refused_to_the_later_and_given_when_it_is_free(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        platform.put("subscriber", "new", line("user1"))
        platform.put("subscriber", "s2", line("user2", ipv4_address="203.0.113.7"))
        platform.put("subscriber", "newer", line("fresh", ipv4_address="203.0.113.7"))
        done = await edge.follow(platform)
        assert isinstance(done, Applied)
        assert {(each.id, each.code) for each in done.nacks} == {("new", "taken"), ("newer", "taken")}
        known = edge.index.tenants["demo"]
        assert known.usernames[b"user1"].id == "s1"
        assert "newer" not in known.subscribers
        platform.delete("subscriber", "s1")
        assert isinstance(await edge.follow(platform), Applied)
        assert known.usernames[b"user1"].id == "new"
        assert [each.id for each in await edge.feed.nacks()] == ["newer"]
        assert (await edge.feed.digests()).root == platform.root()
        platform.put("subscriber", "s2", line("user2"))
        assert isinstance(await edge.follow(platform), Applied)
        assert known.subscribers["newer"].usernames == ("fresh",)
        assert await edge.feed.nacks() == []

    play(tmp_path, story)


def test_a_name_that_moves_within_a_batch_is_no_conflict(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        platform.put("subscriber", "s2", line("user1"))
        platform.put("subscriber", "s1", line("user2"))
        assert await edge.follow(platform) == Applied(Position("e1", platform.rev))
        known = edge.index.tenants["demo"]
        assert (known.usernames[b"user1"].id, known.usernames[b"user2"].id) == ("s2", "s1")

    play(tmp_path, story)


def test_an_object_refused_leaves_its_old_form_in_the_way_of_others(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        platform.put("subscriber", "s2", line("user1"))  # that of s1, who wants that of s0, who keeps it
        platform.put("subscriber", "s1", line("user0"))
        done = await edge.follow(platform)
        assert isinstance(done, Applied)
        assert {each.id for each in done.nacks} == {"s1", "s2"}
        known = edge.index.tenants["demo"]
        assert [known.usernames[f"user{n}".encode()].id for n in range(3)] == ["s0", "s1", "s2"]

    play(tmp_path, story)


def test_names_of_what_is_not_there_are_pending_until_it_comes(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        platform.put("subscriber", "s5", line("user5", plan="gold"))
        platform.put("selector", "all", {"pools": {"v4": ["nowhere"]}})
        assert await edge.follow(platform) == Applied(Position("e1", platform.rev))
        assert edge.index.tenants["demo"].usernames[b"user5"].plan == "gold"
        assert await edge.feed.pending() == [
            Pending("selector", "all", "pool", "nowhere"),
            Pending("subscriber", "s5", "plan", "gold"),
        ]
        platform.put("plan", "gold", plan())
        await edge.follow(platform)
        assert [each.id for each in await edge.feed.pending()] == ["all"]
        platform.delete("plan", "home")
        await edge.follow(platform)
        kinds = {each.kind: each.pending for each in (await edge.feed.status()).kinds}
        assert kinds["subscriber"] == 3

    play(tmp_path, story)


def test_what_waits_for_an_object_of_operators_waits_no_longer_when_they_load_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db", kinds=frozenset({"subscriber"})).running() as edge:
            platform = Platform()
            platform.put("subscriber", "s0", line("user0"))
            await edge.load(platform)
            assert [each.wants_id for each in await edge.feed.pending()] == ["home"]
            text = b"{kind: plan, id: home, tenant: demo, body: {download: 1M, upload: 1M}}"
            await edge.loader.load(LoadRequest(octets=text, name="plan.yaml"))
            assert await edge.feed.pending() == []

    asyncio.run(scenario())


def test_operators_cannot_load_what_a_feed_brings(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        text = b"[{kind: tenant, id: demo}, {kind: subscriber, id: s1, body: {access_mode: active}}]"
        with pytest.raises(DataInvalid, match="feed main brings"):
            await edge.loader.load(LoadRequest(octets=text, name="data.yaml"))
        with pytest.raises(OwnedByFeed):
            await edge.apply.load([edge.index.tenants["demo"].subscribers["s1"]], replace=False)
        text = b"{kind: tenant, id: demo, body: {name: Demo}}"
        done = await edge.loader.load(LoadRequest(octets=text, name="data.yaml", replace=True))
        assert done.applied.removed == {}
        assert len(edge.index.tenants["demo"].subscribers) == 3

    play(tmp_path, story)


def test_the_first_snapshot_takes_over_what_operators_had_loaded(tmp_path: Path) -> None:
    async def scenario() -> None:
        text = b"""[{kind: tenant, id: demo}, {kind: plan, id: home, body: {download: 1M, upload: 1M}},
          {kind: subscriber, id: old, body: {access_mode: active, username: old, plan: home}},
          {kind: staff, id: nora, body: {username: nora, password: longsecret}}]"""
        path = tmp_path / "edge.db"
        async with Edge(path, kinds=frozenset()).running() as edge:
            await edge.loader.load(LoadRequest(octets=text, name="data.yaml"))
        async with Edge(path).running() as edge:
            assert b"old" in edge.index.tenants["demo"].usernames
            assert isinstance(await edge.load(provider()), Applied)
            served = edge.records()
            assert ("subscriber", "old") not in served
            assert ("staff", "nora") in served
        async with Edge(path).running() as edge:
            assert edge.records() == served
            await edge.tidy()
        async with Edge(path).running() as edge:
            assert edge.records() == served

    asyncio.run(scenario())


def test_a_snapshot_that_is_not_what_its_trailer_says_is_not_served(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        before = edge.records()
        platform.put("subscriber", "s7", line("user7"))
        staging = await edge.feed.snapshot("e2", platform.rev)
        await staging.add(platform.all()[:-1], "")
        assert refusal(await staging.finish(platform.trailer())) is Refusal.MISMATCH
        with pytest.raises(Superseded):
            await staging.add([], "")
        assert edge.records() == before
        assert isinstance(await edge.load(platform), Applied)
        await edge.tidy()
        assert len(edge.records()) == 5

    play(tmp_path, story)


def test_a_snapshot_refuses_what_contradicts_itself_and_keeps_the_last_good(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        platform.epoch = "e2"
        platform.put("subscriber", "a", line("user1"))  # s1 was there before
        platform.put("subscriber", "s0", line("user0", vlan_id=0))  # wrong by itself
        platform.put("subscriber", "p", line("p", ipv4_address="192.0.2.9"))
        platform.put("pool", "v4", {"kind": "v4", "ranges": ["192.0.2.0/28"], "exclusions": ["192.0.2.9"]})
        platform.put("pool", "w4", {"kind": "v4", "ranges": ["192.0.2.8/29"]})
        done = await edge.load(platform)
        assert isinstance(done, Applied)
        codes = {(each.id, each.code) for each in done.nacks}
        assert codes == {("a", "taken"), ("s0", "bad-vlan"), ("w4", "overlap")} or codes == {
            ("a", "taken"),
            ("s0", "bad-number"),
            ("w4", "overlap"),
        }
        known = edge.index.tenants["demo"]
        assert (known.usernames[b"user1"].id, known.usernames[b"user0"].vlan_id) == ("s1", None)
        assert set(known.pools) == {"v4"}
        assert (await edge.feed.digests()).root == platform.root()
        platform.delete("subscriber", "s1")
        assert isinstance(await edge.follow(platform), Applied)
        assert known.usernames[b"user1"].id == "a"

    play(tmp_path, story)


def test_a_snapshot_is_gone_on_with_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        platform = provider(6)
        path = tmp_path / "edge.db"
        async with Edge(path).running() as edge:
            staging = await edge.feed.snapshot("e1", 4)
            await staging.add(platform.all()[:3], "three")
        async with Edge(path).running() as edge:
            assert edge.index.tenants["demo"].subscribers == {}
            staging = await edge.feed.snapshot("e1", 99)
            assert (staging.resume_at, staging.start_rev) == ("three", 4)
            await staging.add(platform.all()[3:], "")
            assert await staging.finish(platform.trailer()) == Applied(Position("e1", 4))
            assert len(edge.index.tenants["demo"].subscribers) == 6

    asyncio.run(scenario())


def test_the_brake_holds_a_snapshot_until_it_is_released_also_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, few = tmp_path / "edge.db", BrakeOptions(objects=2)
        platform = provider(60)
        async with Edge(path, brake=few).running() as edge:
            await edge.load(platform)
            before = edge.records()
            platform.epoch = "e2"
            for number in range(4):
                platform.delete("subscriber", f"s{number}")
            assert refusal(await edge.load(platform)) is Refusal.BRAKE
            brake = edge.feed.brake
            assert brake is not None
            assert (brake.kind, brake.losses, brake.of) == ("subscriber", 4, 60)
            assert edge.records() == before
        async with Edge(path, brake=few).running() as edge:
            assert edge.records() == before
            assert edge.feed.brake == brake
            await edge.tidy()
            assert isinstance(await edge.feed.release_brake(), Applied)
            assert len(edge.index.tenants["demo"].subscribers) == 56
            assert (await edge.feed.status()).brake is None
            assert (await edge.feed.digests()).root == platform.root()

    asyncio.run(scenario())


def test_the_brake_counts_the_batches_of_an_hour(tmp_path: Path) -> None:
    async def scenario() -> None:
        few = BrakeOptions(objects=2)
        async with Edge(tmp_path / "edge.db", brake=few).running() as edge:
            platform = provider(50)
            await edge.load(platform)
            for number in range(2):
                platform.delete("subscriber", f"s{number}")
                assert isinstance(await edge.follow(platform), Applied)
            held_at = edge.feed.position
            platform.delete("subscriber", "s2")
            platform.put("subscriber", "s3", line("user3", vlan_id=3))
            assert refusal(await edge.follow(platform)) is Refusal.BRAKE
            assert edge.feed.position == held_at
            assert edge.index.tenants["demo"].subscribers["s3"].vlan_id is None
            assert isinstance(await edge.feed.release_brake(), Applied)
            assert edge.feed.position == Position("e1", platform.rev)
            assert "s2" not in edge.index.tenants["demo"].subscribers
            for number in range(4, 6):
                platform.delete("subscriber", f"s{number}")
            assert isinstance(await edge.follow(platform), Applied)
            platform.delete("subscriber", "s6")
            assert refusal(await edge.follow(platform)) is Refusal.BRAKE
            edge.clock.jump(3601)  # type: ignore[attr-defined]
            assert isinstance(await edge.follow(platform), Applied)
            assert edge.feed.brake is None

    asyncio.run(scenario())


def test_a_batch_that_is_held_passes_after_a_restart_once_it_was_released(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, few = tmp_path / "edge.db", BrakeOptions(objects=0, percent=0)
        platform = provider(5)
        async with Edge(path, brake=few).running() as edge:
            await edge.load(platform)
            platform.delete("subscriber", "s2")
            assert refusal(await edge.follow(platform)) is Refusal.BRAKE
        async with Edge(path, brake=few).running() as edge:
            assert edge.feed.brake is not None
            assert refusal(await edge.feed.release_brake()) is Refusal.BRAKE
            assert isinstance(await edge.follow(platform), Applied)
            assert len(edge.index.tenants["demo"].subscribers) == 4

    asyncio.run(scenario())


def test_one_bucket_is_repaired_at_a_revision(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        bucket = bucket_of("subscriber", "s1")
        other = next(f"x{n}" for n in range(9999) if bucket_of("subscriber", f"x{n}") == bucket)
        # A change that never came, as after damage: the platform has it, with revisions that are read already.
        platform.objects["subscriber", "s1"] = (3, 1, line("user1", vlan_id=5))
        platform.objects["subscriber", other] = (3, 1, line("other"))
        items = [each for each in platform.all() if bucket_of(each.kind, each.id) == bucket]
        assert refusal(await edge.feed.repair(bucket, 1, items)) is Refusal.GAP
        assert refusal(await edge.feed.repair(bucket, platform.rev, platform.all())) is Refusal.MISMATCH
        assert isinstance(await edge.feed.repair(bucket, platform.rev, items), Applied)
        assert (await edge.feed.digests()).root == platform.root()
        assert edge.index.tenants["demo"].subscribers["s1"].vlan_id == 5
        del platform.objects["subscriber", other]
        items = [each for each in platform.all() if bucket_of(each.kind, each.id) == bucket]
        assert isinstance(await edge.feed.repair(bucket, platform.rev, items), Applied)
        assert other not in edge.index.tenants["demo"].subscribers
        assert (await edge.feed.digests()).root == platform.root()

    play(tmp_path, story)


def test_a_stored_object_that_is_damaged_shows_in_the_digests(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, platform = tmp_path / "edge.db", provider()
        async with Edge(path).running() as edge:
            await edge.load(platform)
            broken = update(OBJECT).where(OBJECT.c.id == "s1").values(body=b"{")

            async def damage(rows: AsyncConnection) -> None:
                await rows.execute(broken)

            await edge.writer.commit(damage)
        async with Edge(path).running() as edge:
            ours, theirs = (await edge.feed.digests()).buckets, platform.buckets()
            (bucket,) = (n for n in range(256) if ours[n] != theirs[n])
            items = [each for each in platform.all() if bucket_of(each.kind, each.id) == bucket]
            assert isinstance(await edge.feed.repair(bucket, platform.rev, items), Applied)
            assert edge.index.tenants["demo"].usernames[b"user1"].id == "s1"
            assert edge.index.unreadable == set()

    asyncio.run(scenario())


def test_only_what_the_platform_has_signed_is_applied_where_that_is_required(tmp_path: Path) -> None:
    async def scenario() -> None:
        private, stranger = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        keys = Keys({"k1": private.public_key().public_bytes_raw()}, required=True)
        async with Edge(tmp_path / "edge.db", keys=keys).running() as edge:
            platform = provider()
            said = {"counts": {"plan": 1}, "key": "ed25519:k1", "sig": "x"}
            assert refusal(await edge.load(platform)) is Refusal.SIGNATURE
            for key, name, why in (
                (private, "ed25519:k1", None),
                (stranger, "ed25519:k1", Refusal.SIGNATURE),
                (private, "ed25519:k2", Refusal.SIGNATURE),
            ):
                signature = sign(said, key)
                signed: dict[str, Any] = {
                    "key": name,
                    "signature": signature,
                    "signed": signed_octets(said),
                }
                staging = await edge.feed.snapshot("e1", platform.rev)
                await staging.add(platform.all(), "")
                whole: dict[str, Any] = {"feed": "main", "epoch": "e1", "start_rev": platform.rev} | signed
                done = await staging.finish(replace(platform.trailer(), **whole))
                assert (None if isinstance(done, Applied) else done.why) is why
                batch = replace(platform.batch(platform.rev, platform.rev + 1, []), **signed)
                platform.rev += 1
                done = await edge.feed.apply(batch)
                assert (None if isinstance(done, Applied) else done.why) is why

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, None),
        ({"feed": None}, Refusal.SIGNATURE),
        ({"epoch": None}, Refusal.SIGNATURE),
        ({"start_rev": None}, Refusal.SIGNATURE),
        ({"feed": "other"}, Refusal.FEED),
        ({"epoch": "e0"}, Refusal.EPOCH),
        ({"start_rev": 3}, Refusal.MISMATCH),
    ],
)
def test_the_signed_end_of_another_snapshot_ends_none(
    tmp_path: Path, said: dict[str, Any], why: Refusal | None
) -> None:
    async def scenario() -> None:
        private = Ed25519PrivateKey.generate()
        keys = Keys({"k1": private.public_key().public_bytes_raw()}, required=True)
        async with Edge(tmp_path / "edge.db", keys=keys).running() as edge:
            platform = provider()
            names: dict[str, Any] = {"feed": "main", "epoch": "e1", "start_rev": platform.rev}
            names |= said
            trailer = replace(
                platform.trailer(), **names, key="ed25519:k1", signature=sign(names, private),
                signed=signed_octets(names),
            )  # fmt: skip
            staging = await edge.feed.snapshot("e1", platform.rev)
            await staging.add(platform.all(), "")
            done = await staging.finish(trailer)
            assert (None if isinstance(done, Applied) else done.why) is why

    asyncio.run(scenario())


def test_a_newer_version_is_brought_again_what_an_older_one_could_not_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        platform = provider()
        async with Edge(tmp_path / "edge.db").running() as edge:
            assert isinstance(await edge.load(platform), Applied)
            platform.put("plan", "new", plan(colour="red"), schema=2)
            platform.put("plan", "newer", plan(), schema=2, min_reader=2)
            assert isinstance(await edge.follow(platform), Applied)
            (row,) = await read_feeds(edge.engine)
            older = row._replace(detail=row.detail.replace(b'"schema":1', b'"schema":0'))
            assert older != row
            await edge.writer.commit(lambda rows: save_feed(rows, older))
        for restart in range(2):
            async with Edge(tmp_path / "edge.db").running() as edge:
                ours, theirs = (await edge.feed.digests()).buckets, platform.buckets()
                asked = {n for n in range(256) if ours[n] != theirs[n]}
                wanted = {bucket_of("plan", "new"), bucket_of("plan", "newer")}
                assert asked == (set() if restart else wanted)
                for bucket in asked:
                    items = [each for each in platform.all() if bucket_of(each.kind, each.id) == bucket]
                    assert isinstance(await edge.feed.repair(bucket, platform.rev, items), Applied)

    asyncio.run(scenario())


@pytest.mark.parametrize("keep", [True, False])
def test_a_feed_that_the_settings_name_no_longer_can_be_ended(tmp_path: Path, keep: bool) -> None:
    async def scenario() -> None:
        platform = provider(700)
        async with Edge(tmp_path / "edge.db", kinds=frozenset()).running() as edge:
            await edge.loader.load(document("home"))
        async with Edge(tmp_path / "edge.db").running() as edge:
            assert isinstance(await edge.load(platform), Applied)
            served = edge.records()
        async with Edge(tmp_path / "edge.db", name="other", kinds=frozenset({"staff"})).running() as edge:
            assert edge.feeds.left == {"main": "demo"}
            with pytest.raises(NotFound, match="such are main"):
                await edge.feeds.forget("other", keep=keep)
            assert await edge.feeds.forget("main", keep=keep) == ("main", "demo", 701, keep)
            assert edge.feeds.left == {}
            assert edge.records() == (served if keep else {})
            assert (("demo", "subscriber", "s1") in edge.told) is not keep
            with pytest.raises(NotFound):
                await edge.feeds.forget("main", keep=keep)
            await edge.loader.load(document("late"))  # they may now
        async with Edge(tmp_path / "edge.db", name="other", kinds=frozenset({"staff"})).running() as edge:
            late = {key: body for key, body in edge.records().items() if key != ("plan", "late")}
            assert late == (served if keep else {})
            async with edge.engine.connect() as rows:
                left = await rows.execute(select(func.count()).where(OBJECT.c.feed == "main"))
                assert left.scalar() == 0

    asyncio.run(scenario())


def test_operators_load_nothing_while_a_snapshot_is_compared_and_served(tmp_path: Path) -> None:
    async def scenario() -> None:
        platform = provider(400)
        kinds = frozenset({"subscriber", "plan"})
        async with Edge(tmp_path / "edge.db", kinds=kinds).running() as edge:
            staging = await edge.feed.snapshot("e1", platform.rev)
            await staging.add(platform.all(), "")
            finishing = asyncio.create_task(staging.finish(platform.trailer()))
            while not edge.owners.turn.locked() and not finishing.done():
                await asyncio.sleep(0)
            assert not finishing.done()
            record = Nas(tenant="demo", id="n1", prefixes=(ip_network("192.0.2.1/32"),), secret=SECRET)
            loading = asyncio.create_task(edge.apply.load([record], replace=False))
            while not finishing.done():
                assert "n1" not in edge.index.tenants["demo"].nases
                await asyncio.sleep(0)
            assert isinstance(await finishing, Applied)
            await loading
            assert "n1" in edge.index.tenants["demo"].nases

    asyncio.run(scenario())


def test_a_feed_may_bring_the_tenant_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Edge(tmp_path / "edge.db", kinds=KINDS | {"tenant"}).running() as edge:
            platform = provider()
            platform.put("tenant", "demo", {"name": "Demo"})
            platform.put("tenant", "other", {"name": "Other"})
            done = await edge.load(platform)
            assert isinstance(done, Applied)
            assert [(each.id, each.code) for each in done.nacks] == [("other", "other-tenant")]
            assert edge.index.tenants["demo"].tenant.name == "Demo"
            platform.delete("tenant", "demo")
            assert isinstance(await edge.follow(platform), Applied)
            assert edge.index.tenants["demo"].tenant.name == ""
            assert len(edge.index.tenants["demo"].subscribers) == 3

    asyncio.run(scenario())


def test_other_kinds_in_the_settings_ask_for_a_snapshot_and_serve_meanwhile(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, platform = tmp_path / "edge.db", provider()
        async with Edge(path).running() as edge:
            await edge.load(platform)
        async with Edge(path, kinds=frozenset({"subscriber"})).running() as edge:
            assert edge.feed.position is None
            assert (await edge.feed.status()).wants_snapshot
            assert len(edge.records()) == 4
            del platform.objects["plan", "home"]
            assert isinstance(await edge.load(platform), Applied)
            assert set(edge.index.tenants["demo"].plans) == set()

    asyncio.run(scenario())


def test_contact_is_kept_and_says_how_far_clocks_are_apart(tmp_path: Path) -> None:
    async def scenario() -> None:
        path, platform = tmp_path / "edge.db", provider()
        async with Edge(path).running() as edge:
            await edge.load(platform)
            await edge.clock.advance(60)  # type: ignore[attr-defined]
            await edge.feed.contact(77, 1010.0, 1000.0, 1004.0)
            status = await edge.feed.status()
            assert (status.head, status.skew_s, status.contact_at) == (77, 8.0, 1004.0)
        async with Edge(path).running() as edge:
            assert (await edge.feed.status()).contact_at == 1004.0

    asyncio.run(scenario())


def test_no_item_whatever_it_is_stops_a_feed(tmp_path: Path) -> None:
    async def story(edge: Edge, platform: Platform) -> None:
        deep: Any = []
        for _ in range(5000):
            deep = [deep]
        odd = [
            Item("subscriber", "\ud800", 100, Op.PUT, {"x": "\ud800"}),
            Item("sub\ud800", "a\x00b", 101, Op.PUT, {"x": 1}),
            Item("subscriber", "x" * 5000, 102, Op.PUT, {"x": 1}),
            Item("subscriber", "deep", 103, Op.PUT, {"x": deep}),
            Item("subscriber", "none", 104, Op.PUT, None),
            Item("subscriber", "list", 105, Op.PUT, [1]),  # type: ignore[arg-type]
            Item("subscriber", "s1", 106, Op.PUT, line("user1", vlan_id=9)),
            Item("\ud800", "\ud800", 107, Op.DELETE, None),
        ]
        done = await edge.feed.apply(platform.batch(platform.rev, 110, odd))
        assert isinstance(done, Applied)
        assert len(done.nacks) == 6
        assert edge.index.tenants["demo"].subscribers["s1"].vlan_id == 9
        again = [each._replace(op=Op.DELETE, rev=each.rev + 100) for each in odd[:6]]
        assert isinstance(await edge.feed.apply(platform.batch(110, 300, again)), Applied)
        assert await edge.feed.nacks() == []

    play(tmp_path, story)
