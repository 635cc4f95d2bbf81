"""The ports of staff without sockets: a provider with two routers, some staff and a subscriber."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, cast

from daemon.aaa.conductor import Answer, Conductor
from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.nas import Clients
from daemon.aaa.report import Belief
from daemon.aaa.staff.access import StaffAccess
from daemon.aaa.staff.accounting import StaffAccounting
from daemon.aaa.trace import Trace
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.records import Plan, Record, Staff, Tenant
from daemon.store.writer import Writer
from radius.duplicates import Duplicates
from radius.grant import Privilege
from radius.udp import BatchSocket
from tests.daemon.stack import T0, clear, nas, subscriber
from tests.twins.nas import NasTwin, WireTwin


def member(name: str, password: str = "Kanarie-password-77c1", **fields: Any) -> Staff:
    """Return a member of staff whose id is the name in capitals."""
    base = {"tenant": "demo", "id": name.upper(), "username": name, "secret": clear(password)}
    return Staff(**(base | fields))


def provider() -> list[Record]:
    """Return the records: `lab` is a MikroTik at site north, `edge` a Cisco without a site."""
    return [
        Tenant(id="demo", reject_message="pay your bill"),
        Plan(tenant="demo", id="home-100"),
        nas(site="north"),
        nas(id="edge", prefixes=(ip_network("10.9.0.0/16"),), vendor="cisco"),
        subscriber("alice", "wonderland"),
        member("root", privilege=Privilege.FULL),
        member("guest", privilege=Privilege.READ, groups=(("mikrotik", "noc"),)),
        member("gone", enabled=False),
        member("student", valid_until=T0),
        member("local", nases=("edge",)),
        member("southern", sites=("south",)),
        member("northern", sites=("north",)),
    ]


@dataclass(frozen=True)
class Told:
    """One event."""

    kind: str
    fields: dict[str, str]


class StaffStack:
    """Conductor and both ports; with a writer, accounting too."""

    def __init__(
        self, *more: Record, reject_delay_s: float = 0.0, hashes: int = 4, writer: Writer | None = None
    ) -> None:
        self.at, self.now = T0, 1000.0
        self.index = Index()
        for record in (*provider(), *more):
            self.index.put(record)
        self.counts = RequestCounts()
        self.clients = Clients(self.index)
        self.trace = Trace(100, 100)
        self.events: list[Told] = []
        self.faults: list[str] = []
        self.access = StaffAccess(
            self.index,
            self.trace,
            self.counts,
            ThreadPoolExecutor(1),
            lambda kind, **fields: self.events.append(Told(kind, fields)),
            max_pending_hashes=hashes,
            reject_delay_s=reject_delay_s,
        )
        answers: dict[Port, Answer] = {Port.STAFF_AUTH: self.access}
        if writer is not None:
            self.accounting = StaffAccounting(writer, self.counts, Belief(300.0, 86_400.0), self.fault)
            answers[Port.STAFF_ACCT] = self.accounting
        self.conductor = Conductor(
            self.clients,
            answers,
            self.counts,
            (lambda: self.now, lambda: self.at),
            lambda _address, _code: None,
            self.fault,
        )
        self.wires = {port: WireTwin() for port in answers}
        self.endpoints = {port: self.endpoint(port, wire) for port, wire in self.wires.items()}

    def endpoint(self, port: Port, wire: WireTwin | BatchSocket) -> Endpoint:
        """Return an endpoint on a wire."""
        return Endpoint(
            port,
            cast("BatchSocket", wire),
            Duplicates(15.0, self.now),
            self.conductor.handle,
            lambda drop: self.counts.add(0, "unknown", "drop", drop),
        )

    def fault(self, _code: int) -> None:
        """Keep the traceback of a fault of ours."""
        self.faults.append(traceback.format_exc())

    def nas(self, address: str = "127.0.0.1", secret: bytes = b"testing123") -> NasTwin:
        """Return a NAS at an address."""
        auth = self.endpoints[Port.STAFF_AUTH]
        return NasTwin(self.conductor, auth, self.endpoints.get(Port.STAFF_ACCT, auth), address, secret)

    def reasons(self) -> dict[str, int]:
        """Return how often each reason was counted."""
        out: dict[str, int] = {}
        for (_, _, _, reason), count in self.counts.requests.items():
            out[str(reason)] = out.get(str(reason), 0) + count
        return out
