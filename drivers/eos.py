"""Arista EOS over SSH: configuration sessions, `commit timer`, `show session-config named ... diffs`, `abort`.

A session starts as a copy of the running configuration and, when it is committed, lays itself over whatever others
have changed in the meantime. So a commit types the change again into a new session, which is named after the commit
and whose state the device shows, and only if the running configuration is still the one it was planned against.
Which commit waits is told in two ways: by the state of the session up to 4.31, by a field of its own from 4.32 on.

The configuration before is kept in a file (`.bak`, once settled `.old` with a part of the digest of what the commit
led to), for a rollback after the confirm. Sessions that a lost connection leaves behind are dropped by the device
after a day. Options of a target: `filesystem` (default flash:). Verified against the emulator, Arista's
documentation and published transcripts only.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, Garbled, LockHeld, Phase
from drivers.ios_files import EosDisk
from drivers.ios_like import LOG_LINE, SECRETS, Grammar, Pasting, logged_in
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    DiffSource,
    Facts,
    Identity,
    Interface,
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
    setup=("terminal length 0", "terminal width 32767"),
    errors=(r"^% ?(?!Warning)[A-Z][^\n]*",),
    denied=(r"^.*[Aa]uthorization (?:failed|denied).*", r"^.*[Pp]ermission denied.*"),
    renames=r"(?:hostname|configure)\b.*",
    quiet=(LOG_LINE,),
)
_MODELS = re.compile(r"(?:DCS-7|CCS-7|7\d{3}|vEOS|cEOS|AWE-)", re.IGNORECASE)
_OLDEST = (4, 20)  # sessions with a commit timer, and their details as JSON
_BANNER = re.compile(r"banner (?:login|motd)$")


class EosSession(Pasting):
    """One privileged session with an EOS switch or router."""

    name = "eos"
    reading = (
        r"(?:show|ping|traceroute) [\w\-./:, ]+(?:\| (?:include|exclude|section|begin|json|no-more)[\w\-./: ]*)?",
    )
    volatile = (r"! (?:Command|Time|device|boot system|Startup-config last modified)\b.*",)
    grammar = Grammar(
        single="encapsulation dot1q vlan {s}",
        double="",
        address="ip address {prefix}",
        profile="service-policy type qos input {profile}",
    )

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening, connection, cli)
        root = opening.target.options.get("filesystem", "flash:")
        self._disk = EosDisk(root, self._do, self._say, self.redactor, opening.target.name)
        self._open: set[str] = set()  # configuration sessions of ours that are neither committed nor aborted

    async def _probe(self) -> Identity | None:
        answer = await self._cli.command("show version")
        if "Arista" not in answer.text and "vEOS" not in answer.text and "cEOS" not in answer.text:
            return None
        told = await self._json("show version", Phase.PROBE)
        return Identity(
            vendor="Arista",
            model=str(told.get("modelName", "")),
            os="eos",
            version=str(told.get("version", "")),
            serial=str(told.get("serialNumber", "")),
        )

    def _capabilities(self, identity: Identity) -> Capabilities:
        told = re.match(r"(\d+)\.(\d+)\.", identity.version)
        known = told is not None and int(told[1]) == _OLDEST[0] and int(told[2]) >= _OLDEST[1]
        if not _MODELS.match(identity.model) or not known:
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            replace=True,
            services=True,
            merge_atomic=True,
            candidate=CandidateKind.SESSION,
            confirm=ConfirmKind.NATIVE_PERSIST,
            confirm_min_s=60,
            confirm_max_s=86_340,
            rollback=RollbackMethod.TRANSACTION,
            pending_visible=True,
            lock=LockKind.ADVISORY,
            diff_native=True,
            neighbors=True,
            startup=True,
            max_sessions=5,
        )

    # Reading --------------------------------------------------------------------------------------------------

    async def _say(self, command: str, answers: tuple[Question, ...] = ()) -> Answer:
        return await self._cli.command(command, answers=answers, timeout_s=self.target.deadlines.commit_s)

    async def _do(self, command: str, answers: tuple[Question, ...] = ()) -> str:
        answer = await self._say(command, answers)
        if answer.failed:
            raise self._refusal(command, answer.failed)
        return answer.text

    async def _json(self, command: str, phase: Phase = Phase.READ) -> dict[str, Any]:
        told = await self._cli.run(f"{command} | json")
        try:
            found = json.loads(told[told.index("{") : told.rindex("}") + 1])
        except ValueError as error:
            raise Garbled(
                f"{command!r} gave no JSON", phase=phase, device=self.target.name, expected="a JSON object"
            ) from error
        assert isinstance(found, dict)
        return found

    async def _facts(self) -> Facts:
        uptime = (await self._json("show version")).get("uptime")
        name = (await self._json("show hostname")).get("hostname", "")
        told = (await self._json("show interfaces")).get("interfaces", {})
        seen = tuple(
            Interface(
                name=each,
                description=str(fields.get("description", "")),
                up=fields.get("lineProtocolStatus") == "up",
                enabled=fields.get("interfaceStatus") != "disabled",
                mac=str(fields.get("physicalAddress", "")),
                speed_bps=int(fields.get("bandwidth", 0)),
            )
            for each, fields in told.items()
        )
        return Facts(self.identity, str(name), None if uptime is None else int(uptime), seen)

    async def _read(self, kind: ConfigKind) -> str:
        if kind is ConfigKind.CANDIDATE:
            raise self._cannot(f"read the {kind} configuration")
        return await self._shown(f"show {kind}-config")

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        told = (await self._json("show lldp neighbors detail")).get("lldpNeighbors", {})
        return tuple(
            Neighbor(
                local_port=port,
                chassis_id=str(each.get("chassisId", "")),
                port_id=str(each.get("neighborInterfaceInfo", {}).get("interfaceId", "")).strip('"'),
                name=str(each.get("systemName", "")),
                description=str(each.get("neighborInterfaceInfo", {}).get("interfaceDescription", "")),
                address=str(next((a.get("address", "") for a in each.get("managementAddresses", [])), "")),
            )
            for port, fields in told.items()
            for each in fields.get("lldpNeighborInfo", [])
        )

    async def _sessions(self) -> tuple[str, dict[str, str]]:
        """Return the name of the session whose commit waits, and the state of each session."""
        told = await self._json("show configuration sessions detail")
        states = {name: str(each.get("state", "")) for name, each in told.get("sessions", {}).items()}
        old = next((name for name, state in states.items() if state.startswith("pendingCommitTimer")), "")
        return str(told.get("commitTimerSessionName", "")) or old, states

    # Staging --------------------------------------------------------------------------------------------------

    async def _lock(self, ttl_s: int) -> Lock:
        """Keep out of the way of a commit that waits; other editors are not kept out."""
        del ttl_s
        waiting, _ = await self._sessions()
        if waiting:
            raise LockHeld("a commit waits for its confirm", device=self.target.name, holder=waiting)
        return Lock("advisory")

    async def _stage(self, change: Change, before: Config) -> Staged:
        name = f"dm{secrets.token_hex(5)}"
        await self._laid_out(name, change)
        return Staged(change, before, handle=name)

    async def _laid_out(self, name: str, change: Change) -> None:
        """Type a change into a new session and leave it, so that no sub-mode is open when it is compared."""
        await self._accepted(f"configure session {name}")
        self._open.add(name)
        try:
            if change.mode is Mode.REPLACE:
                await self._accepted("rollback clean-config")
            await self._paste(change.text)
        except CommandRefused:
            await self._say("abort")
            self._open.discard(name)
            raise
        await self._do("end")

    def _units(self, text: str) -> list[tuple[str, str]]:
        """Banners go up to their EOF; `!!` comments are typed with the command that makes them."""
        units: list[tuple[str, str]] = []
        banner: list[str] | None = None
        for line in self.steady(text).splitlines():
            if banner is not None:
                if line.strip() == "EOF":
                    units[-1] = (units[-1][0], "\n".join(banner))
                    banner = None
                else:
                    banner.append(line)
            elif _BANNER.match(line.strip()):
                units.append((line, ""))
                banner = []
            elif line.strip().startswith("!!"):
                indent = line[: len(line) - len(line.lstrip())]
                units.append((f"{indent}comment", line.strip()[2:].strip()))
            else:
                units.extend(super()._units(line))
        return units

    async def _typed(self, line: str, body: str) -> Answer:
        return await self._say(line, ((r"own line to end\.?\s*$", f"{body}\nEOF"),) if body else ())

    async def _discard(self, staged: Staged) -> None:
        await self._dropped(staged.handle)

    async def _dropped(self, name: str) -> None:
        if name in self._open:
            await self._say(f"configure session {name} abort")
            self._open.discard(name)

    async def _diff(self, staged: Staged) -> Diff:
        return (await self._compared(staged.handle))[0]

    async def _compared(self, name: str) -> tuple[Diff, str]:
        """Return the diff of a session, for people and as it is compared: without line numbers."""
        told = await self._do(f"show session-config named {name} diffs")
        lines = [line for line in told.splitlines() if line and not line.startswith(("---", "+++"))]
        added = sum(line[0] == "+" for line in lines)
        removed = sum(line[0] == "-" for line in lines)
        shown = "\n".join(lines) if added + removed else ""
        plain = "\n".join(line for line in lines if line[0] in "+-")
        return Diff(shown, DiffSource.NATIVE, added, removed), plain

    # Committing -----------------------------------------------------------------------------------------------

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del comment
        waiting, _ = await self._sessions()
        if waiting:
            return CommitResult(
                CommitState.REJECTED, ref, "timer-running", f"commit {waiting} waits for its confirm"
            )
        if not await self._is_before(ref):
            detail = "others have changed the device since it was staged, and a session would undo that"
            return CommitResult(CommitState.REJECTED, ref, "base-changed", detail)
        await self._disk.sweep(keep="")
        if not await self._disk.save_running(f"{ref.id}.bak"):
            return CommitResult(
                CommitState.REJECTED, ref, "no-backup", "the configuration before was not kept"
            )
        wanted = (await self._compared(staged.handle))[1]
        await self._dropped(staged.handle)
        await self._laid_out(ref.id, staged.change)
        if (await self._compared(ref.id))[1] != wanted:
            await self._dropped(ref.id)
            return CommitResult(
                CommitState.REJECTED, ref, "not-as-staged", "typed again, it has another diff"
            )
        seconds = ref.confirm_within_s
        timer = (
            ""
            if seconds is None
            else f" timer {seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        )
        answer = await self._say(f"configure session {ref.id} commit{timer}")
        if answer.failed:
            await self._dropped(ref.id)
            state = CommitState.REJECTED if await self._is_before(ref) else CommitState.PARTIAL
            return CommitResult(state, ref, "command-refused", self.redactor.redact(answer.failed))
        return await self._proved(self._received(ref), ref)

    async def _received(self, ref: CommitRef) -> CommitResult:
        """Return what the device shows of the commit: it says nothing when it takes one."""
        waiting, states = await self._sessions()
        if ref.confirm_within_s is not None:
            if waiting == ref.id:
                self._open.discard(ref.id)
                return CommitResult(CommitState.PENDING, ref)
        elif states.get(ref.id, "completed") in {"completed", "committed"} and not await self._is_before(ref):
            self._open.discard(ref.id)
            await self._settle(ref)
            return CommitResult(CommitState.COMMITTED, ref)
        return CommitResult(CommitState.UNVERIFIED, ref, "no-receipt", "the device does not show the commit")

    async def _settle(self, ref: CommitRef) -> None:
        """Note on the device what this commit led to."""
        told = await self._digest()
        await self._disk.rename(f"{ref.id}.bak", f"{ref.id}-{told[:8]}.old")

    async def _settled(self, ref: CommitRef) -> str | None:
        names = await self._disk.names()
        return next((name[len(ref.id) + 1 : -4] for name in names if name.startswith(f"{ref.id}-")), None)

    async def _pending(self) -> Pending:
        waiting, _ = await self._sessions()
        return Pending(visible=True, ids=(waiting,) if waiting else ())

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        """A commit of a session that does not wait would be a new commit: look first."""
        waiting, _ = await self._sessions()
        if waiting != ref.id:
            return await self._not_pending(ref)
        answer = await self._say(f"configure session {ref.id} commit")
        return await self._kept(self._taken(ref, self.redactor.redact(answer.failed)))

    async def _taken(self, ref: CommitRef, failed: str) -> ConfirmResult:
        waiting, _ = await self._sessions()
        if waiting == ref.id:
            return ConfirmResult(ConfirmState.UNVERIFIED, "still-pending", failed)
        if failed or await self._is_before(ref):
            return await self._not_pending(ref)
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
        """Abort the session while it waits; replace with the configuration before, once it does not."""
        waiting, states = await self._sessions()
        if waiting == ref.id or states.get(ref.id) == "pending":
            await self._do(f"configure session {ref.id} abort")
        told = await self._digest()
        if told == ref.before:
            return RollbackResult(RollbackState.REVERTED, "" if waiting == ref.id else "nothing-to-do")
        if waiting == ref.id:
            return RollbackResult(RollbackState.UNVERIFIED)
        led_to = await self._settled(ref)
        if led_to is not None and led_to != told[:8]:
            return RollbackResult(RollbackState.REFUSED, "moved-on", "others have changed the device since")
        name = f"{ref.id}.bak" if led_to is None else f"{ref.id}-{led_to}.old"
        if name not in await self._disk.names():
            return RollbackResult(RollbackState.REFUSED, "nothing-kept", "the configuration before is gone")
        await self._do(f"configure replace {self._disk.root}{name}")
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)

    async def _save(self) -> None:
        said = await self._do("write memory")
        if "completed successfully" not in said:
            raise self._refusal("write memory", said[-200:] or "no receipt", Phase.SAVE)

    async def _close(self) -> None:
        for name in tuple(self._open):
            await self._dropped(name)
        await super()._close()


async def connect(opening: Opening) -> Session:
    """Return a privileged session; a login in user mode may need the enable secret."""
    return EosSession(opening, *await logged_in(opening, DIALECT))


DRIVER = Driver("eos", "Arista EOS over SSH", connect, secret_patterns=SECRETS)
