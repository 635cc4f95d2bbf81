"""accel-ppp over SSH: accel-cmd reads and ends sessions; the configuration file is edited and reloaded.

The commit timer is ours (see `deadman`). The configuration is the file: what the daemon holds may be older, and a
reload does not reach everything (modules, threads, most listeners need a restart, which is never done here).
accel-cmd answers nothing when it has done something, and nothing when it has not: kicks are read back by session id.
`terminate ip` is never used: it also hits sessions without an IPv4 address; `terminate match` takes any part of a
name. Options of a target: `config` (path), `accel_cmd`, `cli_host`, `cli_port`, `state_dir`, `sudo`, `local`,
`namespace`; the password of the command line is the target's `enable` credential. Verified against an emulated
daemon behind a real shell, and against the source of accel-ppp; not against a running accel-ppp.
"""

from __future__ import annotations

import re
import shlex

from drivers.accel_text import COLUMNS, findings, merged, sessions
from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, Garbled, NotAuthorized, Phase
from drivers.kick import KickingSession, LiveSession
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
    Mode,
    Staged,
    digest,
)
from drivers.offline import diff_lines
from drivers.outcomes import CommitResult, CommitState
from drivers.posix import PosixSession, runner_of
from drivers.target import Opening
from drivers.transports.stream import Runner

_VERSION = re.compile(r"(?:accel-ppp version )?v?(1\.(\d+)\.\d+[\w.\-]*)\s*$")
_OLDEST, _NEWEST = 11, 13  # minor versions of 1 whose command line is known to us
_REFUSED = re.compile(
    r"^(?:command unknown|command failed|syntax error|invalid argument|failed|unknown column .*|match: .*|"
    r"out of memory)\s*$",
    re.MULTILINE,
)
_SID = re.compile(r"[0-9A-Za-z_\-]{1,64}")
_UPTIME = re.compile(r"^uptime: (\d+)\.(\d+):(\d+):(\d+)", re.MULTILINE)
# $1 configuration, $2 new text, then the reload command: replaced in one step, keeping owner and mode.
_APPLY = """
file=$1 new=$2; shift 2
cp -p "$file" "$file.edge" && cat "$new" > "$file.edge" && mv -f "$file.edge" "$file" || exit 3
said=$("$@" 2>&1) || { echo "$said"; exit 4; }
[ -z "$said" ] || { echo "$said"; exit 5; }
"""


