"""Pools and selectors become durable and visible, are told to who follows them, and are the same after a start."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

from daemon.clock import SystemClock
from daemon.replica.index import Index, Key
from daemon.replica.records import Plan, Service
from daemon.replica.store import restore
from daemon.store.seal import Sealer
from daemon.sync.apply import Apply
from daemon.sync.load import DataLoader, LoadRequest
from ipam.address import Unit
from ipam.kinds import Space
from radius.dictionary import shipped
from tests.daemon.conftest import Store

SEAL = Sealer(bytes(32))
DOCUMENT = (Path(__file__).parents[3] / "docs/data.md").read_text()
(TEXT,) = (each for each in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL) if "kind: selector" in each)
ALICE = """
- kind: subscriber
  id: alice
  body: {access_mode: active, mac: 02:00:5e:00:53:01, plan: home-100, ipv4_address: 203.0.113.5}
"""


def test_pools_and_selectors_are_the_same_after_a_start_and_after_their_own_export(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            index, again, told = Index(), Index(), list[Sequence[Key]]()
            loader = DataLoader(
                index, Apply(index, store.writer, SEAL, SystemClock(), told.append), shipped()
            )
            done = await loader.load(LoadRequest(octets=TEXT.encode(), name="data.yaml"))
            assert done.applied.added == {"tenant": 1, "plan": 1, "pool": 3, "selector": 2}
            assert set(told.pop()) >= {("demo", "pool", "home-v4"), ("demo", "selector", "home-fttb")}
            assert await restore(store.engine, again, SEAL) == []
            assert list(again.records()) == list(index.records())
            exported = json.dumps(await loader.export(secrets=True)).encode()
            same = await loader.load(LoadRequest(octets=exported, name="export.json", replace=True))
            assert (same.applied.changed, same.applied.removed, told) == ({}, {}, [])
            less = await loader.load(
                LoadRequest(octets=b"{kind: tenant, id: demo}", name="a.yaml", replace=True)
            )
            assert less.applied.removed == {"plan": 1, "pool": 3, "selector": 2}
            assert (index.tenants["demo"].pools, index.tenants["demo"].selectors) == ({}, {})

    asyncio.run(scenario())


def test_claims_are_in_their_new_vrf_when_the_change_is_told(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            index, seen = Index(), list[str]()
            apply = Apply(
                index, store.writer, SEAL, SystemClock(), lambda _: seen.append(vrf_of_alice(index))
            )
            loader = DataLoader(index, apply, shipped())
            await loader.load(LoadRequest(octets=(TEXT + ALICE).encode(), name="data.yaml"))
            moved = Plan(tenant="demo", id="home-100", service=Service(vrf="red"))
            await apply.load([moved], replace=False)
            assert seen == ["", "red"]

    asyncio.run(scenario())


def vrf_of_alice(index: Index) -> str:
    claims = index.tenants["demo"].claims
    unit = Unit(Space.IPV4, 0xCB007105, 32)
    (vrf,) = (vrf for vrf in ("", "red") if list(claims.overlapping(vrf, unit.space, unit.value, unit.last)))
    return vrf
