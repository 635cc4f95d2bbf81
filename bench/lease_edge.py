"""DotMac Edge that leases an address at each login: a pool, a selector, and what of it is in the store afterwards."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
from edge import Edge
from load import Live
from machine import BenchError

from daemon.store.engine import open_engine
from ipam import store

_FIRST = "10.0.0.16"
_TENANT = "bench"  # of the users that `edge.provision` makes
_HOLD = "1h"  # nobody gets another one's address during a run


@dataclass(frozen=True, slots=True)
class Leasing:
    """A daemon's data, made once: every round begins with them and without a lease."""

    edge: Edge
    template: Path

    @contextmanager
    def running(self, core: int) -> Iterator[Live]:
        """The daemon, with users and pool, and no lease."""
        shutil.rmtree(self.edge.state)
        shutil.copytree(self.template, self.edge.state)
        with self.edge.running(core) as live:
            yield live

    def stored(self) -> tuple[int, int]:
        """Return how many owners have a lease in the store, and how many addresses: the daemon must be stopped."""
        return asyncio.run(_stored(self.edge.state / "edge.db"))


def provision(edge: Edge, core: int, users: int, slots: int) -> Leasing:
    """Hand the daemon its users and a pool of so many addresses. Raises BenchError if logins get none of it."""
    edge.provision(core, users)
    return _with_pool(edge, core, slots, edge.state.with_name("edge-leasing"))


def narrowed(leasing: Leasing, core: int, slots: int) -> Leasing:
    """Return the same with a pool of another size."""
    shutil.rmtree(leasing.edge.state)
    shutil.copytree(leasing.template, leasing.edge.state)
    return _with_pool(leasing.edge, core, slots, leasing.template.with_name("edge-narrowed"))


def _with_pool(edge: Edge, core: int, slots: int, template: Path) -> Leasing:
    data = edge.settings.with_name("edge-pool.ndjson")
    pool = {"kind": "v4", "ranges": [_range(slots)], "hold": _HOLD, "tentative": _HOLD}
    objects = (
        {"kind": "pool", "id": "home", "body": pool},
        {"kind": "selector", "id": "home", "body": {"pools": {"v4": ["home"]}}},
    )
    data.write_text("".join(f"{json.dumps(each)}\n" for each in objects))
    with edge.running(core):
        edge.ask("data", "load", "--tenant", _TENANT, str(data))
    shutil.copytree(edge.state, template)
    leasing = Leasing(edge, template)
    with leasing.running(core) as live:
        said = load.answer(live)
    if not any(line.startswith("Framed-IP-Address") for line in said):
        raise BenchError(f"a login got no address from the pool: {', '.join(said)}")
    return leasing


def _range(slots: int) -> str:
    first = int.from_bytes(bytes(map(int, _FIRST.split("."))), "big")
    last = ".".join(map(str, (first + slots - 1).to_bytes(4, "big")))
    return f"{_FIRST}-{last}"


async def _stored(path: Path) -> tuple[int, int]:
    engine = open_engine(path, busy_timeout_s=5.0, wal_checkpoint_pages=1000)
    try:
        async with engine.connect() as connection:
            rows = await store.load_rows(connection)
    finally:
        await engine.dispose()
    leased = [row for row in rows if row.state in ("tentative", "bound")]
    return len({row.owner for row in leased}), len({(row.vrf, row.address) for row in leased})
