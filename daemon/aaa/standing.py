"""What is asked of the policy, and what it answers: a subscriber's standing at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from daemon.aaa.attachment import Attachment, own_of, same_equipment
from daemon.aaa.attachment import of_packet as attachment_of_packet
from daemon.aaa.attachment import of_session as attachment_of_session
from daemon.aaa.bindings import Bindings
from daemon.aaa.reasons import Deny
from daemon.aaa.reservations import Reservations
from daemon.aaa.session import Session, State
from daemon.aaa.sessions import SessionTable
from daemon.aaa.usage import UsageBook
from daemon.replica.index import TenantIndex
from daemon.replica.records import Nas, Plan, Subscriber
from daemon.replica.rules import (
    GARDEN,
    NO_RULES,
    REJECTED,
    Act,
    Allowance,
    Bound,
    SimultaneousMode,
    Treatment,
)
from radius.grant import Rate
from radius.packet import Packet

_EMPTY = Attachment()


@dataclass(frozen=True, slots=True)
class Books:
    """What is known of subscribers beside the replica."""

    sessions: SessionTable
    reservations: Reservations
    usage: UsageBook
    bindings: Bindings


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a subscriber may have. `act` None is the plan, perhaps at another rate; REJECT is nothing.

    `ends_at` is when a session must be over by the clock, epoch seconds. `volume_octets` is what may still
    pass until the service ends.
    """

    reason: Deny | None = None
    act: Act | None = None
    plan: Plan | None = None  # instead of the subscriber's own
    rate: Rate | None = None
    rate_source: str = ""
    ends_at: float | None = None
    volume_octets: int | None = None


FULL = Standing()


class Question:
    """One question to the policy, about a login or about a live session; checks note on it what they saw."""

    __slots__ = (
        "_attachment",
        "_ends_at",
        "_packet",
        "_session",
        "at",
        "books",
        "counted",
        "limit",
        "mode",
        "nas",
        "noted",
        "over",
        "plan",
        "refused_by",
        "rules",
        "subscriber",
        "tenant",
        "told",
        "treatment",
        "volume_octets",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        plan: Plan | None,
        at: float,
        tenant: TenantIndex,
        nas: Nas,
        books: Books,
        packet: Packet | None = None,
        session: Session | None = None,
    ) -> None:
        """`packet` is that of a login, `session` the live one; with neither it is a dry run."""
        self.subscriber = subscriber
        self.plan = plan
        self.rules = NO_RULES if plan is None else plan.rules
        self.at = at
        self.tenant = tenant
        self.nas = nas
        self.books = books
        self.noted: dict[str, str] = {}
        self.told: list[tuple[str, str]] = []  # (event, text) for the log and the operator
        self.counted = False  # whether allowances were looked at
        self.over: list[Allowance] = []  # those that are used up
        self.treatment: Treatment | None = None  # of the reason, where the check itself says it
        self.refused_by: object = None  # the check that did, for the explanation
        self.limit: int | None = None  # of sessions at the same time; with one a permit is a reservation
        self.mode = SimultaneousMode.REJECT_NEW
        self.volume_octets: int | None = None
        self._ends_at: float | None = None
        self._packet = packet
        self._session = session
        self._attachment: Attachment | None = None

    @property
    def zone(self) -> ZoneInfo:
        """The tenant's time zone."""
        return self.tenant.zone

    @property
    def logging_in(self) -> bool:
        """Whether this is about a login and not about a session that there is."""
        return self._session is None

    @property
    def session(self) -> Session | None:
        """The live session that this is about, None for a login and a dry run."""
        return self._session

    @property
    def attachment_seen(self) -> Attachment | None:
        """The attachment where a check has looked at it, which takes time."""
        return self._attachment

    @property
    def attachment(self) -> Attachment:
        """Where the subscriber is attached; read once."""
        found = self._attachment
        if found is None:
            if self._packet is not None:
                found = attachment_of_packet(self._packet, self.nas.id)
            else:
                found = _EMPTY if self._session is None else attachment_of_session(self._session)
            self._attachment = found
        return found

    def tied_to(self, bound: Bound) -> tuple[str, ...]:
        """Return what the subscriber is tied to: its own data, else what was learned; empty for nothing."""
        subscriber = self.subscriber
        if bound is Bound.MAC and subscriber.macs:
            return subscriber.macs
        if bound is Bound.CIRCUIT and subscriber.circuit_id is not None:
            return (subscriber.circuit_id.encode().hex(),)
        if bound is Bound.VLAN and subscriber.vlan_id is not None:
            inner = subscriber.inner_vlan_id
            return (f"{subscriber.vlan_id}" if inner is None else f"{subscriber.vlan_id}.{inner}",)
        learned = self.books.bindings.find(subscriber.tenant, subscriber.id)
        value = None if learned is None else getattr(learned, bound)
        return () if value is None else (value,)

    def rivals(self) -> list[bool]:
        """Return of each session and reservation of this subscriber whether it is of the same equipment.

        Sessions under suspicion do not count: a lost Stop must not keep anybody out.
        """
        tenant, name = self.subscriber.tenant, self.subscriber.id
        mine = self.attachment
        live = self.books.sessions.live.of_subscriber(tenant, name)
        shown = [attachment_of_session(each) for each in live if each.state is State.ACTIVE]
        held = [each.attachment for each in self.books.reservations.held(tenant, name, self.at)]
        return own_of(mine, shown) + [each is not None and same_equipment(mine, each) for each in held]

    def note(self, check: str, text: str) -> None:
        """Keep what a check has seen, for the explanation."""
        self.noted[check] = text

    def end(self, at: float) -> None:
        """A session must be over by then."""
        if self._ends_at is None or at < self._ends_at:
            self._ends_at = at

    def standing(self, rate: Rate | None = None, source: str = "") -> Standing:
        """Return the standing of a subscriber that keeps its plan."""
        if rate is None and self._ends_at is None and self.volume_octets is None:
            return FULL
        return Standing(
            rate=rate, rate_source=source, ends_at=self._ends_at, volume_octets=self.volume_octets
        )


def treated(question: Question, reason: Deny) -> Standing:
    """Return what becomes of a reason: what the check, the plan or the tenant says, else a reject.

    A walled garden without a garden, and a restricted plan that is not there, are a reject, too.
    """
    treatment = question.treatment or _treatment(question, reason)
    if treatment.act is Act.CAPTIVE:
        if question.tenant.tenant.garden is not None:
            return Standing(reason=reason, act=Act.CAPTIVE)
        question.note("treatment", "the tenant has no garden")
        return Standing(reason=Deny.CAPTIVE_UNSUPPORTED, act=Act.REJECT)
    if treatment.act is Act.PLAN:
        plan = question.tenant.plans.get(treatment.plan or "")
        if plan is not None:
            return Standing(reason=reason, act=Act.PLAN, plan=plan)
        question.note("treatment", f"there is no plan {treatment.plan}")
    return Standing(reason=reason, act=Act.REJECT)


def _treatment(question: Question, reason: Deny) -> Treatment:
    for treatments in (question.rules.treatments, question.tenant.tenant.treatments):
        for slug, treatment in treatments:
            if slug == reason:
                return treatment
    if reason is Deny.UNKNOWN_USER and question.tenant.contact.unknown is not None:
        return question.tenant.contact.unknown
    return GARDEN if reason is Deny.ACCESS_CAPTIVE else REJECTED
