"""NATS JetStream as a sink: one message an event, each acknowledged by the server that keeps it.

The server drops a message whose id it has seen within its window of duplicates, two minutes by default. Who consumes
keeps the watermark all the same: what comes again after the window, and what an edge that was set back tells under
numbers it had used, only the numbers and the hash of the chain in the headers show.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.sync.outbox.model import Acked, Delivery, Later, Receipt, Stream
from daemon.sync.outbox.run import Run, run_of

if TYPE_CHECKING:
    import ssl

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js import JetStreamContext

_CREDENTIALS = re.compile(r"//[^@/\s]*@")
_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """How NATS is reached. `token` or `credentials_file` may be empty; `stream` names the JetStream that keeps all.

    With `create`, a stream that is not there is made: `duplicates_s` is its window of duplicates, and it keeps what
    `most_octets` hold, refusing more: nothing that was acknowledged is dropped for something newer.
    """

    servers: tuple[str, ...] = field(repr=False)  # nats://HOST:PORT; may hold a password
    prefix: str = "dotmac.edge"
    stream: str = "DOTMAC_EDGE"
    create: bool = False
    duplicates_s: float = 120.0
    most_octets: int = 10 * 1024**3
    replicas: int = 1
    token: str = field(default="", repr=False)
    credentials_file: str = ""
    pipelined: int = 256  # messages that wait for their acknowledgement at one time
    connect_timeout_s: float = 5.0
    timeout_s: float = 30.0  # for all of a delivery
    streams: frozenset[Stream] = frozenset(Stream)
    name: str = "nats"


class NatsMissing(ValueError):
    """The Python package is not installed."""


class _Refused(Exception):
    """The server has not kept a message, and says why."""


class _Link:
    """One connection, and the answers that it owes; those fail when it goes.

    The library's own asynchronous publishing is not used: some refusals never reach its caller.
    """

    def __init__(self) -> None:
        self.client: Client | None = None
        self.over = False
        self._inbox = ""
        self._numbers = count()
        self._owed: dict[str, asyncio.Future[None]] = {}

    async def listen(self, client: Client) -> None:
        """Take answers from now on."""
        self.client = client
        self._inbox = client.new_inbox()
        await client.subscribe(f"{self._inbox}.*", cb=self._heard)

    async def publish(self, subject: str, text: bytes, headers: dict[str, str]) -> asyncio.Future[None]:
        """Send a message; the answer is set when the server keeps it. Raises nats.errors.Error, ConnectionError."""
        assert self.client is not None, "it is open"
        token = str(next(self._numbers))
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owed[token] = answer
        answer.add_done_callback(lambda _: self._owed.pop(token, None))
        await self.client.publish(subject, text, reply=f"{self._inbox}.{token}", headers=headers)
        if self.over:
            self._fail(answer)
        return answer

    async def _heard(self, message: Msg) -> None:
        answer = self._owed.get(message.subject.rpartition(".")[2])
        if answer is None or answer.done():
            return
        why = _refusal(message)
        if why:
            answer.set_exception(_Refused(why))
        else:
            answer.set_result(None)

    async def gone(self) -> None:
        """Let nobody wait any longer: the connection is closed."""
        self.over = True
        for answer in list(self._owed.values()):
            self._fail(answer)

    def _fail(self, answer: asyncio.Future[None]) -> None:
        if not answer.done():
            answer.set_exception(
                ConnectionError("the connection was lost; what came of the rest is not known")
            )


def _refusal(message: Msg) -> str:
    """Return why the server does not keep a message; empty where it does."""
    if not message.data:
        return (
            "no stream takes this subject" if (message.headers or {}).get("Status") == "503" else "no answer"
        )
    try:
        said = json.loads(message.data)
    except ValueError:
        return "an answer that cannot be read"
    if not isinstance(said, dict) or "seq" not in said or "error" in said:
        error = said.get("error") if isinstance(said, dict) else None
        return str(error.get("description")) if isinstance(error, dict) else "an answer that is none"
    return ""


class NatsSink:
    """Publishes events. Raises NatsMissing, and ValueError where the options cannot be used."""

    def __init__(self, options: NatsOptions, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        """`tls` makes the context of a connection with certificates of ours."""
        if find_spec("nats") is None:
            raise NatsMissing(
                f"{options.name} needs the Python package nats-py: pip install 'dotmac-edge[nats]'"
            )
        if not options.servers or not _PREFIX.fullmatch(options.prefix) or options.pipelined < 1:
            raise ValueError(f"{options.name}: servers, a prefix such as dotmac.edge and a window are needed")
        self.name = options.name
        self.streams = options.streams
        self.portions = 1
        self._options = options
        self._tls = tls
        self._link: _Link | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"NatsSink({self._options.prefix})"

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Publish a run of events; acknowledged is what the server keeps, up to the first that it may not."""
        from nats.errors import Error  # noqa: PLC0415 - only where it is configured

        acked = delivery.first - 1

        def reached(seq: int) -> None:
            nonlocal acked
            acked = seq

        try:
            async with asyncio.timeout(self._options.timeout_s):
                await self._publish(await self._linked(), delivery, reached)
            why = "there was nothing to deliver"
        except TimeoutError:
            why = (
                f"no acknowledgement within {self._options.timeout_s:g} s; what came of the rest is not known"
            )
            await self.close()
        except _Refused as error:
            why = self._cleared(error)
        except (Error, OSError, ValueError) as error:
            why = self._cleared(error)
            await self.close()
        return Acked(acked) if acked >= delivery.first else Later(f"{self.name}: {why}")

    async def close(self) -> None:
        """Close the connection; the next delivery opens another."""
        link, self._link = self._link, None
        if link is not None and link.client is not None:
            await link.gone()
            await link.client.close()

    async def _publish(self, link: _Link, delivery: Delivery, reached: Callable[[int], None]) -> None:
        """Publish and wait for each acknowledgement in order; `reached` is told each number that is kept."""
        window = self._options.pipelined
        waiting: deque[asyncio.Future[None]] = deque()
        seq, chain = delivery.first - 1, delivery.before_hash
        try:
            while True:
                run = await run_of(delivery, seq + 1, chain, most_octets=1 << 30, most_events=window)
                if not run.texts:
                    break
                chain = run.hashes[-1]
                for text in run.texts:
                    seq += 1
                    waiting.append(await self._sent(link, delivery, run, seq, text))
                    if len(waiting) >= window:
                        await waiting[0]
                        waiting.popleft()
                        reached(seq - len(waiting))
            while waiting:
                await waiting[0]
                waiting.popleft()
                reached(seq - len(waiting))
        finally:
            for answer in waiting:
                if not answer.cancel():
                    answer.cancelled() or answer.exception()  # else asyncio complains that nobody looked

    async def _sent(
        self, link: _Link, delivery: Delivery, run: Run, seq: int, text: bytes
    ) -> asyncio.Future[None]:
        headers = {
            "Nats-Msg-Id": f"{delivery.incarnation}:{delivery.stream}:{seq}",
            "Nats-Expected-Stream": self._options.stream,
            "Dotmac-Incarnation": delivery.incarnation,
            "Dotmac-Seq": str(seq),
            "Dotmac-Hash": run.hash_at(seq).hex(),
        }
        subject = f"{self._options.prefix}.{_token(delivery.edge)}.{_token(delivery.stream.value)}"
        return await link.publish(subject, text, headers)

    async def _linked(self) -> _Link:
        """Return the connection, a new one where there is none. Raises nats.errors.Error, OSError, ValueError."""
        async with self._opening:
            if self._link is None or self._link.over:
                self._link = await self._opened()
            return self._link

    async def _opened(self) -> _Link:
        from nats.aio.client import Client  # noqa: PLC0415

        options, link = self._options, _Link()

        async def odd(_error: Exception) -> None:
            """What it is about fails as well, and tells."""

        more: dict[str, Any] = {"tls": self._tls()} if self._tls else {}
        if options.credentials_file:
            await asyncio.to_thread(_see, options.credentials_file)
            more["user_credentials"] = options.credentials_file
        if options.token:
            more["token"] = options.token
        client = Client()
        try:
            await client.connect(
                servers=list(options.servers),
                name="dotmac-edge",
                allow_reconnect=False,  # what is owed must not go on silently on another connection
                connect_timeout=max(1, round(options.connect_timeout_s)),
                error_cb=odd,
                closed_cb=link.gone,
                **more,
            )
            await self._see_stream(client.jetstream(timeout=options.connect_timeout_s))
            await link.listen(client)
        except BaseException:
            await client.close()
            raise
        return link

    async def _see_stream(self, jetstream: JetStreamContext) -> None:
        """Make the stream where it is not there and may be made. Raises ValueError where it may not."""
        from nats.js import api, errors  # noqa: PLC0415

        options = self._options
        try:
            await jetstream.stream_info(options.stream)
        except errors.NotFoundError:
            if not options.create:
                raise ValueError(
                    f"there is no JetStream stream {options.stream}: make one with the subjects "
                    f"{options.prefix}.>, or let this edge create it"
                ) from None
            config = api.StreamConfig(
                name=options.stream,
                subjects=[f"{options.prefix}.>"],
                storage=api.StorageType.FILE,
                discard=api.DiscardPolicy.NEW,
                max_bytes=options.most_octets,
                duplicate_window=options.duplicates_s,
                num_replicas=options.replicas,
            )
            await jetstream.add_stream(config)

    def _cleared(self, error: Exception) -> str:
        text = _CREDENTIALS.sub("//", str(error) or type(error).__name__)
        return text.replace(self._options.token, "***") if self._options.token else text


def _see(file: str) -> None:
    """Raises ValueError where a file of credentials cannot be read, or what reads it is not there."""
    try:
        Path(file).read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ValueError(
            f"{file} cannot be used: {why}; put the file of credentials there, it is read with the next try"
        ) from None
    if find_spec("nkeys") is None:
        raise ValueError("a file of credentials needs the Python package nkeys: pip install nkeys")


def _token(name: str) -> str:
    """Return a name as one token of a subject."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: f"%{ord(found[0]):02X}", name)
