"""An address book with its store, sessions beside it, and somebody who asks who had what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from daemon.leases.cgnat import Cgnat
from daemon.leases.coverage import Coverage
from daemon.leases.who_had import WhoHad
from daemon.leases.who_had_model import Answer, Question, read_target
from daemon.store import coverage_rows, schema, session_addresses
from daemon.store.session_addresses import AddressRow
from ipam import schema as ipam_schema
from ipam import store as ipam_store
from ipam.book import Book
from ipam.history import Party
from ipam.kinds import Cause, Kind
from ipam.lease import Bundle, Wanted
from ipam.register import Register
from ipam.steward import Steward
from tests.daemon.conftest import Store
from tests.ipam.pools import TENANT, pool, request

T0 = 1_700_000_000.0
DAY = 86_400.0


class Stage:
    """Time is `at`: epoch seconds, and monotonic ones as well."""

    def __init__(self, store: Store, leases: AsyncEngine) -> None:
        self.store = store
        self.leases = leases
        self.at = T0
        self.cgnat = Cgnat(store.engine, store.writer, "edge")
        self.coverage = Coverage(store.writer, "edge")
        self.who_had = WhoHad(store.engine, leases, self.coverage, "edge", self.cgnat)
        self.bundles: dict[str, Bundle] = {}

    async def begin(self, node: str = "edge") -> None:
        """Start a node's book anew, with its pools."""
        async with self.leases.begin() as connection:
            boot = await ipam_store.next_boot(connection, node, self.at)
            chain = await ipam_store.chain_end(connection, node)
        self.register = Register(node, boot, chain)
        self.register.add_pool(pool("home", Kind.V4, "203.0.113.0/29"))
        self.register.add_pool(pool("inside", Kind.V4, "100.64.0.0/24"))
        self.register.add_pool(pool("pd", Kind.PD, "2001:db8:1000::/48"))
        self.register.add_pool(pool("na", Kind.V6_NA, "2001:db8:2000::/96"))
        self.book = Book(self.register)
        self.steward = Steward(self.register, self.book)
        await self.coverage.begin(self.at)

    async def stored(self) -> None:
        """Make everything durable."""
        batch = self.register.batch()
        if batch is not None:
            async with self.leases.begin() as connection:
                await ipam_store.save_batch(connection, batch)
            self.register.ledger.confirm()
        await self.lived()

    async def lived(self) -> None:
        """The edge was there all the time until now."""
        async with self.store.engine.begin() as connection:
            await coverage_rows.beat(connection, self.coverage.run, self.at)

    def login(self, name: str, *wanted: Wanted, **party: str) -> list[str]:
        """Let a subscriber log in; return its units."""
        known = {"subscriber": name, "nas": "bng-1", "circuit": f"line of {name}", "mac": "02:00:00:00:00:01"}
        asked = request(*(wanted or (Wanted(Kind.V4, ("home",)),)), party=Party(**{**known, **party}))
        got = self.book.take(name, asked, self.at, self.at)
        assert isinstance(got, Bundle), got
        self.bundles[name] = got
        return [str(lease.unit) for lease in got.leases]

    def start(self, name: str, session: str) -> None:
        self.book.bind(self.bundles[name].id, session, self.at, self.at)

    def stop(self, name: str) -> None:
        self.book.release(self.bundles[name].id, Cause.STOP, self.at, self.at)

    async def report(self, **fields: Any) -> None:
        """Write what a session has reported."""
        base = {
            "uid": 1,
            "kind": "framed-ip-address",
            "length": 32,
            "tenant": TENANT,
            "vrf": "",
            "nas": "bng-1",
            "subscriber": "S1",
            "username": "s1@isp",
            "acct_session_id": b"81a0",
            "circuit": "eth 1/2:100",
            "mac": "02:00:00:00:00:02",
            "started_at": T0,
            "first_at": T0 + 10,
            "last_at": T0 + 600,
            "closed_at": None,
        }
        async with self.store.engine.begin() as connection:
            await session_addresses.save(connection, [AddressRow(**{**base, **fields})])

    async def ask(self, target: str, at: float, skew_s: float = 5.0, verify: int = 0, **more: Any) -> Answer:
        unit, port = read_target(target)
        question = Question(unit=unit, port=port, at=at, skew_s=skew_s, **more)
        return await self.who_had.ask(question, verify)


@asynccontextmanager
async def stage(path: Path, shared: str | None = None) -> AsyncIterator[Stage]:
    """A stage on a database of its own, begun an hour before T0; `shared` is the URL of one for the leases."""
    store = Store(path / "edge.db")
    async with store.running():
        leases = store.engine if shared is None else create_async_engine(shared)
        async with store.engine.begin() as connection:
            await connection.run_sync(schema.METADATA.create_all)
        async with leases.begin() as connection:
            await connection.run_sync(ipam_schema.METADATA.create_all)
        made = Stage(store, leases)
        made.at = T0 - 3600
        await made.begin()
        made.at = T0
        yield made
        if shared is not None:
            await leases.dispose()


def told(answer: Answer) -> list[tuple[str, str, str]]:
    """Return claim, subscriber and session of each holder."""
    return [(str(each.claim), each.subscriber, each.session) for each in answer.holders]
