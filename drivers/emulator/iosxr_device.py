"""An emulated IOS-XR: two-stage commit, exclusive lock, trials that belong to their session and really revert."""

from __future__ import annotations

import re
from dataclasses import dataclass

from drivers.emulator.blocks import Block, differences, parse, render
from drivers.emulator.cli import CliSession, SessionEnded
from drivers.emulator.ios_like_device import INTERFACES, INVALID, LLDP, Editor, IosLikeDevice
from drivers.emulator.timer import CommitTimer

FIRST = """hostname xr1
username admin
 secret 10 $6$canary$on-the-box
interface GigabitEthernet0/0/0/0
 description uplink to core1
 ipv4 address 192.0.2.1 255.255.255.0
interface GigabitEthernet0/0/0/1
 shutdown
grpc
 port 57400
router bgp 64512
 bgp router-id 192.0.2.1
"""
_NAME = "RP/0/RP0/CPU0"
_HEAD = "!! Building configuration...\n!! IOS XR Configuration 7.5.2\n"
_FAILED = (
    "% Failed to commit one or more configuration items during a pseudo-atomic operation. All changes made have "
    "been reverted. Please issue 'show configuration failed [inheritance]' from this session to view the errors"
)
_WHOLE = (
    "This commit will replace or remove the entire running configuration. This\n"
    "operation can be service affecting.\nDo you wish to proceed? [no]: "
)
_OTHERS = (
    "One or more commits have occurred from other\nconfiguration sessions since this session started\n"
    "or since the last commit was made from this session.\nDo you wish to proceed with this commit anyway? [no]: "
)
_EXIT = (
    "You are exiting after a 'commit confirm' with an active rollback session.  If you exit the configuration "
    "awaiting confirmation will not be confirmed and the router will immediately rollback to the previous "
    "configuration.\nDo you wish to exit? [no]: "
)


@dataclass
class Target:
    """What one session has typed: on top of the running configuration, and by itself for a replace."""

    merged: Editor
    alone: Editor
    base: int  # the number of commits when it was begun
    exclusive: bool = False
    dirty: bool = False


