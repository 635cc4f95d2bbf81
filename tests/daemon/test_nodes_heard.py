"""Sessions whose accounting goes to another node than their logins did, and those that a takeover left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipam.kinds import STATES, LeaseState
from tests.daemon.nodes_stage import Node
from tests.daemon.test_nodes import Stage, _fill, _next, blocks, play, until
from tests.ipam.pools import TENANT
from tests.ipam.postgres import bin_dir, postgresql

pytestmark = [
    pytest.mark.skipif(bin_dir() is None, reason="no PostgreSQL server is installed"),
    # A node that is killed while it connects leaves the connection to the collector.
    pytest.mark.filterwarnings("ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning"),
]

# Two blocks, and no more: one for each node.
_SMALL = {"last": 7, "tentative_s": 1.0, "lease_s": 1.5}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL of our own."""
    where = bin_dir()
    assert where is not None
    with postgresql(where) as url:
        yield url


def lease(node: Node, address: str) -> tuple[str, str]:
    """Return state and session of a lease, as its node has them."""
    shelf = node.addresses.register.shelves[TENANT, "shared"]
    cell = shelf.allocator.cell_at(int(address.rpartition(".")[2]))
    tenure = shelf.tenures.get(cell)
    return STATES[shelf.allocator.states[cell]], "" if tenure is None else tenure.session


async def _both_have_a_block(made: Stage) -> None:
    await until(lambda: bool(blocks(made.north) and blocks(made.south)))


async def _ann_at_south(made: Stage) -> tuple[str, str]:
    """Ann logs in at north, and her Start goes to south; return her address and her session there."""
    await _both_have_a_block(made)
    address = await made.north.login("ann", start_at=made.south)
    assert isinstance(address, str)
    return address, next(iter(made.south.sessions))


async def _crowd(node: Node, seconds: float) -> None:
    """Give out all that a node can give for a while."""
    end = time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        await node.login(f"crowd{number}")
        number += 1
        await asyncio.sleep(0.05)


def test_a_lease_lives_while_another_node_tells_of_its_session(server: str, tmp_path: Path) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        address, session = await _ann_at_south(made)
        await until(lambda: lease(north, address) == (LeaseState.BOUND, f"south#{session}"))
        await _crowd(north, 3.0)  # far beyond its time
        assert lease(north, address) == (LeaseState.BOUND, f"south#{session}")
        assert not north.conflicts + south.conflicts
        south.stop_session(session)
        async with asyncio.timeout(10):
            while address not in {each for _, _, each in north.sessions.values()}:
                await north.login("late")
                await asyncio.sleep(0.05)
        await until(lambda: not south.addresses.notes.dirty)

    play(server, tmp_path, acts, **_SMALL)


def test_it_lives_though_the_owner_of_the_block_restarts_or_the_other_node_is_silent(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        address, session = await _ann_at_south(made)
        await until(lambda: lease(north, address)[1] == f"south#{session}")
        await until(lambda: north.addresses.register.ledger.waiting == 0)
        await north.kill()
        await south.kill()
        await north.start()
        await until(lambda: bool(blocks(north)))
        await _crowd(north, 3.0)
        assert lease(north, address) == (LeaseState.BOUND, f"south#{session}")
        await south.start()
        await _crowd(north, 1.0)
        assert lease(north, address) == (LeaseState.BOUND, f"south#{session}")
        assert session in south.sessions

    play(server, tmp_path, acts, **_SMALL)


def test_what_a_node_has_told_holds_for_a_lease_time_after_it_was_taken_over(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        address, session = await _ann_at_south(made)
        await until(lambda: lease(north, address)[1] == f"south#{session}")
        await south.kill()
        await north.nodes.take_over("south", force=True)
        await until(lambda: lease(north, address)[1] == f"south#{session}@left")
        assert lease(north, address)[0] == LeaseState.BOUND
        made.subscribers.done(address, "ann")  # nobody knows of her any more
        await until(lambda: lease(north, address)[0] == LeaseState.FREE)

    play(server, tmp_path, acts, **_SMALL)


def test_a_node_that_was_believed_dead_tells_again(server: str, tmp_path: Path) -> None:
    async def acts(made: Stage) -> None:
        north = made.north
        address, session = await _ann_at_south(made)
        await until(lambda: lease(north, address)[1] == f"south#{session}")
        await north.nodes.take_over("south", force=True)
        await _crowd(north, 3.0)
        assert lease(north, address) == (LeaseState.BOUND, f"south#{session}")

    play(server, tmp_path, acts, **_SMALL)


def test_the_node_that_hears_the_session_has_the_lease_where_it_takes_the_block_over(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        address, session = await _ann_at_south(made)
        await until(lambda: lease(north, address)[1] == f"south#{session}")
        await until(lambda: north.addresses.register.ledger.waiting == 0)
        await north.kill()
        await south.nodes.take_over("north", force=True)
        await _crowd(south, 3.0)
        assert lease(south, address)[0] == LeaseState.BOUND
        assert not south.addresses.notes.by_session
        south.stop_session(session)
        await until(lambda: lease(south, address)[0] != LeaseState.BOUND)

    play(server, tmp_path, acts, **_SMALL)


def test_an_address_that_is_somebody_elses_is_refused_and_told_as_a_conflict(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        await _both_have_a_block(made)
        address = await _next(north, "ben")
        session = south.begin("ann", address)
        await until(lambda: south.conflicts == [session])
        await asyncio.sleep(0.5)
        assert south.conflicts == [session]  # once
        assert session in south.sessions  # the settings say what becomes of it
        assert lease(north, address)[0] == LeaseState.BOUND

    play(server, tmp_path, acts, **_SMALL)


def test_after_a_takeover_a_session_goes_on_where_the_new_owner_keeps_its_address(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        await _both_have_a_block(made)
        address = await _next(north, "ann")
        session = next(iter(north.sessions))
        await until(lambda: north.addresses.register.ledger.waiting == 0)
        await north.kill()
        await south.nodes.take_over("north", force=True)
        await north.start()
        await until(lambda: lease(south, address) == (LeaseState.BOUND, f"north#{session}"))
        await _crowd(south, 3.0)
        assert lease(south, address) == (LeaseState.BOUND, f"north#{session}")
        assert session in north.sessions
        assert not north.kicked

    play(server, tmp_path, acts, **_SMALL)


def test_after_a_takeover_a_session_ends_whose_address_is_somebody_elses_now(
    server: str, tmp_path: Path
) -> None:
    async def acts(made: Stage) -> None:
        north, south = made.nodes
        await _both_have_a_block(made)
        address = await _next(north, "ann")
        session = next(iter(north.sessions))
        await until(lambda: north.addresses.register.ledger.waiting == 0)
        await north.kill()
        await south.nodes.take_over("north", force=True)
        made.subscribers.done(
            address, "ann"
        )  # a lease time without a node: this is what the operator has risked
        async with asyncio.timeout(15):
            while address not in {each for _, _, each in south.sessions.values()}:
                await _fill(south)
        await north.start()
        await until(lambda: north.kicked == [session])
        assert not north.conflicts

    play(server, tmp_path, acts, **_SMALL)
