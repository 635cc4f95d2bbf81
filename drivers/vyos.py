"""VyOS 1.4 and 1.5 over SSH: configure, set and delete, compare, commit-confirm, confirm, save.

What an unconfirmed commit-confirm does is a setting of the device, read when a session opens. With `system
config-management commit-confirm action reload` the configuration before is loaded again. Without it VyOS reboots
into its saved configuration: that is declared (`reboots`), and no timer is started while earlier commits are not
saved, since the reboot would lose them. The timer starts before the commit, and runs on if the commit fails: it is
stopped where nothing has been applied, and left alone where something has. A commit is not atomic: parts that were
applied stay. Success is silent, so a commit is believed when `compare` finds no difference any more.

A rollback commits the inverse, computed from the candidate when it was staged, and stops the timer once the state
before is read back. REPLACE deletes what is too much, instead of loading a file. The command line is a shell: lines
are split into words and quoted anew. Verified only against the emulator and VyOS's source and documentation.
"""

from __future__ import annotations

import re
import shlex

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, Garbled, NotSupported, Phase
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    DiffSource,
    Facts,
    Identity,
    Mode,
    Neighbor,
    Secrets,
    ServiceIntent,
    Staged,
)
from drivers.outcomes import (
    CommitResult,
    CommitState,
    ConfirmResult,
    ConfirmState,
    RollbackResult,
    RollbackState,
)
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.cli import Cli, Dialect
from drivers.vyos_text import commands, delta, identity, interfaces, neighbors, paths, service

_EDIT = r"(?:\[edit[^\n]*\]\n)?"
DIALECT = Dialect(
    candidate=_EDIT + r"[\w.\-]+@[\w.\-]+(?::[\w~/.\-]{0,64})?[$#] ?",
    name=r"([\w.\-]+@[\w.\-]+)",
    prompt=_EDIT + r"{name}(?::[\w~/.\-]{{0,64}})?[$#] ?",
    setup=("set terminal length 0", "set terminal width 512"),
    more=r"(?:^|\n):$|\(END\) *$",
    errors=(
        r"^ *Configuration path: .*(?:not valid|ambiguous|already exists).*",
        r"^ *(?:Invalid|Ambiguous|Incomplete) command.*",
        r"^\[\[.*\]\] failed.*",
        r"^ *Commit failed.*",
        r"^ *(?:Another confirm is pending|commit-revisions is not configured).*",
        r"^ *Configuration system temporarily locked.*",
        r"^ *No configuration changes to commit.*",
        r"^-?v?bash: .*",
        r"^ *(?:Set|Delete) failed.*",
    ),
    renames=r"commit.*",
)
_KNOWN = re.compile(r"1\.[45](?:[.\-].*)?$")
_MINUTE = 60
_SAME = re.compile(r"No changes between working and (?:active|saved) configurations")
_RELOAD = ("system", "config-management", "commit-confirm", "action", "reload")
_ARMED = re.compile(r"Initialized commit-confirm[^\n]* before (\w+)")
_PROCEED = (r"Proceed ?\?[^\n]*$", "y")


