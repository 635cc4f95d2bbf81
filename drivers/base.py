"""The contract of drivers: one session with one device. Public methods keep the rules, vendors fill in the hooks."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar, final

from drivers.capabilities import ConfirmKind
from drivers.clock import Clock, LoopClock
from drivers.errors import (
    BaseChanged,
    CommandNotAllowed,
    CommandRefused,
    DriverError,
    Dropped,
    NotSupported,
    Phase,
    TimedOut,
    WritesRefused,
    WrongPlatform,
)
from drivers.hooks import Hooks
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    Facts,
    Finding,
    Lock,
    Mode,
    Neighbor,
    Reply,
    Secrets,
    ServiceIntent,
    Staged,
    digest,
)
from drivers.outcomes import (
    CommitResult,
    CommitState,
    ConfirmResult,
    ConfirmState,
    Pending,
    RollbackResult,
    RollbackState,
)
from drivers.redact import Redactor
from drivers.target import Opening, Target
from drivers.transcript import Transcript

T = TypeVar("T")
_CHAINED = re.compile(r"[\n\r;&`$]|\|\s*(?:redirect|append|tee|save|sh\b|bash\b)|>")


class Session(Hooks):
    """One open session. Not for two callers at a time. After TimedOut or Dropped it is `broken`: open a new one.

    The public methods add deadlines, refuse what the device cannot or may not do before anything is sent, and
    turn lost replies into `unverified`.
    """

    # What callers use -------------------------------------------------------------------------------------

    @final
    async def facts(self) -> Facts:
        """Return facts of the device."""
        return await self._within(Phase.READ, self._facts())

    @final
    async def get_config(
        self, kind: ConfigKind = ConfigKind.RUNNING, *, secrets: Secrets = Secrets.REDACT
    ) -> Config:
        """Return a configuration without its volatile lines. The digest is the same whether redacted or not."""
        raw = await self._within(Phase.READ, self._read(kind))
        text = self.steady(raw)
        redact = secrets is Secrets.REDACT
        return Config(kind, self.redactor.redact(text) if redact else text, digest(text), redacted=redact)

    @final
    async def neighbors(self) -> tuple[Neighbor, ...]:
        """Return neighbours from LLDP, CDP or MNDP."""
        self._need(self.capabilities.neighbors, "neighbors")
        return await self._within(Phase.READ, self._neighbors())

    @final
    async def exec(self, command: str) -> Reply:
        """Return the redacted answer to one reading command; CommandNotAllowed, before sending, for any other."""
        words = command.strip()
        allowed = any(re.fullmatch(pattern, words) for pattern in self.reading)
        if not allowed or _CHAINED.search(words):
            raise CommandNotAllowed(
                f"{words.split(' ')[0]!r}... is not a reading command of driver {self.name}",
                phase=Phase.COMMAND,
                device=self.target.name,
                expected=" or ".join(self.reading),
            )
        return Reply(words, self.redactor.redact(await self._within(Phase.COMMAND, self._run(words))))

    @asynccontextmanager
    async def lock(self, ttl_s: int = 600) -> AsyncGenerator[Lock]:
        """Hold the device's lock inside the block; LockHeld if somebody else does. Needs the right to write."""
        self._may_write()
        held = await self._within(Phase.LOCK, self._lock(ttl_s))
        try:
            yield held
        finally:
            if not self.broken:
                with suppress(DriverError):  # a session that ends gives its lock back anyway
                    await self._within(Phase.LOCK, self._unlock(held))

    @final
    async def stage(self, change: Change) -> Staged:
        """Lay a change out without putting it in force. BaseChanged if the device moved since it was planned."""
        self._may_write()
        able = {Mode.MERGE: "merge", Mode.REPLACE: "replace", Mode.ACTIONS: "actions"}[change.mode]
        self._need(bool(getattr(self.capabilities, able)), able)
        for secret in change.secrets:
            self.redactor.add(secret)
        before = await self.get_config(secrets=Secrets.KEEP)
        if change.base and change.base != before.digest:
            raise BaseChanged(
                "the configuration is not the one the change was planned against; plan again",
                phase=Phase.STAGE,
                device=self.target.name,
                expected=f"digest {change.base}",
            )
        return await self._within(Phase.STAGE, self._stage(change, before), self.target.deadlines.commit_s)

    @final
    async def diff(self, staged: Staged) -> Diff:
        """Return what the staged change would alter, redacted and labelled native or offline."""
        found = await self._within(Phase.DIFF, self._diff(staged), self.target.deadlines.commit_s)
        return replace(found, text=self.redactor.redact(found.text))

    @final
    async def validate(self, staged: Staged) -> tuple[Finding, ...]:
        """Return what the device says about the staged change; empty where it has no opinion."""
        found = await self._within(Phase.VALIDATE, self._validate(staged), self.target.deadlines.commit_s)
        return tuple(replace(each, message=self.redactor.redact(each.message)) for each in found)

    @final
    async def discard(self, staged: Staged) -> None:
        """Throw a staged change away."""
        await self._within(Phase.STAGE, self._discard(staged))

    @final
    def reference(self, staged: Staged, confirm_within_s: int | None = None) -> CommitRef:
        """Return the name of a commit to come, to be journalled before commit(). The time is the device's own."""
        if confirm_within_s is not None:
            self._need(self.capabilities.confirm is not ConfirmKind.NONE, "confirm within a time")
            confirm_within_s = self.capabilities.confirm_within(confirm_within_s)
        mark = f"dm{secrets.token_hex(5)}"
        return CommitRef(self.name, mark, staged.before.digest, confirm_within_s, staged.handle, staged.undo)

    @final
    async def commit(self, staged: Staged, ref: CommitRef, comment: str = "") -> CommitResult:
        """Put a staged change in force. Never raises after something was sent: a lost reply is UNVERIFIED."""
        self._may_write()
        seconds = self.target.deadlines.commit_s
        try:
            return await self._within(Phase.COMMIT, self._commit(staged, ref, comment), seconds)
        except (NotSupported, WritesRefused):
            raise
        except CommandRefused as error:
            atomic = self.capabilities.merge_atomic
            state = CommitState.REJECTED if atomic else CommitState.PARTIAL
            return CommitResult(state, ref, error.slug, self.redactor.redact(error.answer or error.message))
        except DriverError as error:
            return CommitResult(CommitState.UNVERIFIED, ref, error.slug, str(error))

    @final
    async def confirm(self, ref: CommitRef) -> ConfirmResult:
        """Keep a pending commit. Meant for a session other than the one that committed: that proves reachability."""
        self._may_write()
        try:
            return await self._within(Phase.CONFIRM, self._confirm(ref), self.target.deadlines.commit_s)
        except CommandRefused as error:
            return ConfirmResult(ConfirmState.REFUSED, error.slug, self.redactor.redact(error.answer))
        except (TimedOut, Dropped) as error:
            return ConfirmResult(ConfirmState.UNVERIFIED, error.slug, str(error))

    @final
    async def pending(self) -> Pending:
        """Return the commits that wait for their confirm, if the device tells."""
        return await self._within(Phase.PENDING, self._pending())

    @final
    async def rollback(self, ref: CommitRef) -> RollbackResult:
        """Take a commit back now, confirmed or not. May reboot where the capabilities say so."""
        self._may_write()
        try:
            return await self._within(Phase.ROLLBACK, self._rollback(ref), self.target.deadlines.commit_s)
        except CommandRefused as error:
            return RollbackResult(RollbackState.REFUSED, error.slug, self.redactor.redact(error.answer))
        except (TimedOut, Dropped) as error:
            return RollbackResult(RollbackState.UNVERIFIED, error.slug, str(error))

    @final
    async def save(self) -> None:
        """Make the running configuration survive a reboot, where that is a step of its own."""
        self._may_write()
        if self.capabilities.startup:
            await self._within(Phase.SAVE, self._save(), self.target.deadlines.commit_s)

    @final
    async def apply_service(self, intent: ServiceIntent) -> Change:
        """Return the change that brings this service about, to be staged and committed as any other.

        It may read the device (which ids are free); it writes nothing. No actions: it is there already.
        """
        self._need(self.capabilities.services, "services")
        return await self._within(Phase.STAGE, self._service(intent))

    @final
    def abort(self) -> None:
        """Drop the connection at once."""
        self.broken = True
        self._abort()

    # What vendors may use ---------------------------------------------------------------------------------

    def steady(self, text: str) -> str:
        """Return configuration text without its volatile lines."""
        if not self.volatile:
            return text
        moving = re.compile("|".join(f"(?:{each})" for each in self.volatile))
        return "\n".join(line for line in text.splitlines() if not moving.match(line)) + "\n"

    def _need(self, able: bool, what: str) -> None:
        if not able:
            raise self._cannot(what)

    def _may_write(self) -> None:
        if not self.capabilities.writes:
            why = self.capabilities.reason
            raise WritesRefused(f"read-only: {why}", phase=Phase.STAGE, device=self.target.name)
        if not self.target.may_write:
            raise WritesRefused(
                "read-only: writing is switched off for this device",
                phase=Phase.STAGE,
                device=self.target.name,
            )

    async def _within(self, phase: Phase, work: Awaitable[T], seconds: float | None = None) -> T:
        limit = seconds if seconds is not None else self.target.deadlines.command_s
        try:
            async with asyncio.timeout(limit):
                return await work
        except TimeoutError:
            tail = self.transcript.tail()
            self.abort()
            raise TimedOut(
                f"no end within {limit:g} s", phase=phase, device=self.target.name, tail=tail
            ) from None
        except (TimedOut, Dropped):
            self.abort()
            raise
        except asyncio.CancelledError:
            self.abort()
            raise


