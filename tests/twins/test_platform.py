"""The reference platform keeps to the protocol, so that what fails against it is the edge."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.twins.platform import Platform, loads
from tests.twins.platform_book import Gone, canonical, digests_of

FEED = "t1/pop7"
BASE = f"/v1/edge/feeds/{FEED}"


def client(platform: Platform) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(platform.app), base_url="http://platform")


def filled(count: int, **options: Any) -> Platform:
    platform = Platform(FEED, **options)
    for number in range(count):
        platform.put("subscriber", f"S{number:04}", {"n": number})
    return platform


def test_a_batch_covers_all_up_to_its_end_though_revisions_have_holes() -> None:
    book = filled(0).book
    first = book.put("plan", "p", {})
    book.elsewhere(5)
    last = book.put("plan", "q", {})
    book.elsewhere(3)
    whole = book.changes(book.epoch, 0, 10)
    assert not isinstance(whole, Gone)
    assert ([each["rev"] for each in whole["items"]], whole["to"]) == ([first, last], book.rev)
    part = book.changes(book.epoch, 0, 1)
    assert not isinstance(part, Gone)
    assert (part["to"], part["head"]) == (first, book.rev)
    bookmark = book.changes(book.epoch, last, 10)
    assert not isinstance(bookmark, Gone)
    assert (bookmark["items"], bookmark["to"]) == ([], book.rev)


def test_a_compacted_log_and_another_epoch_are_told_apart() -> None:
    book = filled(10).book
    backup = book.backup()
    epoch = book.epoch
    book.compact(5)
    assert book.changes(epoch, 4, 10) == Gone(410, epoch, 5)
    assert not isinstance(book.changes(epoch, 5, 10), Gone)
    book.restore(backup)
    assert book.epoch != epoch
    assert book.changes(epoch, 5, 10) == Gone(409, book.epoch, 0)


def test_digests_that_are_kept_are_those_that_are_computed_at_any_revision() -> None:
    book = filled(50).book
    then, digests = book.rev, list(book.digests)
    book.delete("subscriber", "S0007")
    book.put("subscriber", "S0008", {"n": "other"})
    assert book.digests == digests_of(book.objects.items())
    assert book.digests_at(then) == digests
    assert book.digests_at(then) != book.digests


def test_a_snapshot_is_resumable_and_its_trailer_is_of_what_was_sent_while_writes_went_on() -> None:
    async def run() -> None:
        platform = filled(250)
        platform.on_page = lambda _: platform.delete("subscriber", "S0000") and None
        seen: list[Any] = []
        async with client(platform) as http:
            cursor = ""
            while True:
                pages = [
                    await http.get(f"{BASE}/snapshot", params={"cursor": cursor})
                    for _ in range(1 if not cursor else 2)
                ]
                assert len({page.content for page in pages}) == 1
                head, *lines = loads(pages[0].content)
                seen += [each for each in lines if "trailer" not in each]
                if head["next"] is None:
                    break
                cursor = head["next"]
        trailer = lines[-1]["trailer"]
        assert trailer["start_rev"] == 250
        assert trailer["counts"] == {"subscriber": len(seen)} == {"subscriber": 250}
        assert platform.book.rev == 251

    asyncio.run(run())


def test_snapshots_at_a_time_are_limited() -> None:
    async def run() -> None:
        platform = filled(250, most_snapshots=2, retry_after_s=7)
        async with client(platform) as http:
            answers = [await http.get(f"{BASE}/snapshot") for _ in range(3)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert answers[2].headers["Retry-After"] == "7"

    asyncio.run(run())


def test_batches_are_signed_over_their_canonical_form() -> None:
    key = Ed25519PrivateKey.generate()
    platform = filled(3, key=key)
    batch = platform.batch(FEED, platform.book.epoch, 0, 10)
    assert not isinstance(batch, Gone)
    signature = base64.b64decode(batch.pop("sig"))
    assert batch.pop("key") == "ed25519:k1"
    key.public_key().verify(signature, canonical(batch))


def test_a_poll_is_held_until_there_is_something_and_answered_empty_after_its_time() -> None:
    async def run() -> None:
        platform = filled(1)
        query = {"epoch": platform.book.epoch, "after": 1, "wait": 5}
        async with client(platform) as http:
            polling = asyncio.create_task(http.get(f"{BASE}/changes", params=query))
            await asyncio.sleep(0.05)
            assert not polling.done()
            platform.put("plan", "p", {})
            assert [each["id"] for each in (await polling).json()["items"]] == ["p"]
            empty = await http.get(f"{BASE}/changes", params=query | {"after": 2, "wait": 0.1})
            assert (empty.json()["items"], empty.json()["to"]) == ([], 2)

    asyncio.run(run())


def test_a_stream_brings_each_change_and_a_sign_of_life() -> None:
    async def run() -> None:
        platform = filled(1, beat_s=0.05)
        async with platform.serving() as port, httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{port}{BASE}/changes"
            query: dict[str, Any] = {"epoch": platform.book.epoch, "after": 0}
            async with http.stream(
                "GET", url, params=query, headers={"Accept": "application/x-ndjson"}
            ) as answer:
                lines = answer.aiter_lines()
                first, beat = loads((await anext(lines)).encode())[0], loads((await anext(lines)).encode())[0]
                platform.put("plan", "p", {})
                while not (last := loads((await anext(lines)).encode())[0])["items"]:
                    pass
        assert [each["id"] for each in first["items"]] == ["S0000"]
        assert (beat["items"], beat["to"]) == ([], 1)
        assert last["items"][0]["id"] == "p"

    asyncio.run(run())


def test_digests_tell_which_buckets_differ_and_their_objects_can_be_had() -> None:
    async def run() -> None:
        platform = filled(20)
        book = platform.book
        said = {"epoch": book.epoch, "rev": book.rev, "digests": [each.hex() for each in book.digests]}
        async with client(platform) as http:
            same = (await http.post(f"{BASE}/digests", json=said)).json()
            assert same["differ"] == []
            rev = book.rev
            book.corrupt("subscriber", "S0003", {"n": "other"})
            differ = (await http.post(f"{BASE}/digests", json=said)).json()["differ"]
            assert len(differ) == 1
            query = {"bucket": differ[0], "epoch": book.epoch, "rev": rev}
            objects = (await http.get(f"{BASE}/objects", params=query)).json()["items"]
            assert {"n": "other"} in [each["body"] for each in objects]

    asyncio.run(run())


def test_only_who_is_known_is_answered() -> None:
    async def run() -> None:
        platform = filled(1, token="good")
        async with client(platform) as http:
            assert (await http.get(f"{BASE}/snapshot")).status_code == 401
            known = await http.get(f"{BASE}/snapshot", headers={"Authorization": "Bearer good"})
            assert known.status_code == 200

    asyncio.run(run())
