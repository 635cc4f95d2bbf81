"""A network between an edge and its platform that does everything networks and broken platforms do.

It speaks HTTP/1.1 itself, so that it can spoil what it carries. Faults are ordered one by one, or come by chance.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random as chance
from collections import Counter, deque
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self

import httpx

_HEAD_MOST = 65_536


class Fault(StrEnum):
    """What may happen to one answer, or to one line of a held one."""

    CUT = "cut"  # in the middle of it
    SLOW = "slow"  # an octet a second
    DUPLICATE = "duplicate"  # a batch that was there before
    REORDER = "reorder"  # a batch before the one that comes first
    TRUNCATE = "truncate"  # the end of a line is missing, and the answer seems whole
    LENGTH = "length"  # it is shorter than it says
    SIGNATURE = "signature"  # changed on its way
    GARBAGE = "garbage"
    S409 = "409"
    S410 = "410"
    S429 = "429"
    S503 = "503"
    CLOCK = "clock"  # the platform's clock jumps
    REFUSE = "refuse"  # the connection is reset before anything


class Request(NamedTuple):
    """One request of the edge."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def held(self) -> bool:
        """Whether it asks for batches on one answer that does not end."""
        return "/changes" in self.target and "x-ndjson" in self.headers.get("accept", "")


class FaultProxy:
    """Carries HTTP from 127.0.0.1:`port` to another port there; an async context manager.

    `order` queues faults for the next answers; `odds` is how often one of `faults` comes by itself; `on_clock` is told
    how far the platform's clock is to be ahead.
    """

    def __init__(
        self,
        to_port: int,
        seed: int = 0,
        odds: float = 0.0,
        faults: Sequence[Fault] = tuple(Fault),
        on_clock: Callable[[float], object] = lambda _ahead_s: None,
        slow_s: float = 1.0,
    ) -> None:
        self.port = 0
        self.odds = odds
        self.faults = tuple(faults)
        self.done: Counter[Fault] = Counter()
        self.requests = 0
        self.connections = 0
        self._to = f"http://127.0.0.1:{to_port}"
        self._random = chance.Random(seed)
        self._on_clock = on_clock
        self._slow_s = slow_s
        self._ordered: deque[Fault | None] = deque()
        self._only = ""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_batch = b""
        self._late: list[bytes] = []

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(
            timeout=70.0, limits=httpx.Limits(max_connections=None), trust_env=False
        )
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.aclose()

    def order(self, *faults: Fault | None, only: str = "") -> None:
        """Do these to the next answers, one each, None nothing; `only` to those whose path has this in it."""
        self._ordered.extend(faults)
        self._only = only

    def drop(self) -> None:
        """Reset all connections."""
        for task in list(self._tasks):
            task.cancel()

    def _next_fault(self, target: str) -> Fault | None:
        if self._ordered:
            if self._only not in target:
                return None
            fault = self._ordered.popleft()
        elif self._random.random() < self.odds:
            fault = self._random.choice(self.faults)
        else:
            return None
        if fault is not None:
            self.done[fault] += 1
        if fault is Fault.CLOCK:
            self._on_clock(self._random.choice((-3600.0, 0.0, 3600.0)))
            return None
        return fault

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, httpx.HTTPError):
                while (request := await _read(reader)) is not None:
                    self.requests += 1
                    if not await self._carry(request, writer):
                        break
        except asyncio.CancelledError:
            pass  # dropped
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _carry(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Carry one request and its answer; return whether the connection goes on."""
        if request.held:
            return await self._carry_held(request, writer)
        fault = self._next_fault(request.target)
        if fault is Fault.REFUSE:
            return False
        if fault is not None and fault.value.isdigit():
            return await _answer(writer, int(fault.value), *_storm(fault, request.target))
        answer = await self._ask(request)
        body, status = answer.content, answer.status_code
        if "/changes" in request.target and status == 200:
            body = await self._swap(fault, request, body)
        spoiled = _spoil(fault, body)
        headers = {name: value for name, value in answer.headers.items() if name == "retry-after"}
        if fault in (Fault.CUT, Fault.LENGTH):
            head = _head(status, headers, len(body) + (fault is Fault.LENGTH) * 7)
            writer.write(head + (body[: len(body) // 2] if fault is Fault.CUT else body))
            with contextlib.suppress(OSError):
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            return False
        if fault is Fault.SLOW:
            writer.write(_head(status, headers, len(body)))
            return await self._drip(writer, body)
        return await _answer(writer, status, spoiled, headers)

    async def _ask(self, request: Request, target: str = "") -> httpx.Response:
        headers = {
            name: value for name, value in request.headers.items() if name not in ("host", "accept-encoding")
        }
        url = self._to + (target or request.target)
        return await self._http.request(
            request.method, url, content=request.body, headers=headers | {"accept-encoding": "identity"}
        )

    async def _swap(self, fault: Fault | None, request: Request, body: bytes) -> bytes:
        """Bring another batch than the one that was asked for."""
        if self._late:
            return self._late.pop()
        before, self._last_batch = self._last_batch, body
        if fault is Fault.DUPLICATE and before:
            return before
        if fault is Fault.REORDER:
            batch = json.loads(body)
            target = str(
                httpx.URL(self._to + request.target).copy_merge_params({"after": batch["to"], "wait": 0})
            )
            answer = await self._ask(request, target.removeprefix(self._to))
            if answer.status_code == 200:
                self._late.append(body)
                return answer.content
        return body

    async def _drip(self, writer: asyncio.StreamWriter, body: bytes) -> bool:
        for octet in body:
            writer.write(bytes((octet,)))
            await writer.drain()
            await asyncio.sleep(self._slow_s)
        return True

    async def _carry_held(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        """Carry batches line by line; each may meet with a fault."""
        first = self._next_fault(request.target)
        if first is Fault.REFUSE:
            return False
        if first is not None and first.value.isdigit():
            return await _answer(writer, int(first.value), *_storm(first, request.target))
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        headers["accept-encoding"] = "identity"
        async with self._http.stream(request.method, self._to + request.target, headers=headers) as answer:
            if answer.status_code != 200:
                return await _answer(writer, answer.status_code, await answer.aread(), {})
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            held: list[bytes] = []
            fault = first
            async for line in answer.aiter_lines():
                octets = line.encode() + b"\n"
                if fault is Fault.REORDER and not held:
                    held.append(octets)
                    fault = None
                    continue
                for each in (octets, *held):
                    if not await self._line(writer, fault, each):
                        return False
                held.clear()
                fault = self._next_fault(request.target)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _line(self, writer: asyncio.StreamWriter, fault: Fault | None, octets: bytes) -> bool:
        before, self._last_batch = self._last_batch, octets
        if fault in (Fault.CUT, Fault.LENGTH):
            octets = octets[: len(octets) // 2]
            writer.write(b"%x\r\n" % (len(octets) + 5) + octets)
            await writer.drain()
            return False
        if fault is Fault.SLOW:
            writer.write(b"%x\r\n" % len(octets))
            await self._drip(writer, octets)
            writer.write(b"\r\n")
            return True
        if fault is Fault.DUPLICATE and before:
            octets = before + octets
        elif fault is not None and not fault.value.isdigit() and fault is not Fault.REFUSE:
            octets = _spoil(fault, octets)
        writer.write(b"%x\r\n" % len(octets) + octets + b"\r\n")
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {}
    for each in rest:
        name, _, value = each.partition(":")
        if name:
            headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


def _head(status: int, headers: dict[str, str], length: int) -> bytes:
    named = {"content-type": "application/json", "content-length": str(length)} | headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1")


async def _answer(writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> bool:
    writer.write(_head(status, headers, len(body)) + body)
    await writer.drain()
    return True


def _storm(fault: Fault, target: str) -> tuple[bytes, dict[str, str]]:
    """Return an answer that is not so: another epoch, or a log that is said to be compacted and is not."""
    if fault in (Fault.S429, Fault.S503):
        return b"busy", {"retry-after": "0"}
    epoch = httpx.URL(target).params.get("epoch", "of-nobody") if fault is Fault.S410 else "of-nobody"
    return json.dumps({"epoch": epoch, "min_rev": 0}).encode(), {}


def _spoil(fault: Fault | None, body: bytes) -> bytes:
    """Return an answer as it comes out of a fault that leaves it an answer."""
    if fault is Fault.TRUNCATE:
        return body.rstrip(b"\n")[:-3]
    if fault is Fault.GARBAGE:
        return b"<html>not what you asked for</html>"
    if fault is Fault.SIGNATURE:
        return b"\n".join(_forged(line) for line in body.split(b"\n"))
    return body


def _forged(line: bytes) -> bytes:
    """Return a line whose content is another than what was signed; without signatures it is as it was."""
    try:
        said: Any = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict):
        return line
    if "sig" in said:
        said["head"] = said.get("head", 0) + 1
    elif "sig" in said.get("trailer", {}):
        said["trailer"]["counts"]["forged"] = 1
    else:
        return line
    return json.dumps(said).encode()
