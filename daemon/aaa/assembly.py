"""The request path put together: what the ports, the journal and the sessions need of each other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa import token
from daemon.aaa.access import Access
from daemon.aaa.accounting import Accounting, Pending
from daemon.aaa.accounting_packet import reply_to
from daemon.aaa.authorize import Defaults, Replies
from daemon.aaa.bindings import Bindings
from daemon.aaa.coa.timers import Spawn
from daemon.aaa.conductor import Answer, Conductor
from daemon.aaa.decision import Decision
from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.enforcement import Enforcement, EnforcementOptions
from daemon.aaa.keeper import Keeper, Retention
from daemon.aaa.lease_keeping import LeaseKeeping
from daemon.aaa.leasing import Held, Leasing, ReadText
from daemon.aaa.loops import LoopLimits, Loops
from daemon.aaa.nas import Clients
from daemon.aaa.reasons import Drop
from daemon.aaa.reconcile import Unchangeable
from daemon.aaa.report import Belief
from daemon.aaa.reservations import Reservations
from daemon.aaa.session import Session
from daemon.aaa.sessions import SessionTable
from daemon.aaa.staff.access import StaffAccess
from daemon.aaa.staff.accounting import StaffAccounting
from daemon.aaa.standing import Books
from daemon.aaa.storm import Limits, Storm
from daemon.aaa.trace import Trace
from daemon.aaa.usage import UsageBook
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.events import Event, Events
from daemon.leases.addresses import Addresses
from daemon.leases.cgnat_ingest import Ingest
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.store.journal import Journal, Record, read_last_seq
from daemon.store.session_rows import APPLIED_SEQ, read_mark
from daemon.store.writer import Writer
from ipam.model import Pool, Range
from radius.authenticator import request_is_authentic
from radius.duplicates import Duplicates
from radius.packet import decode
from radius.udp import BatchSocket, source_octets

Address = tuple[str, int]
_TEND_S = 0.25
_PRUNE_S = 600.0
_REBOOT_SLICE = 100
_REBOOT_SLICES = 40
_STAFF_TRACE = 1000
_STAFF_HASHES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the settings say about the request path."""

    belief: Belief
    retention: Retention
    defaults: Defaults
    loops: LoopLimits
    storm: Limits
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
    reservation_s: float
    staff_keep_s: float


