"""DotMac Edge that leases an address at each login: a pool, a selector, and what of it is in the store afterwards."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import load
from edge import Edge
from load import Live
from machine import BenchError

from daemon.store.engine import open_engine
from ipam import store

_FIRST = "10.0.0.16"
_PATIENCE_S = 20.0
_TENANT = "bench"  # of the users that `edge.provision` makes
_HOLD = "1h"  # nobody gets another one's address during a run


class Leasing:
    """A daemon whose users are leased addresses; every time it begins with the users, a pool, and next to no lease."""

    def __init__(self, edge: Edge, core: int, users: int) -> None:
        """Hand the daemon its users, once."""
        self._edge = edge
        self._core = core
        self._bare = edge.state.with_name("edge-bare")
        edge.provision(core, users)
        edge.state.rename(self._bare)

    @contextmanager
    def running(self, slots: int) -> Iterator[Live]:
        """The daemon with a pool of so many addresses. Raises BenchError if logins get none of them."""
        shutil.rmtree(self._edge.state, ignore_errors=True)
        shutil.copytree(self._bare, self._edge.state)
        data = self._edge.settings.with_name("edge-pool.ndjson")
        data.write_text("".join(f"{json.dumps(each)}\n" for each in _objects(slots)))
        with self._edge.running(self._core) as live:
            self._edge.ask("data", "load", "--tenant", _TENANT, str(data))
            _wait_for_pool(live)
            yield live

    def stored(self) -> tuple[int, int]:
        """Return how many owners have a lease in the store, and how many addresses: the daemon must be stopped."""
        return asyncio.run(_stored(self._edge.state / "edge.db"))


def _objects(slots: int) -> Iterator[Mapping[str, object]]:
    pool = {"kind": "v4", "ranges": [_range(slots)], "hold": _HOLD, "tentative": _HOLD}
    yield {"kind": "pool", "id": "home", "body": pool}
    yield {"kind": "selector", "id": "home", "body": {"pools": {"v4": ["home"]}}}


def _wait_for_pool(live: Live) -> None:
    """Wait until a login is leased an address: the book takes pools over from the data a moment later."""
    until = time.monotonic() + _PATIENCE_S
    said: tuple[str, ...] = ()
    while time.monotonic() < until:
        said = load.answer(live)
        if any(line.startswith("Framed-IP-Address") for line in said):
            return
        time.sleep(0.2)
    raise BenchError(f"a login got no address from the pool: {', '.join(said)}")


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
