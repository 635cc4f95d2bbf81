"""Nodes on one PostgreSQL: claims ahead of need, gives back, survives the loss of the store, is fenced, takes over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ipam.kinds import Shortage
from ipam.lease import Bundle, Exhausted
from tests.daemon.nodes_stage import BLOCK_SLOTS, Node, Subscribers, define, network, shared
from tests.ipam.pools import TENANT, fixed, request
from tests.ipam.postgres import bin_dir, postgresql
from tests.twins.proxy import Proxy

pytestmark = [
    pytest.mark.skipif(bin_dir() is None, reason="no PostgreSQL server is installed"),
    # A node that is killed while it connects leaves the connection to the collector.
    pytest.mark.filterwarnings("ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL of our own."""
    where = bin_dir()
    assert where is not None
    with postgresql(where) as url:
        yield url


class Stage:
    """Two nodes, `north` and `south`, and the network of each."""

    def __init__(self, url: str, subscribers: Subscribers) -> None:
        self.url = url
        self.subscribers = subscribers
        self.nodes: list[Node] = []
        self.networks: list[Proxy] = []

    @property
    def north(self) -> Node:
        return self.nodes[0]

    @property
    def south(self) -> Node:
        return self.nodes[1]


@asynccontextmanager
async def stage(
    url: str, directory: Path, start: tuple[bool, bool] = (True, True), last: int = 31, **options: float
) -> AsyncIterator[Stage]:
    pool_options = {
        name: options.pop(name)
        for name in ("lease_s", "hold_s", "min_reuse_s", "tentative_s")
        if name in options
    }
    await define(url, shared(last, **pool_options))
    made = Stage(url, Subscribers(0.3))
    async with network(url) as (first, first_url), network(url) as (second, second_url):
        made.networks = [first, second]
        for name, of_node, runs in (("north", first_url, start[0]), ("south", second_url, start[1])):
            made.nodes.append(Node(name, of_node, directory / name, made.subscribers, **options))
            if runs:
                await made.nodes[-1].start()
        try:
            yield made
        finally:
            for each in made.nodes:
                if each.tasks:
                    await each.kill()


def play(server: str, directory: Path, acts: Callable[[Stage], Awaitable[None]], **settings: object) -> None:
    """Run a play on the stage."""

    async def go() -> None:
        async with stage(server, directory, **settings) as made:  # type: ignore[arg-type]
            await acts(made)

    asyncio.run(go())


def blocks(node: Node) -> set[int]:
    shelf = node.addresses.register.find(TENANT, "shared")
    return set() if shelf is None else {each.block for each in shelf.allocator.segments}


async def until(is_so: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.01)


