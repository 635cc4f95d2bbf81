"""How RouterOS is read and pushed: REST, the console over SSH, action lists and texts with their timers."""

from __future__ import annotations

import re

from drivers import routeros_timer as timer
from drivers.errors import (
    CommandRefused,
    Dropped,
    Garbled,
    NotSupported,
    Phase,
    TimedOut,
    Unreachable,
)
from drivers.model import (
    Action,
    Change,
    CommitRef,
    Config,
    Diff,
    DiffSource,
    Finding,
    Mode,
    Secrets,
    Severity,
    Staged,
)
from drivers.offline import diff_lines
from drivers.outcomes import (
    CommitResult,
    CommitState,
    ConfirmResult,
    ConfirmState,
    Pending,
    RollbackResult,
    RollbackState,
)
from drivers.routeros_link import RouterOsLink
from drivers.routeros_service import request_of
from drivers.routeros_text import BadChange, merged, sendable

_IMPORTED = re.compile(r"^\s*[Ss]cript file loaded and executed successfully", re.MULTILINE)
_LARGEST_FILE = 60_000  # what /file takes as contents


class RouterOsPush(RouterOsLink):
    """The pushing half of a RouterOS session."""

    # Staging ----------------------------------------------------------------------------------------------

    async def _stage(self, change: Change, before: Config) -> Staged:
        try:
            if change.mode is Mode.ACTIONS:
                for action in change.actions:
                    request_of(action.command)
            else:
                merged(before.text, change.text)
        except BadChange as bad:
            raise CommandRefused(
                f"the change cannot be staged: {bad}",
                phase=Phase.STAGE,
                device=self.target.name,
                answer=str(bad),
            ) from bad
        if change.mode is not Mode.ACTIONS:
            if len(sendable(change.text).encode()) > _LARGEST_FILE:
                raise NotSupported(
                    f"a text of more than {_LARGEST_FILE} octets; expected several smaller changes",
                    phase=Phase.STAGE,
                    device=self.target.name,
                )
            return Staged(change, before, "text")
        todo = [n for n, action in enumerate(change.actions) if not await self._worked(action)]
        undo = tuple(line for n in reversed(todo) for line in change.actions[n].undo)
        return Staged(change, before, "actions " + ",".join(map(str, todo)), undo)

    async def _worked(self, action: Action) -> bool:
        """Return whether an action shows; one without a check never does."""
        if not action.check:
            return False
        return action.expect in await self._run(action.check)

    @staticmethod
    def _todo(staged: Staged) -> list[Action]:
        numbers = staged.handle.removeprefix("actions ").split(",")
        return [staged.change.actions[int(n)] for n in numbers if n]

    async def _diff(self, staged: Staged) -> Diff:
        if staged.handle == "text":
            before, after = merged(staged.before.text, staged.change.text)
            text, added, less = diff_lines("\n".join(before), "\n".join(after))
            return Diff(text, DiffSource.OFFLINE, added, less)
        lines = [
            f"{'-' if action.command.startswith('DELETE') else '+'} {action.command}"
            for action in self._todo(staged)
        ]
        gone = sum(line.startswith("-") for line in lines)
        return Diff("\n".join(lines), DiffSource.OFFLINE, len(lines) - gone, gone)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        """Have a text read by the router without doing it, where the firmware can."""
        if staged.handle != "text" or not self.capabilities.validate_native:
            return ()
        name = f"dmtry{staged.before.digest[:8]}.rsc"
        try:
            await self._put_file(name, sendable(staged.change.text), Phase.VALIDATE)
            await self._console(f"/import file-name={name} verbose=yes dry-run", Phase.VALIDATE)
        except CommandRefused as refused:
            return (Finding(Severity.ERROR, refused.answer),)
        finally:
            await self._forget("/file", name)
        return ()

    async def _put_file(self, name: str, text: str, phase: Phase) -> None:
        await self._forget("/file", name)
        await self._rest("PUT", "/file", {"name": name, "contents": text}, phase=phase)

    async def _forget(self, menu: str, name: str) -> None:
        """Remove an item by its name, if it is there and the router can be reached."""
        if self.broken:
            return
        row = await self._named(menu, name, Phase.COMMIT)
        if row:
            await self._rest("DELETE", f"{menu}/{row['.id']}", phase=Phase.COMMIT)

    # Committing -------------------------------------------------------------------------------------------

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        """Lay down the way back and start the timer; then one step after the other, each read back."""
        del comment
        text = staged.handle == "text"
        try:
            source = timer.reload(await self._backup(ref)) if text else timer.inverse(ref.id, ref.undo)
            await self._arm(ref, source)
        except CommandRefused as refused:  # nothing of the change was sent
            await self._disarm(ref)
            return CommitResult(CommitState.REJECTED, ref, "no-timer", refused.answer or refused.message)
        failed = await (self._import(staged, ref) if text else self._act(staged))
        if failed:
            return await self._stopped(ref, failed)
        if text and not (await self._left(staged)).empty:
            return CommitResult(CommitState.UNVERIFIED, ref, "not-read-back", "the export does not show it")
        pending = ref.confirm_within_s is None or ref.id in (await self._pending()).ids
        if not pending:
            return CommitResult(CommitState.UNVERIFIED, ref, "no-timer", "the timer does not run")
        timed = ref.confirm_within_s is not None
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)

    async def _backup(self, ref: CommitRef) -> str:
        """Save a backup where it outlives a reboot; return its name."""
        flash = await self._named("/file", "flash", Phase.COMMIT)
        name = f"flash/{ref.id}" if flash and flash.get("type") == "directory" else ref.id
        body = {"name": name, "dont-encrypt": "yes"}
        await self._rest("POST", "/system/backup/save", body, phase=Phase.COMMIT)
        saved = await self._named("/file", f"{name}.backup", Phase.COMMIT)
        if saved is None or saved.get("size") in {None, "", "0"}:
            raise CommandRefused("no backup was written", phase=Phase.COMMIT, device=self.target.name)
        return name

    async def _arm(self, ref: CommitRef, source: str) -> None:
        for row in await self._rows(timer.SCRIPT, phase=Phase.COMMIT):
            name = row.get("name", "")
            if timer.ID.fullmatch(name) and row.get("comment") == timer.KEPT:  # of an earlier commit
                await self._rest("DELETE", f"{timer.SCRIPT}/{row['.id']}", phase=Phase.COMMIT)
        timed = ref.confirm_within_s is not None
        body = timer.script(ref.id, source, timer.ARMED if timed else timer.KEPT)
        await self._rest("PUT", timer.SCRIPT, body, phase=Phase.COMMIT)
        script = await self._named(timer.SCRIPT, ref.id, Phase.COMMIT)
        if ref.confirm_within_s is not None:
            job = timer.scheduler(ref.id, ref.confirm_within_s)
            await self._rest("PUT", timer.SCHEDULER, job, phase=Phase.COMMIT)
        runs = not timed or ref.id in (await self._pending()).ids
        if not runs or script is None or script.get("source", "").split() != source.split():
            raise CommandRefused("the timer is not there", phase=Phase.COMMIT, device=self.target.name)

    async def _disarm(self, ref: CommitRef) -> None:
        for menu in (timer.SCHEDULER, timer.SCRIPT):
            await self._forget(menu, ref.id)
        for name in (f"{ref.id}.backup", f"flash/{ref.id}.backup"):
            await self._forget("/file", name)

    async def _act(self, staged: Staged) -> str:
        """Send the actions; return why they stopped, empty if all of them show."""
        for action in self._todo(staged):
            method, path, body = request_of(action.command)
            try:
                await self._rest(method, path, body, phase=Phase.COMMIT)
            except CommandRefused as refused:
                if not await self._worked(action):  # what was to be removed may have gone by itself
                    return refused.answer or refused.message
            if action.check and not await self._worked(action):
                raise Garbled(
                    f"{method} {path} was answered with success and does not show",
                    phase=Phase.COMMIT,
                    device=self.target.name,
                    expected=action.expect,
                )
        return ""

    async def _import(self, staged: Staged, ref: CommitRef) -> str:
        name = f"{ref.id}.rsc"
        try:
            await self._put_file(name, sendable(staged.change.text), Phase.COMMIT)
            said = await self._console(f"/import file-name={name}", Phase.COMMIT)
        except CommandRefused as refused:
            await self._forget("/file", name)
            return refused.answer or refused.message
        await self._forget("/file", name)
        if not _IMPORTED.search(said):
            raise Garbled(
                "the import gave no receipt",
                phase=Phase.COMMIT,
                device=self.target.name,
                expected="Script file loaded and executed successfully",
            )
        return ""

    async def _left(self, staged: Staged) -> Diff:
        now = await self.get_config(secrets=Secrets.KEEP)
        return await self._diff(Staged(staged.change, now, "text"))

    async def _stopped(self, ref: CommitRef, said: str) -> CommitResult:
        """A refused step: REJECTED if nothing was done, by what is read; else PARTIAL, and the timer runs."""
        said = self.redactor.redact(said)
        if await self._is_before(ref):
            await self._disarm(ref)
            return CommitResult(CommitState.REJECTED, ref, "command-refused", said)
        return CommitResult(CommitState.PARTIAL, ref, "command-refused", said)

    async def _is_before(self, ref: CommitRef) -> bool:
        return (await self.get_config(secrets=Secrets.KEEP)).digest == ref.before

    # After the commit -------------------------------------------------------------------------------------

    async def _pending(self) -> Pending:
        rows = await self._rows(timer.SCHEDULER, phase=Phase.PENDING)
        ids = [
            row["name"]
            for row in rows
            if timer.ID.fullmatch(row.get("name", "")) and row.get("disabled") != "true"
        ]
        return Pending(visible=True, ids=tuple(ids))

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        """Stop the scheduler first, then see whether it has run already: whoever came first has won."""
        lapsed = ConfirmResult(ConfirmState.LAPSED, "lapsed", "the timer has taken it back")
        job = await self._named(timer.SCHEDULER, ref.id, Phase.CONFIRM)
        script = await self._named(timer.SCRIPT, ref.id, Phase.CONFIRM)
        if job is None:
            kept = script is not None and script.get("comment") == timer.KEPT
            return ConfirmResult(ConfirmState.CONFIRMED) if kept else lapsed
        where = f"{timer.SCHEDULER}/{job['.id']}"
        try:
            await self._rest("PATCH", where, {"disabled": "yes"}, phase=Phase.CONFIRM)
        except CommandRefused:
            return lapsed
        job = await self._named(timer.SCHEDULER, ref.id, Phase.CONFIRM)
        script = await self._named(timer.SCRIPT, ref.id, Phase.CONFIRM)
        if job is None or script is None or script.get("comment") == timer.REVERTING:
            return lapsed
        if job.get("run-count", "0") != "0" or job.get("disabled") != "true":
            return ConfirmResult(ConfirmState.UNVERIFIED, "has-run", "the timer ran, and its script is there")
        await self._rest(
            "PATCH", f"{timer.SCRIPT}/{script['.id']}", {"comment": timer.KEPT}, phase=Phase.CONFIRM
        )
        await self._rest("DELETE", where, phase=Phase.CONFIRM)
        for name in (f"{ref.id}.backup", f"flash/{ref.id}.backup"):
            await self._forget("/file", name)
        left = await self._named(timer.SCHEDULER, ref.id, Phase.CONFIRM)
        return ConfirmResult(ConfirmState.UNVERIFIED if left else ConfirmState.CONFIRMED)

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        """Run the script now. For a text that loads the backup: the router reboots, and nobody answers."""
        script = await self._named(timer.SCRIPT, ref.id, Phase.ROLLBACK)
        text = ref.handle == "text"
        if script is None and (not ref.undo or text):
            back = await self._is_before(ref)
            state = RollbackState.REVERTED if back else RollbackState.REFUSED
            return RollbackResult(state, "nothing-to-do" if back else "nothing-kept")
        if text and not await self._has_backup(ref):
            return RollbackResult(
                RollbackState.REFUSED, "nothing-kept", "the backup was removed by the confirm"
            )
        if script is None:
            body = timer.script(ref.id, timer.inverse(ref.id, ref.undo), timer.KEPT)
            await self._rest("PUT", timer.SCRIPT, body, phase=Phase.ROLLBACK)
            script = await self._named(timer.SCRIPT, ref.id, Phase.ROLLBACK)
        if script is None:
            return RollbackResult(RollbackState.UNVERIFIED, "no-script")
        try:
            await self._rest("POST", f"{timer.SCRIPT}/run", {".id": script[".id"]}, phase=Phase.ROLLBACK)
        except (Dropped, TimedOut, Unreachable):
            if not text:
                raise
        if text:
            self.abort()
            return RollbackResult(RollbackState.REBOOTING, "rebooting", "the router loads its backup")
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)

    async def _has_backup(self, ref: CommitRef) -> bool:
        names = (f"{ref.id}.backup", f"flash/{ref.id}.backup")
        return any([await self._named("/file", name, Phase.ROLLBACK) for name in names])
