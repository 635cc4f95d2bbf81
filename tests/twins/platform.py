"""A central platform as edges need it: HTTP over `Book`, with everything that the protocol asks of it."""

from __future__ import annotations

import asyncio
import base64
import bisect
import contextlib
import gzip
import json
import secrets
import socket
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from tests.twins.platform_book import (
    NOTHING,
    Book,
    Gone,
    Json,
    Key,
    bucket_of,
    canonical,
    digest_of,
    item_json,
    root_of,
    xor,
)

_PAGES_KEPT = 8  # of a snapshot: whoever goes on asks for one of the latest


@dataclass
class Reading:
    """A snapshot that an edge reads; pages that it has had are kept, so that asking again brings the same."""

    epoch: str
    start_rev: int
    touched: float
    counts: Counter[str] = field(default_factory=Counter)
    digests: list[bytes] = field(default_factory=lambda: [NOTHING] * 256)
    last: Key | None = None
    next_page: int = 0
    pages: OrderedDict[int, bytes] = field(default_factory=OrderedDict)


@dataclass
class Heard:
    """What an edge has said."""

    hellos: list[Json] = field(default_factory=list)
    acks: list[Json] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    times: list[tuple[float, str]] = field(default_factory=list)

    @property
    def nacks(self) -> list[Json]:
        """The refused objects of the latest acknowledgement."""
        return list(self.acks[-1]["nacks"]) if self.acks else []


