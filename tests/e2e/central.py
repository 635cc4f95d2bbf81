"""A central platform behind a bad network, in a thread of its own, for edges that are processes."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.e2e.conftest import Daemon
from tests.twins.fault_proxy import Fault, FaultProxy
from tests.twins.platform import Platform

FEED = "pop7"
TENANT = "demo"
BOX = {"prefixes": ["127.0.0.0/8"], "secret": "testing123", "vendor": "mikrotik"}
STRICT = {"brake_objects": 2, "brake_percent": 10}


def line(name: str, **body: Any) -> dict[str, Any]:
    """Return a subscriber as a platform has it."""
    return {"username": name, "password": f"pw-{name}", "access_mode": "active", "plan": "home"} | body


def fill(platform: Platform, users: int, **box: Any) -> None:
    """Put a provider: its tenant, a NAS on loopback, a plan, subscribers u0, u1 and so on."""
    platform.book.put("tenant", TENANT, {"name": "Demo Fibre"})
    platform.book.put("nas", "lab", BOX | box)
    platform.book.put("plan", "home", {"access": "ppp", "download": "100M", "upload": "20M"})
    for number in range(users):
        platform.book.put("subscriber", f"u{number}", line(f"u{number}"))
    platform.tell()


class Central:
    """A platform that signs, and the network to it; a context manager. `down` and `up` take the platform away."""

    def __init__(
        self, *, odds: float = 0.0, seed: int = 1, slow_s: float = 1.0, page_items: int = 100
    ) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.platform = Platform(FEED, token="t0ken", key=self.key, page_items=page_items, beat_s=0.5)
        self.proxy: FaultProxy
        self._odds, self._seed, self._slow_s = odds, seed, slow_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._served: Any = None
        self._port = 0

    def __enter__(self) -> Central:
        self._thread.start()
        self.up()
        self.call(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(lambda: self.proxy.__aexit__())
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def call(self, work: Callable[[], Any]) -> Any:
        """Do something in the platform's thread and return what came of it."""

        async def run() -> Any:
            found = work()
            return await found if asyncio.iscoroutine(found) else found

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)

    async def _open(self) -> None:
        self.proxy = FaultProxy(
            self._port,
            seed=self._seed,
            odds=self._odds,
            slow_s=self._slow_s,
            on_clock=lambda ahead_s: setattr(self.platform, "clock_ahead_s", ahead_s),
        )
        await self.proxy.__aenter__()

    def up(self) -> None:
        """Serve, where the platform was before."""
        self._served = self.platform.serving(self._port)
        self._port = self.call(self._served.__aenter__)

    def down(self) -> None:
        """Take the platform away; connections to it are refused."""
        if self._served is not None:
            self.call(lambda: self._served.__aexit__(None, None, None))
            self._served = None

    def put(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Commit an object, and tell the edges that wait."""
        self.call(lambda: self.platform.put(kind, name, body))

    def delete(self, kind: str, name: str) -> None:
        """Commit that an object is gone."""
        self.call(lambda: self.platform.delete(kind, name))

    def order(self, *faults: Fault | None, only: str = "") -> None:
        """Spoil the next answers."""
        self.call(lambda: self.proxy.order(*faults, only=only))

    def root(self) -> str:
        """Return the digest of everything that there is now, hex."""
        return str(self.call(lambda: self.platform.root().hex()))

    def public_key(self) -> str:
        """Return our key as the setting `public_keys` has it."""
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"ed25519:k1={base64.b64encode(raw).decode()}"

    def settings(self, **more: str) -> dict[str, str]:
        """Return what an operator writes for a pull feed, as TOML values."""
        feed = {
            "source": '"pull"',
            "tenant": f'"{TENANT}"',
            "url": f'"http://127.0.0.1:{self.proxy.port}"',
            "plain_http": "true",
            "token": '"env:PLATFORM_TOKEN"',
            "public_keys": f'["{self.public_key()}"]',
            "require_signature": "true",
        } | more
        return {"data.files": "[]"} | {f"feeds.{FEED}.{name}": value for name, value in feed.items()}

    def is_equal(self, edge: Daemon) -> bool:
        """Say whether an edge has exactly what the platform has, and says so."""
        return status(edge)["state"] == "SYNCED" and digest_of(edge) == self.root()


def get(edge: Daemon, path: str) -> Any:
    """Return what the API answers on the admin socket, as the command line asks, without the time to start one."""
    transport = httpx.HTTPTransport(uds=str(edge.directory / "state" / "admin.sock"))
    with httpx.Client(transport=transport, base_url="http://edge/api/v1/") as client:
        return client.get(path).json()


def status(edge: Daemon, feed: str = FEED) -> Any:
    """Return a feed at a glance."""
    return get(edge, f"sync/feeds/{feed}")


def digest_of(edge: Daemon, feed: str = FEED) -> str:
    """Return the digest of what an edge has, hex; empty where it has nothing."""
    return str(get(edge, f"sync/feeds/{feed}/digests").get("root", ""))
