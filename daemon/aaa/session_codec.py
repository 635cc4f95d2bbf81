"""A session to a row of the store and back, and to what people and programs are shown."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from daemon.aaa.counters import Counters, Sample, Totals
from daemon.aaa.grant_codec import from_json, to_json
from daemon.aaa.session import NO_LINE, TRACKED, Closed, Report, Session
from daemon.aaa.sessions import place
from daemon.aaa.told import told_of
from daemon.store.session_rows import SessionRow
from radius.codes import Attr

_VERSION = 1
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


def to_row(session: Session) -> SessionRow:
    """Return the row of a session as it is now."""
    latest, times = session.tracked()
    detail = {
        "v": _VERSION,
        "subscriber": session.subscriber,
        "class": None if session.class_octets is None else session.class_octets.hex(),
        "start_seen": session.start_seen,
        "heard_at": session.heard_at,
        "session_time_s": session.session_time_s,
        "closed_by": session.closed_by,
        "terminate_cause": session.terminate_cause,
        "suspect_since": session.suspect_since,
        "interim_s": session.interim_s,
        "source": session.source.hex(),
        "applied": None if session.applied is None else to_json(session.applied),
        "applied_reason": session.applied_reason,
        **_seldom(session),
        "counted": session.counted,
        "counted_at": session.counted_at,
        "count_gap": session.count_gap,
        "ipv6_octets": session.ipv6_octets,
        "runs": session.counters.runs,
        "base": session.counters.base,
        "tracked": {
            kind: (value.hex(), at)
            for kind, value, at in zip(TRACKED, latest, times, strict=True)
            if value is not None
        },
        "told": True,  # with this row is written what is news about it
    }
    return SessionRow(
        uid=session.uid,
        tenant=session.tenant,
        nas=session.nas,
        box=session.box,
        acct_session_id=session.acct_session_id,
        username=session.username,
        framed_ip_address=framed_ip(session),
        state=session.state,
        started_at=session.started_at,
        updated_at=session.updated_at,
        closed_at=session.closed_at,
        detail=_ENCODE(detail).encode(),
    )


def _seldom(session: Session) -> dict[str, Any]:
    """Return what few sessions have. The columns of a row's place stay what they were when it was made."""
    found: dict[str, Any] = {}
    if session.line != NO_LINE:
        found["line"] = [None if value is None else value.hex() for value in session.line]
    if session.stranger:
        found["stranger"] = True
    if session.moved:
        found["place"] = session.nas, session.box.hex()
    return found


def from_row(row: SessionRow) -> Session:
    """Return the session in a row."""
    detail: dict[str, Any] = json.loads(row.detail)
    moved = detail.get("place")
    if moved is not None:
        row = row._replace(nas=moved[0], box=bytes.fromhex(moved[1]))
    session = Session(_empty_report(row, detail["subscriber"]), row.uid)
    session.class_octets = None if detail["class"] is None else bytes.fromhex(detail["class"])
    session.started_at = row.started_at
    session.start_seen = detail["start_seen"]
    session.updated_at = row.updated_at
    session.heard_at = detail["heard_at"]
    session.session_time_s = detail["session_time_s"]
    session.closed_at = row.closed_at
    session.closed_by = Closed(detail["closed_by"])
    session.terminate_cause = detail["terminate_cause"]
    session.suspect_since = detail.get("suspect_since")
    session.interim_s = detail.get("interim_s", 0.0)
    session.source = bytes.fromhex(detail.get("source", ""))
    applied = detail.get("applied")
    session.applied = None if applied is None else from_json(applied)
    session.applied_reason = detail.get("applied_reason", "")
    circuit, remote = detail.get("line", NO_LINE)
    session.line = (
        None if circuit is None else bytes.fromhex(circuit),
        None if remote is None else bytes.fromhex(remote),
    )
    session.stranger = detail.get("stranger", False)
    session.moved = moved is not None
    upload, download, seconds = detail.get("counted", (0, 0, 0))
    session.counted = upload, download, seconds
    session.counted_at = detail.get("counted_at", 0.0)
    session.count_gap = detail.get("count_gap", "")
    runs = [(Sample(*first), Sample(*last)) for first, last in detail["runs"]]
    session.counters = Counters(runs, Totals(*detail["base"]))
    upload, download = detail["ipv6_octets"]
    session.ipv6_octets = (upload, download)
    held = {int(kind): (bytes.fromhex(value), float(at)) for kind, (value, at) in detail["tracked"].items()}
    session.restore_tracked(held)
    if detail.get("told"):
        session.told = told_of(session)
    return session


def _empty_report(row: SessionRow, subscriber: str) -> Report:
    return Report(
        seq=0,
        key=place(row.tenant, row.nas, row.box) + b"\0" + row.acct_session_id,
        tenant=row.tenant,
        nas=row.nas,
        box=row.box,
        acct_session_id=row.acct_session_id,
        status=0,
        at=row.started_at,
        heard_at=0.0,
        began_at=None,
        username=row.username,
        subscriber=subscriber,
        class_octets=None,
        uid=None,
        session_time_s=None,
        sample=None,
        ipv6_octets=None,
        tracked=(None,) * len(TRACKED),
        terminate_cause=None,
    )


def framed_ip(session: Session) -> str | None:
    """Return the IPv4 address that accounting reports, as text."""
    value = session.find(Attr.FRAMED_IP_ADDRESS)
    return str(IPv4Address(value)) if value is not None and len(value) == 4 else None


def prefix_text(value: bytes | None) -> str | None:
    """Return an IPv6 prefix attribute (RFC 3162 section 2.3) as text; None where it is absent or malformed."""
    if value is None or len(value) < 2 or len(value) > 18 or value[1] > 128:
        return None
    return f"{IPv6Address(value[2:].ljust(16, bytes(1)))}/{value[1]}"


def text(value: bytes | None) -> str | None:
    """Return octets as text; what is not UTF-8 is escaped."""
    return None if value is None else value.decode("utf-8", "backslashreplace")
