"""An emulated Arista EOS: configuration sessions, commit timer that really reverts, JSON in the old and new way."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from drivers.emulator.blocks import Block, differences, parse, render
from drivers.emulator.cli import CliSession, SessionEnded
from drivers.emulator.ios_like_device import INVALID, Editor, IosLikeDevice
from drivers.emulator.timer import CommitTimer

FIRST = """hostname sw1
username admin privilege 15 secret sha512 $6$canary$on-the-box
snmp-server contact noc
vlan 100
   name office
interface Ethernet1
   description uplink to core1
   ip address 192.0.2.1/24
interface Ethernet2
   shutdown
"""
_MAX_PENDING = 5
_FULL = "% Maximum number of pending sessions has been reached. Please commit or abort previous sessions."
_COPIED = "Copy completed successfully."
_LLDP = {
    "lldpNeighbors": {
        "Ethernet1": {
            "lldpNeighborInfo": [
                {
                    "chassisId": "0050.56bb.0001",
                    "systemName": "core1.example.net",
                    "managementAddresses": [{"address": "192.0.2.254"}],
                    "neighborInterfaceInfo": {"interfaceId": '"Ethernet7"', "interfaceDescription": "to sw1"},
                }
            ]
        }
    }
}
_PORTS = {
    "interfaces": {
        "Ethernet1": {
            "description": "uplink to core1",
            "lineProtocolStatus": "up",
            "interfaceStatus": "connected",
            "physicalAddress": "00:50:56:aa:00:01",
            "bandwidth": 10_000_000_000,
        }
    }
}


@dataclass
class ConfigSession:
    """One configuration session; it outlives the login that made it."""

    editor: Editor
    state: str = "pending"


class EosDevice(IosLikeDevice):
    """From 4.32 on a session whose commit waits is called committed, and its name stands in a field of its own."""

    def __init__(
        self,
        text: str = FIRST,
        *,
        version: str = "4.31.1F",
        model: str = "DCS-7280SR-48C6-F",
        scale: float = 1.0,
    ) -> None:
        super().__init__("sw1")
        self.running = parse(text)
        self.startup = self.running.copy()
        self.version, self.model = version, model
        self.timer = CommitTimer(scale)
        self.sessions: dict[str, ConfigSession] = {}
        self.files: dict[str, Block] = {}
        self.refuse_commit = ""  # what a commit says instead of doing anything

    def prompt(self, session: CliSession) -> str:
        """Return `sw1#` or `sw1(config-s-dm0123-if)#`: six characters of the session's name."""
        name = self.name_of(self.running)
        inside = self._inside(session)
        if inside is None:
            return f"{name}#"
        return f"{name}(config-s-{session.memory['session'][:6]}{inside.editor.mode})#"

    def _inside(self, session: CliSession) -> ConfigSession | None:
        return self.sessions.get(session.memory.get("session", ""))

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        settled = self._terminal(session, line)
        if settled is not None:
            return settled
        inside = self._inside(session)
        if inside is not None:
            return await self._configure(session, inside, line)
        if line == "exit":
            raise SessionEnded
        if line.startswith("show "):
            return self._show(line)
        return self._exec(session, line)

    def _show(self, line: str) -> str:
        if line in {"show running-config", "show startup-config"}:
            config = self.running if "running" in line else self.startup
            head = f"! Command: {line}\n! Time: Sat Nov 21 20:10:{len(self.commands) % 60:02d} 2026\n"
            return f"{head}! device: sw1 ({self.model}, EOS-{self.version})\n!\n{render(config, 3)}end"
        if diffs := re.fullmatch(r"show session-config named (\S+) diffs", line):
            if diffs[1] not in self.sessions:
                return f"% Session {diffs[1]} not found"
            return self._diffs(diffs[1])
        if line == "show version":
            return f"Arista {self.model}\nSoftware image version: {self.version}"
        if not line.endswith(" | json"):
            return INVALID
        told = self._json(line.removesuffix(" | json"))
        return INVALID if told is None else json.dumps(told, indent=4)

    def _diffs(self, name: str) -> str:
        editor = self.sessions[name].editor
        lines = differences(self.running, editor.config)
        if editor.path:  # with a sub-mode open its lines are missing: the comparison is wrong
            lines = [each for each in lines if not each[1:].startswith(" ")]
        if not lines:
            return ""
        return "\n".join(
            ["--- system:/running-config", f"+++ session:/{name}-session-config", "@@ -1,9 +1,9 @@", *lines]
        )

    def _json(self, line: str) -> dict[str, object] | None:
        match line:
            case "show version":
                known = {
                    "modelName": self.model,
                    "version": self.version,
                    "serialNumber": "JPE1234",
                    "uptime": 93784.5,
                }
                return {**known, "mfgName": "Arista"}
            case "show hostname":
                return {"hostname": self.name_of(self.running)}
            case "show interfaces":
                return dict(_PORTS)
            case "show lldp neighbors detail":
                return dict(_LLDP)
            case "show configuration sessions detail":
                return self._listed()
        return None

    def _listed(self) -> dict[str, object]:
        new = int(self.version.split(".")[1]) >= 32
        rows = {}
        for name, each in self.sessions.items():
            waits = self.timer.pending and self.timer.id == name
            state = "pendingCommitTimer" if waits else each.state
            if new:
                state = "committed" if waits or state == "completed" else state
            rows[name] = {"state": state, "commitUser": "edge", "instances": {}}
        more = {"commitTimerSessionName": self.timer.id, "commitTimerExpireTime": 99.0}
        return {
            "sessions": rows,
            **(more if new and self.timer.pending else {}),
            "maxOpenSessions": _MAX_PENDING,
        }

    def _exec(self, session: CliSession, line: str) -> str:
        match line.split():
            case ["configure", "session", name]:
                return self._enter(session, name)
            case ["configure", "session", name, "abort"]:
                return self._abort(name)
            case ["configure", "session", name, "commit", *timer]:
                return self._commit(name, timer)
            case ["configure", "replace", path] if path in self.files:
                self.running = self.files[path].copy()
                return ""
            case ["write", "memory"]:
                self.startup = self.running.copy()
                return _COPIED
            case ["copy", "running-config", path]:
                self.files[path] = self.running.copy()
                return _COPIED
            case ["delete", path]:
                return (
                    ""
                    if self.files.pop(path, None)
                    else f"% Error deleting {path} (No such file or directory)"
                )
            case ["rename", old, new] if old in self.files:
                self.files[new] = self.files.pop(old)
                return ""
            case ["dir", disk]:
                return "\n".join(
                    f"  -rw-  1200  Nov 21 20:10  {name.removeprefix(disk)}" for name in self.files
                )
        return INVALID

    def _enter(self, session: CliSession, name: str) -> str:
        if name not in self.sessions:
            if sum(each.state == "pending" for each in self.sessions.values()) >= _MAX_PENDING:
                return _FULL
            self.sessions[name] = ConfigSession(Editor(self.running.copy()))
        session.memory["session"] = name
        return ""

    def _abort(self, name: str) -> str:
        if self.timer.pending and self.timer.id == name:
            self.timer.lapse()
            return ""
        return "" if self.sessions.pop(name, None) else f"% Session {name} not found"

    def _commit(self, name: str, timer: list[str]) -> str:
        if self.refuse_commit:
            return self.refuse_commit
        each = self.sessions.get(name)
        if each is None:
            return f"% Session {name} not found"
        if self.timer.pending and self.timer.id == name:
            each.state = "completed"
            self.timer.confirm()
            return ""
        if self.timer.pending:
            return f"% Cannot commit session {name}: session {self.timer.id} has a pending commit timer"
        before, self.running = self.running, each.editor.config.copy()
        for other in [other for other, kept in self.sessions.items() if kept.state == "completed"]:
            del self.sessions[other]  # only one is remembered
        each.state = "completed"
        if timer:
            hours, minutes, seconds = (int(part) for part in timer[1].split(":"))
            self.timer.arm(hours * 3600 + minutes * 60 + seconds, lambda: self._restore(name, before), name)
        return ""

    def _restore(self, name: str, before: Block) -> None:
        self.running = before
        self.sessions.pop(name, None)

    async def _configure(self, session: CliSession, inside: ConfigSession, line: str) -> str:
        editor = inside.editor
        if line == "end" or (line == "exit" and not editor.leave()):
            editor.path.clear()
            session.memory["session"] = ""
            return ""
        match line:
            case "exit":
                return ""
            case "abort":
                self.sessions.pop(session.memory.pop("session"))
                return ""
            case "rollback clean-config":
                editor.config.lines.clear()
                return ""
            case "comment" | "banner motd" | "banner login":
                return await self._text(session, editor, line)
        if line.startswith("show session-config diffs"):
            return self._diffs(session.memory["session"])
        return editor.type(line)

    async def _text(self, session: CliSession, editor: Editor, line: str) -> str:
        session.write("Enter TEXT message. Type 'EOF' on its own line to end.\n")
        body = []
        while (typed := await session.line(self.faults)) != "EOF":
            body.append(typed)
        if line == "comment":
            editor.here.lines["!! " + " ".join(body)] = Block()
        else:
            editor.config.lines["\n".join([line, *body, "EOF"])] = Block()
        return ""
