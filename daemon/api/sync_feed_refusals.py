"""How the routes of feeds say no: in the shape of all failures, with what a platform needs to go on."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from daemon.api.models import Failure
from daemon.sync.feed.model import Refusal, Refused
from daemon.sync.feed.wire_json import Malformed

_STATUS = {
    Refusal.GAP: 409,
    Refusal.EPOCH: 409,
    Refusal.SIGNATURE: 422,
    Refusal.MISMATCH: 422,
    Refusal.FEED: 422,
    Refusal.BRAKE: 423,
}


def refused(request: Request, done: Refused) -> JSONResponse:
    """Answer 409 where another position is needed, 422 for what is not as it must be, 423 where the brake holds.

    `details` has one entry: the position of the feed, null before its first snapshot.
    """
    position = done.position
    where = None if position is None else {"epoch": position.epoch, "rev": position.rev}
    return _failure(request, _STATUS[done.why], f"feed-{done.why.value}", done.detail, [{"position": where}])


def malformed(request: Request, what: Malformed) -> JSONResponse:
    """Answer 422 with the path of what is wrong."""
    detail = {"path": what.path, "got": what.came, "expected": what.expected}
    return _failure(request, 422, "malformed", str(what), [detail])


def _failure(
    request: Request, status: int, code: str, message: str, details: list[dict[str, Any]]
) -> JSONResponse:
    failure = Failure(
        code=code,
        message=message,
        details=details,
        request_id=getattr(request.state, "request_id", ""),
        retryable=status == 423,
    )
    return JSONResponse(failure.model_dump(), status)