class AccelSession(KickingSession, PosixSession):
    """One accel-ppp. Each command is a process on its machine."""

    name = "accel-ppp"
    reading = (r"show (?:sessions|stat|version|loaded-config|pppoe|ipoe)(?: [\w\-.,: ]+)?",)

    def __init__(self, opening: Opening, runner: Runner) -> None:
        super().__init__(opening, runner)
        options = opening.target.options
        self._file = options.get("config", "/etc/accel-ppp.conf")
        secret = opening.target.credentials.enable
        self._cmd = (
            options.get("accel_cmd", "accel-cmd"),
            *(("-H", options["cli_host"]) if "cli_host" in options else ()),
            *(("-p", options["cli_port"]) if "cli_port" in options else ()),
            *(("-P", secret.reveal()) if secret else ()),
        )
        self._wanted: dict[str, str] = {}

    async def _accel(self, command: str, phase: Phase = Phase.READ) -> str:
        """Return what accel-cmd prints. It ends with 0 even where the daemon refuses: the text decides."""
        done = await self._runner.run([*self._prefix, *self._cmd, *command.split()])
        self._demand(done, phase, "accel-cmd")
        text = done.stdout.replace("\r", "")
        refused = _REFUSED.search(text)
        if refused:
            said = self.redactor.redact(refused.group().strip())
            raise CommandRefused(
                f"{command!r} was refused: {said}",
                phase=phase,
                device=self.target.name,
                command=command,
                answer=said,
            )
        return text

    async def _probe(self) -> Identity | None:
        try:
            told = (await self._accel("show version", Phase.PROBE)).strip()
        except CommandRefused:
            return None
        if not told:  # a wrong password is answered by closing the connection, without a word
            raise NotAuthorized(
                "accel-ppp says nothing; expected the password of its command line as `enable` credential",
                phase=Phase.PROBE,
                device=self.target.name,
            )
        if "\n" in told:
            return None
        found = _VERSION.match(told)
        return Identity("accel-ppp", "Linux", "accel-ppp", found[1] if found else told)

    def _capabilities(self, identity: Identity) -> Capabilities:
        found = _VERSION.match(identity.version)
        if identity.model != "Linux" or found is None or not _OLDEST <= int(found[2]) <= _NEWEST:
            return Capabilities(reason=f"unknown version of accel-ppp: {identity.version or 'none'}")
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
            max_sessions=4,
            notes=(
                "the commit timer is a job of ours on the device",
                "a reload does not reach what needs a restart",
            ),
        )

    async def _facts(self) -> Facts:
        found = _UPTIME.search(await self._accel("show stat"))
        uptime_s = None
        if found:
            day, hour, minute, second = map(int, found.groups())
            uptime_s = ((day * 24 + hour) * 60 + minute) * 60 + second
        return Facts(self.identity, (await self._command("uname", "-n")).strip(), uptime_s)

    async def _read(self, kind: ConfigKind) -> str:
        if kind is ConfigKind.CANDIDATE:
            raise self._cannot(f"read the {kind} configuration")
        return await self._command("cat", self._file)

    async def _run(self, command: str) -> str:
        return await self._accel(command, Phase.COMMAND)

    # Sessions ---------------------------------------------------------------------------------------------

    async def _live(self, who: LiveSession) -> tuple[str, ...]:
        only = ""
        if _SID.fullmatch(who.session_id):
            only = f" match sid (?i)^{who.session_id}$"
        rows = sessions(await self._accel(f"show sessions {COLUMNS}{only}"))
        if rows is None:
            raise Garbled(
                "no table of sessions",
                phase=Phase.READ,
                device=self.target.name,
                expected=COLUMNS,
                tail=self.transcript.tail(),
            )
        found = (each["sid"] for each in rows if who.matches(each["username"], each["sid"], each["ip"]))
        return tuple(each for each in found if _SID.fullmatch(each))

    async def _end_live(self, handle: str, *, hard: bool) -> None:
        await self._accel(f"terminate sid {handle} {'hard' if hard else 'soft'}", Phase.COMMAND)

    # Configuration ----------------------------------------------------------------------------------------

    async def _stage(self, change: Change, before: Config) -> Staged:
        text = merged(before.text, change.text) if change.mode is Mode.MERGE else change.text
        path = await self._deadman.put(f"dm{digest(text)[:12]}", {"accel-ppp.conf": text})
        self._wanted[path] = text
        return Staged(change, before, handle=path)

    async def _diff(self, staged: Staged) -> Diff:
        text, added, removed = diff_lines(staged.before.text, self._wanted[staged.handle])
        return Diff(text, DiffSource.OFFLINE, added, removed)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        return findings(self._wanted[staged.handle])

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        """Arm the timer first, then replace the file and reload; a refused reload is taken back at once."""
        del comment
        reload = shlex.join([*self._cmd, "reload"])
        restore = f'set -- {shlex.quote(self._file)} "$1/before" {reload}\n{_APPLY}'
        await self._guard(ref, {"before": staged.before.text}, restore)
        new = f"{staged.handle}/accel-ppp.conf"
        done = await self._deadman.sh(_APPLY, self._file, new, *self._cmd, "reload")
        if done.status:
            said = self.redactor.redact((done.stdout + done.stderr).strip()[-300:])
            return await self._failed(ref, said or f"ended with {done.status}")
        if not (await self._accel("show version", Phase.COMMIT)).strip():  # a reload that worked says nothing
            return CommitResult(CommitState.UNVERIFIED, ref, "no-receipt", "accel-ppp says nothing any more")
        if digest(await self._read(ConfigKind.RUNNING)) != digest(self._wanted[staged.handle]):
            return CommitResult(CommitState.UNVERIFIED, ref, "not-read-back", "the file is another one")
        timed = ref.confirm_within_s is not None
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)


async def connect(opening: Opening) -> Session:
    """Return a session over SSH to a login with a shell, or on this machine."""
    return AccelSession(opening, await runner_of(opening))


DRIVER = Driver(
    "accel-ppp",
    "accel-ppp over SSH, with accel-cmd",
    connect,
    secret_patterns=(r"(\b(?:auth-|acct-|dae-)?server\s*=\s*[^,\n]+,)[^,\n]+",),
)
