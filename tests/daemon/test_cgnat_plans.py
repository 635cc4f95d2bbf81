"""CGNAT plans in the store: versions that are never changed, and the answers from plans and reports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from daemon.leases.cgnat import Cgnat, PlanRefused, StoredPlan
from daemon.store import coverage_rows
from daemon.store.cgnat_rows import PLAN
from ipam.cgnat import Algorithm, DeterministicPlan, OutOfPlan, Ports
from ipam.cgnat_blocks import NotHeld
from ipam.cgnat_versions import collect
from tests.daemon.cgnat_stage import HELD, OUTSIDE, RELEASED, Feed, Said, cgnat_store
from tests.daemon.conftest import Store


def plan(**changed: Any) -> DeterministicPlan:
    values: dict[str, Any] = {
        "id": "pop1",
        "version": 1,
        "inside": (IPv4Network("100.64.0.0/28"),),
        "outside": (IPv4Network("203.0.113.0/30"),),
        "sharing": 4,
        "block_size": 16_128,
    }
    return DeterministicPlan(**(values | changed))


def on_store(scene: Callable[[Store, Cgnat], Awaitable[None]]) -> None:
    async def go(path: Path) -> None:
        async with cgnat_store(Store(path)) as store:
            cgnat = Cgnat(store.engine, store.writer, "edge")
            await cgnat.load()
            await scene(store, cgnat)

    with TemporaryDirectory() as folder:
        asyncio.run(go(Path(folder) / "edge.db"))


async def added(cgnat: Cgnat, wanted: DeterministicPlan, tenant: str = "demo") -> StoredPlan:
    done = await cgnat.add(tenant, wanted, 5.0)
    assert isinstance(done, StoredPlan), done
    return done


def test_a_plan_is_read_back_as_it_was() -> None:
    async def scene(store: Store, cgnat: Cgnat) -> None:
        wanted = plan(
            inside=(IPv4Network("100.64.8.0/29"), IPv4Network("100.64.0.0/29")),
            block_size=16_000,
            reserved_ports=frozenset({5_060, 8_080}),
            algorithm=Algorithm.STRIPED,
            boundaries=False,
            valid_from=1_000.5,
        )
        await added(cgnat, wanted)
        again = Cgnat(store.engine, store.writer, "edge")
        await again.load()
        assert again.stored() == (StoredPlan("demo", wanted, 5.0),)
        assert again.problems == ()

    on_store(scene)


def test_a_new_version_ends_the_one_before() -> None:
    async def scene(_store: Store, cgnat: Cgnat) -> None:
        await added(cgnat, plan())
        second = await added(
            cgnat, plan(version=9, inside=(IPv4Network("100.64.8.0/28"),), valid_from=1_000.0)
        )
        assert second.plan.version == 2
        plans = cgnat.of_tenant("demo")
        assert [each.valid_until for each in plans.plans] == [1_000.0, None]
        inside = [
            str(each.inside) for at in (999.0, 1_000.0) for each in plans.holders(OUTSIDE, 1_024, at).holders
        ]
        assert inside == ["100.64.0.4", "100.64.8.4"]
        assert isinstance(await cgnat.add("demo", plan(valid_from=1_000.0), 5.0), PlanRefused)

    on_store(scene)


def test_an_end_is_given_once_and_the_plan_stays() -> None:
    async def scene(_store: Store, cgnat: Cgnat) -> None:
        await added(cgnat, plan(valid_from=10.0))
        assert await cgnat.end("demo", "gone", 20.0, 5.0) is None
        assert isinstance(await cgnat.end("demo", "pop1", 10.0, 5.0), PlanRefused)
        done = await cgnat.end("demo", "pop1", 20.0, 5.0)
        assert isinstance(done, StoredPlan)
        assert done.plan.valid_until == 20.0
        assert isinstance(await cgnat.end("demo", "pop1", 30.0, 5.0), PlanRefused)
        plans = cgnat.of_tenant("demo")
        assert len(plans.holders(OUTSIDE, 1_024, 19.0).holders) == 1
        assert plans.holders(OUTSIDE, 1_024, 20.0).silences[0].why is OutOfPlan.NO_PLAN
        await added(cgnat, plan(valid_from=30.0))
        assert [each.plan.valid_until for each in cgnat.stored()] == [20.0, None]

    on_store(scene)


def test_plans_that_contradict_each_other_are_refused_with_both_names() -> None:
    async def scene(_store: Store, cgnat: Cgnat) -> None:
        await added(cgnat, plan())
        refused = await cgnat.add("demo", plan(id="pop2", outside=(IPv4Network("203.0.113.0/29"),)), 5.0)
        assert refused == PlanRefused(
            ("pop1 version 1 and pop2 version 1: both use 203.0.113.0/30 at the same time",)
        )
        assert [each.plan.id for each in cgnat.stored()] == ["pop1"]
        await added(cgnat, plan(id="pop2", outside=(IPv4Network("198.51.100.0/30"),)))
        await added(cgnat, plan(), tenant="other")  # another provider's own business
        assert [each.tenant for each in cgnat.stored()] == ["demo", "demo", "other"]

    on_store(scene)


def test_a_plan_that_cannot_be_read_is_told_and_the_others_serve() -> None:
    async def scene(store: Store, cgnat: Cgnat) -> None:
        await added(cgnat, plan())
        await added(cgnat, plan(id="pop2", outside=(IPv4Network("198.51.100.0/30"),)))
        async with store.engine.begin() as connection:
            await connection.execute(update(PLAN).where(PLAN.c.name == "pop1").values(detail=b"{}"))
        await cgnat.load()
        assert [each.plan.id for each in cgnat.stored()] == ["pop2"]
        assert "pop1 version 1 of demo" in cgnat.problems[0]

    on_store(scene)


@st.composite
def versions(draw: st.DrawFn) -> list[DeterministicPlan]:
    """Versions of one plan, each with numbers and a time of its own."""
    out: list[DeterministicPlan] = []
    since = 0.0
    for version in range(1, draw(st.integers(1, 4)) + 1):
        since += draw(st.integers(1, 50))
        algorithm = draw(st.sampled_from(Algorithm))
        out.append(
            plan(
                version=version,
                inside=(IPv4Network(f"100.64.{draw(st.integers(0, 3)) * 8}.0/29"),),
                sharing=draw(st.integers(2, 5)),
                block_size=draw(st.integers(1, 200)),
                first_port=draw(st.integers(1, 5_000)),
                algorithm=algorithm,
                boundaries=draw(st.booleans()),
                valid_from=since,
            )
        )
    return out


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(versions())
def test_each_version_answers_for_its_own_time_forwards_and_backwards(made: list[DeterministicPlan]) -> None:
    async def scene(_store: Store, cgnat: Cgnat) -> None:
        for each in made:
            await added(cgnat, each)
        plans = cgnat.of_tenant("demo")
        assert plans == collect(plans.plans)
        for stored, wanted in zip(plans.plans, made, strict=True):
            times = [stored.valid_from]
            if stored.valid_until is not None:
                times.append(stored.valid_until - 0.5)
            for number in range(wanted.inside_span.count):
                inside = wanted.inside_span.address(number)
                ports = wanted.forward(inside)
                assert isinstance(ports, Ports)
                for at in times:
                    (had,) = plans.ports(inside, at)
                    assert (had.ports, had.version) == (ports, wanted.version)
                    for port in (ports.first_port, ports.last_port):
                        (holder,) = plans.holders(ports.outside, port, at).holders
                        assert (holder.inside, holder.version) == (inside, wanted.version)

    on_store(scene)


def test_a_reported_block_is_found_by_tenant_and_with_the_gaps_that_matter() -> None:
    async def scene(store: Store, cgnat: Cgnat) -> None:
        async def run(start: float, last: float) -> None:
            async def write(connection: Any) -> None:
                number = await coverage_rows.begin(connection, "edge", start)
                await coverage_rows.beat(connection, number, last)

            await store.writer.commit(write)

        await run(100.0, 200.0)
        await run(300.0, 900.0)
        feed = Feed()
        feed.say(*(Said(1, 7, HELD, 150.0), Said(2, 8, HELD, 160.0, 1), Said(3, 8, RELEASED, 400.0, 1)))
        await feed.ingest.flush(store.writer)

        async def asked(at: float, port: int = 1_024) -> Any:
            async with store.engine.connect() as connection:
                found = await cgnat.blocks(connection, OUTSIDE, at, at)
                return found["demo"].find(OUTSIDE, port, at) if found else None

        assert await asked(140.0) is None
        early = await asked(170.0)
        assert ([each.session for each in early.leases], early.gaps) == (["7"], ())
        doubted = await asked(350.0)  # the edge was down meanwhile, and no release says that it still is 7's
        assert [each.why for each in doubted.gaps] == ["edge edge was down or could not write"]
        assert (await asked(350.0, 1_536)).gaps == ()  # its release names the block
        assert (await asked(500.0, 1_536)).why is NotHeld.FREE
        (had,) = await cgnat.ports("demo", "100.64.0.7", 500.0)
        assert (had.session, had.first_port) == ("7", 1_024)

    on_store(scene)


def test_what_was_pruned_is_not_said_to_be_free() -> None:
    async def scene(store: Store, cgnat: Cgnat) -> None:
        feed = Feed()
        feed.say(Said(1, 7, HELD, 10.0), Said(2, 7, RELEASED, 20.0), Said(3, 8, HELD, 200.0))
        await feed.ingest.flush(store.writer)
        gone: list[int] = []

        async def prune(connection: Any) -> None:
            gone.append(await cgnat.prune(connection, 100.0))

        await store.writer.commit(prune)
        await store.writer.commit(prune)
        assert gone == [1, 0]
        async with store.engine.connect() as connection:
            index = (await cgnat.blocks(connection, OUTSIDE, 15.0, 250.0))["demo"]
        assert index.find(OUTSIDE, 1_024, 15.0).why is NotHeld.NOT_KEPT
        assert index.find(IPv4Address("192.0.2.9"), 1_024, 150.0).why is NotHeld.UNKNOWN_OUTSIDE

    on_store(scene)
