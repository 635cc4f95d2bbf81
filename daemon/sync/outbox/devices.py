"""What happens to NASes and devices, taken from the daemon's events into the outbox."""

from __future__ import annotations

import json
from collections import deque
from itertools import islice

from daemon.events import Event
from daemon.store.outbox_rows import NewEvent

KINDS = frozenset(("nas-silent", "nas-back", "coa-nas-suspect", "coa-nas-back", "coa-outcome"))
PREFIX = "device-"
_MOST = 20_000
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class Devices:
    """Gathers events between two flushes; what was not flushed when the daemon is killed is lost.

    `dropped` counts what did not fit, which needs a store that refuses for long.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._gathered: deque[Event] = deque()
        self._most = most
        self.dropped = 0

    def heard(self, event: Event) -> None:
        """Take down an event of the daemon, if it is about a device; to be among `Events.listeners`."""
        if event.kind not in KINDS and not event.kind.startswith(PREFIX):
            return
        if len(self._gathered) >= self._most:
            self.dropped += 1
            return
        self._gathered.append(event)

    def waiting(self, most: int, after: int = 0) -> list[NewEvent]:
        """Return the oldest events, behind the first `after`, as they are to be stored; call `stored` when they are.

        One at a time may do so: what two have asked for, both would store.
        """
        return [_told(each) for each in islice(self._gathered, after, after + most)]

    def stored(self, count: int) -> None:
        """The oldest ones are on disk."""
        for _ in range(count):
            self._gathered.popleft()


def _told(event: Event) -> NewEvent:
    body = {
        "nas": event.nas,
        "subscriber_id": event.subscriber or None,
        "session_id": None if event.session is None else str(event.session),
        "reason": event.reason or None,
        **dict(event.fields),
    }
    kept = {name: value for name, value in body.items() if value is not None}
    correlation = str(event.session) if event.session is not None else event.nas
    return NewEvent(event.at, f"device.{event.kind}", "A", event.tenant, correlation, _ENCODE(kept).encode())
