"""FRRouting on Linux over OpenSSH: vtysh reads, frr-reload.py computes and applies the delta.

The commit timer is ours: a detached job on the device restores the configuration before (see `deadman`). A
reload is not atomic. Options of a target: `vty_socket`, `config_dir`, `state_dir` (on a tmpfs), `reload` (path of
frr-reload.py), `bindir`, `sudo` (yes: commands run with `sudo -n`), `local` (yes: this machine, without SSH).
"""

from __future__ import annotations

import json
import re
import shlex

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.deadman import DeadMan
from drivers.errors import CommandRefused, NotAuthorized, Phase
from drivers.frr_text import delta, merged
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
    Interface,
    Mode,
    Secrets,
    Severity,
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
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.stream import Completed, Runner
from drivers.transports.subprocess import LocalRunner

_VERSION = re.compile(r"FRRouting (\d+)\.(\d+)[\w.\-]*(?: \(([^)]*)\))?")
_OLDEST, _NEWEST = 7, 10  # major versions whose frr-reload.py is known to us
_REFUSED = re.compile(r"^%.*|^line \d+:.*", re.MULTILINE)


class FrrSession(Session):
    """One FRR router. Each command is a process on the device."""

    name = "frr"
    reading = (r"show [\w\-./: ]+",)
    volatile = (
        r"Building configuration\.\.\.",
        r"Current configuration:",
        r"!\s*$",
        r"end\s*$",
        r"exit\s*$",
        r"frr version .*",
        r"(?:no )?service integrated-vtysh-config",  # vtysh's own, not the router's
    )

    def __init__(self, opening: Opening, runner: Runner) -> None:
        super().__init__(opening)
        self._runner = runner
        options = opening.target.options
        self._prefix = ("sudo", "-n") if options.get("sudo") == "yes" else ()
        self._socket = options.get("vty_socket", "/var/run/frr")
        self._etc = options.get("config_dir", "/etc/frr")
        state = options.get("state_dir", "/run/dotmac-edge")
        reload = options.get("reload", "/usr/lib/frr/frr-reload.py")
        self._reload = (
            *(reload, "--bindir", options.get("bindir", "/usr/bin"), "--vty_socket", self._socket),
            *("--stdout", "--log-level", "error"),
        )
        self._deadman = DeadMan(runner, state, prefix=self._prefix, device=opening.target.name)

    def _vtysh(self, *arguments: str) -> tuple[str, ...]:
        return (*self._prefix, "vtysh", "--vty_socket", self._socket, "--config_dir", self._etc, *arguments)

    async def _vty(self, command: str, phase: Phase = Phase.READ) -> str:
        done = await self._runner.run(self._vtysh("-c", command))
        if "ermission denied" in done.stderr or "password is required" in done.stderr:
            raise NotAuthorized(done.stderr.strip()[:200], phase=phase, device=self.target.name)
        refused = _REFUSED.search(done.stdout)
        if done.status or refused:
            said = self.redactor.redact(refused.group() if refused else done.stderr.strip()[-200:])
            raise CommandRefused(
                f"{command!r} was refused: {said}",
                phase=phase,
                device=self.target.name,
                command=command,
                answer=said,
            )
        return done.stdout

    async def _probe(self) -> Identity | None:
        try:
            found = _VERSION.search(await self._vty("show version", Phase.PROBE))
        except CommandRefused:
            return None
        if found is None:
            return None
        version = found.group().removeprefix("FRRouting ").partition(" ")[0]
        return Identity(vendor="FRRouting", model="Linux", os="frr", version=version)

    def _capabilities(self, identity: Identity) -> Capabilities:
        found = re.match(r"(\d+)\.", identity.version)
        if identity.model != "Linux" or found is None or not _OLDEST <= int(found[1]) <= _NEWEST:
            return Capabilities(reason=f"unknown firmware: FRR {identity.version or 'none'}")
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            replace=True,
            candidate=CandidateKind.FILE,
            confirm=ConfirmKind.TIMER_JOB,
            confirm_min_s=5,
            confirm_max_s=86400,
            rollback=RollbackMethod.REPLACE,
            pending_visible=True,
            lock=LockKind.ADVISORY,
            diff_native=True,
            validate_native=True,
            startup=True,
            max_sessions=4,
            notes=("the commit timer is a job of ours on the device", "a reload is not atomic"),
        )

    async def _facts(self) -> Facts:
        running = await self._vty("show running-config")
        name = re.search(r"^hostname (\S+)", running, re.MULTILINE)
        told = json.loads(await self._vty("show interface json"))
        interfaces = tuple(
            Interface(
                name=each,
                description=str(fields.get("description", "")),
                up=fields.get("operationalStatus") == "up",
                enabled=fields.get("administrativeStatus") == "up",
                mac=str(fields.get("hardwareAddress", "")),
                speed_bps=max(0, int(fields.get("speed", 0))) * 1_000_000,
            )
            for each, fields in told.items()
        )
        return Facts(self.identity, name[1] if name else "", None, interfaces)

    async def _read(self, kind: ConfigKind) -> str:
        if kind is ConfigKind.RUNNING:
            return await self._vty("show running-config")
        if kind is ConfigKind.STARTUP:
            done = await self._deadman.sh('cat "$1"', f"{self._etc}/frr.conf")
            return done.stdout
        raise self._cannot(f"read the {kind} configuration")

    async def _run(self, command: str) -> str:
        return await self._vty(command, Phase.COMMAND)

    async def _stage(self, change: Change, before: Config) -> Staged:
        text = merged(before.text, change.text) if change.mode is Mode.MERGE else change.text
        text = self.steady(text)
        name = f"dm{digest(text)[:12]}"
        path = await self._deadman.put(name, {"frr.conf": text})
        return Staged(change, before, handle=path)

    async def _reloaded(self, how: str, directory: str) -> Completed:
        limit = self.target.deadlines.commit_s
        command = (*self._prefix, *self._reload, *_reload_of(how, directory))
        return await self._runner.run(command, timeout_s=limit)

    async def _diff(self, staged: Staged) -> Diff:
        done = await self._reloaded("--test", staged.handle)
        if done.status:
            raise self._said(done, Phase.DIFF)
        text, added, removed = delta(done.stdout)
        return Diff(text, DiffSource.NATIVE, added, removed)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        done = await self._runner.run(self._vtysh("-C", "-f", f"{staged.handle}/frr.conf"))
        found = _REFUSED.findall(done.stdout + done.stderr)
        if done.status and not found:
            found = [(done.stderr or done.stdout).strip()[-300:] or f"vtysh ended with {done.status}"]
        return tuple(Finding(Severity.ERROR, each) for each in found)

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        """Arm the timer first, so that a cut at any moment is taken back; then reload."""
        del comment
        arguments = " ".join(_reload_of("--reload", '"$1"'))
        restore = f"exec {shlex.join(self._reload)} {arguments}\n"
        before = {"frr.conf": staged.before.text}
        if ref.confirm_within_s is None:
            await self._deadman.put(f"{ref.id}.kept", before)
            await self._deadman.remember(ref.id, restore)
        else:
            await self._deadman.put(ref.id, before)
            await self._deadman.arm(ref.id, ref.confirm_within_s, restore)
        done = await self._reloaded("--reload", staged.handle)
        if done.status:
            said = str(self._said(done, Phase.COMMIT))
            if await self._is_before(ref):
                await self._deadman.forget(ref.id)
                return CommitResult(CommitState.REJECTED, ref, "command-refused", said)
            return CommitResult(CommitState.PARTIAL, ref, "command-refused", said)
        timed = ref.confirm_within_s is not None
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)

    def _said(self, done: Completed, phase: Phase) -> CommandRefused:
        said = self.redactor.redact((done.stdout + done.stderr).strip()[-300:])
        return CommandRefused(
            f"ended with {done.status}: {said}",
            phase=phase,
            device=self.target.name,
            command="vtysh",
            answer=said,
        )

    async def _is_before(self, ref: CommitRef) -> bool:
        return (await self.get_config(secrets=Secrets.KEEP)).digest == ref.before

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

    async def _save(self) -> None:
        done = await self._runner.run(self._vtysh("-w"))
        if done.status:
            raise self._said(done, Phase.SAVE)

    async def _close(self) -> None:
        await self._runner.close()

    def _abort(self) -> None:
        self._runner.abort()


def _reload_of(how: str, directory: str) -> tuple[str, ...]:
    """Return the arguments for the frr.conf of a directory.

    A reload of any file but its own confdir's frr.conf is written to the startup configuration at once, so the
    directory is given as confdir: an unconfirmed change must not survive a reboot.
    """
    return "--confdir", directory, "--rundir", directory, how, f"{directory}/frr.conf"


async def connect(opening: Opening) -> Session:
    """Return a session over SSH to a login with a shell, or on this machine."""
    if opening.target.options.get("local") == "yes":
        return FrrSession(opening, LocalRunner(opening, opening.target.options.get("namespace", "")))
    return FrrSession(opening, await ssh.connect(opening))


DRIVER = Driver("frr", "FRRouting over OpenSSH, with frr-reload.py", connect)