@dataclass(frozen=True, slots=True)
class Driver:
    """One entry of the registry. `connect` logs in and returns a session; it raises a DriverError otherwise."""

    name: str
    title: str
    connect: Callable[[Opening], Awaitable[Session]]
    port: int = 22
    secret_patterns: tuple[str, ...] = ()
    api: int = 1

    @asynccontextmanager
    async def session(
        self, target: Target, clock: Clock | None = None, transcript: Transcript | None = None
    ) -> AsyncGenerator[Session]:
        """Open, probe and finally close a session. An error or a cancellation drops the connection at once.

        Pass a `Transcript(Redactor())` of your own to have it even if the login fails; it learns the secrets.
        """
        redactor = Redactor(target.credentials.values(), self.secret_patterns)
        if transcript is None:
            transcript = Transcript(redactor)
        else:
            transcript.redact_with(redactor)
        aimed = target if target.port else replace(target, port=self.port)
        session = await self.connect(Opening(aimed, clock or LoopClock(), transcript, redactor))
        try:
            await _identify(session)
            yield session
        except BaseException:
            session.abort()
            raise
        finally:
            await _end(session)


async def _identify(session: Session) -> None:
    identity = await session._within(Phase.PROBE, session._probe())  # noqa: SLF001 - of this module
    if identity is None:
        raise WrongPlatform(
            f"what answers is not {session.name}",
            phase=Phase.PROBE,
            device=session.target.name,
            tail=session.transcript.tail(),
        )
    session.identity = identity
    session.capabilities = session._capabilities(identity)  # noqa: SLF001 - of this module


async def _end(session: Session) -> None:
    if session.broken:
        return
    with suppress(DriverError):
        await session._within(  # noqa: SLF001 - of this module
            Phase.CLOSE,
            session._close(),  # noqa: SLF001 - of this module
            session.target.deadlines.close_s,
        )
