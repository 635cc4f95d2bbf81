"""What is news about sessions and allowances, as events of the outbox; written with the rows that make it so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any

from daemon.aaa.quota_told import Turned
from daemon.aaa.reaper import box_text
from daemon.aaa.session import TRACKED, Session
from daemon.aaa.session_codec import framed_ip, prefix_text, text
from daemon.aaa.told import Told, told_of
from daemon.aaa.usage import Balance
from daemon.store.outbox_rows import NewEvent
from radius.codes import Attr

SESSIONS, QUOTA = "sessions", "quota"
_A = "A"
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_IPV6_OCTETS = 16
_FIELDS = (
    "framed_ip_address",
    "calling_station_id",
    "called_station_id",
    "nas_port_id",
    "nas_port",
    "framed_ipv6_prefix",
    "delegated_ipv6_prefix",
    "framed_ipv6_address",
    "framed_interface_id",
    "acct_multi_session_id",
)
"""Names of the tracked attributes, in the order of TRACKED."""


def rfc3339(at: float) -> str:
    """Return epoch seconds as RFC 3339 text, UTC, to the millisecond."""
    second = int(at // 1)
    return f"{_to_the_second(second)}.{int((at - second) * 1000):03d}Z"


@lru_cache(maxsize=4096)
def _to_the_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds")[:-6]


def news_of(session: Session) -> tuple[Told, list[NewEvent]]:
    """Return what is told of a session once its row is stored, and the events that say what is new in it."""
    before = session.told
    assert before is None or isinstance(before, Told)
    if before is not None and _only_counts(session, before):
        return before, []
    now = told_of(session)
    if now == before:
        return now, []
    return now, [
        NewEvent(
            at=at,
            type=f"session.{name}",
            urgency=_A,
            tenant=session.tenant,
            correlation=str(session.uid),
            body=_ENCODE(data_of(session) | more).encode(),
        )
        for name, at, more in _news(session, before, now)
    ]


def _only_counts(session: Session, before: Told) -> bool:
    """Tell at little cost whether a live session is as it was told, but for its counters: most are."""
    return (
        session.closed_at is None
        and before.end is None
        and before.tracked is session.latest
        and before.suspect is (session.suspect_since is not None)
        and before.key == session.key
        and before.subscriber == session.subscriber
    )


def _news(session: Session, before: Told | None, now: Told) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Yield name, time and what is special of each event."""
    if before is None:
        yield "started", session.started_at, {}
    elif before.end is not None and now.end is None:
        yield "reopened", session.updated_at, {"reopened_from": str(session.reopened_from)}
    if now.end is not None:
        corrects = {"corrects": True} if before is not None and before.end is not None else {}
        yield "ended", now.end.at, corrects
        return
    if before is not None and before.end is None:
        changed = _changed(before, now)
        if changed:
            yield "updated", session.updated_at, {"changed": changed}
    if now.suspect and (before is None or not before.suspect):
        yield "suspect", session.suspect_since or session.updated_at, {}


def _changed(before: Told, now: Told) -> list[str]:
    """Return the names of what is not as it was told."""
    changed = [
        name for name, held, value in zip(_FIELDS, before.tracked, now.tracked, strict=True) if held != value
    ]
    if before.key != now.key:
        changed.append("nas")
    if before.subscriber != now.subscriber:
        changed.append("subscriber_id")
    if before.suspect and not now.suspect:
        changed.append("state")
    return changed


def data_of(session: Session) -> dict[str, Any]:
    """Return a session as events tell it: octets and packets as its subscriber sees them, times RFC 3339."""
    totals = session.counters.totals
    found: dict[str, Any] = {
        "session_id": str(session.uid),
        "state": session.state.value,
        "nas": session.nas,
        "box": box_text(session.box),
        "acct_session_id": text(session.acct_session_id),
        "username": session.username,
        "subscriber_id": session.subscriber or None,
        "started_at": rfc3339(session.started_at),
        "start_seen": session.start_seen,
        "updated_at": rfc3339(session.updated_at),
        "session_time_s": session.session_time_s,
        "octets_from_subscriber": totals.upload_octets,
        "octets_to_subscriber": totals.download_octets,
        "packets_from_subscriber": totals.upload_packets,
        "packets_to_subscriber": totals.download_packets,
        **addresses(session.latest),
    }
    found["framed_ip_address"] = framed_ip(session)
    if session.closed_at is not None:
        found["ended_at"] = rfc3339(session.closed_at)
        found["ended_by"] = session.closed_by.value
        found["terminate_cause"] = session.terminate_cause
    return found


def addresses(tracked: Sequence[bytes | None]) -> dict[str, Any]:
    """Return tracked values by name, those that are there, as text and numbers."""
    return {
        name: _value(kind, value)
        for name, kind, value in zip(_FIELDS, TRACKED, tracked, strict=True)
        if value is not None
    }


def _value(kind: int, value: bytes) -> str | int | None:
    if kind in (Attr.FRAMED_IPV6_PREFIX, Attr.DELEGATED_IPV6_PREFIX):
        return prefix_text(value)
    if kind == Attr.FRAMED_IPV6_ADDRESS:
        return str(IPv6Address(value)) if len(value) == _IPV6_OCTETS else value.hex()
    if kind == Attr.FRAMED_INTERFACE_ID:
        return value.hex()
    if kind == Attr.FRAMED_IP_ADDRESS:
        return ".".join(map(str, value))
    return int.from_bytes(value, "big") if kind == Attr.NAS_PORT else text(value)


def quota_news(turned: Turned, at: float) -> Iterator[NewEvent]:
    """Yield an event for each allowance that is used up now and was not, or the other way round."""
    for name, balance in turned.reached.items():
        yield _quota("reached", turned, at, {"allowance": name, **_standing(balance)})
    for name in turned.restored:
        yield _quota("restored", turned, at, {"allowance": name})


def _quota(name: str, turned: Turned, at: float, more: dict[str, Any]) -> NewEvent:
    tenant, subscriber = turned.key
    body = _ENCODE({"subscriber_id": subscriber, **more}).encode()
    return NewEvent(at, f"quota.allowance-{name}", _A, tenant, subscriber, body)


def _standing(balance: Balance) -> dict[str, Any]:
    allowance = balance.allowance
    return {
        "window": allowance.window.value,
        "measure": allowance.measure.value,
        "used": balance.used.amount,
        "limit": balance.most,
    }
