"""Huawei VRP8 (NE40E, NE8000, ME60, CloudEngine) over SSH: two-stage mode, trial runs, rollback points.

Without `persist` a trial run belongs to its session: after a cut nobody can confirm or abort it, and the device is
in trial mode until its time is over. So a timer is only used where `persist` is documented (VRP 8.200 and later);
older firmware is committed without a timer and taken back by its rollback points. `commit persist` is confirmed
by the trial status and by reading back, since a commit says nothing. Whether a refused commit is atomic is not
documented: it is read back, too. Leaving the system view with uncommitted lines asks whether to commit them; the
answer is always no. Verified only against the emulator and the vendor's command references.
"""

from __future__ import annotations

import re

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import BaseChanged, CommandRefused, LockHeld, Phase
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    DiffSource,
    Identity,
    Lock,
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
from drivers.transports.cli import Cli
from drivers.vrp import SECRETS, YES, VrpSession, login

_MODELS = re.compile(r"(?:NE(?:40E|20E|5000E|8000|9000)|NetEngine|ME60|ATN\d|CE\d{4,5})", re.IGNORECASE)
_SWITCHES = re.compile(r"CE\d{4,5}", re.IGNORECASE)
_PERSIST = 200  # minor version of 8 from which `commit trial ... persist` is documented
_POINT = re.compile(r"^ *\d+ +(\d{10}) +\S+ +(\S+)", re.MULTILINE)
_LOCKED = re.compile(r"lock|occup|another|other user", re.IGNORECASE)
_CHANGED = re.compile(r"^[+-]")
_TRIAL = re.compile(r"Trial status *: *(\w+)")
_ID = re.compile(r"Persist id *: *(\S+)")


