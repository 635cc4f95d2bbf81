"""An emulated SR OS in model-driven mode: two-line prompts, exclusive and private candidates, confirmed commits."""

from __future__ import annotations

import re
import shlex

from drivers.emulator.cli import CliDevice, CliSession, SessionEnded
from drivers.emulator.timer import CommitTimer

Path = tuple[str, ...]

_FIRST = (
    ("system", "name", '"node-1"'),
    ("system", "location", '"rack 1"'),
    ("system", "security", "user-params", "local-user", "user", '"admin"', "password", '"$2y$10$n0tre4l"'),
    ("service", "vpls", '"access"', "admin-state", "enable"),
    ("service", "vpls", '"access"', "sap", "1/1/2:7", "description", '"somebody"'),
)
_HELD = (
    "MINOR: MGMT_CORE #2052: Exclusive datastore access unavailable - "
    "model-driven interface editing global candidate"
)
_UNKNOWN = "MINOR: MGMT_CORE #2201: Unknown element - '{}'"
_ROOTS = {"system", "service", "router", "port", "policy-options"}
LLDP = """===============================================================================
Link Layer Discovery Protocol (LLDP) System Information
===============================================================================
Lcl Port      Scope Remote Chassis ID  Index  Remote Port     Remote System Name
-------------------------------------------------------------------------------
1/1/c1/1      NB    0C:00:BE:27:00:00  1      1/1/c2/1, 100-* PE2
"""


