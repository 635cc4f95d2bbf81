"""Each fault of the proxy is one: what comes out is not what the platform said, or not at all."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.twins.fault_proxy import Fault, FaultProxy
from tests.twins.platform import Platform

FEED = "t1/pop7"


@pytest.mark.parametrize("fault", [None, *Fault])
def test_a_fault_is_done_once_and_the_next_answer_is_whole(fault: Fault | None) -> None:
    async def run() -> None:
        platform = Platform(FEED, key=Ed25519PrivateKey.generate())
        ahead: list[float] = []
        for number in range(5):
            platform.put("plan", f"p{number}", {})
        async with (
            platform.serving() as port,
            FaultProxy(port, on_clock=ahead.append) as proxy,
            httpx.AsyncClient(timeout=0.5) as client,
        ):

            async def ask() -> bytes:
                url = f"http://127.0.0.1:{proxy.port}/v1/edge/feeds/{FEED}/changes"
                query = {"epoch": platform.book.epoch, "after": str(after), "limit": "2"}
                try:
                    answer = await client.get(url, params=query)
                except httpx.HTTPError as error:
                    return type(error).__name__.encode()
                said = answer.json() if answer.status_code == 200 and answer.content[:1] == b"{" else {}
                said.pop("server_time", None)
                if fault is not Fault.SIGNATURE:
                    said.pop("sig", None)
                return str((answer.status_code, said)).encode()

            try:
                after = 2
                whole = await ask()
                after = 0
                await ask()
                after = 2
                proxy.order(fault)
                spoiled = await ask()
                if fault is Fault.REORDER:
                    assert await ask() == whole  # the one that was late
                last = await ask()
            except ValueError:  # JSON that was truncated
                assert fault is Fault.TRUNCATE
                return
        assert (spoiled == whole) == (fault in (None, Fault.CLOCK))
        assert bool(ahead) == (fault is Fault.CLOCK)
        if fault is not Fault.SIGNATURE:
            assert last == whole

    asyncio.run(run())
