"""The request path put together: what the ports, the journal and the sessions need of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa import token
from daemon.aaa.access import Access
from daemon.aaa.accounting import Accounting, Pending, reply_to
from daemon.aaa.authorize import Replies
from daemon.aaa.conductor import Answer, Conductor
from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.keeper import Keeper, Retention
from daemon.aaa.nas import Clients
from daemon.aaa.report import Belief
from daemon.aaa.sessions import SessionTable
from daemon.aaa.trace import Trace
from daemon.clock import Clock
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.store.journal import Journal, Record, read_last_seq
from daemon.store.session_rows import APPLIED_SEQ, read_mark
from daemon.store.writer import Writer
from radius.authenticator import request_is_authentic
from radius.duplicates import Duplicates
from radius.packet import decode
from radius.udp import BatchSocket, source_octets

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the settings say about the request path."""

    belief: Belief
    retention: Retention
    trace_permits: int
    trace_denials: int
    hash_workers: int
    max_pending_hashes: int
    reject_delay_s: float
    duplicate_window_s: float
    receive_buffer_octets: int
    max_batch_records: int
    max_pending_records: int
    session_flush_s: float
    default_interim_s: int


class RequestPath:
    """The parts, wired; `restore`, then `listen`, then `start`. `on_stranger` and `on_fault` are told to log."""

    def __init__(
        self,
        index: Index,
        engine: AsyncEngine,
        writer: Writer,
        clock: Clock,
        requests: RequestCounts,
        options: Options,
        on_stranger: Callable[[bytes, int], None],
        on_fault: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._requests = requests
        self._options = options
        self.clients = Clients(index)
        self.sessions = SessionTable()
        self.trace = Trace(options.trace_permits, options.trace_denials)
        self.endpoints: list[Endpoint] = []
        self._hashes = ThreadPoolExecutor(options.hash_workers, "password-hash")
        issued = token.Issued()
        self.accounting = Accounting(index, issued, self.sessions, requests, options.belief, on_fault)
        self.journal: Journal[Pending] = Journal(
            writer,
            clock.wall,
            self.accounting.on_durable,
            self.accounting.on_lost,
            max_batch=options.max_batch_records,
            max_pending=options.max_pending_records,
        )
        self.accounting.journal = self.journal
        self.access = Access(
            index,
            Replies(options.default_interim_s),
            issued,
            self.trace,
            requests,
            self._hashes,
            numbers=token.numbers(clock.wall()),
            max_pending_hashes=options.max_pending_hashes,
            reject_delay_s=options.reject_delay_s,
        )
        answers: dict[Port, Answer] = {Port.AUTH: self.access, Port.ACCT: self.accounting}
        clocks = (clock.monotonic, clock.wall)
        self._conductor = Conductor(self.clients, answers, requests, clocks, on_stranger, on_fault)
        self.keeper = Keeper(
            engine,
            writer,
            self.sessions,
            self.accounting,
            clock,
            options.retention,
            options.session_flush_s,
        )

    def listen(self, port: Port, addresses: Sequence[Address]) -> None:
        """Bind sockets, without reading from them yet; raises OSError where one cannot be bound."""
        for host, number in addresses:
            self.endpoints.append(
                Endpoint(
                    port,
                    BatchSocket(host, number, self._options.receive_buffer_octets),
                    Duplicates(self._options.duplicate_window_s, self._clock.monotonic()),
                    self._conductor.handle,
                    lambda drop: self._requests.add(0, "unknown", "drop", drop),
                )
            )

    async def restore(self) -> int:
        """Bring back numbers, sessions and the repeats to expect; return how many records were folded in."""
        mark = await read_mark(self._engine, APPLIED_SEQ)
        self.journal.last_seq = max(await read_last_seq(self._engine), int(mark or 0))
        self.clients.turn()
        return await self.keeper.restore(self.clients, self._remember)

    def _remember(self, record: Record) -> None:
        """Know a record acknowledged just before a stop again, should its sender repeat it."""
        client = self.clients.find(source_octets(record.peer))
        if client is None:
            return
        packet = decode(record.octets)
        signer = next((key for key in client.keys if request_is_authentic(packet, key)), client.keys[0])
        reply = reply_to(packet, signer)
        for endpoint in self.endpoints:
            if endpoint.port is Port.ACCT:
                endpoint.duplicates.keep(record.peer + record.octets[1:2], packet.authenticator, reply)

    def start(self) -> None:
        """Begin to answer."""
        for endpoint in self.endpoints:
            endpoint.start()

    def stop(self) -> None:
        """Take nothing more; what is owed may still be sent."""
        for endpoint in self.endpoints:
            endpoint.stop()

    def close(self) -> None:
        """Let go of sockets and threads."""
        for endpoint in self.endpoints:
            endpoint.close()
        self._hashes.shutdown(wait=False, cancel_futures=True)