class SrosDevice(CliDevice):
    """Configuration is a set of leaf paths. `CliSession.mode`: "" operational, "ex" or "pr"."""

    more = "Press Q to quit, Enter to print next line or any other key to print next page."

    def __init__(
        self,
        *,
        model: str = "7750 SR-1",
        version: str = "B-22.10.R1",
        mode: str = "model-driven",
        old_prompt: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__("node-1")
        self.model, self.version, self.config_mode, self.old_prompt = model, version, mode, old_prompt
        self.running: frozenset[Path] = frozenset(_FIRST)
        self.saved: list[frozenset[Path]] = [self.running]  # the newest first
        self.timer = CommitTimer(scale)
        self.owner: CliSession | None = None  # of the confirmed commit
        self.editor: CliSession | None = None  # in exclusive mode
        self.candidates: dict[int, frozenset[Path]] = {}
        self.page_lines = 8

    def prompt(self, session: CliSession) -> str:
        """Return the context line and the prompt."""
        star = "*" if self.candidates.get(session.number, self.running) != self.running else ""
        where = f"({session.mode})[/configure]" if session.mode else "[/]"
        if self.old_prompt and session.mode:
            where = f"[{session.mode}:/configure]"
        name = next(path[2] for path in sorted(self.running) if path[:2] == ("system", "name"))
        return f"\n{star}{where}\nA:admin@{shlex.split(name)[0]}# "

    def ended(self, session: CliSession) -> None:
        """Take back what the session has not accepted; give the lock and the candidate back."""
        self.candidates.pop(session.number, None)
        if self.owner is session:
            self.timer.lapse()
        if self.editor is session:
            self.editor = None

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        if not session.memory:
            session.page_lines, session.memory["seen"] = self.page_lines, "yes"
        match line.lstrip("/").split():
            case ["environment", "more", "false"]:
                session.page_lines = 0
                return ""
            case ["environment", *_] | ["top"]:
                return ""
            case ["show", "system", "information"]:
                return self._information()
            case ["show", "system", "lldp", "neighbor"]:
                return LLDP
            case ["admin", "display-config"] | ["admin", "show", "configuration"]:
                head = f"# TiMOS-{self.version} cpm/x86_64\n# Generated SAT NOV 21 2026"
                return f"{head}\n{_shown(self.running)}# Finished"
            case ["admin", "save"]:
                self.saved.insert(0, self.running)
                return "Writing configuration to cf3:\\config.cfg\nSaving configuration ... OK\nCompleted."
        return await (self._edit(session, line) if session.mode else self._operational(session, line))

    def _information(self) -> str:
        return (
            "=" * 70 + "\nSystem Information\n" + "=" * 70 + f"\nSystem Name            : node-1\n"
            f"System Type            : {self.model}\nSystem Version         : {self.version}\n"
            f"System Up Time         : 3 days, 02:10:15.34 (hr:min:sec)\n"
            f"Configuration Mode Cfg : {self.config_mode}\nConfiguration Mode Oper: {self.config_mode}"
        )

    async def _operational(self, session: CliSession, line: str) -> str:
        match line.split():
            case ["configure", ("exclusive" | "private") as how]:
                if how == "exclusive" and self.editor not in {None, session}:
                    return _HELD
                session.mode = how[:2]
                self.editor = session if how == "exclusive" else self.editor
                self.candidates[session.number] = self.running
                return f"INFO: CLI #2060: Entering {how} configuration mode"
            case ["logout"]:
                raise SessionEnded
        return _UNKNOWN.format(line.split(maxsplit=1)[0])

    async def _edit(self, session: CliSession, line: str) -> str:
        candidate = self.candidates[session.number]
        match line.split():
            case ["compare"]:
                return _compared(self.running, candidate)
            case ["validate"]:
                return _invalid(candidate)
            case ["discard"]:
                self.candidates[session.number] = self.running
                return ""
            case ["info"]:
                return "\n".join(_lines(candidate))
            case ["commit", "confirmed", ("accept" | "cancel") as how]:
                return self._finish(session, how)
            case ["commit", *rest]:
                return self._commit(session, " ".join(rest))
            case ["rollback", which]:
                number = 0 if which == "startup" else int(which)
                if number >= len(self.saved):
                    return "MINOR: CLI #2069: Operation failed - rollback file does not exist"
                self.candidates[session.number] = self.saved[number]
                return ""
            case ["exit", "all"]:
                session.mode = ""
                self.candidates.pop(session.number)
                self.editor = None if self.editor is session else self.editor
                return "INFO: CLI #2064: Exiting configuration mode"
        return self._set(session, line)

    def _set(self, session: CliSession, line: str) -> str:
        deleting = line.startswith("delete ")
        try:
            path = _split(line.removeprefix("delete ").removeprefix("/configure "))
        except ValueError:
            return "MINOR: CLI #2004: Missing closing quote"
        candidate = self.candidates[session.number]
        if not path or path[0] not in _ROOTS:
            return _UNKNOWN.format(path[0] if path else "")
        if deleting:
            if not _under(candidate, path):
                return f"MINOR: MGMT_CORE #2202: Element not found - '{' '.join(path)}'"
            self.candidates[session.number] = candidate - frozenset(_under(candidate, path))
            return ""
        if len(path) < 3:
            return _UNKNOWN.format(path[-1])
        self.candidates[session.number] = frozenset(each for each in candidate if each[:-1] != path[:-1]) | {
            path
        }
        return ""

    def _commit(self, session: CliSession, rest: str) -> str:
        if self.timer.pending:
            return "MINOR: MGMT_CORE #2604: Commit confirmed in progress"
        wrong = _invalid(self.candidates[session.number])
        if wrong:
            return wrong
        timed = re.fullmatch(r"confirmed (\d+)", rest)
        if rest and not timed and not rest.startswith("comment "):
            return _UNKNOWN.format(rest)
        before, self.running = self.running, self.candidates[session.number]
        if timed:
            self.owner = session
            self.timer.arm(int(timed[1]) * 60, lambda: self._revert(before))
        return ""

    def _finish(self, session: CliSession, how: str) -> str:
        if not self.timer.pending or self.owner is not session:
            return "MINOR: MGMT_CORE #2605: Commit confirmed is not in progress"
        if how == "accept":
            self.timer.confirm()
        else:
            self.timer.lapse()
        self.owner = None
        return ""

    def _revert(self, before: frozenset[Path]) -> None:
        self.running, self.owner = before, None


def _split(text: str) -> Path:
    """Return the words of a path; quoted words keep their quotes."""
    if text.count('"') % 2:
        raise ValueError(text)
    return tuple(re.findall(r'"[^"]*"|\S+', text))


def _under(store: frozenset[Path], path: Path) -> list[Path]:
    return sorted(each for each in store if each[: len(path)] == path)


def _lines(store: frozenset[Path]) -> list[str]:
    """Return nested text: one block for each first word."""
    out: list[str] = []
    for root in sorted({path[0] for path in store}):
        out += [f"{root} {{", *(f"    {' '.join(path[1:])}" for path in _under(store, (root,))), "}"]
    return out


def _shown(store: frozenset[Path]) -> str:
    body = "".join(f"    {line}\n" for line in _lines(store))
    return f"configure {{\n{body}}}\npersistent-indices {{\n    none\n}}\n"


def _compared(old: frozenset[Path], new: frozenset[Path]) -> str:
    gone = [f"-   {' '.join(path)}" for path in sorted(old - new)]
    return "\n".join([*gone, *(f"+   {' '.join(path)}" for path in sorted(new - old))])


def _invalid(store: frozenset[Path]) -> str:
    if not any(path[:2] == ("system", "name") for path in store):
        return "MINOR: MGMT_CORE #3001: configure system name - Missing mandatory element"
    return ""
