"""Two nodes on one PostgreSQL, killed, cut off, taken over and with clocks that jump: no address is told to two."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine

from daemon.errors import StoreUnavailable
from ipam.history import Chain, broken
from ipam.restore import faults
from ipam.schema import LEASE
from ipam.store import events_of
from tests.daemon.nodes_stage import Node, Subscribers, define, network, shared
from tests.ipam.postgres import bin_dir, postgresql
from tests.twins.proxy import Proxy

pytestmark = [
    pytest.mark.skipif(bin_dir() is None, reason="no PostgreSQL server is installed"),
    # A node that is killed while it connects leaves the connection to the collector.
    pytest.mark.filterwarnings("ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning"),
]

_LAST_S = 9.0
_OWNERS = 14


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL of our own."""
    where = bin_dir()
    assert where is not None
    with postgresql(where) as url:
        yield url


class Churn:
    """Random things that happen to two nodes; logins go on all the time."""

    def __init__(self, seed: int, nodes: list[Node], networks: list[Proxy]) -> None:
        self.random = random.Random(seed)
        self.nodes = nodes
        self.networks = networks
        self.did: Counter[str] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()
        self.faults: list[BaseException] = []

    async def last(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.faults and not any(each.faults for each in self.nodes):
            what = self.random.choices(
                ("login", "stop", "kill", "cut", "swallow", "answers", "step", "take_over"),
                (200, 120, 2, 1, 0.5, 2, 2, 1.5),
            )[0]
            self.did[what] += 1
            number = self.random.randrange(2)
            done = getattr(self, f"_{what}")(
                self.nodes[number], self.networks[number], self.nodes[1 - number]
            )
            if what in ("cut", "swallow", "kill", "take_over"):  # takes a while, and logins go on
                self._spawn(done)
            else:
                await done
            await asyncio.sleep(self.random.random() * 0.006)
        await asyncio.gather(*self.tasks)
        for each in self.networks:
            await each.mend()

    def _spawn(self, done: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(done)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _login(self, node: Node, _network: Proxy, other: Node) -> None:
        if node.alive:
            owner = f"sub{self.random.randrange(_OWNERS)}"
            # Accounting goes to the other node every now and then, where that is not just down.
            elsewhere = other if other.alive and self.random.random() < 0.3 else None
            self._spawn(self._log_in(node, owner, elsewhere))

    async def _log_in(self, node: Node, owner: str, elsewhere: Node | None) -> None:
        try:
            async with asyncio.timeout(10):
                got = await node.login(owner, start_at=elsewhere)
        except TimeoutError:
            if node.alive:
                self.faults.append(AssertionError(f"{node.name} keeps a login waiting"))
        except AssertionError as error:
            self.faults.append(error)
        else:
            self.did["told" if isinstance(got, str) else "not told"] += 1

    async def _stop(self, node: Node, _network: Proxy, _other: Node) -> None:
        if node.alive and node.sessions:
            node.stop_session(self.random.choice(list(node.sessions)))

    async def _kill(self, node: Node, network: Proxy, other: Node) -> None:
        if node.alive:
            await node.kill()
            if self.random.random() < 0.3:
                await self._take_over(other, network, node)
            await asyncio.sleep(self.random.random() * 0.2)
            try:
                await node.start()
            except Exception as error:  # noqa: BLE001 - told at the end of the test
                self.faults.append(error)

    async def _cut(self, _node: Node, network: Proxy, _other: Node) -> None:
        await network.cut()
        await asyncio.sleep(self.random.random() * 0.4)
        await network.mend()

    async def _swallow(self, _node: Node, network: Proxy, _other: Node) -> None:
        network.swallow = True
        await asyncio.sleep(self.random.random() * 1.5)
        network.swallow = False

    async def _answers(self, _node: Node, network: Proxy, _other: Node) -> None:
        network.lose_answers = True

    async def _step(self, node: Node, _network: Proxy, _other: Node) -> None:
        node.clock.stepped_s += self.random.choice((-3600.0, -1.0, 1.0, 3600.0, 1e6))

    async def _take_over(self, node: Node, _network: Proxy, dead: Node) -> None:
        """The other node is believed dead, rightly or not."""
        if node.alive and node.addresses.away is None:
            try:
                done = await node.nodes.take_over(dead.name, force=True)
            except StoreUnavailable as error:
                self.did[f"take_over: {type(error).__name__}"] += 1
            else:
                self.did["blocks taken over"] += done.blocks


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_address_has_two_owners_whatever_dies(server: str, tmp_path: Path, seed: int) -> None:
    async def go() -> None:
        await define(
            server,
            shared(47, sticky=seed == 2, hold_s=0.3 if seed == 2 else 0.0, tentative_s=6.0, lease_s=20.0),
        )
        subscribers = Subscribers(0.3)
        async with network(server) as (first, first_url), network(server) as (second, second_url):
            nodes = [
                Node("north", first_url, tmp_path / "north", subscribers),
                Node("south", second_url, tmp_path / "south", subscribers),
            ]
            for each in nodes:
                await each.start()
            churn = Churn(seed, nodes, [first, second])
            try:
                await churn.last(_LAST_S)
                for each in nodes:
                    if each.faults and each.faults[0] is not None:
                        raise each.faults[0]
                assert not churn.faults, churn.faults[0]
                for each in nodes:
                    assert not each.faults
                    await each.until(
                        "not self.nodes.problems and not self.addresses.register.ledger.waiting", 20
                    )
                    assert faults(each.addresses.register) == ()
            finally:
                for each in nodes:
                    await each.kill()
            assert churn.did["told"] > 50, churn.did
            await _audit(server, nodes)

    asyncio.run(go())


async def _audit(url: str, nodes: list[Node]) -> None:
    """The store says the same: each chain is whole, and live leases are of one owner each."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        for each in nodes:
            events = [event async for event in events_of(connection, each.name, Chain(each.name))]
            assert events
            assert broken(events, Chain(each.name)) is None
        live = select(LEASE.c.address).where(LEASE.c.state.in_(("tentative", "bound")))
        found = [row[0] for row in await connection.execute(live)]
        assert len(found) == len(set(found))
    await engine.dispose()