class Vrp8Session(VrpSession):
    """One session with a VRP8 device."""

    name = "vrp8"

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening, connection, cli)
        self._locked = False

    def _platforms(self) -> tuple[str, ...]:
        return "vrp8", "yunshan"

    def _capabilities(self, identity: Identity) -> Capabilities:
        version = re.match(r"8\.(\d+)", identity.version)
        if identity.os != "vrp8" or version is None or not _MODELS.match(identity.model):
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        timed = int(version[1]) >= _PERSIST
        notes = () if timed else ("no timer before VRP 8.200: a trial run could not be confirmed anew",)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            services=_SWITCHES.match(identity.model) is not None,
            candidate=CandidateKind.NATIVE,
            confirm=ConfirmKind.NATIVE_PERSIST if timed else ConfirmKind.NONE,
            confirm_min_s=60 if timed else 0,
            confirm_max_s=65535 if timed else 0,
            rollback=RollbackMethod.TRANSACTION,
            pending_visible=True,
            lock=LockKind.NATIVE,
            diff_native=True,
            neighbors=True,
            startup=True,
            max_sessions=4,
            notes=(*notes, "a rollback is refused once another user has committed"),
        )

    async def _read(self, kind: ConfigKind) -> str:
        if kind is not ConfigKind.CANDIDATE:
            return await super()._read(kind)
        await self._system_view()
        return await self._do("display configuration candidate merge")

    # Editing ----------------------------------------------------------------------------------------------

    async def _lock(self, ttl_s: int) -> Lock:
        del ttl_s
        if not self._locked:
            await self._user_view()
            answer = await self._say("configuration exclusive")
            if answer.failed and not _LOCKED.search(answer.failed):
                raise self._refusal("configuration exclusive", answer.failed)
            if answer.failed:
                raise LockHeld(self.redactor.redact(answer.failed), device=self.target.name)
            self._locked = True
        return Lock("native")

    async def _unlock(self, lock: Lock) -> None:
        del lock
        await self._user_view()
        await self._do("undo configuration exclusive")
        self._locked = False

    async def _user_view(self) -> None:
        if self._at.startswith("[*"):
            await self._clear()
        await super()._user_view()

    async def _clear(self) -> None:
        await self._system_view()
        await self._do("clear configuration candidate")

    async def _stage(self, change: Change, before: Config) -> Staged:
        commands = self._commands(change)
        points = await self._points()
        if self._at.startswith("[*"):
            await self._clear()
        try:
            await self._configure(commands, YES)  # nothing is in force yet: a question is no danger
        except CommandRefused:
            await self._clear()
            raise
        await self._system_view()
        return Staged(change, before, handle=points[0][0] if points else "")

    async def _points(self) -> list[tuple[str, str]]:
        """Return (commit id, user) of the rollback points, the newest first."""
        answer = await self._say("display configuration commit list")
        return [] if answer.failed else [(found[0], found[1]) for found in _POINT.findall(answer.text)]

    async def _diff(self, staged: Staged) -> Diff:
        del staged
        text = await self._do("display configuration candidate changes")
        if re.search(r"(?i)running configuration (?:has been|is) changed", text):
            raise BaseChanged(
                "somebody has committed meanwhile; plan again", phase=Phase.DIFF, device=self.target.name
            )
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("Building")]
        changed = [line for line in lines if _CHANGED.match(line)]
        added = sum(line.startswith("+") for line in changed)
        return Diff("\n".join(lines) if changed else "", DiffSource.NATIVE, added, len(changed) - added)

    async def _discard(self, staged: Staged) -> None:
        del staged
        await self._clear()

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del staged
        timed = ref.confirm_within_s is not None
        said = re.sub(r"[^\w .,:/\-]", " ", comment, flags=re.ASCII).strip()[:60]
        plain = f"commit label {ref.id}" + (f" description {said}" if said else "")
        await self._system_view()
        try:
            trial = f"commit trial {ref.confirm_within_s} persist {ref.id}"
            await self._do(trial if timed else plain, YES, limit_s=self.target.deadlines.commit_s)
        except CommandRefused as refused:
            return await self._failed(ref, refused.answer)
        self._renamed()
        if timed and ref.id in (await self._pending()).ids:
            return CommitResult(CommitState.PENDING, ref)
        if not timed and await self._listed(ref.id):
            return CommitResult(CommitState.COMMITTED, ref)
        return CommitResult(CommitState.UNVERIFIED, ref, "no-receipt", "the device does not list this commit")

    async def _failed(self, ref: CommitRef, said: str) -> CommitResult:
        """Return what a refused commit has left behind, as read back."""
        await self._clear()
        state = CommitState.REJECTED if await self._is_before(ref) else CommitState.PARTIAL
        return CommitResult(state, ref, "command-refused", said)

    async def _listed(self, label: str) -> bool:
        return label in await self._do("display configuration commit list")

    # After the commit -------------------------------------------------------------------------------------

    async def _trial(self) -> tuple[bool, str]:
        """Return whether a trial run is under way, and its persist id."""
        answer = await self._say("display configuration trial status")
        state, found = _TRIAL.search(answer.text), _ID.search(answer.text)
        return state is not None and state[1] != "INACTIVE", found[1] if found else ""

    async def _pending(self) -> Pending:
        active, found = await self._trial()
        return Pending(visible=True, ids=(found,) if active and found else ())

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        active, found = await self._trial()
        if not active or found != ref.id:
            if await self._is_before(ref):
                return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the device has taken it back")
            what = f"the trial run is {found or 'of another session'}" if active else "no trial run"
            return ConfirmResult(ConfirmState.REFUSED, "nothing-pending", what)
        await self._system_view()
        await self._do(f"commit persist {ref.id}", YES)
        self._renamed()
        active, _ = await self._trial()
        if active:
            return ConfirmResult(ConfirmState.UNVERIFIED, "no-receipt", "the trial run is still under way")
        if await self._is_before(ref):
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the device has taken it back")
        return ConfirmResult(ConfirmState.CONFIRMED)

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        active, found = await self._trial()
        if active and found == ref.id:
            await self._system_view()
            await self._do(f"abort trial persist {ref.id}", YES)
        elif await self._is_before(ref):
            return RollbackResult(RollbackState.REVERTED, "nothing-to-do")
        elif active:
            return RollbackResult(RollbackState.REFUSED, "trial-of-another", "another trial run is under way")
        else:
            points = await self._points()
            newer = [user for point, user in points if point > ref.handle]
            if not ref.handle or all(point != ref.handle for point, _ in points):
                return RollbackResult(RollbackState.REFUSED, "nothing-kept", "the rollback point is gone")
            if any(user != self.target.credentials.user for user in newer):
                return RollbackResult(RollbackState.REFUSED, "moved-on", "others have committed since")
            await self._user_view()
            limit_s = self.target.deadlines.commit_s
            await self._do(f"rollback configuration to commit-id {ref.handle}", YES, limit_s=limit_s)
        self._renamed()
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)


async def connect(opening: Opening) -> Session:
    """Return a session in the user view."""
    return Vrp8Session(opening, *await login(opening))


DRIVER = Driver("vrp8", "Huawei VRP8 over SSH, two-stage mode", connect, secret_patterns=SECRETS)
