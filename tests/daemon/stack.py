"""The request path without sockets, on a sample provider."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Network, ip_network
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa import token
from daemon.aaa.access import Access
from daemon.aaa.accounting import Accounting
from daemon.aaa.authorize import Defaults, Replies
from daemon.aaa.bindings import Bindings
from daemon.aaa.conductor import Conductor
from daemon.aaa.decision import Decision
from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.lease_keeping import LeaseKeeping
from daemon.aaa.leasing import Held, Leasing
from daemon.aaa.loops import LoopLimits, Loops
from daemon.aaa.nas import Clients
from daemon.aaa.report import Belief
from daemon.aaa.reservations import Reservations
from daemon.aaa.session import Session
from daemon.aaa.sessions import SessionTable
from daemon.aaa.standing import Books
from daemon.aaa.storm import Limits, Storm
from daemon.aaa.trace import Trace
from daemon.aaa.usage import UsageBook
from daemon.clock import Clock
from daemon.leases.addresses import Addresses, AddressOptions
from daemon.leases.cgnat_ingest import Ingest
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.records import (
    AccessMode,
    Nas,
    Plan,
    Record,
    Secret,
    SecretKind,
    Service,
    Subscriber,
    Tenant,
)
from daemon.store.writer import Writer
from ipam.register import Register
from radius.duplicates import Duplicates
from radius.grant import Rate
from radius.udp import BatchSocket
from tests.twins.nas import NasTwin, WireTwin

T0 = 1_700_000_000.0


def clear(text: str) -> Secret:
    return Secret(SecretKind.CLEARTEXT, text.encode())


def subscriber(name: str, password: str | None, **fields: Any) -> Subscriber:
    base: dict[str, Any] = {
        "tenant": "demo",
        "id": name.upper(),
        "usernames": (name,),
        "access_mode": AccessMode.ACTIVE,
        "plan": "home-100",
        "secret": None if password is None else clear(password),
    }
    return Subscriber(**(base | fields))


def nas(**fields: Any) -> Nas:
    base: dict[str, Any] = {
        "tenant": "demo",
        "id": "lab",
        "prefixes": (ip_network("127.0.0.0/8"), ip_network("::1/128")),
        "secret": clear("testing123"),
        "vendor": "mikrotik",
    }
    return Nas(**(base | fields))


def provider() -> list[Record]:
    rate = Rate(download_bps=100_000_000, upload_bps=20_000_000)
    return [
        Tenant(id="demo"),
        Plan(tenant="demo", id="home-100", service=Service(rate=rate)),
        nas(),
        subscriber("alice", "wonderland"),
        subscriber("bob", "builder", access_mode=AccessMode.REJECT),
        subscriber("carol", "christmas", access_mode=AccessMode.CAPTIVE),
        subscriber("nobody", "terminal", access_mode=AccessMode.NONE),
        subscriber(
            "dave",
            "dragonfly",
            ipv4_address=IPv4Address("203.0.113.10"),
            ipv6_delegated=IPv6Network("2001:db8:1000::/56"),
        ),
        subscriber("early", "bird", valid_from=T0 + 60),
        subscriber("expired", "milk", valid_until=T0),
        subscriber("ending", "soon", valid_until=T0 + 90),
        subscriber("planless", "x", plan=None),
        subscriber("lost", "x", plan="no-such-plan"),
        subscriber("keyless", None),
        subscriber("box", None, usernames=(), macs=("02:00:00:00:00:2a",)),
        subscriber("line", None, usernames=(), circuit_id="olt1 1/2/3:100"),
    ]


class Stack:
    """Conductor and everything below it; `at` is the wall clock, `now` the monotonic one."""

    def __init__(
        self,
        *more: Record,
        reject_delay_s: float = 0.0,
        hashes: int = 4,
        spread: float = 0.0,
        refusals: int = 0,
    ) -> None:
        self.at, self.now = T0, 1000.0
        self.index = Index()
        for record in (*provider(), *more):
            self.index.put(record)
        self.counts = RequestCounts()
        self.clients = Clients(self.index)
        self.sessions = SessionTable()
        self.trace = Trace(1000, 1000)
        self.strangers: list[bytes] = []
        self.faults: list[str] = []
        self.books = Books(self.sessions, Reservations(60.0), UsageBook(300.0), Bindings())
        self.replies = Replies(Defaults(600, spread))
        self.loops = Loops(LoopLimits(refusals=refusals, window_s=60.0, pause_s=20.0))
        self.storm = Storm(Limits(), self.sessions.live_of)
        self.heard: list[bytes] = []  # places of boxes that have ended a session
        self.told: list[tuple[str, Decision | Session, str]] = []  # events: kind, about what, text
        self.addresses: Addresses[Held] = Addresses(
            cast("AsyncEngine", None),
            Writer(cast("AsyncEngine", None), lambda: self.now, lambda _seconds, _durable: None),
            cast("Clock", self),
            AddressOptions(),
        )
        self.leasing = Leasing(self.addresses, self.counts, lambda _packet, _name: None)
        self.addresses.open(Register("edge", 1))
        self.keeping = LeaseKeeping(
            self.addresses, self.index, lambda kind, session, text: self.told.append((kind, session, text))
        )
        self.sessions.on_closed = self.keeping.ended
        self.accounting = Accounting(
            self.index,
            self.books.reservations,
            self.sessions,
            self.counts,
            Belief(300.0, 86_400.0),
            lambda _code: self.faults.append(traceback.format_exc()),
            lambda kind, session, text: self.told.append((kind, session, text)),
            lambda place, _at: self.heard.append(place),
            lambda: self.now,
            self.storm,
            self.keeping,
            Ingest(),
        )
        self.access = Access(
            self.index,
            self.replies,
            self.books,
            self.loops,
            self.trace,
            self.counts,
            ThreadPoolExecutor(1),
            lambda kind, decision, text: self.told.append((kind, decision, text)),
            self.leasing,
            numbers=token.numbers(T0),
            max_pending_hashes=hashes,
            reject_delay_s=reject_delay_s,
        )
        self.conductor = Conductor(
            self.clients,
            {Port.AUTH: self.access, Port.ACCT: self.accounting},
            self.counts,
            (lambda: self.now, lambda: self.at),
            lambda address, _code: self.strangers.append(address),
            lambda _code: self.faults.append(traceback.format_exc()),
            self.storm,
        )
        self.wires = {port: WireTwin() for port in Port}
        self.endpoints = {
            port: Endpoint(
                port,
                cast("BatchSocket", wire),
                Duplicates(15.0, self.now),
                self.conductor.handle,
                lambda drop: self.counts.add(0, "unknown", "drop", drop),
            )
            for port, wire in self.wires.items()
        }

    def monotonic(self) -> float:
        """Return the monotonic time of this stage."""
        return self.now

    def wall(self) -> float:
        """Return the wall clock of this stage."""
        return self.at

    def nas(self, address: str = "127.0.0.1", secret: bytes = b"testing123") -> NasTwin:
        """Return a NAS at an address."""
        return NasTwin(self.conductor, self.endpoints[Port.AUTH], self.endpoints[Port.ACCT], address, secret)

    def reasons(self) -> dict[str, int]:
        """Return how often each reason was counted."""
        out: dict[str, int] = {}
        for (_, _, _, reason), count in self.counts.requests.items():
            out[str(reason)] = out.get(str(reason), 0) + count
        return out
