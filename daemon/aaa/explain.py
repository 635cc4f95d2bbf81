"""A recorded decision told step by step: what was asked, what each check said, what was answered and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from daemon.aaa import policy
from daemon.aaa.decision import Decision
from daemon.aaa.reasons import Deny
from daemon.aaa.standing import Standing
from daemon.replica.contact import Age
from daemon.replica.records import IdentitySource, Subscriber
from daemon.replica.rules import Act
from ipam.address import Malformed, Unit, read_unit
from ipam.kinds import Shortage
from ipam.lease import Lease
from radius import line, rates
from radius.codes import Attr
from radius.grant import Grant

_LEASE_REASONS = frozenset({*(each.value for each in Shortage), Deny.ADDRESS_CONFLICT.value})


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `result` is passed, failed, or not reached."""

    step: str
    result: str
    detail: str


def matches(decision: Decision, wanted: str, mac: str | None) -> bool:
    """Tell whether a decision is about that user name, subscriber id, address or MAC (`mac`, canonical).

    An address or prefix that was leased counts, and what lies in it.
    """
    packet = decision.packet
    name = packet.find(Attr.USER_NAME) or b""
    if name == wanted.encode() or (decision.subscriber is not None and decision.subscriber.id == wanted):
        return True
    if mac is not None:
        calling = packet.find_text(Attr.CALLING_STATION_ID)
        if calling and line.canonical_mac(calling) == mac:
            return True
        return line.canonical_mac(name.decode("utf-8", "replace")) == mac
    fixed = None if decision.subscriber is None else decision.subscriber.ipv4_address
    if fixed is not None and str(fixed) == wanted:
        return True
    unit = _unit(wanted) if decision.leases else None
    return unit is not None and any(_holds(lease.unit, unit) for lease in decision.leases)


@lru_cache(maxsize=8)
def _unit(wanted: str) -> Unit | None:
    try:
        return read_unit(wanted)
    except Malformed:
        return None


def _holds(outer: Unit, inner: Unit) -> bool:
    return outer.space is inner.space and outer.value <= inner.value and inner.last <= outer.last


def steps(decision: Decision) -> Iterator[Step]:
    """Yield the steps of a decision, in the order in which they were taken."""
    nas = decision.client.nas
    yield Step("nas", "passed", f"{nas.id}, vendor {nas.vendor}")
    if decision.contact.age is not Age.FRESH:
        yield Step("data", "passed", f"{decision.contact.age}: {_silence(decision)}")
    signed = Attr.MESSAGE_AUTHENTICATOR in decision.packet.spots
    yield Step(
        "authenticity", "passed", "Message-Authenticator verified" if signed else "not signed, allowed here"
    )
    subscriber = decision.subscriber
    standing = decision.standing
    if subscriber is None:
        reason = Deny(decision.reason) if standing is None else standing.reason or Deny.UNKNOWN_USER
        yield Step("identity", "failed", f"{reason.meaning} (tried: {', '.join(nas.identities)})")
        if standing is not None:
            yield from _outcome(decision, standing)
        return
    by = decision.source or IdentitySource.USERNAME
    yield Step("identity", "passed", f"subscriber {subscriber.id} by {by}")
    if decision.reason == Deny.RETRY_LOOP:
        yield Step("retry-loop", "failed", Deny.RETRY_LOOP.meaning)
        return
    if standing is None:
        yield Step("credential", "failed", f"{decision.method}: {Deny(decision.reason).meaning}")
        return
    if standing.reason is not None and decision.refused_by is None:
        yield Step("credential", "failed", f"{decision.method}: {standing.reason.meaning}")
    else:
        yield Step("credential", "passed", decision.method)
        yield from _checks(decision, subscriber, standing)
    yield from _outcome(decision, standing)


def _silence(decision: Decision) -> str:
    """Say for how long the platform had not been heard of."""
    last_at = decision.contact.last_at
    return (
        "nothing was heard of the platform yet"
        if last_at is None
        else f"the platform was last heard of {max(0.0, decision.at - last_at) / 3600:.1f} h before"
    )


def _outcome(decision: Decision, standing: Standing) -> Iterator[Step]:
    """Yield what became of somebody with that standing."""
    if standing.reason is not None:
        yield Step("treatment", "passed" if not decision.reason else "failed", _treatment_text(standing))
    if decision.reason in _LEASE_REASONS:
        yield Step("lease", "failed", f"{Deny(decision.reason).meaning}: {decision.detail}")
        return
    if decision.leases:
        yield Step("lease", "passed", "; ".join(map(_lease_text, decision.leases)))
    if decision.prepared is None:
        if decision.reason in (Deny.UNRENDERABLE, Deny.CAPTIVE_UNSUPPORTED) and decision.detail:
            yield Step("render", "failed", decision.detail)
        return
    yield Step("grant", "passed", _grant_text(decision.prepared.grant))
    yield Step(
        "render", "passed", f"{len(decision.prepared.rendered)} attributes for {decision.client.profile.name}"
    )
    if decision.reason:
        yield Step("answer", "failed", f"{decision.reason}: {decision.detail}")


def _checks(decision: Decision, subscriber: Subscriber, standing: Standing) -> Iterator[Step]:
    """Yield the checks of the policy up to the one that refused, each with what it saw."""
    noted = decision.noted or {}
    for check in policy.CHECKS:
        name = check.__name__.replace("_", "-")
        seen = noted.get(name) or _inputs(name, decision, subscriber)
        if check is decision.refused_by:
            reason = standing.reason or Deny(decision.reason)
            yield Step(name, "failed", f"{reason}: {reason.meaning}" + (f" ({seen})" if seen else ""))
            return
        yield Step(name, "passed", seen)


def _inputs(name: str, decision: Decision, subscriber: Subscriber) -> str:
    """Return what a check looked at, where it noted nothing itself."""
    if name == "access-mode":
        return f"access mode {subscriber.access_mode}"
    if name == "validity":
        dated = subscriber.valid_from is not None or subscriber.valid_until is not None
        return "within its dates" if dated else "no dates set"
    if name == "has-plan":
        return "" if decision.plan is None else f"plan {decision.plan.id}"
    return _UNRULED.get(name, "")


_UNRULED = {
    "contact": "the data are up to date",
    "login-hours": "no hours set",
    "place": "any NAS, or one that is allowed",
    "line": "no line set, or the line that is",
    "binding": "tied to nothing, or nothing to compare",
    "allowances": "none used up",
    "simultaneous-use": "no limit",
}


def _lease_text(lease: Lease) -> str:
    by = f"{lease.origin}, by a fallback" if lease.fallback else str(lease.origin)
    return f"{lease.unit} of pool {lease.pool} ({by})"


def _treatment_text(standing: Standing) -> str:
    if standing.act is Act.PLAN and standing.plan is not None:
        return f"{standing.reason}: restricted plan {standing.plan.id}"
    return f"{standing.reason}: {standing.act}"


def _grant_text(grant: Grant) -> str:
    parts = [str(grant.access)]
    if grant.captive:
        parts.append("walled garden")
    if grant.rate is not None:
        down, up = rates.text(grant.rate.download_bps), rates.text(grant.rate.upload_bps)
        parts.append(f"down {down}, up {up}")
    for label, value in (
        ("address", grant.ipv4_address),
        ("pool", grant.ipv4_pool),
        ("delegated", grant.ipv6_delegated),
        ("session timeout", grant.session_timeout_s),
        ("interim", grant.interim_interval_s),
    ):
        if value is not None:
            parts.append(f"{label} {value}")
    return ", ".join(parts)
