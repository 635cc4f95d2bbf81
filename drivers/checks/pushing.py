"""Checks that change the device and bring it back: bad changes, pushes, timers, rollbacks, cuts."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from drivers.base import Session
from drivers.capabilities import ConfirmKind
from drivers.checks.steps import digest_of, opened, same
from drivers.conformance import Failed, Skipped, Subject
from drivers.errors import (
    CommandRefused,
    DriverError,
)
from drivers.model import Change, CommitRef, Severity
from drivers.outcomes import CommitResult, CommitState, ConfirmState, RollbackState, Settled
from drivers.settle import settle

_MARGIN_S = 5.0

# Pushing ------------------------------------------------------------------------------------------------------


async def _commit(subject: Subject, session: Session, change: Change) -> CommitResult:
    staged = await session.stage(change)
    if (await session.diff(staged)).empty:
        raise Failed("the change is in force before it is committed")
    timed = session.capabilities.confirm is not ConfirmKind.NONE
    ref = session.reference(staged, subject.confirm_within_s if timed else None)
    if CommitRef.loads(ref.dumps()) != ref:
        raise Failed("the reference does not survive being journalled")
    result = await session.commit(staged, ref, "conformance kit")
    subject.said.append(f"{result}")
    return result


async def _push(subject: Subject, change: Change) -> CommitRef:
    """Commit, confirm from a new session, save."""
    async with opened(subject) as session, session.lock():
        result = await _commit(subject, session, change)
        bound = session.capabilities.confirm is ConfirmKind.SESSION_BOUND
        timed = session.capabilities.confirm is not ConfirmKind.NONE
        wanted = CommitState.PENDING if timed else CommitState.COMMITTED
        if result.state is not wanted:
            raise Failed(f"commit came out as {result.state} ({result.detail}); expected {wanted}")
        if bound:
            await _confirm(session, result.ref)
    async with opened(subject) as session:
        if timed and not bound:
            await _confirm(session, result.ref)
        await session.save()
    return result.ref


async def restore(subject: Subject) -> None:
    """Take the change away after a check that failed half way, as far as that goes."""
    with suppress(Failed, DriverError):
        await _push(subject, subject.back)


async def _confirm(session: Session, ref: CommitRef) -> None:
    waiting = await session.pending()
    if waiting.visible and ref.id not in waiting.ids:
        raise Failed(f"pending() shows {waiting.ids}; expected {ref.id}")
    result = await session.confirm(ref)
    if result.state is not ConfirmState.CONFIRMED:
        raise Failed(f"confirm came out as {result.state} ({result.detail})")


async def bad_change_refused(subject: Subject) -> str:
    """What the device refuses leaves nothing behind."""
    if subject.bad is None:
        raise Skipped("no bad change was given")
    before = await digest_of(subject)
    seen = "staging"
    async with opened(subject) as session, session.lock():
        try:
            staged = await session.stage(subject.bad)
            found = [each for each in await session.validate(staged) if each.severity is Severity.ERROR]
        except CommandRefused as error:
            subject.said.append(f"{error} {error!r}")
        else:
            seen = "validation"
            if not found:
                seen = "commit"
                result = await _commit(subject, session, subject.bad)
                if result.state not in {CommitState.REJECTED, CommitState.PARTIAL}:
                    raise Failed(f"a bad change came out as {result.state}")
                if result.state is CommitState.PARTIAL:
                    await session.rollback(result.ref)
            await session.discard(staged)
    same(before, await digest_of(subject), "after a bad change")
    return f"refused in {seen}"


async def push_confirmed(subject: Subject) -> str:
    """Commit, confirm from a new session, save, read back; staged again, nothing is left to do."""
    before = await digest_of(subject)
    ref = await _push(subject, subject.change)
    async with opened(subject) as session:
        if ref.id in (await session.pending()).ids:
            raise Failed("the commit is still pending after its confirm")
        if (await session.get_config()).digest == before:
            raise Failed("the configuration is as before; the change is not in force")
        staged = await session.stage(subject.change)
        left = await session.diff(staged)
        await session.discard(staged)
    if not left.empty:
        raise Failed(f"the same change still has a diff: {left.text[:200]}")
    await _push(subject, subject.back)
    same(before, await digest_of(subject), "after the change was taken away again")
    return "in force after a confirm from a new session; staged again, its diff is empty"


async def push_unconfirmed_reverts(subject: Subject) -> str:
    """The device takes an unconfirmed commit back by its own timer."""
    before = await digest_of(subject)
    async with opened(subject) as session:
        if session.capabilities.confirm is ConfirmKind.NONE:
            raise Skipped("no confirm on this device")
        within = session.capabilities.confirm_within(subject.confirm_within_s)
        async with session.lock():
            result = await _commit(subject, session, subject.change)
            if result.state is not CommitState.PENDING:
                raise Failed(f"commit came out as {result.state} ({result.detail}); expected pending")
    await _until(subject, before, within / subject.scale)
    async with opened(subject) as session:
        late = await session.confirm(result.ref)
    if late.state is not ConfirmState.LAPSED:
        raise Failed(f"a confirm after the time came out as {late.state}; expected lapsed")
    return f"reverted by the device within {within} s; a late confirm is lapsed"


async def _until(subject: Subject, before: str, seconds: float) -> None:
    end = subject.clock.now() + seconds * 2 + _MARGIN_S
    while await digest_of(subject) != before:
        if subject.clock.now() > end:
            raise Failed(f"the device has not reverted within {seconds:g} s and a margin")
        await subject.clock.sleep(min(1.0, 0.1 + seconds / 10))


async def rollback_now(subject: Subject) -> str:
    """A commit is taken back on demand, from a new session."""
    before = await digest_of(subject)
    async with opened(subject) as session, session.lock():
        if session.capabilities.reboots:
            raise Skipped("a rollback reboots this device")
        result = await _commit(subject, session, subject.change)
    async with opened(subject) as session:
        done = await session.rollback(result.ref)
    if done.state is not RollbackState.REVERTED:
        raise Failed(f"rollback came out as {done.state} ({done.detail})")
    same(before, await digest_of(subject), "after the rollback")
    return "the configuration before is in force"


# Cutting ------------------------------------------------------------------------------------------------------


async def _cut(subject: Subject, when: str) -> str:
    before = await digest_of(subject)
    async with opened(subject) as session, session.lock():
        within = session.capabilities.confirm_within(subject.confirm_within_s)
        timed = session.capabilities.confirm is not ConfirmKind.NONE
        staged = await session.stage(subject.change)
        if (await session.diff(staged)).empty:
            raise Failed("the change is in force before it is committed")
        ref = session.reference(staged, subject.confirm_within_s if timed else None)
        if subject.cut:
            subject.cut(when)
            result = await session.commit(staged, ref)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(_strike(subject, session))
                result = await session.commit(staged, ref)
    subject.said.append(f"{result}")
    if result.state is not CommitState.UNVERIFIED and (
        subject.cut or result.state is not CommitState.PENDING
    ):
        raise Failed(f"a commit without a reply came out as {result.state}; expected unverified")
    async with opened(subject) as session:
        found = await settle(session, ref, subject.change)
        if found in {Settled.PENDING, Settled.APPLIED}:
            await session.rollback(ref)
    if found is Settled.UNVERIFIED:
        raise Failed("a new session cannot tell what became of the commit")
    if timed:
        await _until(subject, before, 0 if found is Settled.REVERTED else within / subject.scale)
    same(before, await digest_of(subject), "at the end")
    return f"{result.state}, then {found} seen by a new session"


async def _strike(subject: Subject, session: Session) -> None:
    await subject.clock.sleep(0.02)
    session.abort()


async def cut_before_commit(subject: Subject) -> str:
    """A commit that never arrived is unverified, and a new session finds out."""
    return await _cut(subject, "before")


async def cut_after_commit(subject: Subject) -> str:
    """A commit whose reply was lost is unverified, and a new session finds out."""
    return await _cut(subject, "after")
