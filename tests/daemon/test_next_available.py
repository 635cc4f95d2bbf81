"""Next-available: the same key, the same answer, and never an address twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter as Count
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import StoreUnavailable
from daemon.store import idempotency_rows
from ipam.definition_rows import delete_reservation, load_reservations
from ipam.kinds import Cause, Kind
from ipam.lease import Bundle, Request, Wanted
from ipam.restore import faults
from tests.daemon.ipam_leases_stage import Counter, counter

Story = Callable[[Counter], Awaitable[None]]


def run(directory: Path, story: Story, **settings: Any) -> None:
    async def everything() -> None:
        async with counter(directory, **settings) as stage:
            await story(stage)
            addresses = stage.play.edge.addresses
            assert faults(addresses.register) == ()

    asyncio.run(everything())


def given(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["address"] for each in answer.json()["items"]]


@pytest.mark.parametrize("hold", ["reservation", "lease"])
def test_the_same_key_brings_the_same_answer_and_another_key_another_address(
    tmp_path: Path, hold: str
) -> None:
    async def story(stage: Counter) -> None:
        first = await stage.next("key-0001", hold=hold)
        again = await stage.next("key-0001", hold=hold)
        assert given(first) == ["203.0.113.0"]
        assert (again.status_code, again.content) == (first.status_code, first.content)
        other = await stage.next("key-0002", owner="B2", hold=hold)
        assert given(other) == ["203.0.113.1"]

    run(tmp_path, story)


def test_a_key_is_for_one_request_however_its_json_is_written(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        first = await stage.next("key-0001", count=1, hold="lease")
        turned = await stage.ask(
            "POST",
            "/pools/v4/next-available",
            json={"hold": "lease", "count": 1, "owner": "B1"},
            key="key-0001",
        )
        assert turned.content == first.content
        other = await stage.next("key-0001", count=2, hold="lease")
        assert other.status_code == 422
        assert "was used for another request" in other.json()["message"]
        elsewhere = await stage.next("key-0001", "pd", count=1, hold="lease")
        assert elsewhere.status_code == 422

    run(tmp_path, story)


def test_without_a_key_nothing_is_given(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        refused = await stage.next("")
        assert refused.status_code == 422
        assert "idempotency-key" in refused.json()["message"].lower()
        assert (await stage.get("/leases"))["items"] == []

    run(tmp_path, story)


@pytest.mark.parametrize("hold", ["reservation", "lease"])
def test_a_refusal_is_repeated_as_well(tmp_path: Path, hold: str) -> None:
    async def story(stage: Counter) -> None:
        refused = await stage.next("key-0001", count=9, hold=hold)
        assert refused.status_code == 409
        assert "has not got 9 free" in refused.json()["message"]
        again = await stage.next("key-0001", count=9, hold=hold)
        assert (again.status_code, again.json()["message"]) == (409, refused.json()["message"])
        assert (await stage.get("/leases"))["items"] == [], "nothing of it was kept"
        assert len(given(await stage.next("key-0002", count=8, hold=hold))) == 8

    run(tmp_path, story)


def test_a_reservation_is_what_its_owner_gets_at_the_next_login(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await stage.next("key-0000", owner="X1")
        (address,) = given(await stage.next("key-0001", owner="A1"))
        bng = await stage.play.bng()
        cpe = bng.cpe("alice", "wonderland")
        await stage.play.connect(bng, cpe)
        assert str(cpe.address) == address == "203.0.113.1"
        second = await stage.next("key-0002", owner="A1")
        assert second.status_code == 409
        assert "A1 has a reservation already: 203.0.113.1" in second.json()["message"]

    run(tmp_path, story)


def test_several_are_reserved_under_numbered_names(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        answer = await stage.next("key-0001", "pd", owner="B1", count=3)
        items = answer.json()["items"]
        assert [(each["owner"], each["address"]) for each in items] == [
            ("B1/1", "2001:db8:100::/56"),
            ("B1/2", "2001:db8:100:100::/56"),
            ("B1/3", "2001:db8:100:200::/56"),
        ]

    run(tmp_path, story)


def test_a_held_lease_is_held_for_its_time_also_over_a_restart(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        (address,) = given(await stage.next("key-0001", hold="lease", seconds=3600))
        play = stage.play
        await play.pass_time(1800, step_s=60)
        await play.restart()
        await stage.open()
        assert given(await stage.next("key-0001", hold="lease", seconds=3600)) == [address]
        await play.pass_time(1500, step_s=60)
        assert (await stage.get(f"/leases/{address}"))["lease"]["state"] == "tentative"
        await play.pass_time(420, step_s=60)
        assert (await stage.get(f"/leases/{address}"))["lease"]["state"] == "held"

    run(tmp_path, story)


# --- crashes ---------------------------------------------------------------------------------------


async def _lose_answer(stage: Counter, key: str) -> None:
    """Leave the store as a crash does that comes after the fact and before its answer was stored."""

    async def forget(connection: AsyncConnection) -> None:
        row = await idempotency_rows.find(connection, key)
        assert row is not None
        await idempotency_rows.begin(connection, row._replace(status=None, body=None), 0.0)

    await stage.play.edge.writer.commit(forget)


@pytest.mark.parametrize("hold", ["reservation", "lease"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_crash_between_the_fact_and_its_answer_gives_no_second_address(
    tmp_path: Path, hold: str, count: int
) -> None:
    async def story(stage: Counter) -> None:
        first = await stage.next("key-0001", hold=hold, count=count)
        await _lose_answer(stage, "key-0001")
        await stage.play.restart()
        await stage.open()
        again = await stage.next("key-0001", hold=hold, count=count)
        assert given(again) == given(first)
        async with stage.play.edge.engine.connect() as connection:
            assert len(await load_reservations(connection)) == (count if hold == "reservation" else 0)
        assert len((await stage.get("/leases"))["items"]) == count
        other = await stage.next("key-0001", hold=hold, count=count + 1)
        assert other.status_code == 422, "what was asked is known, though there was no answer"

    run(tmp_path, story)


def test_what_a_crash_left_set_aside_without_a_reservation_is_given_up_at_the_start(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        first = given(await stage.next("key-0001", count=2))
        await _lose_answer(stage, "key-0001")

        async def lose_rows(connection: AsyncConnection) -> None:
            for each in await load_reservations(connection):
                await delete_reservation(connection, each.tenant, each.vrf, each.unit)

        await stage.play.edge.writer.commit(lose_rows)
        await stage.play.restart()
        await stage.open()
        again = given(await stage.next("key-0001", count=2))
        assert len({*first, *again}) == 4, "nobody was told of the first ones"
        assert (await stage.ask("POST", "/checks")).json()["count"] == 0

    run(tmp_path, story)


class Refusing:
    """Where reservations are kept, on a disk that refuses after some."""

    def __init__(self, inner: Any, after: int) -> None:
        self.inner, self.left = inner, after

    async def reserve(self, reservation: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("disk full")
        return await self.inner.reserve(reservation)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_disk_that_refuses_is_told_and_the_repeat_gets_all(tmp_path: Path, after: int) -> None:
    async def story(stage: Counter) -> None:
        stage.offers._reservations = Refusing(stage.definitions.reservations, after)  # type: ignore[assignment]
        failed = await stage.next("key-0001", count=3)
        assert (failed.status_code, failed.json()["retryable"]) == (503, True)
        stage.offers._reservations = stage.definitions.reservations
        got = given(await stage.next("key-0001", count=3))
        assert len(set(got)) == 3
        async with stage.play.edge.engine.connect() as connection:
            assert len(await load_reservations(connection)) == 3

    run(tmp_path, story)


# --- many at once ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_fifty_tasks_with_repeats_and_logins_between_them_never_get_an_address_twice(
    tmp_path: Path, seed: int
) -> None:
    async def story(stage: Counter) -> None:
        dice = random.Random(seed)
        asked: list[dict[str, Any]] = [
            {
                "owner": f"S{number}",
                "count": dice.randint(1, 3),
                "hold": dice.choice(["lease", "reservation"]),
            }
            for number in range(25)
        ]
        answers: dict[int, set[bytes]] = {}

        async def one(number: int) -> None:
            for _ in range(dice.randint(0, 3)):
                await asyncio.sleep(0)
            answer = await stage.next(f"key-{number:04}", **asked[number])
            assert answer.status_code in (200, 409), answer.text
            answers.setdefault(number, set()).add(answer.content if answer.status_code == 200 else b"")

        async def login(number: int) -> str:
            await asyncio.sleep(0)
            addresses = stage.play.edge.addresses
            clock = stage.play.clock
            wanted = Request(tenant="demo", wanted=(Wanted(Kind.V4, ("v4",)),))
            taken = addresses.book.take(f"L{number}", wanted, clock.monotonic(), clock.wall())
            return str(taken.leases[0].unit) if isinstance(taken, Bundle) else ""

        tasks = [one(number) for number in range(25) for _ in range(2)]
        dice.shuffle(tasks)
        done = await asyncio.gather(*tasks, *(login(number) for number in range(8)))
        assert all(len(each) == 1 for each in answers.values()), "a repeat got another answer"
        addresses = [each for each in done if each]
        for said in answers.values():
            for body in said - {b""}:
                addresses += [each["address"] for each in json.loads(body)["items"]]
        assert len(addresses) > 25
        assert [each for each, times in Count(addresses).items() if times > 1] == []

    run(tmp_path, story, v4="203.0.113.0/27")


def test_a_repeat_waits_for_the_first_that_is_under_way(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        answers = await asyncio.gather(*(stage.next("key-0001", hold="lease") for _ in range(10)))
        assert len({each.content for each in answers}) == 1
        assert len((await stage.get("/leases"))["items"]) == 1

    run(tmp_path, story)


@pytest.mark.parametrize("hold", ["reservation", "lease"])
@pytest.mark.parametrize("used", [0, 32])
def test_none_is_refused_while_there_is_room_for_all_at_once(tmp_path: Path, hold: str, used: int) -> None:
    async def story(stage: Counter) -> None:
        addresses, clock = stage.play.edge.addresses, stage.play.clock
        wanted = Request(tenant="demo", wanted=(Wanted(Kind.V4, ("v4",)),))
        before = [
            addresses.book.take(f"L{each}", wanted, clock.monotonic(), clock.wall()) for each in range(used)
        ]
        for each in before:
            assert isinstance(each, Bundle)
            addresses.book.release(each.id, Cause.STOP, clock.monotonic(), clock.wall())
        asked = [
            stage.next(f"key-{number:04}", owner=f"S{number}", count=2, hold=hold) for number in range(16)
        ]
        got = [address for answer in await asyncio.gather(*asked) for address in given(answer)]
        assert len(set(got)) == len(got) == 32

    run(tmp_path, story, v4="203.0.113.0/27", sticky=False, quarantine_s=0.0, min_reuse_s=0.0)
