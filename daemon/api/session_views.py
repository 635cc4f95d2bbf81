"""Sessions, and permits whose session has not begun, as the API shows them."""

from __future__ import annotations

from dataclasses import fields
from ipaddress import ip_address

from daemon.aaa.reconcile import Deviation
from daemon.aaa.reservations import Permit
from daemon.aaa.session import Session, State
from daemon.aaa.session_codec import framed_ip, prefix_text, text
from daemon.api.models import DeviationView, SessionView
from radius import rates
from radius.codes import Attr
from radius.grant import Burst, Grant, Rate, Route

_EMPTY = Grant()


def session_view(session: Session, deviation: Deviation | None) -> SessionView:
    """Return a session for people and programs."""
    totals = session.counters.totals
    return SessionView.model_validate(
        _place(session)
        | {
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
            "applied": {} if session.applied is None else grant_texts(session.applied),
            "applied_reason": session.applied_reason,
            "interim_s": round(session.interim_s, 1),
            "suspect_since": session.suspect_since,
            "deviation": None if deviation is None or session.closed_at is not None else _view(deviation),
        }
    )


def _place(session: Session) -> dict[str, object]:
    """Return whose session it is and where."""
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
    }


def _view(deviation: Deviation) -> DeviationView:
    return DeviationView(
        since=deviation.since, reason=deviation.reason, fields=list(deviation.fields), live=deviation.live
    )


def reserved_view(permit: Permit) -> SessionView:
    """Return a permit whose Start has not come yet, in the form of a session."""
    subscriber, shown, grant = permit.subscriber, permit.attachment, permit.prepared.grant
    numbers = dict.fromkeys(
        (name for name in SessionView.model_fields if name.startswith(("octets_", "packets_"))), 0
    )
    absent = dict.fromkeys(
        ("framed_ipv6_prefix", "closed_at", "terminate_cause", "class", "suspect_since", "deviation")
    )
    return SessionView.model_validate(
        numbers
        | absent
        | {
            "uid": str(permit.uid),
            "tenant": subscriber.tenant,
            "username": next(iter(subscriber.usernames), ""),
            "subscriber": subscriber.id,
            "nas": permit.nas,
            "box": "",
            "acct_session_id": "",
            "state": State.RESERVED,
            "framed_ip_address": None if grant.ipv4_address is None else str(grant.ipv4_address),
            "delegated_ipv6_prefix": None if grant.ipv6_delegated is None else str(grant.ipv6_delegated),
            "calling_station_id": None if shown is None else shown.mac,
            "nas_port_id": None if shown is None else shown.port,
            "session_time_s": 0,
            "started_at": permit.at,
            "start_seen": False,
            "updated_at": permit.at,
            "closed_by": "",
            "applied": grant_texts(grant),
            "applied_reason": permit.reason,
            "interim_s": 0.0,
        }
    )


def _box_text(box: bytes) -> str:
    """Return which box it was: its name, or an address."""
    if box[0] == Attr.NAS_IDENTIFIER:
        return text(box[1:]) or ""
    return str(ip_address(box[1:])) if len(box) in (5, 17) else box[1:].hex()


def grant_texts(grant: Grant) -> dict[str, str]:
    """Return what a grant says, by field, as text."""
    said = {"access": str(grant.access)}
    for field in fields(grant):
        value = getattr(grant, field.name)
        if value != getattr(_EMPTY, field.name):
            said[field.name] = value_text(value)
    return said


def value_text(value: object) -> str:
    """Return the value of a grant's field for people: rates download first, as they are sold."""
    if value is None or value == ():
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Rate):
        return f"{rates.text(value.download_bps)} down, {rates.text(value.upload_bps)} up"
    if isinstance(value, Burst):
        return f"{value_text(value.rate)}, above {value_text(value.threshold)} for {value.seconds} s"
    if isinstance(value, Route):
        return str(value.prefix) if value.gateway is None else f"{value.prefix} via {value.gateway}"
    if isinstance(value, tuple):
        return ", ".join(map(value_text, value))
    return str(value)
