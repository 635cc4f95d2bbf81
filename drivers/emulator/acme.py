"""The driver of the made-up router in `sample`: the shortest one that does all. Copy it to write your own."""

from __future__ import annotations

import re

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, LockHeld
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
    Severity,
    Staged,
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
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.cli import Cli, Dialect

DIALECT = Dialect(setup=("terminal length 0",), errors=(r"^% .*",))


class AcmeSession(Session):
    """One session with an Acme router."""

    name = "acme"
    reading = (r"show (?:version|config|pending)",)
    volatile = (r"! time .*",)

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening)
        self._connection = connection
        self._cli = cli
        self._editing = False

    async def _probe(self) -> Identity | None:
        told = await self._cli.run("show version")
        found = re.search(r"Acme OS (\S+)\nModel (\S+)\nSerial (\S+)", told)
        return Identity("Acme", found[2], "acme", found[1], found[3]) if found else None

    def _capabilities(self, identity: Identity) -> Capabilities:
        if identity.model != "AR-1000" or not identity.version.startswith("7."):
            return Capabilities(reason=f"unknown: {identity.model} {identity.version}")
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            replace=True,
            merge_atomic=True,
            candidate=CandidateKind.NATIVE,
            confirm=ConfirmKind.NATIVE_PERSIST,
            confirm_min_s=10,
            confirm_max_s=3600,
            pending_visible=True,
            rollback=RollbackMethod.TRANSACTION,
            lock=LockKind.NATIVE,
            diff_native=True,
            validate_native=True,
            startup=True,
        )

    async def _facts(self) -> Facts:
        return Facts(self.identity, self._cli.prompt.strip("> "))

    async def _read(self, kind: ConfigKind) -> str:
        if kind is not ConfigKind.RUNNING:
            raise self._cannot(f"read the {kind} configuration")
        return await self._cli.run("show config")

    async def _run(self, command: str) -> str:
        return await self._cli.run(command)

    async def _lock(self, ttl_s: int) -> Lock:
        del ttl_s
        if not self._editing:
            try:
                await self._cli.run("configure")
            except CommandRefused as refused:
                raise LockHeld(refused.answer, device=self.target.name) from refused
            self._editing = True
        return Lock("native")

    async def _unlock(self, lock: Lock) -> None:
        del lock
        await self._cli.run("exit")
        self._editing = False

    async def _stage(self, change: Change, before: Config) -> Staged:
        await self._lock(0)
        try:
            for line in ["clear"] * (change.mode is Mode.REPLACE) + change.text.splitlines():
                await self._cli.run(line)
        except CommandRefused:
            await self._cli.run("abort")
            raise
        return Staged(change, before)

    async def _diff(self, staged: Staged) -> Diff:
        del staged
        lines = (await self._cli.run("diff")).splitlines()
        added = sum(line.startswith("+") for line in lines)
        return Diff("\n".join(lines), DiffSource.NATIVE, added, len(lines) - added)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        del staged
        answer = await self._cli.command("check")
        return (Finding(Severity.ERROR, answer.failed),) if answer.failed else ()

    async def _discard(self, staged: Staged) -> None:
        del staged
        await self._cli.run("abort")

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del staged, comment
        timed = ref.confirm_within_s is not None
        said = await self._cli.run(f"commit within {ref.confirm_within_s} id {ref.id}" if timed else "commit")
        if said.strip() != "Committed":  # silence is not success
            return CommitResult(CommitState.UNVERIFIED, ref, "no-receipt", "the device did not say Committed")
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        answer = await self._cli.command(f"confirm {ref.id}")
        if "Nothing pending" in answer.failed:
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", answer.failed)
        done = answer.text.strip() == "Confirmed"
        return ConfirmResult(ConfirmState.CONFIRMED if done else ConfirmState.UNVERIFIED)

    async def _pending(self) -> Pending:
        return Pending(visible=True, ids=tuple((await self._cli.run("show pending")).split()))

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        await self._cli.run(f"revert {ref.id}")
        return RollbackResult(RollbackState.REVERTED)

    async def _save(self) -> None:
        await self._cli.run("save")

    async def _close(self) -> None:
        self._cli.close()
        await self._connection.close()

    def _abort(self) -> None:
        self._connection.abort()


async def connect(opening: Opening) -> Session:
    """Return a session at the learned prompt."""
    connection = await ssh.connect(opening)
    try:
        cli = Cli(await connection.shell(), DIALECT, opening)
        await cli.login()
    except BaseException:
        connection.abort()
        raise
    return AcmeSession(opening, connection, cli)


DRIVER = Driver("acme", "Acme OS over SSH, a made-up platform", connect)