def test_a_node_has_blocks_before_the_first_login_and_more_before_they_are_full(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        await until(lambda: bool(blocks(made.north) and blocks(made.south)))
        assert not blocks(made.north) & blocks(made.south)
        found = []
        for number in range(12):
            found.append(await made.north.login(f"sub{number}"))
            await asyncio.sleep(0.15)
        assert all(isinstance(each, str) for each in found), found
        assert len(set(found)) == 12
        assert not blocks(made.north) & blocks(made.south)

    play(server, tmp_path, acts)


def test_a_login_that_comes_too_early_is_refused_at_once_and_served_at_its_next_try(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north = made.north
        await until(lambda: bool(blocks(north)))
        burst = await asyncio.gather(*(north.login(f"sub{number}") for number in range(100)))
        refused = next(each for each in burst if isinstance(each, Exhausted))
        assert refused.reason in (Shortage.NO_BLOCK, Shortage.EXHAUSTED, Shortage.WAITING)
        began = time.monotonic()
        north.nodes.urgent()
        while not isinstance(await north.login("again"), str):
            await asyncio.sleep(0.005)
        took_s = time.monotonic() - began
        assert took_s < 1.0  # sooner than a NAS asks again

    play(server, tmp_path, acts, last=255)


def test_what_a_node_does_not_need_it_gives_back_and_another_can_use_it(server: str, tmp_path: Path) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        await until(lambda: bool(blocks(north) and blocks(south)))
        for number in range(24):
            await until(lambda: north.nodes.counts.claimed * BLOCK_SLOTS > len(north.sessions))
            await north.login(f"sub{number}")
        assert len(blocks(north)) >= 5
        assert isinstance(await _fill(south), Exhausted)
        for name in list(north.sessions):
            north.stop_session(name)
        await until(lambda: len(blocks(north)) <= 3)
        before = len(south.sessions)
        assert await _next(south, "late")
        assert len(south.sessions) > before
        assert not blocks(north) & blocks(south)

    play(server, tmp_path, acts, give_after_s=0.3)


async def _fill(node: Node) -> Exhausted:
    """Log in until the pool is full for this node."""
    number, refused = 0, 0
    while True:
        got = await node.login(f"{node.name}-{number}")
        number += 1
        if isinstance(got, Exhausted):
            refused += 1
            if refused > 5:
                return got
            await asyncio.sleep(0.2)


async def _next(node: Node, owner: str) -> str:
    async with asyncio.timeout(10):
        while True:
            got = await node.login(owner)
            if isinstance(got, str):
                return got
            await asyncio.sleep(0.02)


def test_without_the_store_a_start_serves_fixed_addresses_and_pools_when_it_is_there(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north = made.north
        await made.networks[0].cut()
        began = time.monotonic()
        await north.start()
        assert time.monotonic() - began < 5
        assert "shared store" in north.nodes.problems[0]
        now, at = north.clock.monotonic(), north.clock.wall()
        taken = north.addresses.book.take("ann", request(fixed("198.51.100.7/32")), now, at)
        assert isinstance(taken, Bundle)
        north.addresses.lessor.wake()
        refused = await north.login("bob")
        assert isinstance(refused, Exhausted)
        assert refused.reason is Shortage.UNKNOWN_POOL  # the first start of all: nobody knows the pool
        await made.networks[0].mend()
        address = await _next(north, "bob")
        assert north.restored == 1
        assert not north.nodes.problems
        # Again, with what is known from last time: the pool is there, and the session still is when it comes back.
        await north.kill()
        await made.networks[0].cut()
        await north.start()
        refused = await north.login("bob")
        assert isinstance(refused, Exhausted)
        assert refused.reason is Shortage.NO_BLOCK
        assert north.addresses.selectors(TENANT) is not None
        await made.networks[0].mend()
        assert await _next(north, "bob") == address

    play(server, tmp_path, acts, start=(False, False))


def test_while_the_store_is_away_what_is_live_goes_on_and_nothing_new_is_told(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, network = made.north, made.networks[0]
        address = await _next(north, "ann")
        for away in ("cut", "swallow"):
            if away == "cut":
                await network.cut()
            else:
                network.swallow = True
            assert await north.login("ann") == address
            began = time.monotonic()
            assert await north.login(f"bob {away}") is None
            assert time.monotonic() - began < 8  # the NAS is not kept waiting for ever, nor is the daemon
            await until(lambda: bool(north.nodes.problems), 20)
            await network.mend()
            await until(lambda: not north.nodes.problems, 20)
            assert await _next(north, f"bob {away}")
        assert not north.kicked
        assert north.restored == 0

    play(server, tmp_path, acts)


def test_a_lost_answer_to_a_commit_is_found_out(server: str, tmp_path: Path) -> None:
    async def acts(made: Stage) -> None:
        north, network = made.north, made.networks[0]
        await _next(north, "ann")
        for number in range(12):
            network.lose_answers = True
            await north.login(f"bob{number}")
            await asyncio.sleep(0.05)
        network.lose_answers = False
        assert await _next(north, "carl")
        await until(lambda: not north.nodes.problems)
        await until(lambda: north.addresses.register.ledger.waiting == 0)
        assert not north.kicked

    play(server, tmp_path, acts)


def test_a_node_that_was_taken_over_ends_its_sessions_and_tells_nobody_of_the_address(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        address = await _next(north, "ann")
        alive = await south.nodes.take_over("north")
        assert alive.reason == "node-alive"
        assert (await south.nodes.take_over("nobody")).reason == "node-unknown"
        assert (await south.nodes.take_over("south")).reason == "node-is-this"
        taken = await south.nodes.take_over("north", force=True)
        assert taken.blocks >= 1
        # Until north finds out, `ann` is told her live lease: nobody else can have it for a lease time.
        assert await _next(south, "bob") != address
        await until(lambda: bool(north.kicked))
        assert not north.sessions
        await until(lambda: not blocks(north) & blocks(south))
        assert await _next(north, "ann") != address  # of another block: sticky only where she was

    play(server, tmp_path, acts, give_after_s=0.3)  # south may have taken all four blocks ahead of need


def test_leases_of_a_dead_node_are_kept_for_their_owners_for_a_lease_time(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        ann, ben = await _next(north, "ann"), await _next(north, "ben")
        await until(lambda: north.addresses.register.ledger.waiting == 0)
        await north.kill()
        taken = await south.nodes.take_over("north", force=True)
        assert taken.blocks >= 1
        assert await south.login("ann") == ann  # she came to the node that lives
        south.settle()
        book = south.addresses.book
        names = {live.session for live in book.bundles()}
        assert any("@" in name for name in names)  # ben's session is no session of south's
        last = await _fill(south)
        assert isinstance(last, Exhausted)
        assert ben not in {address for _, _, address in south.sessions.values()}
        made.subscribers.done(ben, "ben")  # his session ends with his line; nobody hears of it
        await until(lambda: (book.register.utilisation(TENANT, "shared") or last).bound < 32, 10)  # type: ignore[union-attr]
        async with asyncio.timeout(10):
            while ben not in {address for _, _, address in south.sessions.values()}:
                await south.login("last")
                await asyncio.sleep(0.05)

    play(server, tmp_path, acts, lease_s=2.0)


def test_of_two_daemons_with_one_name_the_later_serves_and_the_earlier_stops(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north = made.north
        address = await _next(north, "ann")
        await until(lambda: north.addresses.register.ledger.waiting == 0)
        clone = Node("north", north.url, tmp_path / "clone", made.subscribers)
        clone.sessions, clone._numbers = dict(north.sessions), 1000
        await clone.start()
        assert isinstance(await north.login("bob"), Exhausted | None)
        await until(lambda: bool(north.nodes.problems))
        assert "another daemon runs as node north" in north.nodes.problems[0]
        assert await _next(clone, "ann") == address
        assert isinstance(await north.login("carl"), Exhausted)
        await clone.kill()
        assert await _next(north, "carl")  # and back, when the other is silent

    play(server, tmp_path, acts, start=(True, False))


def test_where_silent_nodes_are_taken_over_a_node_that_is_cut_off_stops_first(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        address = await _next(north, "ann")
        await made.networks[0].cut()
        await until(lambda: north.addresses.away is not None)
        assert south.nodes.counts.taken_over == 0
        assert isinstance(await north.login("ann"), Exhausted)
        assert not north.kicked  # the others keep her address for her meanwhile
        await until(lambda: south.nodes.counts.taken_over > 0)
        await made.networks[0].mend()
        await until(lambda: bool(north.kicked))
        assert await _next(north, "ann") != address

    play(server, tmp_path, acts, takeover_after_s=3.0)
