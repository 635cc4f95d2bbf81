"""Rejected logins, gathered: one event for each login and reason in a while, with how often it was refused."""

from __future__ import annotations

import json
from dataclasses import dataclass

from daemon.aaa.decision import Decision
from daemon.aaa.reasons import Deny
from daemon.aaa.telling import rfc3339
from daemon.store.outbox_rows import NewEvent
from radius import line
from radius.codes import Attr

REJECTS = "auth-rejects"
_MOST = 1_000  # logins between two flushes; what comes beyond is counted together
_NAME_OCTETS = 253
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_USER_NAME = int(Attr.USER_NAME)
_CALLING_STATION = int(Attr.CALLING_STATION_ID)

_Key = tuple[str, str, bytes, bytes, str]


@dataclass(slots=True)
class _Gathered:
    """Refusals of one login for one reason."""

    count: int
    first_at: float
    last_at: float
    method: str
    subscriber: str


class Rejects:
    """Gathers refusals in bounded memory; nothing of a password or response is looked at.

    `one_in` is how many of the gathered are told, one of so many: 1 all of them, 0 none. `dropped` counts the
    refusals that were not told for that.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._gathered: dict[_Key, _Gathered] = {}
        self._turn = 0
        self.one_in = 1
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._gathered)

    def add(self, decision: Decision) -> None:
        """Take down a refusal."""
        nas, packet, reason, at = decision.client.nas, decision.packet, decision.reason, decision.at
        name, calling = packet.find(_USER_NAME) or b"", packet.find(_CALLING_STATION) or b""
        key = nas.tenant, nas.id, name, calling, reason
        held = self._gathered.get(key)
        if held is None and len(self._gathered) >= self._most:
            key = nas.tenant, nas.id, b"", b"", reason
            held = self._gathered.get(key)
        if held is None:
            subscriber = "" if decision.subscriber is None else decision.subscriber.id
            self._gathered[key] = _Gathered(1, at, at, decision.method, subscriber)
            return
        held.count += 1
        held.last_at = at

    def take(self, most: int) -> list[NewEvent]:
        """Return up to `most` of what has gathered as events, and forget them; what came first goes first.

        An event takes a fiftieth of a millisecond to write: take few, and let logins in between.
        """
        found: list[NewEvent] = []
        while self._gathered and len(found) < most:
            key = next(iter(self._gathered))
            held = self._gathered.pop(key)
            self._turn += 1
            if self.one_in and self._turn % self.one_in == 0:
                found.append(self._event(key, held))
            else:
                self.dropped += held.count
        return found

    def _event(self, key: _Key, held: _Gathered) -> NewEvent:
        tenant, nas, name, calling, reason = key
        identity, station = _text(name), _text(calling)
        body = {
            "nas": nas,
            "identity": identity,
            "calling_station_id": station,
            "mac": line.canonical_mac(station) if station else None,
            "subscriber_id": held.subscriber or None,
            "method": held.method,
            "reason": reason,
            "meaning": Deny(reason).meaning,
            "count": held.count,
            "first_at": rfc3339(held.first_at),
            "last_at": rfc3339(held.last_at),
            "sampled_one_in": self.one_in,
        }
        return NewEvent(
            held.last_at,
            "auth.rejected",
            "C",
            tenant,
            held.subscriber or identity or station,
            _ENCODE(body).encode(),
        )


def _text(value: bytes) -> str:
    return value[:_NAME_OCTETS].decode("utf-8", "backslashreplace")
