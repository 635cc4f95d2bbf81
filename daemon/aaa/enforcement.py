"""What acts on live sessions, put together: CoA engine, reconciler, reaper of ghosts, relay for the platform."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.authorize import Replies
from daemon.aaa.coa.client import CoaClient
from daemon.aaa.coa.engine import CoaEngine
from daemon.aaa.coa.hooks import CoaOptions, Hooks
from daemon.aaa.coa.job import Answered, Intent, Kind, Outcome
from daemon.aaa.coa.timers import Spawn, Timers
from daemon.aaa.nas import Client, Clients
from daemon.aaa.reaper import Options as ReaperOptions
from daemon.aaa.reaper import Reaper
from daemon.aaa.reasons import Deny
from daemon.aaa.reconcile import Reconciler, Unchangeable
from daemon.aaa.relay.answers import Relay
from daemon.aaa.relay.clients import RelayClient, RelayClients
from daemon.aaa.relay.engine import RelayEngine
from daemon.aaa.relay.find import Finder
from daemon.aaa.session import Closed, Session
from daemon.aaa.standing import Books
from daemon.aaa.storm import Storm
from daemon.clock import Clock
from daemon.events import Events
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.store.writer import Writer
from radius.grant import Grant

_INTERIM_SLACK = 1.2
_KICKED = {"simultaneous-kicked": Deny.TOO_MANY_SESSIONS, "address-conflict": Deny.ADDRESS_CONFLICT}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnforcementOptions:
    """What the settings say about it."""

    coa: CoaOptions
    reaper: ReaperOptions
    relay_clients: Sequence[RelayClient]
    sources: tuple[IPv4Address | IPv6Address, ...]  # where requests are sent from, at most one of each family
    default_interim_s: float
    sweep_s: float
    unchangeable: Unchangeable
    disconnects_conflicts: bool  # whether a session with an address of somebody else is ended


class Enforcement:
    """The parts, wired. `restore`, then run `engine.run`, `reconciler.run` and `reaper.run`, each as a task."""

    def __init__(
        self,
        index: Index,
        clients: Clients,
        books: Books,
        replies: Replies,
        writer: Writer,
        clock: Clock,
        events: Events,
        storm: Storm,
        counts: RequestCounts,
        spawn: Spawn,
        hindered: Callable[[], bool],
        on_fault: Callable[[int], None],
        options: EnforcementOptions,
    ) -> None:
        self._books = books
        self._events = events
        self._clock = clock
        self._clients = clients
        self._default_interim_s = options.default_interim_s
        self.disconnects_conflicts = options.disconnects_conflicts
        self.random = Random()  # noqa: S311 - spreads retries; nothing secret
        timers = Timers(clock, spawn)
        self.client = CoaClient(clock, timers, self.random, sources=options.sources)
        hooks = Hooks(
            find=self._find,
            on_applied=self._applied,
            on_gone=self._gone,
            on_event=self._coa_event,
            storm_active=lambda: storm.turn(clock.monotonic()),
            source_of=_source_of,
        )
        self.engine = CoaEngine(
            self.client, books.sessions, writer, clock, timers, self.random, spawn, hooks, options.coa
        )
        self.reconciler = Reconciler(
            index,
            clients,
            books,
            replies,
            self.engine,
            events,
            clock,
            sweep_s=options.sweep_s,
            unchangeable=options.unchangeable,
        )
        self.reaper = Reaper(books.sessions, options.reaper, self._reaper_event, hindered)
        self.relay = Relay(
            RelayClients(options.relay_clients),
            Finder(index, books.sessions.live),
            RelayEngine(_Overriding(self.engine, self.reconciler)),
            counts,
            events,
            spawn,
            (clock.monotonic, clock.wall),
            on_fault,
        )

    async def restore(self, engine: AsyncEngine) -> None:
        """Take up the jobs that were not finished; to be called once the sessions are there."""
        await self.engine.load(engine)

    def kick(self, session: Session, reason: str, why: str) -> None:
        """See to it that a session ends."""
        self.engine.submit(session, Intent(kind=Kind.DISCONNECT, reason=reason, why=why, urgent=True))

    def session_event(self, kind: str, session: Session, text: str) -> None:
        """Act on what accounting has noticed about a session."""
        reason = _KICKED.get(kind, "")
        self.tell(kind, session, reason=reason, why=text)
        if reason and (kind != "address-conflict" or self.disconnects_conflicts):
            self.kick(session, reason, text)
        elif kind == "session-reopened":
            self.reconciler.mark([(session.tenant, session.subscriber)])

    def tell(self, kind: str, session: Session, **fields: object) -> None:
        """Make an event about a session."""
        reason = str(fields.pop("reason", ""))
        self._events.add(
            kind,
            tenant=session.tenant,
            subscriber=session.subscriber,
            session=session.uid,
            nas=session.nas,
            reason=reason,
            **{name: value for name, value in fields.items() if name != "nas"},
        )

    def _find(self, tenant: str, nas: str) -> Client | None:
        self._clients.turn()
        return self._clients.get(tenant, nas)

    def close(self) -> None:
        """Let go of sockets."""
        self.client.close()

    def _applied(self, session: Session, grant: Grant) -> None:
        self.reconciler.applied(session, grant)

    def _gone(self, session: Session) -> None:
        """The NAS knows no such session: its Stop was lost, unless it has just told us of it.

        Some NASes answer so to whatever they do not like about a request, a clock that is off for example.
        """
        granted = None if session.applied is None else session.applied.interim_interval_s
        if self._clock.wall() - session.heard_at < (granted or self._default_interim_s) * _INTERIM_SLACK:
            return
        if self._books.sessions.conclude(session, Closed.NOT_ON_NAS, "lost-service"):
            self.tell("session-ghost-closed", session, reason="session-context-not-found", confidence="high")

    def _coa_event(self, kind: str, session: Session, /, **fields: str | int | float) -> None:
        named = {("asked" if name == "kind" else name): value for name, value in fields.items()}
        self.tell(kind, session, **named)
        if kind == "coa-outcome":
            self.reconciler.job_ended(session)

    def _reaper_event(self, kind: str, session: Session | None, /, **fields: object) -> None:
        if session is not None:
            self.tell(kind, session, **fields)
            return
        tenant, nas, box = (str(fields.pop(name, "")) for name in ("tenant", "nas", "box"))
        if kind == "nas-back":
            self.engine.hurry_nas(tenant, nas)
        told = ", ".join(f"{name} {value}" for name, value in fields.items())
        self._events.add(kind, tenant=tenant, nas=nas, box=box, told=told)


class _Overriding:
    """The engine as the relay asks it: what was sent raw may be in force, whatever the data say."""

    def __init__(self, engine: CoaEngine, reconciler: Reconciler) -> None:
        self._engine = engine
        self._reconciler = reconciler

    async def ask(self, session: Session, intent: Intent) -> Answered:
        """Submit an intent and return what its next try has brought."""
        try:
            answered = await self._engine.ask(session, intent)
        except asyncio.CancelledError:  # whoever asked has given up, and the NAS may still take it
            if intent.attributes:
                self._reconciler.overridden(session)
            raise
        if intent.attributes and answered.outcome in _PERHAPS_TAKEN:
            self._reconciler.overridden(session)
        return answered


# What may have left a NAS with the change: an answer may have been lost.
_PERHAPS_TAKEN = frozenset({Outcome.ACKED, Outcome.VERIFIED, Outcome.UNVERIFIED, Outcome.TIMEOUT})


def _source_of(session: Session) -> IPv4Address | IPv6Address | None:
    return ip_address(session.source) if session.source else None
