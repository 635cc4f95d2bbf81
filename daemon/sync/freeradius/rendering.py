"""Our plans and subscribers as rows of FreeRADIUS: what we would answer is taken apart again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from daemon.aaa.authorize import grant
from daemon.aaa.prepared import prepare
from daemon.aaa.standing import FULL
from daemon.replica.records import AccessMode, Plan, Secret, SecretKind, Service, Subscriber
from daemon.replica.rules import NO_RULES, Hours
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import Operator, Row
from radius import tree
from radius.dictionary import Dictionary, Type
from radius.errors import Unencodable
from radius.grant import Access
from radius.packet import HEADER, decode, header
from radius.vendors.base import VendorProfile

_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_MIN = 1440
_PASSWORDS = {
    SecretKind.CLEARTEXT: "Cleartext-Password",
    SecretKind.NT_HASH: "NT-Password",
    SecretKind.CRYPT: "Crypt-Password",
    SecretKind.LDAP: "Password-With-Header",
    SecretKind.PBKDF2: "PBKDF2-Password",
}
_UNSAID = ("nases", "sites", "bind", "allowances", "rate_hours", "treatments")


@dataclass(frozen=True, slots=True)
class Text:
    """One attribute as FreeRADIUS writes it; `quoted`: its value is a text, and not a number or an address."""

    name: str
    value: str
    quoted: bool


Texts = dict[str, list[Text]]


@dataclass(slots=True)
class Renderer:
    """Renders for one vendor, since a reply there is the same for every NAS. `zone` is that of FreeRADIUS's clock."""

    profile: VendorProfile
    dictionary: Dictionary
    interim_s: int
    zone: tzinfo
    findings: Findings
    _rules_told: set[str] = field(default_factory=set)

    def replies(self, subscriber: Subscriber | None, plan: Plan) -> Texts:
        """Return what a subscriber of a plan is answered, or for None what the plan alone gives, by attribute."""
        who = subscriber or Subscriber(tenant=plan.tenant, id="", access_mode=AccessMode.ACTIVE, plan=plan.id)
        own = who.service or Service()
        given = grant(who, plan, FULL, None, None, plan.access or Access.PPP, self.interim_s)
        edits = (("plan", plan.service.edits), ("subscriber", own.edits))
        try:
            rendered = prepare(given, self.profile, 0.0, *edits).rendered
        except Unencodable as error:
            self.findings.add(Why.VALUE, f"plan {plan.id}", error.attribute, error.why)
            return {}
        return self._texts(b"".join(each.octets for each in rendered))

    def _texts(self, octets: bytes) -> Texts:
        found: Texts = {}
        packet = decode(header(2, 0, HEADER + len(octets), bytes(16)) + octets)
        for each in tree.decode(packet, self.dictionary):
            name, _, value = each.text().partition(" = ")
            quoted = each.definition.type is Type.STRING
            found.setdefault(each.definition.name, []).append(Text(name, value, quoted))
        return found

    def checks(self, subscriber: Subscriber) -> list[Row]:
        """Return the checks of a subscriber, without those of its plan."""
        rows = [] if subscriber.secret is None else [_password(subscriber.secret)]
        if subscriber.access_mode is not AccessMode.ACTIVE:
            rows.append(Row("Auth-Type", Operator.SET, "Reject"))
            if subscriber.access_mode is AccessMode.CAPTIVE:
                self._unsaid(subscriber.id, "access_mode", "captive subscribers are rejected there")
        if subscriber.valid_until is not None:
            at = datetime.fromtimestamp(subscriber.valid_until, self.zone)
            when = f"{at.day:02d} {_MONTHS[at.month - 1]} {at.year} {at:%H:%M:%S}"
            rows.append(Row("Expiration", Operator.SET, when))
        if subscriber.simultaneous_use is not None:
            rows.append(Row("Simultaneous-Use", Operator.SET, str(subscriber.simultaneous_use)))
        for name in ("valid_from", "nases", "sites", "line_policy", "circuit_id", "remote_id"):
            if getattr(subscriber, name):
                self._unsaid(subscriber.id, name, "no check there is like it")
        return rows

    def rules(self, plan: Plan) -> list[Row]:
        """Return the checks of a plan."""
        rows: list[Row] = []
        if plan.rules.simultaneous_use is not None:
            rows.append(Row("Simultaneous-Use", Operator.SET, str(plan.rules.simultaneous_use)))
        if plan.rules.login_hours:
            rows.append(Row("Login-Time", Operator.SET, login_time(plan.rules.login_hours)))
        for name in _UNSAID:
            if getattr(plan.rules, name) != getattr(NO_RULES, name):
                self._unsaid(f"plan {plan.id}", name, "no check there is like it")
        return rows

    def _unsaid(self, owner: str, name: str, text: str) -> None:
        self.findings.add(Why.INTERNAL, owner, name, text)


def _password(secret: Secret) -> Row:
    value = secret.value.hex() if secret.kind is SecretKind.NT_HASH else secret.value.decode()
    return Row(_PASSWORDS[secret.kind], Operator.SET, value)


def login_time(hours: Sequence[Hours]) -> str:
    """Return hours as Login-Time has them: ends inclusive, and what goes past midnight in two parts."""
    parts: list[str] = []
    for each in hours:
        end = each.end_min or _DAY_MIN
        if each.start_min < end:
            parts.append(_part(each.days, each.start_min, end))
        else:
            following = tuple(sorted((day + 1) % 7 for day in each.days))
            parts += [_part(each.days, each.start_min, _DAY_MIN), _part(following, 0, end)]
    return ",".join(parts)


def _part(days: Sequence[int], start: int, end: int) -> str:
    said = "Al" if len(days) == 7 else "".join(_DAYS[day] for day in days)
    last = end - 1
    return f"{said}{start // 60:02d}{start % 60:02d}-{last // 60:02d}{last % 60:02d}"