class VyosSession(Session):
    """One session in vbash."""

    name = "vyos"
    reading = (r"show [\w\-./: ]+(?:\| (?:match|no-match) [\w\-.]+)?",)

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening)
        self._connection = connection
        self._cli = cli
        self._editing = False
        self._reloads = False
        self._unsaved = False

    # Reading ----------------------------------------------------------------------------------------------

    async def _probe(self) -> Identity | None:
        found = identity((await self._cli.command("show version")).text)
        if found:
            told = await self._cli.command("show configuration commands | match commit-confirm")
            self._reloads = _RELOAD in paths(told.text)
        return found

    def _capabilities(self, identity: Identity) -> Capabilities:
        if identity.os != "vyos" or not _KNOWN.match(identity.version):
            return Capabilities(reason=f"unknown firmware: VyOS {identity.version or 'none'}", neighbors=True)
        reboots = () if self._reloads else ("an unconfirmed commit reboots into the saved configuration",)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            replace=True,
            services=True,
            candidate=CandidateKind.SESSION,
            confirm=ConfirmKind.NATIVE_SESSION,
            confirm_min_s=_MINUTE,
            confirm_max_s=1440 * _MINUTE,
            confirm_step_s=_MINUTE,
            rollback=RollbackMethod.INVERSE_COMMANDS,
            reboots=not self._reloads,
            lock=LockKind.NONE,
            diff_native=True,
            neighbors=True,
            startup=True,
            max_sessions=4,
            notes=("a commit is not atomic", *reboots),
        )

    async def _facts(self) -> Facts:
        name = re.search(r"@([\w.\-]+)", self._cli.prompt)
        told = await self._cli.run(f"{self._run_prefix}show interfaces")
        return Facts(self.identity, name[1] if name else "", None, interfaces(told))

    @property
    def _run_prefix(self) -> str:
        return "run " if self._editing else ""

    async def _read(self, kind: ConfigKind) -> str:
        limit_s = self.target.deadlines.commit_s
        if kind is ConfigKind.RUNNING:
            said = await self._cli.run(f"{self._run_prefix}show configuration commands", timeout_s=limit_s)
        elif kind is ConfigKind.CANDIDATE and self._editing:
            said = await self._cli.run("show | commands", timeout_s=limit_s)
        else:
            raise self._cannot(f"read the {kind} configuration")
        return "\n".join(line for line in said.splitlines() if line.startswith("set ")) + "\n"

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        return neighbors(await self._cli.run(f"{self._run_prefix}show lldp neighbors detail"))

    async def _run(self, command: str) -> str:
        return await self._cli.run(f"{self._run_prefix}{command}")

    async def _is_before(self, ref: CommitRef) -> bool:
        return (await self.get_config(secrets=Secrets.KEEP)).digest == ref.before

    # Editing ----------------------------------------------------------------------------------------------

    async def _edit(self) -> None:
        if self._editing:
            return
        answer = await self._cli.command("configure")
        if not answer.prompt.rstrip().endswith("#"):
            raise Garbled("no configuration mode", phase=Phase.STAGE, device=self.target.name, expected="#")
        self._editing = True

    async def _stage(self, change: Change, before: Config) -> Staged:
        try:
            lines = commands(change.text)
        except ValueError as error:
            raise NotSupported(
                f"{str(error).split(' ')[0]!r} is no configuration; expected set and delete lines",
                phase=Phase.STAGE,
                device=self.target.name,
            ) from error
        if change.mode is Mode.REPLACE:
            lines = delta(
                paths(before.text), {tuple(shlex.split(line)[1:]) for line in lines if line[0] == "s"}
            )
        await self._edit()
        await self._cli.command("discard")
        self._unsaved = not _SAME.search(await self._cli.run("compare saved"))
        try:
            for line in lines:
                await self._line(line)
        except CommandRefused:
            await self._cli.command("discard")
            raise
        undo = delta(paths(await self._read(ConfigKind.CANDIDATE)), paths(before.text))
        return Staged(change, before, undo=tuple(undo))

    async def _line(self, line: str) -> None:
        """Send a set or delete line. What is not there need not be deleted."""
        answer = await self._cli.command(line)
        if answer.failed and "Nothing to delete" not in answer.text:
            said = self.redactor.redact(answer.failed)
            raise CommandRefused(
                f"{self.redactor.redact(line)!r} was refused: {said}",
                phase=Phase.STAGE,
                device=self.target.name,
                command=self.redactor.redact(line),
                answer=said,
            )

    async def _compared(self) -> str:
        """Return how candidate and running configuration differ; empty if they do not."""
        said = await self._cli.run("compare")
        return "" if _SAME.search(said) else said.strip()

    async def _diff(self, staged: Staged) -> Diff:
        del staged
        lines = (await self._compared()).splitlines()
        added = sum(line.startswith("+") for line in lines)
        return Diff("\n".join(lines), DiffSource.NATIVE, added, sum(line.startswith("-") for line in lines))

    async def _discard(self, staged: Staged) -> None:
        del staged
        await self._cli.command("discard")

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del staged
        timed = ref.confirm_within_s is not None
        if timed and self._unsaved and not self._reloads:
            why = "earlier commits are not saved, and the reboot of an unconfirmed commit would lose them: save first"
            return CommitResult(CommitState.REJECTED, ref, "unsaved-commits", why)
        said = re.sub(r"[^\w .,:/\-]", " ", comment, flags=re.ASCII).strip()[:200]
        command = f"commit-confirm {(ref.confirm_within_s or 0) // _MINUTE}" if timed else "commit"
        command += f" comment {shlex.quote(said)}" if said else ""
        answer = await self._cli.command(
            command, answers=(_PROCEED,), timeout_s=self.target.deadlines.commit_s
        )
        armed = _ARMED.search(answer.text)
        if answer.failed:
            return await self._failed(ref, self.redactor.redact(answer.text)[-300:], armed=armed is not None)
        if await self._compared():
            return CommitResult(
                CommitState.UNVERIFIED, ref, "no-receipt", "the candidate is still uncommitted"
            )
        if not timed:
            return CommitResult(CommitState.COMMITTED, ref)
        if armed is None:
            return CommitResult(
                CommitState.UNVERIFIED, ref, "no-timer", "the device did not say that a timer runs"
            )
        return CommitResult(CommitState.PENDING, ref, "", f"a {armed[1]} takes it back")

    async def _failed(self, ref: CommitRef, said: str, *, armed: bool) -> CommitResult:
        """Return what a failed commit has left behind; a timer that guards nothing is stopped."""
        await self._cli.command("discard")
        if not await self._is_before(ref):
            timer = "; the timer takes it back" if armed else "; no timer runs"
            return CommitResult(CommitState.PARTIAL, ref, "command-refused", said + timer)
        if armed:
            await self._cli.command("confirm")
        return CommitResult(CommitState.REJECTED, ref, "command-refused", said)

    # After the commit -------------------------------------------------------------------------------------

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        lapsed = ConfirmResult(ConfirmState.LAPSED, "lapsed", "the configuration before is in force")
        if await self._is_before(ref):
            return lapsed
        await self._edit()
        said = await self._cli.run("confirm")
        if await self._is_before(ref):
            return lapsed
        if "No confirm pending" in said:
            return ConfirmResult(ConfirmState.REFUSED, "nothing-pending", "no timer runs")
        if "timer stopped" not in said:
            return ConfirmResult(
                ConfirmState.UNVERIFIED, "no-receipt", "the device did not say that the timer stopped"
            )
        return ConfirmResult(ConfirmState.CONFIRMED)

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        """Commit the inverse, and stop the timer only when the state before is read back."""
        if await self._is_before(ref):
            return RollbackResult(RollbackState.REVERTED, "nothing-to-do")
        if not ref.undo:
            return RollbackResult(RollbackState.REFUSED, "nothing-kept", "the inverse is not known")
        await self._edit()
        await self._cli.command("discard")
        try:
            for line in ref.undo:
                await self._line(line)
        except CommandRefused:
            await self._cli.command("discard")
            raise
        await self._cli.run("commit", timeout_s=self.target.deadlines.commit_s)
        if not await self._is_before(ref):
            return RollbackResult(
                RollbackState.UNVERIFIED, "not-read-back", "the state before is not in force"
            )
        await self._cli.command("confirm")
        return RollbackResult(RollbackState.REVERTED)

    async def _save(self) -> None:
        await self._edit()
        await self._cli.run("save", timeout_s=self.target.deadlines.commit_s)
        if not _SAME.search(await self._cli.run("compare saved")):
            raise Garbled(
                "the saved configuration is another one",
                phase=Phase.SAVE,
                device=self.target.name,
                expected="No changes between working and saved configurations",
            )

    async def _service(self, intent: ServiceIntent) -> Change:
        now = await self.get_config(secrets=Secrets.KEEP)
        try:
            text = service(intent, paths(now.text))
        except ValueError as error:
            raise NotSupported(str(error), phase=Phase.STAGE, device=self.target.name) from error
        return Change(Mode.MERGE, text, base=now.digest)

    async def _close(self) -> None:
        try:
            if self._editing:
                await self._cli.run("exit discard")
        finally:
            self._cli.close()
            await self._connection.close()

    def _abort(self) -> None:
        self._connection.abort()


async def connect(opening: Opening) -> Session:
    """Return a session in operational mode."""
    connection = await ssh.connect(opening)
    try:
        cli = Cli(await connection.shell(), DIALECT, opening)
        await cli.login()
    except BaseException:
        connection.abort()
        raise
    return VyosSession(opening, connection, cli)


DRIVER = Driver(
    "vyos",
    "VyOS over SSH",
    connect,
    secret_patterns=(
        r"(\bsnmp community )\S+",
        r"(\b(?:private|preshared|shared|auth|encryption)-key )(?:'[^']*'|\S+)",
    ),
)
