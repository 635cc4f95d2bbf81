"""What the CoA relay asks of the CoA engine, and which Error-Cause its outcomes become (RFC 5176 section 3.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from daemon.aaa.coa.job import Answered, Intent, Kind, Outcome
from daemon.aaa.coa.wire import ErrorCause
from daemon.aaa.session import Session

_REASON = "relay-request"

# Outcomes without an Error-Cause of the NAS. 503 is true only where the session is known to be over. 504 is the
# Disconnect that the NAS took and that did not end the session. 505 is what we have failed at ourselves.
_CAUSES = {
    Outcome.NO_SESSION: ErrorCause.SESSION_CONTEXT_NOT_FOUND,
    Outcome.UNABLE: ErrorCause.PROXY_REQUEST_NOT_ROUTABLE,
    Outcome.SUPERSEDED: ErrorCause.PROXY_PROCESSING_ERROR,
    Outcome.FAILED: ErrorCause.PROXY_PROCESSING_ERROR,
    Outcome.NONE: ErrorCause.PROXY_PROCESSING_ERROR,
}
_UNVERIFIED = {
    Kind.DISCONNECT: ErrorCause.SESSION_CONTEXT_NOT_REMOVABLE,
    Kind.CHANGE: ErrorCause.PROXY_PROCESSING_ERROR,
}
_SILENT = (Outcome.TIMEOUT, Outcome.UNREACHABLE)


class Asked(Protocol):
    """The part of `aaa.coa.CoaEngine` that is used here."""

    async def ask(self, session: Session, intent: Intent) -> Answered:
        """Submit an intent and return what its next try has brought."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a request; see `aaa.relay.Outcome`."""

    ok: bool
    cause: int | None
    answered: bool


class RelayEngine:
    """Asks once and at once: the asker waits, and decides by itself whether to ask again."""

    def __init__(self, engine: Asked) -> None:
        self._engine = engine

    async def disconnect(self, session: Session, requested_by: str) -> Result:
        """End a session."""
        return await self._ask(session, Kind.DISCONNECT, b"", requested_by)

    async def forward(self, session: Session, attributes: bytes, requested_by: str) -> Result:
        """Send a CoA-Request with these attributes, in wire form; the engine identifies the session."""
        return await self._ask(session, Kind.CHANGE, attributes, requested_by)

    async def _ask(self, session: Session, kind: Kind, attributes: bytes, requested_by: str) -> Result:
        intent = Intent(
            kind=kind,
            reason=_REASON,
            why=f"{requested_by} has asked for it over RADIUS",
            attributes=attributes,
            urgent=True,
            retries=False,
        )
        return _result(kind, await self._engine.ask(session, intent))


def _result(kind: Kind, answered: Answered) -> Result:
    outcome = answered.outcome
    cause = answered.cause
    if cause is None:
        cause = _UNVERIFIED[kind] if outcome is Outcome.UNVERIFIED else _CAUSES.get(outcome)
    return Result(
        ok=outcome.ok,
        cause=None if outcome.ok or cause is None else int(cause),
        answered=outcome not in _SILENT,
    )
