"""A data file becomes durable and visible, and is the same after a start: also rules, gardens and staff."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from daemon.clock import SystemClock
from daemon.replica.index import Index
from daemon.replica.store import restore
from daemon.store.seal import Sealer
from daemon.sync.apply import Apply
from daemon.sync.load import DataLoader, LoadRequest
from radius.dictionary import shipped
from tests.daemon.conftest import Store

EXAMPLE = (Path(__file__).parents[2] / "config" / "examples" / "provider.yaml").read_bytes()
SEAL = Sealer(bytes(32))


def records(index: Index) -> dict[tuple[str, str], object]:
    return {(type(record).__name__, record.id): record for record in index.records()}


def test_the_example_is_the_same_after_a_start_and_after_its_own_export(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            index, again = Index(), Index()
            loader = DataLoader(index, Apply(index, store.writer, SEAL, SystemClock()), shipped())
            done = await loader.load(LoadRequest(octets=EXAMPLE, name="provider.yaml"))
            assert done.applied.added == {"tenant": 1, "plan": 5, "nas": 2, "subscriber": 6, "staff": 1}
            assert done.warnings == ()
            assert await restore(store.engine, again, SEAL) == []
            assert records(again) == records(index)
            assert again.tenants["demo"].staff[b"nora"].id == "nora"
            exported = json.dumps(await loader.export(secrets=True)).encode()
            same = await loader.load(LoadRequest(octets=exported, name="export.json", replace=True))
            assert (same.applied.changed, same.applied.removed) == ({}, {})
            assert sum(same.applied.unchanged.values()) == len(records(index))

    asyncio.run(scenario())


def test_staff_that_a_replacement_does_not_name_are_removed(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            index, again = Index(), Index()
            loader = DataLoader(index, Apply(index, store.writer, SEAL, SystemClock()), shipped())
            await loader.load(LoadRequest(octets=EXAMPLE, name="provider.yaml"))
            done = await loader.load(
                LoadRequest(octets=b"{kind: tenant, id: demo}", name="less.yaml", replace=True)
            )
            assert done.applied.removed["staff"] == 1
            assert index.tenants["demo"].staff == {}
            await restore(store.engine, again, SEAL)
            assert list(records(again)) == [("Tenant", "demo")]

    asyncio.run(scenario())
