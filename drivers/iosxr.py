"""Cisco IOS-XR over SSH: two-stage commit, `configure exclusive`, `commit confirmed`, `commit replace`.

A trial commit belongs to the command-line session that made it: no other session can confirm it, a new one is told
that there is nothing to commit, and leaving configuration mode takes it back at once. So `confirm` and `rollback`
of a trial need the session that committed; before it confirms, this session logs in a second time to prove that
the device can still be reached. If the connection is lost, the device's timer takes the trial back. A close without
a confirm takes it back at once.

Commits carry our id as their label, so that the commit list tells what became of them. Text is typed as `show
running-config` prints it; `commit replace` is only used when the whole text was accepted. Banners cannot be typed.
Verified against the emulator, Cisco's documentation and published transcripts of 24.3.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, DriverError, LockHeld
from drivers.ios_like import LOG_LINE, SECRETS, Grammar, Pasting, logged_in
from drivers.ios_text import interfaces, lldp, uptime_s
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    DiffSource,
    Facts,
    Identity,
    Lock,
    Mode,
    Neighbor,
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
from drivers.transports.cli import Answer, Cli, Dialect, Question

DIALECT = Dialect(
    setup=("terminal length 0", "terminal width 0", "terminal exec prompt no-timestamp"),
    errors=(
        r"^% ?(?!WARNING|Confirming)[A-Z][^\n]*",
        r"^Cannot enter exclusive mode[^\n]*",
        r"^Uncommitted changes found[^\n]*",
    ),
    denied=(r"^.*not authorized.*", r"^.*[Aa]uthorization failed.*"),
    renames=r"(?:commit|rollback|end|abort)\b.*",
    quiet=(LOG_LINE, r"\A\s*(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ [\d:.]+ \S+\n?"),
)
_REPLACES: Question = (r"Do you wish to proceed\? ?\[no\]: ?$", "yes")
_OTHERS: Question = (r"proceed with this commit anyway\? ?\[no\]: ?$", "no")
_LEAVES: Question = (r"Do you wish to exit\? ?\[no\]: ?$", "yes")
_STAYS: Question = (r"\(yes/no/cancel\)\? ?\[cancel\]: ?$", "cancel")
_MODELS = re.compile(r"(?:ASR-?9|NCS|8\d\d\d|IOS-XRv|XRv|CRS|R-IOSXRV)", re.IGNORECASE)
_OLDEST = 5
_COMMIT = re.compile(r"^ *(\d+) +(\S+) +(\S+) +(\S+) +(\S+) +\w{3} ", re.MULTILINE)


class IosXrSession(Pasting):
    """One session with an IOS-XR device."""

    name = "iosxr"
    reading = (
        r"(?:show|ping|traceroute) [\w\-./:, ]+(?:\| (?:include|exclude|begin|count|utility wc) [\w\-./: ]+)?",
    )
    volatile = (
        r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) \w{3} +\d+ [\d:.]+ \S+$",
        r"Building configuration\.\.\.",
        r"!! (?:Building configuration|IOS XR Configuration|Last configuration change).*",
    )
    closers = ("end-set", "end-policy", "endif", "end-group", "end-template")
    grammar = Grammar(
        single="encapsulation dot1q {s}",
        double="encapsulation dot1q {s} second-dot1q {c}",
        address="ipv4 address {address} {mask}",
        profile="service-policy output {profile}",
    )

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening, connection, cli)
        self._editing = False  # in configuration mode, which holds the lock
        self._locked = False  # inside lock()
        self._dirty = False  # something was typed into the candidate
        self._top = ""  # the prompt of configuration mode
        self._trial = ""  # the commit of this session that waits for its confirm

    async def _probe(self) -> Identity | None:
        told = await self._cli.run("show version")
        version = re.search(r"^Cisco IOS XR Software, Version (\S+)", told, re.MULTILINE)
        if version is None:
            return None
        model = re.search(r"^cisco (.+?)(?: Series)? \(.*processor", told, re.MULTILINE)
        name = model[1] if model else ""
        return Identity("Cisco", name, "iosxr", version[1].partition("[")[0])

    def _capabilities(self, identity: Identity) -> Capabilities:
        major = re.match(r"(\d+)\.\d+\.\d+", identity.version)
        if not _MODELS.match(identity.model) or major is None or not _OLDEST <= int(major[1]) <= 26:
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            replace=True,
            services=True,
            merge_atomic=True,
            candidate=CandidateKind.NATIVE,
            confirm=ConfirmKind.SESSION_BOUND,
            confirm_min_s=30,
            confirm_max_s=65535,
            rollback=RollbackMethod.TRANSACTION,
            pending_visible=True,
            lock=LockKind.NATIVE,
            diff_native=True,
            neighbors=True,
            max_sessions=5,
            notes=("a trial is confirmed by the session that committed, after a second login",),
        )

    # Reading --------------------------------------------------------------------------------------------------

    async def _run(self, command: str) -> str:
        """Execute a reading command from either mode."""
        return await self._cli.run(f"do {command}" if self._editing else command)

    async def _facts(self) -> Facts:
        seen = interfaces(await self._run("show interfaces"))
        return Facts(self.identity, self._hostname, uptime_s(await self._run("show version")), seen)

    async def _read(self, kind: ConfigKind) -> str:
        if kind is not ConfigKind.RUNNING:
            raise self._cannot(f"read the {kind} configuration")
        return await self._shown(f"{'do ' if self._editing else ''}show running-config")

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        command = f"{'do ' if self._editing else ''}show lldp neighbors detail"
        return lldp((await self._cli.command(command)).text)  # refused where LLDP is off

    async def _trial_open(self) -> bool:
        """Return whether any session has a trial that waits; only the details of the sessions tell."""
        return "Client: commit-confirm" in await self._run("show configuration sessions detail")

    async def _commits(self) -> tuple[tuple[str, str], ...]:
        """Return (label or id, client) of the commits, the last one first."""
        told = await self._run("show configuration commit list")
        return tuple((row[2], row[5]) for row in _COMMIT.finditer(told))

    # Staging --------------------------------------------------------------------------------------------------

    async def _lock(self, ttl_s: int) -> Lock:
        del ttl_s
        await self._edit()
        self._locked = True
        return Lock("native")

    async def _edit(self) -> None:
        if self._editing:
            return
        try:
            await self._accepted("configure exclusive")
        except CommandRefused as refused:
            raise LockHeld(refused.answer, device=self.target.name) from refused
        self._top = self._here
        self._editing = True

    async def _unlock(self, lock: Lock) -> None:
        """Leave configuration mode, unless a trial waits: leaving would take it back."""
        del lock
        self._locked = False
        if not self._trial:
            await self._leave()

    async def _leave(self) -> None:
        """Leave configuration mode, dropping what was typed. `end` would ask whether to commit it."""
        if self._editing:
            await self._cli.command("abort")
            self._editing = self._dirty = False

    async def _typed(self, line: str, body: str) -> Answer:
        del body
        return await self._cli.command(line, answers=(_STAYS,), timeout_s=self.target.deadlines.commit_s)

    async def _stage(self, change: Change, before: Config) -> Staged:
        if self._trial:
            raise LockHeld("a trial of this session waits for its confirm", device=self.target.name)
        text = self.steady(change.text)
        if re.search(r"(?m)^banner\b", text):
            raise self._unable("type a banner into the candidate; set it by hand once")
        if self._dirty:
            await self._clean()
        await self._edit()
        self._here = self._top
        self._dirty = True
        try:
            await self._paste(text)
            if self._here != self._top:  # text without an indent ends inside a block
                await self._accepted("root")
        except CommandRefused:
            await self._clean()
            raise
        return Staged(change, before)

    async def _clean(self) -> None:
        """Empty the candidate, and keep the lock where it is held."""
        locked = self._locked
        await self._leave()
        if locked:
            await self._edit()

    async def _discard(self, staged: Staged) -> None:
        del staged
        if not self._trial:
            await self._clean()

    async def _diff(self, staged: Staged) -> Diff:
        """Return what would change: `show commit changes` knows merges only, `show configuration changes` replaces."""
        what = "configuration" if staged.change.mode is Mode.REPLACE else "commit"
        told = self.steady(await self._cli.run(f"show {what} changes diff"))
        lines = [line for line in told.splitlines() if line.strip() not in {"", "!", "end"}]
        added = sum(line[0] in "+#" for line in lines)
        removed = sum(line[0] == "-" for line in lines)
        shown = "\n".join(lines) if added + removed else ""
        return Diff(shown, DiffSource.NATIVE, added, removed)

    # Committing -----------------------------------------------------------------------------------------------

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        timed = ref.confirm_within_s is not None
        command = f"commit{' replace' if staged.change.mode is Mode.REPLACE else ''} label {ref.id}"
        said = re.sub(r"[^\w .,:/-]", "", comment)[:60].strip()
        if timed:  # releases before 7 take no comment here
            command += f" confirmed {ref.confirm_within_s}"
        elif said:
            command += f" comment {said}"
        answer = await self._asked(command, (_REPLACES, _OTHERS))
        if answer.failed or "proceed with this commit anyway" in answer.text:
            return await self._rejected(ref, answer)
        if "No configuration changes to commit" in answer.text:
            return CommitResult(CommitState.REJECTED, ref, "nothing-to-commit", "the device saw no change")
        self._trial = ref.id if timed else ""
        return await self._proved(self._received(ref), ref)

    async def _received(self, ref: CommitRef) -> CommitResult:
        """Return what the device shows of a commit: it says nothing when it takes one."""
        timed = ref.confirm_within_s is not None
        if timed and await self._trial_open():
            return CommitResult(CommitState.PENDING, ref)
        self._trial = ""
        top = (await self._commits())[:1]
        if not timed and top and top[0][0] == ref.id:
            return CommitResult(CommitState.COMMITTED, ref)
        slug = "no-trial" if timed else "no-receipt"
        return CommitResult(CommitState.UNVERIFIED, ref, slug, "the device does not show the commit")

    async def _asked(self, command: str, answers: Sequence[Question] = ()) -> Answer:
        return await self._cli.command(command, answers=answers, timeout_s=self.target.deadlines.commit_s)

    async def _rejected(self, ref: CommitRef, answer: Answer) -> CommitResult:
        """A commit is all or nothing; why it failed has to be asked for before the candidate is dropped."""
        said = answer.failed
        if "show configuration failed" in answer.text:
            said = f"{said}\n{(await self._cli.command('show configuration failed')).text}"
        await self._clean()
        slug = "command-refused" if answer.failed else "others-committed"
        return CommitResult(CommitState.REJECTED, ref, slug, self.redactor.redact(said)[:500])

    async def _pending(self) -> Pending:
        if not await self._trial_open():
            return Pending(visible=True)
        return Pending(visible=True, ids=tuple(label for label, _ in (await self._commits())[:1]))

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        if self._trial != ref.id:
            return await self._looked_at(ref)
        try:
            await self._reached()
        except DriverError as error:
            return ConfirmResult(ConfirmState.REFUSED, "no-new-session", str(error))
        answer = await self._asked("commit")
        if "Confirming commit for trial session" not in answer.text:
            return await self._kept(self._looked_at(ref))
        self._trial = ""
        return await self._kept(self._taken(ref))

    async def _taken(self, ref: CommitRef) -> ConfirmResult:
        await self._clean()
        if await self._is_before(ref):
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the configuration before is in force")
        return ConfirmResult(ConfirmState.CONFIRMED)

    async def _reached(self) -> None:
        """Log in once more: the change must not have cut the device off."""
        connection, cli = await logged_in(self._opening, DIALECT)
        cli.close()
        await connection.close()

    async def _looked_at(self, ref: CommitRef) -> ConfirmResult:
        """Return what the device shows of a commit that this session cannot confirm."""
        if await self._is_before(ref):
            self._trial = "" if self._trial == ref.id else self._trial
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the trial was taken back")
        if await self._trial_open():
            return ConfirmResult(
                ConfirmState.REFUSED, "session-bound", "only the session that committed can confirm its trial"
            )
        commits = await self._commits()
        ours = next((number for number, (label, _) in enumerate(commits) if label == ref.id), None)
        if ours is not None and all(client != "Rollback" for _, client in commits[:ours]):
            return ConfirmResult(ConfirmState.CONFIRMED, "already-confirmed")
        return ConfirmResult(
            ConfirmState.UNVERIFIED, "not-pending", "nothing waits, and others have committed"
        )

    async def _take_back(self) -> None:
        """Leave configuration mode with the trial open: the device goes back at once."""
        self._trial = ""
        await self._asked("end", (_LEAVES,))
        self._editing = self._dirty = False

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        if self._trial == ref.id:
            await self._take_back()
            back = await self._is_before(ref)
            return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)
        if await self._is_before(ref):
            return RollbackResult(RollbackState.REVERTED, "nothing-to-do")
        if await self._trial_open():
            return RollbackResult(
                RollbackState.REFUSED, "session-bound", "the device takes the trial back by its own timer"
            )
        if [label for label, _ in (await self._commits())[:1]] != [ref.id]:
            return RollbackResult(RollbackState.REFUSED, "moved-on", "others have committed since")
        await self._leave()
        answer = await self._asked("rollback configuration last 1")
        if answer.failed:
            raise self._refusal("rollback configuration last 1", answer.failed)
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)

    async def _close(self) -> None:
        """Nobody could confirm a trial after this session: it is taken back now rather than by the timer."""
        if self._trial:
            await self._take_back()
        await self._leave()
        await super()._close()


async def connect(opening: Opening) -> Session:
    """Return a session at the learned prompt."""
    return IosXrSession(opening, *await logged_in(opening, DIALECT))


DRIVER = Driver("iosxr", "Cisco IOS-XR over SSH", connect, secret_patterns=SECRETS)
