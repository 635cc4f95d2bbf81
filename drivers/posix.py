"""What drivers of POSIX targets share: a runner, the dead man's timer, and how a commit is confirmed or taken back."""

from __future__ import annotations

from drivers.base import Session
from drivers.deadman import DeadMan
from drivers.errors import CommandRefused, NotAuthorized, Phase
from drivers.model import CommitRef, Secrets, Staged
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
from drivers.transports.stream import Completed, Runner
from drivers.transports.subprocess import LocalRunner

STATE_DIR = "/run/dotmac-edge"


async def runner_of(opening: Opening) -> Runner:
    """Return a runner over SSH, or on this machine where the option `local` is yes (in `namespace`, if given)."""
    options = opening.target.options
    if options.get("local") == "yes":
        return LocalRunner(opening, options.get("namespace", ""))
    return await ssh.connect(opening)


class PosixSession(Session):
    """One POSIX target; each command is a process on it. Options: `state_dir` (on a tmpfs), `sudo` (yes)."""

    def __init__(self, opening: Opening, runner: Runner) -> None:
        super().__init__(opening)
        self._runner = runner
        self._prefix = ("sudo", "-n") if opening.target.options.get("sudo") == "yes" else ()
        state = opening.target.options.get("state_dir", STATE_DIR)
        self._deadman = DeadMan(runner, state, prefix=self._prefix, device=opening.target.name)

    async def _command(self, *command: str, phase: Phase = Phase.READ, stdin: str = "") -> str:
        """Return what a command prints; CommandRefused if it ends with another status than 0."""
        done = await self._runner.run([*self._prefix, *command], stdin=stdin)
        self._demand(done, phase, command[0])
        return done.stdout

    def _demand(self, done: Completed, phase: Phase, what: str) -> None:
        if not done.status:
            return
        said = self.redactor.redact((done.stderr or done.stdout).strip()[-300:])
        if "password is required" in said or "Operation not permitted" in said or "ermission denied" in said:
            raise NotAuthorized(said, phase=phase, device=self.target.name)
        raise CommandRefused(
            f"{what} ended with {done.status}: {said}",
            phase=phase,
            device=self.target.name,
            command=what,
            answer=said,
        )

    async def _is_before(self, ref: CommitRef) -> bool:
        return (await self.get_config(secrets=Secrets.KEEP)).digest == ref.before

    async def _guard(self, ref: CommitRef, files: dict[str, str], restore: str) -> None:
        """Lay down how the old state comes back, and start the timer if the commit has one."""
        if ref.confirm_within_s is None:
            await self._deadman.put(f"{ref.id}.kept", files)
            await self._deadman.remember(ref.id, restore)
        else:
            await self._deadman.put(ref.id, files)
            await self._deadman.arm(ref.id, ref.confirm_within_s, restore)

    async def _failed(self, ref: CommitRef, said: str) -> CommitResult:
        """Take a commit back that failed half way: REJECTED if the state before is read back, else PARTIAL."""
        if self.broken:  # our own abort ended the command: nothing more is sent
            return CommitResult(CommitState.UNVERIFIED, ref, "aborted", said)
        try:
            await self._deadman.take_back(ref.id)
        except CommandRefused as error:
            return CommitResult(CommitState.PARTIAL, ref, "not-restored", f"{said}; {error.answer}")
        if await self._is_before(ref):
            return CommitResult(CommitState.REJECTED, ref, "command-refused", said)
        return CommitResult(CommitState.PARTIAL, ref, "command-refused", said)

    async def _discard(self, staged: Staged) -> None:
        await self._deadman.forget(staged.handle.rpartition("/")[2])

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        if await self._deadman.keep(ref.id):
            return ConfirmResult(ConfirmState.CONFIRMED)
        return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the timer has taken it back")

    async def _pending(self) -> Pending:
        return Pending(visible=True, ids=await self._deadman.waiting())

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        if not await self._deadman.take_back(ref.id) and not await self._is_before(ref):
            return RollbackResult(RollbackState.REFUSED, "nothing-kept", "the configuration before is gone")
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)

    async def _close(self) -> None:
        await self._runner.close()

    def _abort(self) -> None:
        self._runner.abort()