class IosXrDevice(IosLikeDevice):
    """Commits are a list of (label or id, client, configuration before)."""

    def __init__(
        self, text: str = FIRST, *, version: str = "7.5.2", model: str = "ASR9K Series", scale: float = 1.0
    ) -> None:
        super().__init__("xr1")
        self.running = parse(text)
        self.version, self.model = version, model
        self.timer = CommitTimer(scale)
        self.trial: int | None = None  # the number of the session that a trial belongs to
        self.targets: dict[int, Target] = {}
        self.commits: list[tuple[str, str, Block]] = []
        self.failed = ""
        self.old_clock = False  # a release that prints the time before every answer, whatever it is told

    def ended(self, session: CliSession) -> None:
        """Free the lock; a trial is left to the timer."""
        self.targets.pop(session.number, None)

    def prompt(self, session: CliSession) -> str:
        """Return `RP/0/RP0/CPU0:xr1(config-if)#`."""
        target = self.targets.get(session.number)
        mode = f"(config{target.merged.mode})" if target else ""
        return f"{_NAME}:{self.name_of(self.running)}{mode}#"

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        if line == "terminal exec prompt no-timestamp" and not self.old_clock:
            session.memory["timeless"] = "yes"
        settled = self._terminal(session, line)
        if settled is not None:
            return settled
        said = await self._handled(session, line)
        if session.memory.get("timeless") or not line.startswith(("show", "commit", "do")):
            return said
        return f"Sat Nov 21 20:10:02.{len(self.commands):03d} UTC\n{said}"

    async def _handled(self, session: CliSession, line: str) -> str:
        target = self.targets.get(session.number)
        if target is not None:
            return await self._configure(session, target, line)
        if line == "exit":
            raise SessionEnded
        if line.startswith("show "):
            return self._show(line)
        if line in {"configure exclusive", "configure terminal"}:
            return self._enter(session, exclusive=line.endswith("exclusive"))
        if line == "rollback configuration last 1":
            return self._roll(1)
        return INVALID

    def _enter(self, session: CliSession, *, exclusive: bool) -> str:
        if exclusive and self.trial is not None:
            return "Cannot enter exclusive mode. A trial commit is underway in another configuration session."
        if exclusive and any(target.exclusive for target in self.targets.values()):
            return "Cannot enter exclusive mode. The Configuration Namespace is locked by another agent."
        self._begin(session, exclusive=exclusive)
        return ""

    def _begin(self, session: CliSession, *, exclusive: bool) -> None:
        merged, alone = Editor(self.running.copy()), Editor(Block())
        self.targets[session.number] = Target(merged, alone, len(self.commits), exclusive)

    def _show(self, line: str) -> str:
        if line == "show running-config":
            changed = f"!! Last configuration change at Sat Nov 21 20:{len(self.commands) % 60:02d}:46 2026 by admin\n"
            return f"{_HEAD}{changed}!\n{render(self.running)}end"
        if line == "show version":
            return (
                f"Cisco IOS XR Software, Version {self.version}[Default]\nxr1 uptime is 3 days, 2 hours, 1 minute\n"
                f"cisco {self.model} (Intel 686 F6M14S4) processor with 12582912K bytes of memory."
            )
        if line == "show configuration sessions detail":
            return self._listed()
        if line == "show configuration commit list":
            rows = (
                f"{number:<4} {label:<11} admin     vty0:node0_RP0_CPU  {client:<10}  Sat Nov 21 20:10:02 2026"
                for number, (label, client, _) in enumerate(reversed(self.commits), 1)
            )
            return (
                "SNo. Label/ID  User  Line  Client  Time Stamp\n~~~~ ~~~~  ~~~~  ~~~~  ~~~~  ~~~~\n"
                + "\n".join(rows)
            )
        return {"show interfaces": INTERFACES, "show lldp neighbors detail": LLDP}.get(line, INVALID)

    def _listed(self) -> str:
        rows = []
        for number, target in self.targets.items():
            lock = "Reserved" if target.exclusive else "None"
            rows.append(
                f"  {number}) Session: 00001000-{number:08x}-00000000\n     Lock: {lock}\n     Client: CLI"
            )
        if self.trial is not None:
            rows.append(
                "  9) Session: 00001000-000035b1-00000000\n     Lock: None\n     Client: commit-confirm"
            )
        return "\n".join(rows)

    # Configuration mode -----------------------------------------------------------------------------------------

    async def _configure(self, session: CliSession, target: Target, line: str) -> str:
        top = not target.merged.path
        if line.startswith("do "):
            return self._show(line.removeprefix("do "))
        if line == "abort":
            return await self._abort(session)
        if line == "end" or (line == "exit" and top):
            return await self._end(session, target)
        if line == "root":
            target.merged.path.clear()
            target.alone.path.clear()
            return ""
        if line in {"exit", "end-set", "end-policy"}:
            target.merged.leave()
            target.alone.leave()
            return ""
        if line.startswith("commit") and top:
            return await self._commit(session, target, line)
        if line in {"show commit changes diff", "show configuration changes diff"}:
            if not top:
                return INVALID
            wanted = target.alone if "configuration" in line else target.merged
            lines = differences(self.running, wanted.config)
            return f"{_HEAD}{''.join(f'{each[0]}  {each[1:]}' + chr(10) for each in lines)}end"
        if line == "show configuration failed":
            return self.failed or "% No such configuration item(s)"
        return self._type(target, line)

    def _type(self, target: Target, line: str) -> str:
        target.dirty = True
        again = line.startswith("prefix-set ") and line in self.running.lines
        refused = target.merged.type(line)
        target.alone.type(line)
        if again and not refused:
            return f"% WARNING: Policy object {line} exists! Reconfiguring it via CLI will replace current definition."
        return refused

    async def _abort(self, session: CliSession) -> str:
        if self.trial == session.number:
            self.timer.lapse()
        self.targets.pop(session.number)
        return ""

    async def _end(self, session: CliSession, target: Target) -> str:
        if self.trial == session.number:
            if await session.ask(_EXIT) != "yes":
                return ""
            self.timer.lapse()
        elif target.dirty:
            said = await session.ask(
                "Uncommitted changes found, commit them before exiting(yes/no/cancel)? [cancel]: "
            )
            if said not in {"yes", "no"}:
                return ""
        self.targets.pop(session.number, None)
        return ""

    async def _commit(self, session: CliSession, target: Target, line: str) -> str:
        how = re.fullmatch(r"commit( replace)?(?: label (\S+))?(?: confirmed (\d+)| comment .*)?", line)
        if how is None:
            return INVALID
        if self.trial == session.number and line == "commit":
            self.timer.confirm()
            self.trial = None
            return "% Confirming commit for trial session."
        if self.trial is not None:
            return "% Cannot commit because there is an unexpired trial/rollback session '00001000-00005b40-00000000'."
        wanted = target.alone.config if how[1] else target.merged.config
        if not target.dirty or not differences(self.running, wanted):
            return "No configuration changes to commit."
        if len(self.commits) != target.base and await session.ask(_OTHERS) != "yes":
            return ""
        if how[1] and await session.ask(_WHOLE) != "yes":
            return ""
        if sum(each.startswith("router bgp ") for each in wanted.lines) > 1:
            self.failed = "!! SEMANTIC ERRORS\n router bgp\n!!% 'BGP' detected the 'fatal' condition"
            return _FAILED
        self._put(session, wanted, how[2] or f"{1000000001 + len(self.commits)}", how[3])
        return ""

    def _put(self, session: CliSession, wanted: Block, label: str, seconds: str | None) -> None:
        before = self.running
        self.commits.append((label, "CLI", before))
        self.running = wanted.copy()
        self._begin(session, exclusive=seconds is None and self.targets[session.number].exclusive)
        if seconds:
            self.trial = session.number
            self.timer.arm(int(seconds), lambda: self._restore(before))

    def _restore(self, before: Block) -> None:
        self.commits.append((f"{1000000001 + len(self.commits)}", "Rollback", self.running))
        self.running = before
        self.trial = None

    def _roll(self, count: int) -> str:
        if self.trial is not None:
            return "% Cannot commit because there is an unexpired trial/rollback session '00001000-00005b40-00000000'."
        if len(self.commits) < count:
            return "% No such configuration item(s)"
        self._restore(self.commits[-count][2])
        return (
            f"Loading Rollback Changes.\nCommitting.\nConfiguration successfully rolled back {count} commits."
        )
