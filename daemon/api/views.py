"""From what the daemon holds to what the API shows."""

from __future__ import annotations

from ipaddress import ip_address

from daemon.aaa import explain, token
from daemon.aaa.decision import Decision
from daemon.aaa.nas import Candidate, Client
from daemon.aaa.reasons import Deny
from daemon.aaa.session import Session
from daemon.aaa.session_codec import framed_ip, prefix_text, text
from daemon.api.models import (
    CandidateView,
    DecisionView,
    NasView,
    SessionView,
    StepView,
    SubscriberView,
)
from daemon.replica.records import Subscriber
from radius import tree
from radius.codes import Attr, Code
from radius.dictionary import Dictionary
from radius.packet import Packet, decode, header
from radius.udp import source

_ADVISE_AFTER = 100


def session_view(session: Session) -> SessionView:
    """Return a session for people and programs."""
    return SessionView.model_validate(_session_fields(session))


def _session_fields(session: Session) -> dict[str, object]:
    totals = session.counters.totals
    return {
        "uid": str(session.uid),
        "tenant": session.tenant,
        "username": session.username,
        "subscriber": session.subscriber,
        "nas": session.nas,
        "box": _box_text(session.box),
        "acct_session_id": text(session.acct_session_id) or "",
        "state": session.state,
        "framed_ip_address": framed_ip(session),
        "framed_ipv6_prefix": prefix_text(session.find(Attr.FRAMED_IPV6_PREFIX)),
        "delegated_ipv6_prefix": prefix_text(session.find(Attr.DELEGATED_IPV6_PREFIX)),
        "calling_station_id": text(session.find(Attr.CALLING_STATION_ID)),
        "nas_port_id": text(session.find(Attr.NAS_PORT_ID)),
        "octets_upload": totals.upload_octets,
        "octets_download": totals.download_octets,
        "packets_upload": totals.upload_packets,
        "packets_download": totals.download_packets,
        "octets_upload_ipv6": session.ipv6_octets[0],
        "octets_download_ipv6": session.ipv6_octets[1],
        "session_time_s": session.session_time_s,
        "started_at": session.started_at,
        "start_seen": session.start_seen,
        "updated_at": session.updated_at,
        "closed_at": session.closed_at,
        "closed_by": session.closed_by,
        "terminate_cause": session.terminate_cause,
        "class": None if session.class_octets is None else session.class_octets.hex(),
    }


def _box_text(box: bytes) -> str:
    """Return which box it was: its name, or an address."""
    if box[0] == Attr.NAS_IDENTIFIER:
        return text(box[1:]) or ""
    return str(ip_address(box[1:])) if len(box) in (5, 17) else box[1:].hex()


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
        coa_port=nas.coa_port,
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


def decision_view(decision: Decision, dictionary: Dictionary) -> DecisionView:
    """Return a decision with its steps; passwords are hidden by the dictionary."""
    packet = decision.packet
    address, port = source(decision.peer)
    return DecisionView(
        at=decision.at,
        nas=decision.client.nas.id,
        source=f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}",
        username=packet.find_text(Attr.USER_NAME) or "",
        calling_station_id=packet.find_text(Attr.CALLING_STATION_ID),
        outcome="reject" if decision.reason else "accept",
        reason=decision.reason or "permitted",
        meaning=_meaning(decision),
        method=decision.method,
        subscriber=None if decision.subscriber is None else decision.subscriber.id,
        plan=None if decision.plan is None else decision.plan.id,
        session_class=_class_text(decision),
        replica_generation=decision.generation,
        steps=[StepView(step=s.step, result=s.result, detail=s.detail) for s in explain.steps(decision)],
        request=[attribute.text() for attribute in tree.decode(packet, dictionary)],
        reply=_reply_lines(decision, dictionary),
    )


def _class_text(decision: Decision) -> str | None:
    if not decision.uid or decision.subscriber is None:
        return None
    return token.class_attribute(decision.uid, token.subscriber_check(decision.subscriber.id))[2:].hex()


def _meaning(decision: Decision) -> str:
    if not decision.reason:
        return "the subscriber may connect"
    return decision.detail or Deny(decision.reason).meaning


def _reply_lines(decision: Decision, dictionary: Dictionary) -> list[str]:
    """Return the reply's attributes, each with what it came from."""
    if decision.prepared is None:
        return []
    lines = []
    for rendered in decision.prepared.rendered:
        attributes = tree.decode(_as_packet(rendered.octets), dictionary)
        lines += [f"{attribute.text()}  ({rendered.source})" for attribute in attributes]
    return lines


def _as_packet(attributes: bytes) -> Packet:
    return decode(header(Code.ACCESS_ACCEPT, 0, 20 + len(attributes), bytes(16)) + attributes)


def _optional(value: object) -> str | None:
    return None if value is None else str(value)
