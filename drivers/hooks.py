"""What the writer of a driver fills in: hooks with an underscore, each with a safe default or none at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from drivers.capabilities import Capabilities
from drivers.errors import NotSupported, Phase
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    DiffSource,
    Facts,
    Finding,
    Identity,
    Lock,
    Mode,
    Neighbor,
    ServiceIntent,
    Staged,
)
from drivers.offline import diff_lines
from drivers.outcomes import CommitResult, ConfirmResult, Pending, RollbackResult
from drivers.target import Opening


class Hooks(ABC):
    """The vendor's side of a session. A hook may raise any DriverError; deadlines are kept by `Session`."""

    name: ClassVar[str]
    reading: ClassVar[tuple[str, ...]] = ()  # patterns of whole commands that exec() lets through
    volatile: ClassVar[tuple[str, ...]] = ()  # patterns of configuration lines that change by themselves

    def __init__(self, opening: Opening) -> None:
        self.target = opening.target
        self.clock = opening.clock
        self.transcript = opening.transcript
        self.redactor = opening.redactor
        self.identity = Identity(vendor="")
        self.capabilities = Capabilities()
        self.broken = False

    @abstractmethod
    async def _probe(self) -> Identity | None:
        """Return who answers, or None if it is not of this platform."""

    @abstractmethod
    def _capabilities(self, identity: Identity) -> Capabilities:
        """Return what this identity can do. Unknown model or firmware: `Capabilities()`. Pure."""

    @abstractmethod
    async def _facts(self) -> Facts: ...

    @abstractmethod
    async def _read(self, kind: ConfigKind) -> str:
        """Return the configuration as the device prints it, secrets included."""

    @abstractmethod
    async def _run(self, command: str) -> str:
        """Return the answer to one reading command; CommandRefused if the device refuses it."""

    @abstractmethod
    async def _close(self) -> None:
        """Log out. Never confirms or commits anything."""

    @abstractmethod
    def _abort(self) -> None:
        """Drop the connection at once, without waiting."""

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        raise self._cannot("neighbors")

    async def _lock(self, ttl_s: int) -> Lock:
        del ttl_s
        return Lock(kind="none")

    async def _unlock(self, lock: Lock) -> None:
        del lock

    async def _stage(self, change: Change, before: Config) -> Staged:
        del before
        raise self._cannot(change.mode)

    async def _diff(self, staged: Staged) -> Diff:
        """Return the native diff; the default is offline, for REPLACE only."""
        if staged.change.mode is not Mode.REPLACE:
            raise self._cannot("diff")
        text, added, removed = diff_lines(staged.before.text, staged.change.text)
        return Diff(text, DiffSource.OFFLINE, added, removed)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        del staged
        return ()

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del staged, ref, comment
        raise self._cannot("commit")

    async def _discard(self, staged: Staged) -> None:
        del staged

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        del ref
        raise self._cannot("confirm")

    async def _pending(self) -> Pending:
        return Pending(visible=False)

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        del ref
        raise self._cannot("rollback")

    async def _save(self) -> None:
        raise self._cannot("save")

    async def _service(self, intent: ServiceIntent) -> Change:
        del intent
        raise self._cannot("services")

    def _cannot(self, what: str) -> NotSupported:
        """Return the error for what this device or driver cannot do."""
        return NotSupported(f"{self.name} cannot do: {what}", phase=Phase.STAGE, device=self.target.name)
