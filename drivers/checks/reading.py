"""Checks that change nothing: reading, refusing, staging, and what may be seen of secrets."""

from __future__ import annotations

from dataclasses import replace

from drivers.base import Session
from drivers.capabilities import LockKind
from drivers.checks.steps import digest_of, opened, refused, same
from drivers.conformance import Failed, Skipped, Subject
from drivers.errors import (
    BaseChanged,
    CommandNotAllowed,
    HostKeyMismatch,
    LockHeld,
    LoginRefused,
    WritesRefused,
)
from drivers.model import Identity, Severity
from drivers.redact import Secret

# Reading ------------------------------------------------------------------------------------------------------


async def probe_is_steady(subject: Subject) -> str:
    """Two probes tell the same vendor, os, model and version."""
    seen = []
    for _ in range(2):
        async with opened(subject, write=False) as session:
            seen.append(session.identity)
    if seen[0] != seen[1]:
        raise Failed(f"two probes differ: {seen[0]} and {seen[1]}")
    if not (seen[0].vendor and seen[0].os):
        raise Failed(f"vendor and os are expected, got {seen[0]}")
    return f"{seen[0].vendor} {seen[0].model} {seen[0].version}"


async def unknown_is_read_only(subject: Subject) -> str:
    """An identity that nobody has heard of may not be written."""
    async with opened(subject, write=False) as session:
        strangers = (
            Identity(vendor="", model="no such model", os="", version=""),
            replace(session.identity, version="0.0.1-no-such-version", model="no such model"),
        )
        for stranger in strangers:
            if session._capabilities(stranger).writes:  # noqa: SLF001 - the kit asks for the pure function
                raise Failed(f"{stranger} may be written; expected read-only")
    return "unknown model and firmware are read-only"


async def read_only_writes_nothing(subject: Subject) -> str:
    """With writing switched off everything can be read, and nothing else gets through."""
    before = await digest_of(subject)
    async with opened(subject, write=False) as session:
        await session.facts()
        await session.exec(subject.show)
        if session.capabilities.neighbors:
            await session.neighbors()
        await session.pending()
        await refused(session.stage(subject.change), WritesRefused, subject)
        await refused(session.save(), WritesRefused, subject)
        forbidden = ("reload", "configure terminal", f"{subject.show}\nreload", f"{subject.show}; reload")
        for command in (
            *forbidden,
            subject.change.text.strip().splitlines()[0] if subject.change.text else "reboot",
        ):
            await refused(session.exec(command), CommandNotAllowed, subject)
    same(before, await digest_of(subject), "after reading")
    return "facts, config, exec; stage, save and foreign commands were refused"


async def wrong_password(subject: Subject) -> str:
    """A wrong password is LoginRefused after exactly one try."""
    if subject.target.credentials.password is None:
        raise Skipped("the login is not by password")
    wrong = replace(
        subject.target.credentials, password=Secret("wrong-password-of-the-kit"), private_key=None
    )
    target = replace(subject.target, credentials=wrong, may_write=False)
    before = subject.attempts() if subject.attempts else 0

    async def login() -> None:
        async with subject.driver.session(target, subject.clock, subject.transcript()):
            pass

    await refused(login(), LoginRefused, subject)
    tries = subject.attempts() - before if subject.attempts else 1
    if tries != 1:
        raise Failed(f"{tries} passwords were tried; expected one")
    return "typed, one try" if subject.attempts else "typed"


async def wrong_host_key(subject: Subject) -> str:
    """A key that is not the pinned one stops before the password is sent."""
    if not subject.target.trust.pinned:
        raise Skipped("no key is pinned")
    trust = replace(subject.target.trust, pinned=("SHA256:" + "A" * 43,))
    before = subject.attempts() if subject.attempts else 0

    async def login() -> None:
        target = replace(subject.target, trust=trust, may_write=False)
        async with subject.driver.session(target, subject.clock, subject.transcript()):
            pass

    await refused(login(), HostKeyMismatch, subject)
    if subject.attempts and subject.attempts() != before:
        raise Failed("the password was sent to a device with a foreign key")
    return "typed, no password sent"


# Refusing -----------------------------------------------------------------------------------------------------


async def lock_refused(subject: Subject) -> str:
    """A second session is told LockHeld, and the lock comes back."""
    async with opened(subject) as first:
        if first.capabilities.lock is not LockKind.NATIVE:
            raise Skipped(f"the lock is {first.capabilities.lock}")
        async with first.lock(), opened(subject) as second:
            await refused(_take(second), LockHeld, subject)
    async with opened(subject) as third, third.lock():
        pass
    return "the second session got lock-held, a later one got the lock"


async def _take(session: Session) -> None:
    async with session.lock():
        pass


async def base_changed(subject: Subject) -> str:
    """A change planned against another configuration is refused."""
    async with opened(subject) as session:
        await refused(session.stage(replace(subject.change, base="0" * 32)), BaseChanged, subject)
    return "a change planned against another configuration was refused"


async def stage_changes_nothing(subject: Subject) -> str:
    """Stage, diff, validate and discard leave the configuration as it is."""
    before = await digest_of(subject)
    async with opened(subject) as session, session.lock():
        staged = await session.stage(subject.change)
        diff = await session.diff(staged)
        if diff.empty:
            raise Failed("the diff of a change that is not in force is empty")
        wrong = [each for each in await session.validate(staged) if each.severity is Severity.ERROR]
        if wrong:
            raise Failed(f"a good change does not validate: {wrong[0].message}")
        await session.discard(staged)
    same(before, await digest_of(subject), "after stage, diff, validate, discard")
    return f"diff is {diff.source}, +{diff.added} -{diff.removed}"


async def no_secret_in_transcripts(subject: Subject) -> str:
    """No credential and no canary stands in anything that people may see."""
    hidden = [*subject.target.credentials.values(), *subject.canaries, *subject.change.secrets]
    hidden.append("wrong-password-of-the-kit")
    texts = [transcript.text() for transcript in subject.transcripts]
    if not any(texts):
        raise Failed("there are no transcripts")
    places = {"a transcript": texts, "an error or outcome": subject.said}
    async with opened(subject, write=False) as session:
        config = await session.get_config()
        places["a redacted configuration"] = [config.text, (await session.exec(subject.show)).text]
        places["the repr of a session's parts"] = [
            repr((session.target, session.transcript, session.redactor, config))
        ]
    for place, shown in places.items():
        for secret in hidden:
            if any(secret in text for text in shown):
                raise Failed(f"a secret of {len(secret)} characters stands in {place}")
    return f"{len(texts)} transcripts and {len(hidden)} values"
