"""Which of several sessions a report is about, where no Class token of ours tells."""

from __future__ import annotations

from collections.abc import Iterable

from daemon.aaa.session import Report, Session
from radius.codes import AcctStatus

SAME_START_S = 60.0
"""How far apart two computed starts of one session may lie; NAS clocks and delay times are whole seconds."""

_START = int(AcctStatus.START)


def closest(candidates: Iterable[Session], report: Report) -> Session | None:
    """Return the candidate of the same user whose start fits the report best, None when none fits.

    All are of the report's box and Acct-Session-Id. An interim or stop whose clock does not agree still belongs
    to a session that overlaps it in time.
    """
    began = report.at if report.began_at is None else report.began_at
    best: Session | None = None
    best_apart = SAME_START_S
    overlapping: Session | None = None
    for session in candidates:
        if session.username != report.username:
            continue
        apart = abs(session.started_at - began)
        if apart <= best_apart:
            best, best_apart = session, apart
        overlaps = report.began_at is None or began <= session.updated_at
        if overlaps and (overlapping is None or session.started_at > overlapping.started_at):
            overlapping = session
    if best is not None or report.status == _START:
        return best
    return overlapping


def elsewhere(candidates: Iterable[Session], report: Report) -> Session | None:
    """Return the session that an interim or stop is about although it began at another place, None when none is.

    All are of the report's tenant and Acct-Session-Id, which other boxes use, too: so user name, address and
    start must all be the same. One box may be known by two addresses, each with a NAS entry of its own.
    """
    address = report.tracked[0]
    if report.status == _START or report.began_at is None or address is None:
        return None
    for session in candidates:
        if (
            session.username == report.username
            and session.ipv4_octets == address
            and abs(session.started_at - report.began_at) <= SAME_START_S
        ):
            return session
    return None