class Platform:
    """One platform with its feeds; `app` is to be served, `serving` does so on a free port of this loop."""

    def __init__(
        self,
        *feeds: str,
        token: str = "",
        key: Ed25519PrivateKey | None = None,
        key_name: str = "k1",
        page_items: int = 100,
        most_snapshots: int = 4,
        reading_s: float = 60.0,
        retry_after_s: int = 1,
        beat_s: float = 15.0,
    ) -> None:
        self.books = {feed: Book(feed) for feed in feeds}
        self.token = token
        self.key = key
        self.key_name = key_name
        self.page_items = page_items
        self.most_snapshots = most_snapshots
        self.reading_s = reading_s
        self.retry_after_s = retry_after_s
        self.beat_s = beat_s
        self.clock_ahead_s = 0.0
        self.min_version = ""
        self.want_check = False
        self.on_page: Callable[[int], None] = lambda _page: None  # between two pages
        self.heard = Heard()
        self.readings: dict[str, Reading] = {}
        self.closing = False
        self._news = asyncio.Event()
        self.app = self._routes()

    # Writing: call these, then everyone who waits is told.

    @property
    def book(self) -> Book:
        """The only feed, or the first."""
        return next(iter(self.books.values()))

    def tell(self) -> None:
        """Wake everybody who waits for changes."""
        self._news.set()
        self._news = asyncio.Event()

    def put(self, kind: str, name: str, body: Json, **of: int) -> int:
        rev = self.book.put(kind, name, body, **of)
        self.tell()
        return rev

    def delete(self, kind: str, name: str) -> int:
        rev = self.book.delete(kind, name)
        self.tell()
        return rev

    def restore(self, backup: Book) -> None:
        self.book.restore(backup)
        self.tell()

    def now(self) -> float:
        return time.time() + self.clock_ahead_s

    def sign(self, said: dict[str, Json]) -> dict[str, Json]:
        """Add a signature, where this platform signs."""
        if self.key is None:
            return said
        signature = base64.b64encode(self.key.sign(canonical(said))).decode()
        return said | {"key": f"ed25519:{self.key_name}", "sig": signature}

    # Serving.

    @asynccontextmanager
    async def serving(self, port: int = 0, **tls: Any) -> AsyncIterator[int]:
        """Serve on 127.0.0.1 and give the port; `tls` are settings of uvicorn."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        config = uvicorn.Config(
            self.app, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=1, **tls
        )
        server = _Quiet(config)
        self.closing = False
        task = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield sock.getsockname()[1]
        finally:
            self.closing = True
            self.tell()
            server.should_exit = True
            await task
            sock.close()

    def _routes(self) -> FastAPI:
        app = FastAPI(openapi_url=None)

        @app.middleware("http")
        async def known(request: Request, call_next: Any) -> Response:
            what = request.url.path.rpartition("/")[2]
            self.heard.requests[what] += 1
            self.heard.times.append((time.monotonic(), what))
            if self.token and not secrets.compare_digest(
                request.headers.get("authorization", ""), f"Bearer {self.token}"
            ):
                return JSONResponse({"code": "denied"}, 401)
            answer: Response = await call_next(request)
            return answer

        app.post("/v1/edge/hello")(self._hello)
        app.get("/v1/edge/feeds/{feed:path}/snapshot")(self._snapshot)
        app.get("/v1/edge/feeds/{feed:path}/changes")(self._changes)
        app.post("/v1/edge/feeds/{feed:path}/ack")(self._ack)
        app.post("/v1/edge/feeds/{feed:path}/digests")(self._digests)
        app.get("/v1/edge/feeds/{feed:path}/objects")(self._objects)
        return app

    async def _hello(self, request: Request) -> Response:
        said = await request.json()
        self.heard.hellos.append(said)
        known = {
            feed: {"epoch": self.books[feed].epoch, "head": self.books[feed].rev}
            for feed in said["feeds"]
            if feed in self.books
        }
        return JSONResponse(
            {"feeds": known, "server_time": self.now(), "min_version": self.min_version or None}
        )

    # Snapshots.

    async def _snapshot(self, feed: str, request: Request, cursor: str = "") -> Response:
        book = self.books[feed]
        token, _, number = cursor.partition(".")
        reading = self.readings.get(token)
        if cursor and (reading is None or reading.epoch != book.epoch or not number.isdigit()):
            return JSONResponse({"epoch": book.epoch, "min_rev": book.min_rev}, 410)
        if reading is None:
            active = [
                each for each in self.readings.values() if time.monotonic() - each.touched < self.reading_s
            ]
            if len(active) >= self.most_snapshots:
                return Response(status_code=429, headers={"Retry-After": str(self.retry_after_s)})
            token, number = secrets.token_urlsafe(9).replace(".", "-"), "0"
            reading = self.readings[token] = Reading(book.epoch, book.rev, 0.0)
        reading.touched = time.monotonic()
        page = int(number)
        if page == reading.next_page:
            octets, last = self._page(book, reading, token)
            reading.pages[page] = octets
            reading.next_page += 1
            while len(reading.pages) > _PAGES_KEPT:
                reading.pages.popitem(last=False)
            self.on_page(page)
            if last:
                reading.touched = 0.0  # gives its place to the next one, and is still there to be asked again
        found = reading.pages.get(page)
        if found is None:
            return JSONResponse({"epoch": book.epoch, "min_rev": book.min_rev}, 410)
        return _packed(request, found, "application/x-ndjson")

    def _page(self, book: Book, reading: Reading, token: str) -> tuple[bytes, bool]:
        """Read the next page from what there is now: a snapshot is of no one moment."""
        first = 0 if reading.last is None else bisect.bisect_right(book.keys, reading.last)
        keys = book.keys[first : first + self.page_items]
        last = first + len(keys) >= len(book.keys)
        number = reading.next_page
        lines: list[Json] = [
            {
                "epoch": reading.epoch,
                "start_rev": reading.start_rev,
                "page": number,
                "schema": 1,
                "items": len(keys),
                "next": None if last else f"{token}.{number + 1}",
            }
        ]
        for key in keys:
            found = book.objects[key]
            lines.append(item_json(key, found.rev, found))
            bucket = bucket_of(key.kind, key.id)
            digest = digest_of(key.kind, key.id, found.schema, found.body)
            reading.digests[bucket] = xor(reading.digests[bucket], digest)
            reading.counts[key.kind] += 1
            reading.last = key
        if last:
            trailer: dict[str, Json] = {
                "feed": book.feed,
                "epoch": reading.epoch,
                "start_rev": reading.start_rev,
                "counts": dict(reading.counts),
                "digests": [each.hex() for each in reading.digests],
            }
            lines.append({"trailer": self.sign(trailer)})
        return b"".join(canonical(each) + b"\n" for each in lines), last

    # Changes.

    def batch(self, feed: str, epoch: str, after: int, limit: int) -> dict[str, Json] | Gone:
        """Return a signed batch."""
        found = self.books[feed].changes(epoch, after, limit)
        if isinstance(found, Gone):
            return found
        return self.sign(found | {"server_time": self.now()})

    async def _changes(
        self, feed: str, request: Request, epoch: str, after: int, limit: int = 500, wait: float = 0.0
    ) -> Response:
        limit = min(limit, 1000)
        found = self.batch(feed, epoch, after, limit)
        if isinstance(found, Gone):
            return _gone(found)
        if "x-ndjson" in request.headers.get("accept", ""):
            stream = self._stream(feed, epoch, after, limit, request)
            return StreamingResponse(stream, media_type="application/x-ndjson")
        until = time.monotonic() + min(wait, 60.0)
        while found["to"] == after and time.monotonic() < until and not self.closing:
            await self._wait(until - time.monotonic())
            found = self.batch(feed, epoch, after, limit)
            if isinstance(found, Gone):
                return _gone(found)
        return _packed(request, canonical(found), "application/json")

    async def _stream(
        self, feed: str, epoch: str, after: int, limit: int, request: Request
    ) -> AsyncIterator[bytes]:
        first = True
        while not self.closing and not await request.is_disconnected():
            found = self.batch(feed, epoch, after, limit)
            if isinstance(found, Gone):
                return  # the next request is told why
            if found["to"] > after or first:
                yield canonical(found) + b"\n"
                after, first = found["to"], False
                continue
            if not await self._wait(self.beat_s):
                first = True

    async def _wait(self, seconds: float) -> bool:
        """Wait for news; False: there were none."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        return True

    # What edges tell.

    async def _ack(self, feed: str, request: Request) -> Response:
        said = await request.json()
        book = self.books[feed]
        self.heard.acks.append(said | {"feed": feed})
        if said["epoch"] != book.epoch:
            return JSONResponse({"epoch": book.epoch}, 409)
        check, self.want_check = self.want_check, False
        return JSONResponse({"server_time": self.now(), "check": check})

    async def _digests(self, feed: str, request: Request) -> Response:
        said = await request.json()
        book = self.books[feed]
        if said["epoch"] != book.epoch or said["rev"] > book.rev:
            return JSONResponse({"epoch": book.epoch, "min_rev": book.min_rev}, 409)
        ours = book.digests_at(said["rev"])
        differ = [n for n in range(256) if ours[n].hex() != said["digests"][n]]
        return JSONResponse({"epoch": book.epoch, "rev": said["rev"], "differ": differ})

    async def _objects(self, feed: str, request: Request, bucket: int, epoch: str, rev: int) -> Response:
        book = self.books[feed]
        if epoch != book.epoch or rev > book.rev:
            return JSONResponse({"epoch": book.epoch, "min_rev": book.min_rev}, 409)
        items = [
            item_json(key, found.rev, found)
            for key, found in sorted(book.at(rev).items())
            if bucket_of(key.kind, key.id) == bucket
        ]
        said = {"feed": feed, "epoch": epoch, "rev": rev, "bucket": bucket, "items": items}
        return _packed(request, canonical(self.sign(said)), "application/json")

    def root(self) -> bytes:
        """Return the digest of everything that there is now."""
        return root_of(self.book.digests)


def _gone(gone: Gone) -> Response:
    return JSONResponse({"epoch": gone.epoch, "min_rev": gone.min_rev}, gone.status)


def _packed(request: Request, octets: bytes, media_type: str) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", "") or len(octets) < 500:
        return Response(octets, media_type=media_type)
    return Response(gzip.compress(octets, 1), media_type=media_type, headers={"Content-Encoding": "gzip"})


class _Quiet(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def loads(lines: bytes) -> list[Json]:
    """Return the values of JSON lines."""
    with contextlib.suppress(UnicodeDecodeError):
        return [json.loads(each) for each in lines.decode().splitlines() if each]
    return []
