"""From what the daemon holds to what the API shows."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from daemon.aaa import explain, token
from daemon.aaa.decision import Decision
from daemon.aaa.explain import Step
from daemon.aaa.lease_attributes import LeaseAttributes
from daemon.aaa.nas import Candidate, Client
from daemon.aaa.reasons import Deny, Drop
from daemon.aaa.staff import access as staff
from daemon.aaa.staff.access import StaffDecision
from daemon.api.models import (
    AttributeView,
    CandidateView,
    DecisionView,
    NasView,
    StepView,
    SubscriberView,
)
from daemon.replica.records import Subscriber
from radius import tree
from radius.codes import Attr, Code
from radius.dictionary import Dictionary
from radius.grant import Rendered
from radius.packet import Packet, decode, header
from radius.udp import source

_ADVISE_AFTER = 100
_DROPS = frozenset(each.value for each in Drop)


def subscriber_view(subscriber: Subscriber, online: int) -> SubscriberView:
    """Return a subscriber without its secret."""
    return SubscriberView(
        tenant=subscriber.tenant,
        id=subscriber.id,
        usernames=list(subscriber.usernames),
        access_mode=subscriber.access_mode,
        status=subscriber.status,
        plan=subscriber.plan,
        secret="" if subscriber.secret is None else subscriber.secret.kind,
        macs=list(subscriber.macs),
        circuit_id=subscriber.circuit_id,
        remote_id=subscriber.remote_id,
        ipv4_address=_optional(subscriber.ipv4_address),
        ipv6_prefix=_optional(subscriber.ipv6_prefix),
        delegated_prefix=_optional(subscriber.ipv6_delegated),
        valid_from=subscriber.valid_from,
        valid_until=subscriber.valid_until,
        online=online,
    )


def nas_view(client: Client, sessions: int) -> NasView:
    """Return a NAS entry without its secrets, with advice from what was seen of it."""
    nas = client.nas
    return NasView(
        tenant=nas.tenant,
        id=nas.id,
        prefixes=[str(prefix) for prefix in nas.prefixes],
        vendor=nas.vendor,
        site=nas.site,
        coa=nas.coa,
        coa_address=_optional(nas.coa_address),
        coa_port=nas.coa_port,
        coa_secret="that of its requests" if nas.coa_secret is None else "own",
        coa_message_authenticator=nas.coa_message_authenticator,
        coa_event_timestamp=nas.coa_event_timestamp,
        message_authenticator="required" if nas.require_message_authenticator else "observed",
        limit_proxy_state=nas.limit_proxy_state,
        rotating_secret=nas.previous_secret is not None,
        sessions=sessions,
        signed_requests=client.signed,
        unsigned_requests=client.unsigned,
        advice=_advice(client),
    )


def _advice(client: Client) -> str:
    if client.nas.require_message_authenticator or client.signed + client.unsigned < _ADVISE_AFTER:
        return ""
    if not client.unsigned:
        return "every Access-Request was signed: require_message_authenticator can be set"
    return "some Access-Requests are not signed: update this NAS, then require it (CVE-2024-3596)"


def candidate_view(candidate: Candidate) -> CandidateView:
    """Return an unknown source."""
    known = candidate.code in set(Code)
    return CandidateView(
        address=str(ip_address(candidate.address)),
        first_at=candidate.first_at,
        last_at=candidate.last_at,
        packets=candidate.packets,
        code=Code(candidate.code).title if known else str(candidate.code),
        nas_identifier=candidate.nas_identifier,
    )


def decision_view(decision: Decision, dictionary: Dictionary, leases: LeaseAttributes) -> DecisionView:
    """Return a decision with its steps; passwords are hidden by the dictionary."""
    return DecisionView.model_validate(
        _asked(decision, dictionary)
        | {
            "meaning": _meaning(decision, "the subscriber may connect"),
            "subscriber": None if decision.subscriber is None else decision.subscriber.id,
            "plan": None if decision.plan is None else decision.plan.id,
            "session_class": _class_text(decision),
            "steps": _steps(explain.steps(decision)),
            "reply": [] if decision.prepared is None else _lines(_told(decision, leases), dictionary),
        }
    )


def _told(decision: Decision, leases: LeaseAttributes) -> tuple[Rendered, ...]:
    """Return the attributes of an Access-Accept, those of leases last."""
    prepared = decision.prepared
    assert prepared is not None
    pooled = [each for each in decision.leases if each.kind in decision.pooled]
    shown = leases.rendered(decision.client.profile, prepared.grant.access, pooled) if pooled else ()
    return (*prepared.sent(decision.uid), *shown)


def staff_decision_view(decision: StaffDecision, dictionary: Dictionary) -> DecisionView:
    """Return a decision about a member of staff with its steps."""
    return DecisionView.model_validate(
        _asked(decision, dictionary)
        | {
            "meaning": _meaning(decision, "this member of staff may log in"),
            "staff": "" if decision.staff is None else decision.staff.id,
            "steps": _steps(staff.steps(decision)),
            "reply": _lines(decision.rendered or (), dictionary),
        }
    )


def _outcome(reason: str) -> str:
    if not reason:
        return "accept"
    return "drop" if reason in _DROPS else "reject"


def _asked(decision: Decision, dictionary: Dictionary) -> dict[str, object]:
    """Return what is shown of every decision."""
    packet = decision.packet
    address, port = source(decision.peer)
    return {
        "at": decision.at,
        "nas": decision.client.nas.id,
        "source": f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}",
        "username": packet.find_text(Attr.USER_NAME) or "",
        "calling_station_id": packet.find_text(Attr.CALLING_STATION_ID),
        "outcome": _outcome(decision.reason),
        "reason": decision.reason or "permitted",
        "method": decision.method,
        "replica_generation": decision.generation,
        "request": [attribute.text() for attribute in tree.decode(packet, dictionary)],
    }


def _steps(steps: Iterable[Step]) -> list[StepView]:
    return [StepView(step=each.step, result=each.result, detail=each.detail) for each in steps]


def _class_text(decision: Decision) -> str | None:
    if not decision.uid or decision.subscriber is None:
        return None
    return token.class_attribute(decision.uid, token.subscriber_check(decision.subscriber.id))[2:].hex()


def _meaning(decision: Decision, permitted: str) -> str:
    if not decision.reason:
        return permitted
    return decision.detail or Deny(decision.reason).meaning


def _lines(rendered: Iterable[Rendered], dictionary: Dictionary) -> list[str]:
    """Return attributes as they were sent, each with what it came from."""
    return [f"{each.text}  ({each.source})" for each in attribute_views(rendered, dictionary)]


def attribute_views(rendered: Iterable[Rendered], dictionary: Dictionary) -> list[AttributeView]:
    """Return attributes for people and programs: named, with where each came from and its octets."""
    return [
        AttributeView(text=attribute.text(), source=each.source, hex=each.octets.hex())
        for each in rendered
        for attribute in tree.decode(_as_packet(each.octets), dictionary)
    ]


def _as_packet(attributes: bytes) -> Packet:
    return decode(header(Code.ACCESS_ACCEPT, 0, 20 + len(attributes), bytes(16)) + attributes)


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
