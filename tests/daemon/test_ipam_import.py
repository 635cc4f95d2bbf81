"""Address books of other systems are taken over whole or not at all; who had an address gets it again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest

from daemon.errors import StoreUnavailable
from daemon.leases.import_model import Report
from daemon.replica.records import Nas, Plan, Secret, SecretKind
from ipam.address import read_unit
from ipam.history import Party
from ipam.imports.records import Imported
from ipam.kinds import BOUND, Kind, LeaseState, PoolState
from ipam.lease import Bundle, Exhausted, Sighting
from ipam.restore import faults
from radius.grant import Access
from tests.daemon.conftest import Store
from tests.daemon.definitions_stage import TENANT, Stage, fixed, spec
from tests.daemon.import_stage import book, make, moment, open_table, problems, rows, send, tables
from tests.daemon.stack import subscriber

Story = Callable[[Stage], Awaitable[None]]
MAC = "02:00:00:00:00:0"


def run(store: Store, story: Story) -> None:
    async def everything() -> None:
        async with store.running():
            stage = Stage(store.engine)
            async with stage.running():
                await story(stage)
                assert faults(stage.addresses.register) == ()

    asyncio.run(everything())


async def people(stage: Stage) -> None:
    """Two subscribers over PPP; their ids are A and B."""
    plan = Plan(tenant=TENANT, id="home", access=Access.PPP)
    await stage.load(plan, subscriber("a", "home"), subscriber("b", "home"))


def two(stage: Stage) -> Imported:
    return rows(
        f"main,10.0.0.1,192.0.2.1,02-00-00-00-00-01,{moment(stage, 3000)},a,1",
        f"main,10.0.0.2,192.0.2.1,02-00-00-00-00-02,{moment(stage, -90_000)},b,2",
        "main,10.0.0.3,,,,,0",
    )


def wants(stage: Stage, owner: str, name: str = "main") -> str:
    """Log in by the key that a PPP login has; return the address."""
    got = stage.take(owner, name)
    assert isinstance(got, Bundle), got
    return str(got.leases[0].unit)


def test_who_had_an_address_gets_it_again(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        done = await make(stage, two(stage))
        assert done.done
        assert done.made == {"pools": 1, "ranges": 1, "leases": 1, "kept for their owners": 1}
        known = stage.definitions.pools.find(TENANT, "main")
        assert known is not None
        assert known.pool.state is PoolState.ACTIVE
        assert stage.state("10.0.0.1") is LeaseState.TENTATIVE
        assert stage.state("10.0.0.2") is LeaseState.FREE
        for _ in range(2):
            assert wants(stage, "C") == "10.0.0.3"
            assert wants(stage, f"A/{MAC}1") == "10.0.0.1"
            assert wants(stage, f"B/{MAC}2") == "10.0.0.2"
            await stage.settle()
            await stage.restart()

    run(store, story)


def test_nobody_else_gets_an_address_before_its_lease_there_is_over(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await make(stage, two(stage))
        wants(stage, "C"), wants(stage, "D")
        assert isinstance(stage.take("E", "main"), Exhausted)  # D has what B's lease left long ago
        stage.expire(2900)
        assert stage.state("10.0.0.1") is LeaseState.TENTATIVE
        stage.expire(200)
        assert stage.state("10.0.0.1") is LeaseState.HELD
        assert wants(stage, f"A/{MAC}1") == "10.0.0.1"

    run(store, story)


def test_a_session_that_is_online_keeps_its_address(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await make(stage, two(stage))
        place = stage.addresses.register.locate(TENANT, "", read_unit("10.0.0.1"))
        assert place is not None
        shelf, cell = place[0], place[0].allocator.cell_at(place[1])
        # Accounting knows the owner by the subscriber of the lease, see `lease_keeping`.
        assert shelf.tenures[cell].party == Party("A", "192.0.2.1", "", "02-00-00-00-00-01")
        owner = shelf.tenures[cell].owner
        now, at = stage.clock.monotonic(), stage.clock.wall()
        seen = stage.addresses.steward.observe(TENANT, "", read_unit("10.0.0.1"), owner, "7", now, at)
        assert seen.sighting is Sighting.KNOWN
        assert stage.addresses.book.bind(seen.bundle_id, "7", now, at)
        assert shelf.allocator.states[cell] == BOUND

    run(store, story)


def test_the_same_again_changes_nothing(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        everything = book(
            "10.0.0.0/29,pool,,main,",
            f"10.0.0.1,leased,a,main,{moment(stage, 3000)}",
            f"10.0.0.2,leased,b,main,{moment(stage, -90_000)}",
            "10.0.0.3,fixed,b,main,",
            "10.0.0.4,disabled,,main,",
            "10.0.0.5,declined,,main,",
            "192.0.2.1,fixed,router,,",
            "10.0.0.0/8,container,,,",
        )
        done = await make(stage, everything)
        assert done.made == {
            "pools": 1,
            "ranges": 1,
            "leases": 1,
            "kept for their owners": 1,
            "reservations": 2,
            "exclusions": 1,
            "declined": 1,
            "prefixes": 1,
        }
        await stage.settle()
        before = await tables(stage)
        for _ in range(2):
            again = await make(stage, everything)
            assert again.made == {}
            assert again.unchanged == {"leases": 2, "reservations": 2, "prefixes": 1}
            await stage.settle()
            assert await tables(stage) == before
            await stage.restart()

    run(store, story)


def test_a_dry_run_says_the_same_and_does_nothing(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        before = await tables_before(stage)
        dry = await send(stage, two(stage), dry_run=True)
        assert isinstance(dry, Report)
        assert not dry.done
        assert await tables(stage) == before
        done = await make(stage, two(stage))
        assert (dry.made, dry.unchanged, dry.notes) == (done.made, done.unchanged, done.notes)

    run(store, story)


async def tables_before(stage: Stage) -> dict[str, list[tuple[Any, ...]]]:
    await open_table(stage)
    return await tables(stage)


def test_overlaps_are_refused_with_both_names_and_nothing_is_taken(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await stage.load(spec("platform", "10.0.0.0/24"))
        said = problems(await send(stage, two(stage)))
        assert "pool main and pool platform overlap" in said[0] or "pool platform and pool main" in said[0]
        assert said[0].startswith("pool.csv:2: pool:")
        assert stage.definitions.pools.find(TENANT, "main") is None

    run(store, story)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("10.0.0.9,leased,a,main,{soon}", "10.0.0.9 of a is held here for Y"),
        ("10.0.0.10,leased,a,main,{soon}", "10.0.0.10 of a is by the data, for F"),
        ("10.0.0.11,leased,a,main,{soon}", "10.0.0.11 of a is reserved, for B"),
        ("10.0.0.12,leased,a,main,{soon}", "10.0.0.12 of a is excluded from the pool"),
        ("10.0.0.11,fixed,a,main,", "10.0.0.11 of A; expected what is nobody else's; it is reserved for B"),
        ("10.0.0.10,fixed,a,main,", "it is by the data of subscriber F"),
    ],
)
def test_what_somebody_else_has_here_is_in_the_way(store: Store, row: str, said: str) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await stage.add("main", "10.0.0.8/29")
        await stage.load(fixed("f", "10.0.0.10"))
        await make(stage, book("10.0.0.11,fixed,b,main,", "10.0.0.12,disabled,,main,"))
        assert stage.login("X", "main") == "10.0.0.8"
        assert stage.login("Y", "main") == "10.0.0.9"
        stage.logout("Y")
        text = row.format(soon=moment(stage, 3000))
        found = problems(await send(stage, book(text)))
        assert len(found) == 1
        assert said in found[0]

    run(store, story)


def test_what_is_over_there_does_not_count_against_what_is_here(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await stage.add("main", "10.0.0.0/29")
        assert stage.login("X", "main") == "10.0.0.0"
        done = await make(stage, book(f"10.0.0.0,leased,a,main,{moment(stage, -5)}"))
        assert done.made == {}
        assert "10.0.0.0 of a is bound here for X" in str(done.notes[0])
        assert stage.state("10.0.0.0") is LeaseState.BOUND

    run(store, story)


def test_a_lease_that_ended_just_now_waits_as_one_of_ours(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await make(stage, rows(f"main,10.0.0.1,,{MAC}1,{moment(stage, -5)},a,1"))
        assert stage.state("10.0.0.1") is LeaseState.HELD
        assert isinstance(stage.take("C", "main"), Exhausted)

    run(store, story)


def test_an_owner_of_several_rows_gets_the_last_one(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        done = await make(
            stage,
            rows(
                f"main,10.0.0.1,,{MAC}1,{moment(stage, -50_000)},a,1",
                f"main,10.0.0.2,,{MAC}1,{moment(stage, -10_000)},a,1",
                f"main,10.0.0.3,,{MAC}1,{moment(stage, -90_000)},a,1",
                f"main,10.0.0.4,,{MAC}2,{moment(stage, 900)},b,1",
                f"main,10.0.0.5,,{MAC}2,{moment(stage, 800)},b,1",
                f"main,10.0.0.6,,{MAC}2,{moment(stage, -90_000)},b,1",
            ),
        )
        assert done.made["leases"] == 2
        assert done.made["kept for their owners"] == 1
        for _ in range(2):
            assert wants(stage, f"A/{MAC}1") == "10.0.0.2"
            assert wants(stage, f"B/{MAC}2") in ("10.0.0.4", "10.0.0.5")
            await stage.settle()
            await stage.restart()

    run(store, story)


def test_owners_are_found_by_name_realm_mac_and_what_the_mapping_says(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        secret = Secret(SecretKind.CLEARTEXT, b"x")
        nas = Nas(
            tenant=TENANT, id="bras", prefixes=(ip_network("192.0.2.1/32"),), secret=secret, strip_realm=True
        )
        stage.index.put(nas)
        await stage.load(subscriber("m", "ipoe", macs=(f"{MAC}5",)), Plan(tenant=TENANT, id="ipoe"))
        soon = moment(stage, 900)
        done = await make(
            stage,
            rows(
                f"main,10.0.0.1,192.0.2.1,{MAC}1,{soon},a@isp.example,1",
                f"main,10.0.0.2,192.0.2.1,,{soon},02-00-00-00-00-05,1",
                f"main,10.0.0.3,192.0.2.1,,{soon},old name,1",
                f"main,10.0.0.4,192.0.2.1,{MAC}7,{soon},stranger,1",
            ),
            names={"owners": {"old name": "B"}, "pools": {"main": "home"}},
        )
        register = stage.addresses.register
        shelf = register.shelves[TENANT, "home"]
        owners = {str(shelf.unit(cell)): tenure.owner for cell, tenure in shelf.tenures.items()}
        assert owners == {
            "10.0.0.1": f"A/{MAC}1",
            "10.0.0.2": f"M/{MAC}5",
            "10.0.0.3": "B",
            "10.0.0.4": f"/{MAC}7",
        }
        remedy = "load the subscriber, or name it under `owners` of --map"
        assert [str(each) for each in done.notes] == [
            f"pool.csv:5: owner: got stranger; expected a subscriber; kept for /{MAC}7; {remedy}"
        ]
        tenure = next(iter(shelf.tenures.values()))
        assert tenure.party == Party("A", "bras", "", f"{MAC}1")

    run(store, story)


def test_a_pool_in_another_vrf_than_its_subscribers_is_noted(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        done = await make(stage, two(stage), names={"pools": {"main": {"vrf": "blue"}}})
        assert "got blue; expected VRF default, in which the data have subscriber B" in str(done.notes[0])

    run(store, story)


def test_an_unknown_subscriber_of_the_mapping_is_a_problem(store: Store) -> None:
    async def story(stage: Stage) -> None:
        names = {"owners": {"a": "nobody"}}
        said = problems(await send(stage, two(stage), names=names))
        assert said == ["pool.csv:2: subscriber: got nobody; expected the id of a subscriber of this tenant"]

    run(store, story)


def test_a_pool_that_is_here_grows_and_serves_what_is_new_only_in_the_end(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await stage.add("main", "10.0.0.0/30")
        stage.login("X", "main")
        done = await make(stage, rows(*two_pools(stage)))
        assert done.made == {"ranges": 1, "leases": 1}
        known = stage.definitions.pools.find(TENANT, "main")
        assert known is not None
        assert [(each.slots, each.draining) for each in known.pool.ranges] == [(4, False), (2, False)]
        assert stage.state("10.0.0.0") is LeaseState.BOUND

    run(store, story)


def two_pools(stage: Stage) -> list[str]:
    return [
        f"main,10.0.0.8,,{MAC}1,{moment(stage, 900)},a,1",
        "main,10.0.0.9,,,,,",
        "main,10.0.0.1,,,,,",
    ]


def test_a_disk_that_fills_up_leaves_pools_closed_and_the_next_run_completes(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await open_table(stage)
        async with stage.full_disk("ipam_lease"):
            said = await send(stage, two(stage))
            assert isinstance(said, str)
            assert "the same import again completes it" in said
            known = stage.definitions.pools.find(TENANT, "main")
            assert known is not None
            assert known.pool.state is PoolState.DISABLED
            assert isinstance(stage.take("C", "main"), Exhausted)
        await stage.restart()
        assert isinstance(stage.take("C", "main"), Exhausted)
        await make(stage, two(stage))
        assert wants(stage, "C") == "10.0.0.3"
        assert wants(stage, f"A/{MAC}1") == "10.0.0.1"
        assert (await tables(stage))["ipam_import"] == []

    run(store, story)


def test_a_pool_that_an_operator_has_disabled_stays_so(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        await make(stage, two(stage))
        await stage.definitions.pools.set_state(TENANT, "main", PoolState.DISABLED)
        await make(stage, two(stage))
        known = stage.definitions.pools.find(TENANT, "main")
        assert known is not None
        assert known.pool.state is PoolState.DISABLED

    run(store, story)


@pytest.mark.parametrize("crash", range(1, 13))
def test_a_crash_anywhere_is_completed_by_the_next_run(store: Store, crash: int) -> None:
    """The daemon dies before its commit of that number; what was committed before it is all that is left."""

    async def story(stage: Stage) -> None:
        await people(stage)
        await open_table(stage)
        everything = book(
            "10.0.0.0/29,pool,,main,",
            f"10.0.0.1,leased,a,main,{moment(stage, 3000)}",
            f"10.0.0.2,leased,b,main,{moment(stage, -90_000)}",
            "10.0.0.3,fixed,b,main,",
            "10.0.0.4,disabled,,main,",
            "10.0.0.0/8,container,,,",
        )
        left, real = [crash], stage.writer._transaction

        async def dying(connection: Any, works: Any) -> StoreUnavailable | None:
            left[0] -= 1
            return StoreUnavailable("dead") if left[0] < 0 else await real(connection, works)

        stage.writer._transaction = dying  # type: ignore[method-assign]
        said = await send(stage, everything)
        await stage.restart()
        if isinstance(said, str):
            known = stage.definitions.pools.find(TENANT, "main")
            finished = known is not None and known.pool.state is PoolState.ACTIVE
            assert finished == isinstance(stage.take("C", "main"), Bundle)
        await make(stage, everything)
        await stage.settle()
        rows_now = await tables(stage)
        assert rows_now["ipam_import"] == []
        assert stage.state("10.0.0.3") is LeaseState.RESERVED
        known = stage.definitions.pools.find(TENANT, "main")
        assert known is not None
        assert [
            (str(IPv4Address(first)), str(IPv4Address(last))) for first, last in known.pool.exclusions
        ] == [("10.0.0.4", "10.0.0.4")]
        owners = {(row[5], row[7]) for row in rows_now["ipam_lease"]}
        assert {("10.0.0.1", "A"), ("10.0.0.2", "B")} <= owners
        assert wants(stage, "A") == "10.0.0.1"

    run(store, story)


def test_lines_that_are_malformed_are_named(store: Store) -> None:
    async def story(stage: Stage) -> None:
        body = b"\n".join(
            [
                b"{",
                b'{"what": "lease", "block": "10.0.0.1", "pool": "none", "owner": "a", "colour": "red"}',
                b'{"what": "lease", "block": "10.0.0.256", "pool": "none"}',
                b'{"what": "lease", "block": "10.0.0.1", "pool": "none", "until": "soon"}',
                b'{"what": "lease", "block": "10.0.0.1", "pool": "none", "owner": "a", "file": "x.csv", "line": 4}',
                b'{"what": "range", "block": "10.0.0.1-10.0.0.9", "pool": "none"}',
            ]
        )
        said = problems(await send(stage, body))
        assert [each.partition(" got")[0] for each in said] == [
            "the request:1:",
            "the request:2: colour:",
            "the request:3: block:",
            "the request:4: until:",
            "x.csv:4: pool:",
            ": what:",
        ]

    run(store, story)


def test_delegated_prefixes_come_as_a_pool_of_their_own(store: Store) -> None:
    async def story(stage: Stage) -> None:
        await people(stage)
        done = await make(
            stage,
            rows(
                f"pd,2001:db8::/56,,{MAC}1,{moment(stage, 900)},a,1",
                "pd,2001:db8:0:100::/56,,,,,",
            ),
        )
        assert done.made == {"pools": 1, "ranges": 1, "leases": 1}
        got = stage.take(f"A/{MAC}1", "pd", kind=Kind.PD)
        assert isinstance(got, Bundle)
        assert str(got.leases[0].unit) == "2001:db8::/56"

    run(store, story)
