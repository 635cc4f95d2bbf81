"""Questions to the policy about one subscriber on one plan, with whatever the test says of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import Any

from daemon.aaa import explain
from daemon.aaa.decision import Decision
from daemon.aaa.session import Session
from daemon.aaa.standing import Question
from daemon.replica.records import Plan, Service, Subscriber, Tenant
from daemon.replica.rules import Allowance, Garden, Hours, Rules
from radius.codes import Attr, Vendor
from radius.grant import Rate
from radius.packet import Packet, attribute, decode, vendor_attribute
from tests.daemon.stack import T0, Stack, nas, subscriber

FULL_RATE = Rate(download_bps=20_000_000, upload_bps=4_000_000)
SLOW_RATE = Rate(download_bps=1_000_000, upload_bps=500_000)
GARDEN = Garden(address_list="garden", rate=SLOW_RATE)
EVERY_DAY = tuple(range(7))
MAC, OTHER_MAC = "02-00-00-00-00-01", "02-00-00-00-00-02"
ACCEPT, REJECT = 2, 3


def hours(start_min: int, end_min: int, *days: int) -> Hours:
    """Return a span of some days, of every day where none is named."""
    return Hours(days=days or EVERY_DAY, start_min=start_min, end_min=end_min)


def shown(
    mac: str | None = None, port: str | None = None, circuit: bytes | None = None, remote: bytes | None = None
) -> bytes:
    """Return the attributes of a login that say where it comes from."""
    out = b"" if mac is None else attribute(Attr.CALLING_STATION_ID, mac.encode())
    out += b"" if port is None else attribute(Attr.NAS_PORT_ID, port.encode())
    out += b"" if circuit is None else vendor_attribute(Vendor.ADSL_FORUM, 1, circuit)
    return out + (b"" if remote is None else vendor_attribute(Vendor.ADSL_FORUM, 2, remote))


class PolicyStage(Stack):
    """A stack with the subscriber `sam` (SAM) on the plan `ruled`, at whose rules and records a test turns."""

    def __init__(self, rules: Rules | None = None, tenant: Tenant | None = None, **fields: Any) -> None:
        rules = rules or Rules()
        self._identifiers = count(1)
        super().__init__(
            tenant or Tenant(id="demo", garden=GARDEN),
            nas(site="north"),
            Plan(
                tenant="demo", id="ruled", service=Service(rate=FULL_RATE, address_list="full"), rules=rules
            ),
            Plan(tenant="demo", id="thin", service=Service(rate=SLOW_RATE)),
            subscriber("sam", "secret", **({"plan": "ruled"} | fields)),
        )

    @property
    def sam(self) -> Subscriber:
        """The subscriber as the data have it now."""
        return self.index.tenants["demo"].subscribers["SAM"]

    def change(self, **fields: Any) -> None:
        """Change the subscriber's data."""
        self.index.put(replace(self.sam, **fields))

    def rule(self, **fields: Any) -> None:
        """Change the plan's rules."""
        plan = self.index.tenants["demo"].plans["ruled"]
        self.index.put(replace(plan, rules=replace(plan.rules, **fields)))

    def question(
        self, extra: bytes | None = b"", session: Session | None = None, at: float | None = None
    ) -> Question:
        """Return a question about a login with these attributes, about a session, or with None about neither."""
        tenant = self.index.tenants["demo"]
        packet = None if extra is None or session is not None else self.packet(extra)
        plan = tenant.plans.get(self.sam.plan or "")
        at = self.at if at is None else at
        return Question(
            self.sam, plan, at, tenant, tenant.nases["lab"], self.books, packet=packet, session=session
        )

    def packet(self, extra: bytes = b"") -> Packet:
        """Return an Access-Request with these attributes beside the user name."""
        return decode(self.nas().request(attribute(1, b"sam") + extra).octets)

    def login(self, extra: bytes = b"", name: str = "sam", password: str = "secret") -> Packet:
        """Log in with PAP and return the answer."""
        twin = self.nas()
        twin.identifier = next(self._identifiers)
        reply = twin.ask(twin.login(name, password, extra))
        assert reply is not None
        return reply

    def decision(self) -> Decision:
        """Return the decision that was made last."""
        rings = (self.trace._permits, self.trace._denials)
        return max((ring[-1] for ring in rings if ring), key=lambda each: (each.at, each.packet.identifier))

    def steps(self) -> dict[str, tuple[str, str]]:
        """Return the explanation of the last decision: result and detail by step."""
        return {each.step: (each.result, each.detail) for each in explain.steps(self.decision())}

    def use(self, octets: int = 0, seconds: int = 0, upload: int = 0, gap: str = "", at: float = T0) -> None:
        """Let the subscriber have used so much in each window that holds `at`, octets as download."""
        usage = self.books.usage
        tenant = self.index.tenants["demo"]
        month_day = tenant.plans["ruled"].rules.month_day
        usage.mark_gap("demo", "SAM", gap, at, tenant.zone, month_day)
        found = usage.find("demo", "SAM")
        assert found is not None
        found.add((upload, octets, seconds), at, at)


def allowance(most: int, **fields: Any) -> Allowance:
    """Return an allowance named `quota`."""
    base: dict[str, Any] = {"name": "quota", "most": most}
    return Allowance(**(base | fields))
