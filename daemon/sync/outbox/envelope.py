"""An event as it is told: the JSON object that every sink and the API give out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring as quoted

from daemon.aaa.telling import rfc3339
from daemon.sync.outbox.model import Event, Incarnation, Json, Stream

SCHEMA_VERSION = 1
NOTHING = "{}"
"""The data of an event that says nothing but that it is there."""

_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def body_text(data: Mapping[str, Json]) -> str:
    """Return the data of an event as its text."""
    return _ENCODE(data)


class Envelopes:
    """Writes the events of one numbering; what is the same in all of them is written once."""

    def __init__(self, edge: str, stream: Stream, incarnation: Incarnation) -> None:
        self._base = incarnation.base_seq
        self._id = f'{{"id":{quoted(f"{edge}/{stream}/{incarnation.name}/")[:-1]}'
        self._stream = f',"schema_version":{SCHEMA_VERSION},"stream":{quoted(stream.value)},"seq":'
        self._source = f'","source":{quoted(edge)},"correlation_id":'

    def encode(self, event: Event) -> str:
        """Return the envelope of an event as compact JSON text, without a line feed.

        `seq` in it is the event's number on the wire, `id` names the event for ever.
        """
        log_seq, at, kind, urgency, tenant, correlation, body, _ = event
        seq = log_seq - self._base
        return (
            f'{self._id}{seq}","type":{quoted(kind)}{self._stream}{seq},"tenant_id":{quoted(tenant)},'
            f'"occurred_at":"{rfc3339(at)}","class":"{urgency.value}{self._source}{quoted(correlation)},"data":{body}}}'
        )


def encode(edge: str, stream: Stream, incarnation: Incarnation, event: Event) -> str:
    """Return the envelope of a single event; see `Envelopes.encode`."""
    return Envelopes(edge, stream, incarnation).encode(event)
