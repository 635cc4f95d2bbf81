"""What every check is made of: a session, a digest, a comparison, an expected refusal."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from drivers.base import Session
from drivers.conformance import Failed, Subject
from drivers.errors import (
    DriverError,
)


def opened(subject: Subject, *, write: bool = True) -> AbstractAsyncContextManager[Session]:
    """Return a session with the subject, with a transcript that the last check looks at."""
    target = replace(subject.target, may_write=True) if write else subject.reading()
    return subject.driver.session(target, subject.clock, subject.transcript())


async def digest_of(subject: Subject) -> str:
    """Return what is in force, read by a new session."""
    async with opened(subject, write=False) as session:
        return (await session.get_config()).digest


def same(before: str, after: str, when: str) -> None:
    """Fail unless the configuration is the one before."""
    if before != after:
        raise Failed(f"the configuration is another one {when}; expected the one before")


async def refused(work: Awaitable[object], kind: type[DriverError], subject: Subject) -> DriverError:
    """Return the error of this kind that the work must raise."""
    try:
        await work
    except kind as error:
        subject.said.append(f"{error} {error!r}")
        return error
    raise Failed(f"expected {kind.__name__}, and it went through")
