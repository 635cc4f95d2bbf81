"""The sessions and what acts on them at a glance, for `status`."""

from __future__ import annotations

from collections import Counter
from typing import TypedDict

from daemon.aaa.assembly import RequestPath
from daemon.aaa.session import State
from daemon.clock import Clock
from daemon.supervise import Supervisor


class OfSessions(TypedDict):
    """The part of the status that is about sessions."""

    sessions: dict[str, int]
    deviating: int
    coa_jobs: dict[str, int]


def of_sessions(aaa: RequestPath) -> OfSessions:
    """Return how many sessions there are by state, how many deviate, and the CoA jobs at work by state."""
    counts: Counter[str] = Counter()
    for (_, _, state), count in aaa.sessions.counts().items():
        if count:
            counts[state.value] += count
    jobs = aaa.enforcement.engine.job_counts()
    return {"sessions": dict(counts), "deviating": deviating(aaa), "coa_jobs": dict(jobs)}


def deviating(aaa: RequestPath) -> int:
    """Return how many live sessions are not what the data want; those that ended since the sweep do not count."""
    found = map(aaa.sessions.find_uid, aaa.enforcement.reconciler.deviating())
    return sum(1 for each in found if each is not None and each.state is not State.CLOSED)


def degraded(aaa: RequestPath, clock: Clock) -> list[str]:
    """Return what is not as usual in the request path, a sentence each."""
    said = []
    if aaa.accounting.failing is not None:
        said.append(f"accounting is not acknowledged: {aaa.accounting.failing}")
    if aaa.staff_accounting.failing is not None:
        said.append(f"accounting of staff is not acknowledged: {aaa.staff_accounting.failing}")
    if aaa.keeper.unreadable:
        said.append(f"{aaa.keeper.unreadable} stored bindings or usages cannot be read")
    storm = aaa.storm.snapshot(clock.monotonic(), clock.wall())
    if storm.active:
        where = f", most from {storm.nas}" if storm.nas else ""
        said.append(
            f"subscribers come back in a storm ({storm.reason}{where}; {storm.access_per_s:.0f} logins a second): "
            "work that can wait does"
        )
    if aaa.enforcement.reaper.silent_boxes:
        said.append(f"nothing is heard of {aaa.enforcement.reaper.silent_boxes} boxes with live sessions")
    return said


def tasks(supervisor: Supervisor) -> list[dict[str, str]]:
    """Return what runs for ever, by name, and how it is."""
    return [
        {"name": each.name, "state": str(each.state), "error": each.error or ""}
        for each in supervisor.status()
    ]
