"""A recorded decision told step by step: what was asked, what each check said, what was answered and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from daemon.aaa import policy
from daemon.aaa.decision import Decision
from daemon.aaa.reasons import Deny
from daemon.replica.records import IdentitySource
from radius import line, rates
from radius.codes import Attr
from radius.grant import Grant

_CREDENTIAL = frozenset(
    (
        Deny.NO_SECRET,
        Deny.SECRET_UNUSABLE,
        Deny.WRONG_PASSWORD,
        Deny.NO_PASSWORD,
        Deny.MAC_MISMATCH,
        Deny.METHOD_UNSUPPORTED,
    )
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `result` is passed, failed, or not reached."""

    step: str
    result: str
    detail: str


def matches(decision: Decision, wanted: str, mac: str | None) -> bool:
    """Tell whether a decision is about that user name, subscriber id, address or MAC (`mac`, canonical)."""
    packet = decision.packet
    name = packet.find(Attr.USER_NAME) or b""
    if name == wanted.encode() or (decision.subscriber is not None and decision.subscriber.id == wanted):
        return True
    if mac is not None:
        calling = packet.find_text(Attr.CALLING_STATION_ID)
        if calling and line.canonical_mac(calling) == mac:
            return True
        return line.canonical_mac(name.decode("utf-8", "replace")) == mac
    if decision.subscriber is not None and decision.subscriber.ipv4_address is not None:
        return str(decision.subscriber.ipv4_address) == wanted
    return False


def steps(decision: Decision) -> Iterator[Step]:
    """Yield the steps of a decision, in the order in which they were taken."""
    nas = decision.client.nas
    yield Step("nas", "passed", f"{nas.id}, vendor {nas.vendor}")
    signed = Attr.MESSAGE_AUTHENTICATOR in decision.packet.spots
    yield Step(
        "authenticity", "passed", "Message-Authenticator verified" if signed else "not signed, allowed here"
    )
    subscriber = decision.subscriber
    if subscriber is None:
        tried = ", ".join(nas.identities)
        yield Step("identity", "failed", f"{Deny(decision.reason).meaning} (tried: {tried})")
        return
    by = decision.source or IdentitySource.USERNAME
    yield Step("identity", "passed", f"subscriber {subscriber.id} by {by}")
    if decision.reason in _CREDENTIAL:
        yield Step("credential", "failed", f"{decision.method}: {Deny(decision.reason).meaning}")
        return
    yield Step("credential", "passed", decision.method)
    for check in policy.CHECKS:
        reason = check(subscriber, decision.plan, decision.at)
        name = check.__name__.replace("_", "-")
        if reason is not None:
            yield Step(name, "failed", f"{reason}: {reason.meaning}")
            return
        yield Step(name, "passed", _INPUTS[check](decision))
    if decision.prepared is None:
        yield Step("render", "failed", decision.detail)
        return
    yield Step("grant", "passed", _grant_text(decision.prepared.grant))
    yield Step(
        "render", "passed", f"{len(decision.prepared.rendered)} attributes for {decision.client.profile.name}"
    )


def _plan_text(decision: Decision) -> str:
    return "" if decision.plan is None else f"plan {decision.plan.id}"


def _mode_text(decision: Decision) -> str:
    return "" if decision.subscriber is None else f"access mode {decision.subscriber.access_mode}"


def _validity_text(decision: Decision) -> str:
    subscriber = decision.subscriber
    if subscriber is None or (subscriber.valid_from is None and subscriber.valid_until is None):
        return "no dates set"
    return "within its dates"


_INPUTS = {
    policy.access_mode: _mode_text,
    policy.validity: _validity_text,
    policy.has_plan: _plan_text,
}


def _grant_text(grant: Grant) -> str:
    parts = [str(grant.access)]
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