class RequestPath:
    """The parts, wired; `restore`, then `listen`, then `start`. `on_stranger` and `on_fault` are told to log."""

    def __init__(
        self,
        index: Index,
        engine: AsyncEngine,
        writer: Writer,
        clock: Clock,
        requests: RequestCounts,
        events: Events,
        spawn: Spawn,
        options: Options,
        enforcement: EnforcementOptions,
        addresses: Addresses[Held],
        read_text: ReadText,
        on_stranger: Callable[[bytes, int], None],
        on_fault: Callable[[int], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._requests = requests
        self._events = events
        self._options = options
        self.clients = Clients(index)
        self.sessions = SessionTable()
        self.books = Books(
            self.sessions,
            Reservations(options.reservation_s),
            UsageBook(options.belief.skew_s),
            Bindings(),
        )
        self.replies = Replies(options.defaults)
        self.addresses = addresses
        self.leasing = Leasing(addresses, requests, read_text)
        self.storm = Storm(options.storm, self._live_sessions)
        self.trace = Trace(options.trace_permits, options.trace_denials)
        self.staff_trace = Trace(_STAFF_TRACE, _STAFF_TRACE)
        self.loops = Loops(options.loops)
        self.endpoints: list[Endpoint] = []
        self._hashes = ThreadPoolExecutor(options.hash_workers, "password-hash")
        self.enforcement = Enforcement(
            index,
            self.clients,
            self.books,
            self.replies,
            writer,
            clock,
            events,
            self.storm,
            requests,
            spawn,
            lambda: self.storm.hinders(clock.monotonic()) or self.accounting.failing is not None,
            on_fault,
            enforcement,
        )
        self._build_accounting(index, writer, options, on_fault)
        self._build_access(index, options)
        self.staff_accounting = StaffAccounting(writer, requests, options.belief, on_fault)
        answers: dict[Port, Answer] = {
            Port.AUTH: self.access,
            Port.ACCT: self.accounting,
            Port.STAFF_AUTH: self.staff_access,
            Port.STAFF_ACCT: self.staff_accounting,
        }
        clocks = (clock.monotonic, clock.wall)
        self._conductor = Conductor(
            self.clients, answers, requests, clocks, on_stranger, on_fault, self.storm
        )
        self.keeper = Keeper(
            engine,
            writer,
            index,
            self.books,
            self.accounting,
            clock,
            options.retention,
            options.session_flush_s,
            self.port_blocks,
        )
        events.listeners.append(self._allowance_event)

    def _allowance_event(self, event: Event) -> None:
        """A window that began anew or a bonus is news about an allowance, though nothing more was counted."""
        if event.kind in ("allowance-reached", "allowance-restored"):
            self.keeper.look_at_quota(event.tenant, event.subscriber)

    def accept_accounting(self, taken: bool) -> None:
        """Take accounting, or do not acknowledge any more because the disk is full; logins go on."""
        self.journal.full = not taken
        self.accounting.refusal = Drop.JOURNAL_FULL if taken else Drop.DISK_FULL

    def _build_accounting(
        self, index: Index, writer: Writer, options: Options, on_fault: Callable[[int], None]
    ) -> None:
        self.lease_keeping = LeaseKeeping(self.addresses, index, self.enforcement.session_event)
        self.addresses.before_opening = self._cover
        self.port_blocks = Ingest()
        self.sessions.on_closed = self._session_closed
        self.accounting = Accounting(
            index,
            self.books.reservations,
            self.sessions,
            self._requests,
            options.belief,
            on_fault,
            self.enforcement.session_event,
            self.enforcement.reaper.heard_box,
            self._clock.monotonic,
            self.storm,
            self.lease_keeping,
            self.port_blocks,
        )
        self.journal: Journal[Pending] = Journal(
            writer,
            self._clock.wall,
            self.accounting.on_durable,
            self.accounting.on_lost,
            max_batch=options.max_batch_records,
            max_pending=options.max_pending_records,
        )
        self.accounting.journal = self.journal

    def _build_access(self, index: Index, options: Options) -> None:
        self.access = Access(
            index,
            self.replies,
            self.books,
            self.loops,
            self.trace,
            self._requests,
            self._hashes,
            self._login_event,
            self.leasing,
            numbers=token.numbers(self._clock.wall()),
            max_pending_hashes=options.max_pending_hashes,
            reject_delay_s=options.reject_delay_s,
        )
        self.staff_access = StaffAccess(
            index,
            self.staff_trace,
            self._requests,
            self._hashes,
            self._events.add,
            max_pending_hashes=_STAFF_HASHES,
            reject_delay_s=options.reject_delay_s,
        )

    def _login_event(self, kind: str, decision: Decision, text: str) -> None:
        self._events.add(
            kind,
            tenant=decision.client.nas.tenant,
            subscriber="" if decision.subscriber is None else decision.subscriber.id,
            nas=decision.client.label,
            reason=decision.reason,
            why=text,
        )

    def _live_sessions(self, label: str) -> int:
        return self.sessions.live_of(label)

    def listen(self, port: Port, addresses: Sequence[Address]) -> None:
        """Bind sockets, without reading from them yet; raises OSError where one cannot be bound."""
        handle = self.enforcement.relay.handle if port is Port.RELAY else self._conductor.handle
        for host, number in addresses:
            endpoint = Endpoint(
                port,
                BatchSocket(host, number, self._options.receive_buffer_octets),
                Duplicates(self._options.duplicate_window_s, self._clock.monotonic()),
                handle,
                lambda drop: self._requests.add(0, "unknown", "drop", drop),
            )
            if port is Port.ACCT:  # whoever logs in does not wait behind who reports
                endpoint.before = tuple(each for each in self.endpoints if each.port is Port.AUTH)
            self.endpoints.append(endpoint)

    async def restore(self) -> int:
        """Bring back numbers, sessions and the repeats to expect; return how many records were folded in."""
        mark = await read_mark(self._engine, APPLIED_SEQ)
        self.journal.last_seq = max(await read_last_seq(self._engine), int(mark or 0))
        self.clients.turn()
        folded = await self.keeper.restore(self.clients, self._remember)
        self.settle_leases()
        await self.enforcement.restore(self._engine)
        await self.staff_accounting.restore(self._engine, self._clock.wall())
        return folded

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

    async def tend(self) -> None:
        """Do for ever what comes after packets: interims held back, storms, what counting has shown."""
        stormy = False
        while True:
            await self._clock.sleep(_TEND_S)
            if self.storm.turn(self._clock.monotonic()) is not stormy:
                stormy = not stormy
                snapshot = self.storm.snapshot(self._clock.monotonic(), self._clock.wall())
                self._events.add(
                    "storm-began" if stormy else "storm-ended",
                    nas=snapshot.nas or "",
                    reason=snapshot.reason or "",
                    access_per_s=round(snapshot.access_per_s),
                )
            self.accounting.journal_interims()
            await self._close_rebooted()
            self.addresses.turn(self._session_lives)
            self.lease_keeping.turn()
            for fresh in (self.keeper.counted, self.accounting.unpermitted):
                if fresh:
                    self.enforcement.reconciler.mark(fresh)
                    fresh.clear()

    async def _cover(self, pool: Pool, parts: tuple[Range, ...]) -> None:
        await self.lease_keeping.cover(self.sessions.snapshot(), pool, parts)

    def _session_closed(self, session: Session) -> None:
        self.lease_keeping.ended(session)
        if session.closed_at is not None:
            self.port_blocks.ended(session.uid, session.closed_at, self.sessions.folded_seq)

    def end_session(self, name: str, why: str) -> bool:
        """End the session that the address book calls `name`, since its address is to go; False where it is over."""
        session = self.sessions.find_uid(int(name)) if name.isdigit() else None
        if session is None or session.closed_at is not None:
            return False
        self.enforcement.kick(session, "renumbered", why)
        return True

    def settle_leases(self) -> None:
        """Make leases and sessions agree, after either has been read back."""
        live = (each for each in self.sessions if each.closed_at is None)
        self.lease_keeping.settle(self.sessions.find_uid, live)

    def end_fenced(self, names: tuple[str, ...]) -> None:
        """End sessions whose addresses another node owns now."""
        for name in names:
            self.end_session(name, "its address is of a block that another node has taken over")

    def _session_lives(self, name: str) -> bool:
        return self.lease_keeping.lives(self.sessions.find_uid, name)

    async def _close_rebooted(self) -> None:
        """Close sessions of boxes that rebooted, some thousands a second, between the logins of their storm."""
        for _ in range(_REBOOT_SLICES):
            if not self.sessions.rebooting:
                return
            self.sessions.close_some(_REBOOT_SLICE)
            await asyncio.sleep(0)

    async def prune(self) -> None:
        """Drop for ever what the settings do not keep any longer."""
        while True:
            await self._clock.sleep(_PRUNE_S)
            with contextlib.suppress(StoreUnavailable):
                await self.staff_accounting.prune(self._clock.wall() - self._options.staff_keep_s)

    def take_settings(
        self, reject_delay_s: float, belief: Belief, loops: LoopLimits, unchangeable: Unchangeable
    ) -> None:
        """Go on with other settings; these are the ones that can change while we run."""
        self.access.reject_delay_s = self.staff_access.reject_delay_s = reject_delay_s
        self.accounting.belief = self.staff_accounting.belief = belief
        self.books.usage.skew_s = belief.skew_s
        self.loops.limits = loops
        self.enforcement.reconciler.unchangeable = unchangeable

    def start(self) -> None:
        """Begin to answer."""
        for endpoint in self.endpoints:
            endpoint.start()

    def stop(self) -> None:
        """Take nothing more; what is owed may still be sent."""
        for endpoint in self.endpoints:
            endpoint.stop()
        self.accounting.release_interims()
        self.addresses.lessor.turn()

    def close(self) -> None:
        """Let go of sockets and threads."""
        for endpoint in self.endpoints:
            endpoint.close()
        self.enforcement.close()
        self._hashes.shutdown(wait=False, cancel_futures=True)
