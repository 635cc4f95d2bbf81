"""A made-up router with all that the contract knows: the example of how to write an emulator, and of a driver."""

from __future__ import annotations

import re

from drivers.emulator.cli import CliDevice, CliSession, SessionEnded
from drivers.emulator.timer import CommitTimer

UNKNOWN = "% Unknown command"


class SampleRouter(CliDevice):
    """Acme OS: `set KEY VALUE` in a candidate, `commit within SECONDS id ID`, `confirm ID`, one editor at a time."""

    def __init__(self, hostname: str = "acme1", *, version: str = "7.2", scale: float = 1.0) -> None:
        super().__init__(hostname)
        self.version = version
        self.running = {"hostname": hostname, "ntp": "192.0.2.1", "user-admin-password": "s3cr3t-on-the-box"}
        self.startup = dict(self.running)
        self.timer = CommitTimer(scale)
        self.candidate: dict[str, str] = {}
        self.editor: CliSession | None = None
        self.page_lines = 4

    def prompt(self, session: CliSession) -> str:
        """Return `name>` or `name(config)#`."""
        return f"{self.running['hostname']}{'(config)#' if session.mode else '>'} "

    def ended(self, session: CliSession) -> None:
        """Give the lock back."""
        if self.editor is session:
            self.editor = None

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        if line == "exit" and not session.mode:
            raise SessionEnded
        return self._edit(session, line) if session.mode else self._exec(session, line)

    def _exec(self, session: CliSession, line: str) -> str:
        if not session.memory:
            session.page_lines, session.memory["seen"] = self.page_lines, "yes"
        match line.split():
            case ["terminal", "length", "0"]:
                session.page_lines = 0
                return ""
            case ["show", "version"]:
                return f"Acme OS {self.version}\nModel AR-1000\nSerial AC12345\nUptime 3600"
            case ["show", "config"]:
                return "! time 12:00:00\n" + _lines(self.running)
            case ["show", "pending"]:
                return self.timer.id
            case ["configure"]:
                if self.editor is not None:
                    return f"% Locked by session {self.editor.number}"
                self.editor, session.mode = session, "config"
                self.candidate = dict(self.running)
                return ""
            case ["confirm", name]:
                return "Confirmed" if self.timer.id == name and self.timer.confirm() else "% Nothing pending"
            case ["revert", name]:
                if self.timer.id != name:
                    return "% Nothing pending"
                self.timer.lapse()
                return "Reverted"
            case ["save"]:
                self.startup = dict(self.running)
                return ""
        return UNKNOWN

    def _edit(self, session: CliSession, line: str) -> str:
        match line.split(maxsplit=2):
            case ["set", key, value] if re.fullmatch(r"[a-z-]+", key):
                self.candidate[key] = value
                return ""
            case ["unset", key]:
                return "" if self.candidate.pop(key, None) is not None else f"% Unknown key {key}"
            case ["clear"]:
                self.candidate = {}
                return ""
            case ["diff"]:
                return _compared(self.running, self.candidate)
            case ["check"]:
                return "" if "hostname" in self.candidate else "% Invalid: no hostname"
            case ["commit", *rest]:
                return self._commit(" ".join(rest))
            case ["abort"]:
                self.candidate = dict(self.running)
                return ""
            case ["exit"]:
                session.mode, self.editor = "", None
                return ""
        return self._exec(session, line) if line != "configure" else UNKNOWN

    def _commit(self, rest: str) -> str:
        if "hostname" not in self.candidate:
            return "% Invalid: no hostname"
        timed = re.fullmatch(r"within (\d+) id (\S+)", rest)
        if rest and not timed:
            return UNKNOWN
        before, self.running = self.running, dict(self.candidate)
        if timed:
            self.timer.arm(int(timed[1]), lambda: self._restore(before), timed[2])
        return "Committed"

    def _restore(self, before: dict[str, str]) -> None:
        self.running = before


def _lines(config: dict[str, str]) -> str:
    return "".join(f"set {key} {value}\n" for key, value in sorted(config.items()))


def _compared(old: dict[str, str], new: dict[str, str]) -> str:
    keys = sorted(old.keys() | new.keys())
    gone = [f"- set {key} {old[key]}" for key in keys if key in old and old.get(key) != new.get(key)]
    come = [f"+ set {key} {new[key]}" for key in keys if key in new and old.get(key) != new.get(key)]
    return "\n".join(gone + come)
