"""Reports of sessions for tests of usage: a line that has a NAS's counters."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from daemon.aaa.counters import Sample
from daemon.aaa.session import TRACKED, Report
from daemon.aaa.sessions import place

START, STOP, INTERIM = 1, 2, 3
LAGOS = ZoneInfo("Africa/Lagos")


def at(text: str, zone: ZoneInfo = LAGOS) -> float:
    """Return the epoch second of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@dataclasses.dataclass
class Line:
    """Makes the reports of one session; it downloads three times what it uploads."""

    began: float
    session_id: bytes = b"0001"
    subscriber: str = "S1"

    def report(self, status: int, after_s: float, upload: int = 0, seq: int = 1, **more: Any) -> Report:
        when = self.began + after_s
        timed = status != START
        sample = Sample(when, int(after_s), upload, upload * 3, 0, 0, gigawords=True) if timed else None
        fields: dict[str, Any] = {
            "seq": seq,
            "key": place("demo", "lab", b"\x04lab") + b"\0" + self.session_id,
            "tenant": "demo",
            "nas": "lab",
            "box": b"\x04lab",
            "acct_session_id": self.session_id,
            "status": status,
            "at": when,
            "heard_at": when,
            "began_at": self.began,
            "username": self.subscriber.lower(),
            "subscriber": self.subscriber,
            "class_octets": None,
            "uid": None,
            "session_time_s": int(after_s) if timed else None,
            "sample": sample,
            "ipv6_octets": None,
            "tracked": (None,) * len(TRACKED),
            "terminate_cause": "user-request" if status == STOP else None,
        }
        return Report(**(fields | more))
