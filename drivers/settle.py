"""After a lost reply: a new session finds out what became of a commit. Read-back decides, nothing is sent twice."""

from __future__ import annotations

from drivers.base import Session
from drivers.errors import DriverError
from drivers.model import Change, CommitRef
from drivers.outcomes import Settled


async def settle(session: Session, ref: CommitRef, change: Change) -> Settled:
    """Return what a new session sees of a commit: pending, applied, reverted (or never applied), unverified.

    `change` is the one that was committed; it is staged again to see whether anything is left to do, then
    discarded. DriverError only where the device cannot be read at all.
    """
    waiting = await session.pending()
    if ref.id in waiting.ids:
        return Settled.PENDING
    config = await session.get_config()
    if config.digest == ref.before:
        return Settled.REVERTED
    try:
        staged = await session.stage(Change(change.mode, change.text, change.actions, secrets=change.secrets))
        left = await session.diff(staged)
        await session.discard(staged)
    except DriverError:
        return Settled.UNVERIFIED
    return Settled.APPLIED if left.empty else Settled.UNVERIFIED
