"""Huawei VRP5 (S-series switches, AR) over SSH: every line is in force as it is sent; no candidate, commit or timer.

Before the first line the running configuration is saved to a file of its own on the flash (`save ID.cfg`); the
startup configuration stays what it is. A rollback reads that file, computes the `undo` lines and reads back; the
diff is a forecast of ours. What `undo` wants to hear differs by command, so this can fall short. Then, with the
option `rollback` = `reboot` of the target alone, the file becomes the next startup configuration and the device
reboots (`startup saved-configuration`, `reboot fast`): minutes without service, and the file stays the startup
configuration. Without the option such a rollback is refused, and says how to do it by hand. A question to a
configuration line is answered no, and the change refused; option `questions` = `yes` answers yes.
Verified only against the emulator and the vendor's command references. Files on the flash are never deleted.
"""

from __future__ import annotations

import re

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, Dropped
from drivers.model import Change, CommitRef, Config, ConfigKind, Diff, DiffSource, Identity, Staged
from drivers.offline import diff_lines
from drivers.outcomes import CommitResult, CommitState, RollbackResult, RollbackState
from drivers.target import Opening
from drivers.transports.cli import Question
from drivers.vrp import NO, SECRETS, YES, VrpSession, login
from drivers.vrp_text import Line, delta, lines_of, merged, text_of

_MODELS = re.compile(r"(?:S[1-9]\d{3}|S\d{5}|AR\d{3,4}|LS-S\d)", re.IGNORECASE)
_OLDEST = 70  # minor version of 5
# "Save before rebooting?" would make the state that is to go the startup configuration.
_REBOOT: tuple[Question, ...] = ((r"(?i)sav(?:e|ed)\b[^\n]*\[Y/N\][:?]? *$", "n"), YES)


class Vrp5Session(VrpSession):
    """One session with a VRP5 device."""

    name = "vrp5"

    def _platforms(self) -> tuple[str, ...]:
        return ("vrp5",)

    def _capabilities(self, identity: Identity) -> Capabilities:
        version = re.match(r"5\.(\d+)", identity.version)
        known = version is not None and int(version[1]) >= _OLDEST and identity.os == "vrp5"
        if not known or not _MODELS.match(identity.model):
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        reboots = self.target.options.get("rollback") == "reboot"
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            services=True,
            candidate=CandidateKind.NONE,
            confirm=ConfirmKind.NONE,
            rollback=RollbackMethod.REBOOT if reboots else RollbackMethod.INVERSE_COMMANDS,
            reboots=reboots,
            lock=LockKind.ADVISORY,
            neighbors=True,
            startup=True,
            max_sessions=4,
            notes=("lines take effect one by one", "no timer: a change that cuts the device off stays"),
        )

    @property
    def _answer(self) -> Question:
        return YES if self.target.options.get("questions") == "yes" else NO

    # Changing ---------------------------------------------------------------------------------------------

    async def _stage(self, change: Change, before: Config) -> Staged:
        commands = self._commands(change)
        now = lines_of(before.text)
        undo = text_of(delta(merged(now, commands), now))
        return Staged(change, before, undo=tuple(undo.splitlines()))

    async def _diff(self, staged: Staged) -> Diff:
        now = lines_of(staged.before.text)
        wanted = merged(now, lines_of(staged.change.text))
        text, added, removed = diff_lines(text_of(now), text_of(wanted))
        return Diff(text, DiffSource.OFFLINE, added, removed)

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del comment
        limit_s = self.target.deadlines.commit_s
        await self._user_view()
        try:
            said = await self._do(f"save {ref.id}.cfg", YES, limit_s=limit_s)
        except CommandRefused as refused:
            return CommitResult(CommitState.REJECTED, ref, "no-backup", refused.answer)
        if "uccessfully" not in said:
            return CommitResult(CommitState.REJECTED, ref, "no-backup", "the state before could not be saved")
        commands = self._commands(staged.change)
        try:
            await self._configure(commands, self._answer)
        except CommandRefused as refused:
            await self._restore(lines_of(staged.before.text))
            state = CommitState.REJECTED if await self._is_before(ref) else CommitState.PARTIAL
            return CommitResult(state, ref, "command-refused", refused.answer)
        now = lines_of(await self._read(ConfigKind.RUNNING))
        if merged(now, commands) != now:
            return CommitResult(CommitState.UNVERIFIED, ref, "not-read-back", "not every line is in force")
        return CommitResult(CommitState.COMMITTED, ref)

    async def _restore(self, wanted: list[Line]) -> None:
        """Send what leads back, line by line; what is refused is seen when the state is read back."""
        for line in delta(lines_of(await self._read(ConfigKind.RUNNING)), wanted):
            try:
                await self._configure([line], YES)
            except CommandRefused:
                continue

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        if await self._is_before(ref):
            return RollbackResult(RollbackState.REVERTED, "nothing-to-do")
        await self._user_view()
        kept = await self._say(f"more {ref.id}.cfg")
        if kept.failed or not lines_of(kept.text):
            return RollbackResult(RollbackState.REFUSED, "nothing-kept", f"{ref.id}.cfg cannot be read")
        await self._restore(lines_of(kept.text))
        if await self._is_before(ref):
            return RollbackResult(RollbackState.REVERTED)
        if not self.capabilities.reboots:
            way = f"startup saved-configuration {ref.id}.cfg, then reboot fast, brings it back"
            return RollbackResult(RollbackState.REFUSED, "not-restored", f"undo lines fell short; {way}")
        return await self._reboot(ref)

    async def _reboot(self, ref: CommitRef) -> RollbackResult:
        await self._user_view()
        said = await self._do(f"startup saved-configuration {ref.id}.cfg", YES)
        if "ucceed" not in said and "uccess" not in said:
            return RollbackResult(RollbackState.REFUSED, "no-receipt", "the startup file was not taken")
        try:
            await self._do("reboot fast", *_REBOOT)
        except Dropped:
            self.abort()
            return RollbackResult(RollbackState.REBOOTING)
        return RollbackResult(RollbackState.UNVERIFIED, "no-reboot", "the device did not go down")


async def connect(opening: Opening) -> Session:
    """Return a session in the user view."""
    return Vrp5Session(opening, *await login(opening))


DRIVER = Driver("vrp5", "Huawei VRP5 over SSH, immediate mode", connect, secret_patterns=SECRETS)
