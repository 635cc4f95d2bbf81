"""What the CoA engine may be set to, and what it asks and tells the rest of the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from daemon.aaa.coa.client import Address
from daemon.aaa.coa.job import Job
from daemon.aaa.coa.ladder import Kick
from daemon.aaa.coa.pace import PaceOptions
from daemon.aaa.coa.target import Entry
from daemon.aaa.session import Session
from radius.grant import Grant

_PACE = PaceOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class CoaOptions:
    """Times in seconds. A Stop is awaited for `verify_s`, accounting after a CoA for `verify_change_s`.

    After `most_attempts` tries a job is told of once, and goes on every `longest_retry_s`.
    """

    pace: PaceOptions = _PACE
    verify_s: float = 15.0
    verify_change_s: float = 900.0
    first_retry_s: float = 5.0
    longest_retry_s: float = 300.0
    most_attempts: int = 8


class OnEvent(Protocol):
    """Told of `coa-outcome`, `coa-nas-suspect` and `coa-nas-back`, with fields that a log can take."""

    def __call__(self, kind: str, session: Session, /, **fields: str | int | float) -> None: ...


def _calm() -> bool:
    return False


def _nowhere(_session: Session) -> Address | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What the engine asks and tells the rest of the daemon.

    `find` gives the NAS entry of a tenant, current; `source_of` where a session's packets come from, if that
    is known. `on_applied` is told what a NAS has taken, `on_gone` that it knows no such session.
    """

    find: Callable[[str, str], Entry | None]
    on_applied: Callable[[Session, Grant], None]
    on_gone: Callable[[Session], None]
    on_event: OnEvent
    storm_active: Callable[[], bool] = _calm
    source_of: Callable[[Session], Address | None] = _nowhere
    kick: Kick | None = None


def tell(on_event: OnEvent, job: Job) -> None:
    """Tell how a job has ended, or that it gets nowhere."""
    on_event(
        "coa-outcome",
        job.session,
        job=job.id,
        nas=job.nas,
        kind=job.intent.kind,
        rung=job.rung,
        state=job.state,
        outcome=job.outcome,
        cause=job.cause_slug,
        note=job.note,
        reason=job.intent.reason,
        why=job.intent.why,
        attempts=job.attempts,
    )
