"""Cisco IOS and IOS-XE over SSH: a candidate file, `configure terminal revert timer`, `configure replace`.

A change goes into a file on the device (written with its Tcl shell, checked by MD5), so that it is applied whole
even if it cuts our own session. A merge arms the timer first, then copies the file into the running configuration;
that is not atomic, and what is refused half way is taken back at once. The timer needs `archive` with a `path`,
counts whole minutes, and is confirmed by the user who set it, from any session.

Files are named after the commit: `.cfg` staged, `.bak` the configuration before, `.old` the same once the commit is
settled, with a part of the digest of what it led to: a rollback after that is refused when others have changed the
device since. Options of a target: `filesystem` (default flash:). Verified against the emulator and Cisco's
documentation only.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import suppress

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, LockHeld, NotSupported, Phase
from drivers.ios_files import QUESTIONS, Disk
from drivers.ios_like import LOG_LINE, SECRETS, Grammar, IosLike, logged_in
from drivers.ios_text import cdp, changes_of, etx, interfaces, lldp, uptime_s
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
    Lock,
    Mode,
    Neighbor,
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
from drivers.transports.cli import Answer, Cli, Dialect, Question

_ERRORS = (
    r"^% ?(?!No Rollback)(?:Invalid|Unknown|Ambiguous|Incomplete|Bad|Unrecognized|Access|Error|Not)[^\n]*",
    r"^%(?:Please t|T)urn config archive on[^\n]*",
    r"^%Error[^\n]*",
    r"^% ?(?:Only|Permission|User)[^\n]*",
    r"^The input file is not a valid config file[^\n]*",
    r"^Rollback aborted[^\n]*",
    r"^[^\n]*original configuration has been successfully restored[^\n]*",
)
DIALECT = Dialect(
    setup=("terminal length 0", "terminal width 0"),
    errors=_ERRORS,
    denied=(r"^.*[Cc]ommand authorization failed.*", r"^.*[Pp]ermission denied.*"),
    renames=r"(?:hostname|copy \S+ running-config|configure (?:replace|revert)).*",
    quiet=(LOG_LINE, r"(?m)^Load for five secs.*\n?", r"(?m)^Time source is .*\n?"),
)
# The device warns one minute before it reverts, and does not show its prompt again: an empty line brings it back.
_WARNED: Question = (r"Rollback will begin in one minute\.\s*(?:Enter [^\n]*)?\s*$", "")
_MODELS = re.compile(
    r"(?:ISR|ASR[19]\d|ASR-9|CSR1|C8\d|C9\d|C1\d|C[89]K|CISCO\d|WS-C|ME-|IE-|IOSv|7[26]\d\d)",
    re.IGNORECASE,
)
_NOTHING = "No Rollback Confirmed Change pending"


class IosSession(IosLike, KickingSession):
    """One privileged session with an IOS or IOS-XE device."""

    name = "ios"
    reading = (
        r"(?:show|ping|traceroute) [\w\-./:, ]+(?:\| (?:include|exclude|section|begin|count) [\w\-./: ]+)?",
    )
    volatile = (
        r"Building configuration\.\.\.",
        r"Current configuration : .*",
        r"Using \d+ out of \d+ bytes.*",
        r"! (?:Last configuration change|NVRAM config last updated|No configuration change since).*",
        r"ntp clock-period .*",
    )
    grammar = Grammar(
        single="encapsulation dot1Q {s}",
        double="encapsulation dot1Q {s} second-dot1q {c}",
        address="ip address {address} {mask}",
        profile="service-policy output {profile}",
    )

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening, connection, cli)
        root = opening.target.options.get("filesystem", "flash:")
        self._disk = Disk(root, self._do, self._say, self.redactor, opening.target.name)

    async def _probe(self) -> Identity | None:
        told = await self._cli.run("show version")
        software = re.search(r"^Cisco IOS(?: XE)? Software(?!.*\bIOS XR\b)", told, re.MULTILINE)
        if software is None:
            return None
        edition = "ios-xe" if re.search(r"IOS[ -]XE", told) else "ios"
        version = re.search(r"Version ([^\s,]+)", told)
        model = re.search(r"^[Cc]isco (\S+) .*(?:processor|memory)", told, re.MULTILINE)
        serial = re.search(r"Processor board ID (\S+)", told)
        return Identity(
            vendor="Cisco",
            model=model[1] if model else "",
            os=edition,
            version=version[1] if version else "",
            serial=serial[1] if serial else "",
        )

    def _capabilities(self, identity: Identity) -> Capabilities:
        told = re.match(r"(\d+)\.", identity.version)
        major = int(told[1]) if told else 0
        if not _MODELS.match(identity.model) or major not in {3, 15, 16, 17}:
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            replace=True,
            services=True,
            candidate=CandidateKind.FILE,
            confirm=ConfirmKind.NATIVE_SESSION,
            confirm_min_s=60,
            confirm_max_s=7200,
            confirm_step_s=60,
            rollback=RollbackMethod.REPLACE,
            pending_visible=True,
            lock=LockKind.ADVISORY,
            diff_native=True,
            validate_native=True,
            neighbors=True,
            startup=True,
            max_sessions=5,
            notes=("a commit timer needs `archive` with a `path`", "a merge is not atomic: it is taken back"),
        )

    # Reading --------------------------------------------------------------------------------------------------

    async def _facts(self) -> Facts:
        seen = interfaces(await self._cli.run("show interfaces"))
        return Facts(self.identity, self._hostname, uptime_s(await self._cli.run("show version")), seen)

    async def _read(self, kind: ConfigKind) -> str:
        if kind is ConfigKind.CANDIDATE:
            raise self._cannot(f"read the {kind} configuration")
        return await self._shown(f"show {kind}-config")

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        first = lldp((await self._cli.command("show lldp neighbors detail")).text)
        return first + cdp((await self._cli.command("show cdp neighbors detail")).text)

    async def _live(self, who: LiveSession) -> tuple[str, ...]:
        if who.session_id:
            raise self._unable(
                "a kick by Acct-Session-Id, which its command line does not show; give the user name"
            )
        if not re.fullmatch(r"[\w.@:/\\+-]{1,120}", who.user_name):
            raise self._unable("a kick of a user name with spaces or signs")
        told = (await self._cli.command(f"show subscriber session username {who.user_name}")).text
        found = []
        for part in re.split(r"(?m)^(?=Unique Session ID:)", told)[1:]:
            handle = re.match(r"Unique Session ID: *(\d+)", part)
            name = re.search(r"^Identifier: *(\S+)", part, re.MULTILINE)
            address = re.search(r"^(?:IPv4|IP) Address: *(\S+)", part, re.MULTILINE | re.IGNORECASE)
            if handle and name and who.matches(name[1], "", address[1] if address else who.address):
                found.append(handle[1])
        return tuple(found)

    async def _end_live(self, handle: str, *, hard: bool) -> None:
        del hard
        await self._cli.run(f"clear subscriber session uid {handle}", answers=QUESTIONS)

    # Staging --------------------------------------------------------------------------------------------------

    async def _say(self, command: str, answers: Sequence[Question] = ()) -> Answer:
        limit = self.target.deadlines.commit_s
        return await self._cli.command(command, answers=(_WARNED, *answers), timeout_s=limit)

    async def _do(self, command: str, answers: Sequence[Question] = ()) -> str:
        answer = await self._say(command, answers)
        if answer.failed:
            raise self._refusal(command, answer.failed)
        return answer.text

    async def _lock(self, ttl_s: int) -> Lock:
        """Keep out of the way of a commit that waits; other editors are not kept out."""
        del ttl_s
        user = await self._timer()
        if user is not None:
            raise LockHeld("a commit waits for its confirm", device=self.target.name, holder=user)
        return Lock("advisory")

    async def _stage(self, change: Change, before: Config) -> Staged:
        path = f"{self._disk.root}dm{secrets.token_hex(5)}.cfg"
        lines = [line.rstrip("\r") for line in self.steady(etx(change.text)).splitlines()]
        if "end" not in lines:
            lines.append("end")  # a file without it is refused, or compared wrongly
        await self._disk.write(path, lines)
        return Staged(change, before, handle=path)

    async def _discard(self, staged: Staged) -> None:
        await self._disk.delete(staged.handle)

    async def _diff(self, staged: Staged) -> Diff:
        if staged.change.mode is Mode.REPLACE:
            told = await self._do(f"show archive config differences system:running-config {staged.handle}")
            lines = changes_of(told)
        else:
            answer = await self._say(f"show archive config incremental-diffs {staged.handle}")
            if answer.failed:  # lines that the device does not know; validation says so
                lines = [line for line in staged.change.text.splitlines() if line.strip()]
                return Diff("\n".join(f"+{line}" for line in lines), DiffSource.OFFLINE, len(lines))
            lines = [
                f"{'-' if line.strip().startswith('no ') else '+'}{line}" for line in changes_of(answer.text)
            ]
        added = sum(line.lstrip().startswith("+") for line in lines)
        removed = sum(line.lstrip().startswith("-") for line in lines)
        return Diff("\n".join(lines), DiffSource.NATIVE, added, removed)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        """The device parses a merge when it compares it; of a replace it has no opinion."""
        found = []
        if not await self._archiving():
            found.append(Finding(Severity.WARNING, "the archive is off: this device has no commit timer"))
        if staged.change.mode is Mode.MERGE:
            answer = await self._say(f"show archive config incremental-diffs {staged.handle}")
            if answer.failed:
                found.append(Finding(Severity.ERROR, answer.failed))
        return tuple(found)

    # Committing -----------------------------------------------------------------------------------------------

    async def _archiving(self) -> bool:
        return "not enabled" not in (await self._say("show archive")).text

    async def _timer(self) -> str | None:
        """Return the user of the commit that waits, or None."""
        told = await self._do("show archive config rollback timer")
        if _NOTHING in told or "Timer value" not in told:
            return None
        user = re.search(r"^User: *(\S+)", told, re.MULTILINE)
        return user[1] if user else ""

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del comment
        timed = ref.confirm_within_s is not None
        if timed and not await self._archiving():
            raise NotSupported(
                "the archive is off, so there is no commit timer; configure `archive` with a `path`",
                phase=Phase.COMMIT,
                device=self.target.name,
            )
        try:
            slug = await self._prepared(staged, ref)
        except CommandRefused as refused:
            return CommitResult(CommitState.REJECTED, ref, refused.slug, refused.answer)
        if slug:
            return CommitResult(CommitState.REJECTED, ref, slug, "nothing was applied")
        command = f"copy {staged.handle} running-config"
        if staged.change.mode is Mode.REPLACE:
            timer = f" revert trigger error timer {(ref.confirm_within_s or 0) // 60}" if timed else ""
            command = f"configure replace {staged.handle} force{timer}"
        return await self._proved(self._applied(ref, staged, command), ref)

    async def _prepared(self, staged: Staged, ref: CommitRef) -> str:
        """Keep the configuration before and, for a merge, start the timer; return why not to go on."""
        if await self._timer() is not None:
            return "timer-running"
        await self._disk.sweep(keep=staged.handle)
        if not await self._disk.save_running(f"{ref.id}.bak"):
            return "no-backup"
        if ref.confirm_within_s is None or staged.change.mode is Mode.REPLACE:
            return ""
        await self._do(f"configure terminal revert timer {ref.confirm_within_s // 60}")
        await self._say("end")
        return "" if await self._ours(ref) else "no-timer"

    async def _applied(self, ref: CommitRef, staged: Staged, command: str) -> CommitResult:
        """Apply a file, look for the receipt, and take back what was refused half way."""
        answer = await self._say(command, QUESTIONS)
        receipt = "copied" if command.startswith("copy") else "Rollback Done"
        timed = ref.confirm_within_s is not None
        if answer.failed or "failed to apply" in answer.text:
            said = self.redactor.redact(answer.failed or answer.text[-200:])
            with suppress(CommandRefused):
                await self._rollback(ref)
            state = CommitState.REJECTED if await self._is_before(ref) else CommitState.PARTIAL
            return CommitResult(state, ref, "command-refused", said)
        if receipt not in answer.text:
            return CommitResult(
                CommitState.UNVERIFIED, ref, "no-receipt", f"the device did not say {receipt!r}"
            )
        if timed and not await self._ours(ref):
            return CommitResult(CommitState.UNVERIFIED, ref, "no-timer", "in force, and no timer is shown")
        if not timed:
            await self._settle(ref)
        await self._disk.delete(staged.handle)
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)

    async def _ours(self, ref: CommitRef) -> bool:
        """Return whether the commit that waits is this one."""
        return (
            await self._timer() == self.target.credentials.user
            and f"{ref.id}.bak" in await self._disk.names()
        )

    async def _settle(self, ref: CommitRef) -> None:
        """Note on the device what this commit led to."""
        told = await self._digest()
        await self._disk.rename(f"{ref.id}.bak", f"{ref.id}-{told[:8]}.old")

    async def _settled(self, ref: CommitRef) -> str | None:
        """Return the part of the digest that this commit led to once it was settled, or None."""
        for name in await self._disk.names():
            if name.startswith(f"{ref.id}-"):
                return name[len(ref.id) + 1 : -4]
        return None

    async def _pending(self) -> Pending:
        if await self._timer() != self.target.credentials.user:
            return Pending(visible=True)
        ids = tuple(name.removesuffix(".bak") for name in await self._disk.names() if name.endswith(".bak"))
        return Pending(visible=True, ids=ids)

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        user = await self._timer()
        if user is None:
            return await self._not_pending(ref)
        if not await self._ours(ref):
            return ConfirmResult(ConfirmState.REFUSED, "foreign-timer", f"what waits is a commit of {user}")
        said = await self._do("configure confirm")
        return await self._kept(self._not_pending(ref) if _NOTHING in said else self._taken(ref))

    async def _taken(self, ref: CommitRef) -> ConfirmResult:
        if await self._timer() is not None:
            return ConfirmResult(
                ConfirmState.UNVERIFIED, "still-pending", "the device did not take the confirm"
            )
        if await self._is_before(ref):
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the configuration before is in force")
        await self._settle(ref)
        return ConfirmResult(ConfirmState.CONFIRMED)

    async def _not_pending(self, ref: CommitRef) -> ConfirmResult:
        told = await self._digest()
        if told == ref.before:
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the timer has taken it back")
        if await self._settled(ref) == told[:8]:
            return ConfirmResult(ConfirmState.CONFIRMED, "already-confirmed")
        return ConfirmResult(
            ConfirmState.UNVERIFIED, "not-pending", "nothing waits, and the change may be in force"
        )

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        """Revert now while the timer runs; replace with the configuration before, once it does not."""
        if await self._ours(ref):
            await self._do("configure revert now", QUESTIONS)
            back = await self._is_before(ref)
            return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)
        told = await self._digest()
        if told == ref.before:
            return RollbackResult(RollbackState.REVERTED, "nothing-to-do")
        led_to = await self._settled(ref)
        if led_to is not None and led_to != told[:8]:
            return RollbackResult(RollbackState.REFUSED, "moved-on", "others have changed the device since")
        name = f"{ref.id}.bak" if led_to is None else f"{ref.id}-{led_to}.old"
        if name not in await self._disk.names():
            return RollbackResult(RollbackState.REFUSED, "nothing-kept", "the configuration before is gone")
        await self._do(f"configure replace {self._disk.root}{name} force", QUESTIONS)
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)

    async def _save(self) -> None:
        said = await self._do("copy running-config startup-config", QUESTIONS)
        if "[OK]" not in said and "copied" not in said:
            raise self._refusal("copy running-config startup-config", said[-200:] or "no [OK]", Phase.SAVE)


async def connect(opening: Opening) -> Session:
    """Return a privileged session; a login in user mode needs the enable secret."""
    return IosSession(opening, *await logged_in(opening, DIALECT))


DRIVER = Driver("ios", "Cisco IOS and IOS-XE over SSH", connect, secret_patterns=SECRETS)
