"""What the API answers with about the outbox."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from daemon.api.models import Model


class SinkView(Model):
    """How far one sink is with a stream. Times are epoch seconds."""

    sink: str
    incarnation: str = Field(description="the numbering that this sink is told")
    acked_seq: int = Field(description="everything up to here is there for good")
    acked_at: float | None
    backlog: int = Field(description="events that it has yet to acknowledge")
    backlog_octets: int = Field(description="about how many octets they are")
    oldest_at: float | None = Field(
        description="when the first of them happened; none: there is none, or not known"
    )
    failing: str = Field(description="why the last delivery did not go through; empty: it did")


class StreamView(Model):
    """One stream of the outbox."""

    stream: str
    incarnation: str
    last_seq: int = Field(description="the highest number that is durable, in this numbering")
    sinks: list[SinkView]


class StreamedEvents(Model):
    """Events of a stream, in order. Ask again with `next_cursor`; where `more`, there are some already."""

    items: list[dict[str, Any]]
    next_cursor: str
    last_seq: int = Field(description="the highest number that is durable")
    more: bool


class ReplayRequest(Model):
    """From where a sink is to deliver again: a number as it is told it, or a time, epoch seconds."""

    from_seq: int | None = Field(None, ge=1, le=2**63 - 1)
    since: float | None = Field(None, ge=0, le=1e11)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.from_seq is None) == (self.since is None):
            raise ValueError("give either from_seq or since")
        return self


class ReplayView(Model):
    """What a replay will do."""

    sink: str
    stream: str
    from_seq: int = Field(description="the first number that is delivered again")
