"""An emulated VyOS: a candidate for each session, commit-confirm that reloads or reboots, commits that fail in part."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from drivers.emulator.cli import CliDevice, CliSession, SessionEnded
from drivers.emulator.timer import CommitTimer

Path = tuple[str, ...]
Store = frozenset[Path]

_FIRST: Store = frozenset(
    {
        ("interfaces", "ethernet", "eth0", "address", "192.0.2.1/24"),
        ("interfaces", "ethernet", "eth1", "description", "to customers"),
        ("interfaces", "ethernet", "eth1", "vif", "7", "description", "somebody"),
        ("service", "ssh", "port", "22"),
        ("system", "host-name", "vyos"),
        ("system", "login", "user", "edge", "authentication", "encrypted-password", "$6$n0tre4l$hash"),
    }
)
_RELOAD = ("system", "config-management", "commit-confirm", "action", "reload")
_ROOTS = {"interfaces", "service", "system", "protocols", "policy", "qos"}
_TAGS = {"vif", "vif-s", "vif-c"}
_SINGLE = {"description", "host-name", "port", "action"}
_SAME = "No changes between working and {} configurations.\n"
LLDP = """Interface:    eth0, via: LLDP, RID: 1, Time: 0 day, 00:01:04
  Chassis:
    ChassisID:    mac 50:00:00:01:00:00
    SysName:      core1
    MgmtIP:       192.0.2.9
  Port:
    PortID:       ifname xe-1
    PortDescr:    to vyos
"""
PORTS = """Codes: S - State, L - Link, u - Up, D - Down, A - Admin Down
Interface    IP Address     MAC                VRF        MTU  S/L    Description
-----------  -------------  -----------------  -------  -----  -----  -------------
eth0         192.0.2.1/24   52:54:00:5e:a8:24  default   1500  u/u
eth1         -              52:54:00:d7:d8:3a  default   1500  A/D    to customers"""


class VyosDevice(CliDevice):
    """Configuration is a set of paths. `cut` is called at a reboot; `partial`: a failing commit applies the rest."""

    def __init__(
        self, *, version: str = "1.5-rolling-202410060007", reload: bool = True, scale: float = 1.0
    ) -> None:
        super().__init__("vyos")
        self.version = version
        self.running: Store = _FIRST | ({_RELOAD} if reload else set())
        self.saved: Store = self.running
        self.timer = CommitTimer(scale)
        self.candidates: dict[int, Store] = {}
        self.partial = False
        self.ran: list[str] = []  # what a shell would have run
        self.reboots = 0
        self.cut: Callable[[], None] = lambda: None

    def prompt(self, session: CliSession) -> str:
        """Return the prompt of vbash."""
        name = next(path[2] for path in self.running if path[:2] == ("system", "host-name"))
        return f"[edit]\nedge@{name}# " if session.mode else f"edge@{name}:~$ "

    def ended(self, session: CliSession) -> None:
        """Forget the candidate."""
        self.candidates.pop(session.number, None)

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        try:
            words = shlex.split(line)
        except ValueError:
            words = []
        if not words or re.search(r"[;&`]|\$\(", re.sub(r"'[^']*'", "", line)):
            self.ran.append(line)
            return "vbash: syntax error"
        operational = words[1:] if session.mode and words[0] == "run" else words if not session.mode else []
        if operational:
            return self._operational(session, operational)
        return await self._edit(session, words)

    def _operational(self, session: CliSession, words: list[str]) -> str:
        match words:
            case ["set", "terminal", *_]:
                return ""
            case ["show", "version"]:
                return (
                    f"Version:          VyOS {self.version}\nRelease train:    current\n\n"
                    "Hardware vendor:  QEMU\nHardware model:   Standard PC\nHardware S/N:     V1\n"
                )
            case ["show", "configuration", "commands", *rest]:
                lines = _lines(self.running)
                return "\n".join(line for line in lines if len(rest) < 3 or rest[2] in line)
            case ["show", "interfaces"]:
                return PORTS
            case ["show", "lldp", "neighbors", "detail"]:
                return LLDP
            case ["configure"] if not session.mode:
                session.mode = "configure"
                self.candidates[session.number] = self.running
                return ""
            case ["exit"]:
                raise SessionEnded
        return f"  Invalid command: [{words[0]}]"

    async def _edit(self, session: CliSession, words: list[str]) -> str:
        candidate = self.candidates[session.number]
        match words:
            case [("set" | "delete") as verb, *path]:
                return self._change(session, verb, tuple(path))
            case ["show", "|", "commands"]:
                return "\n".join(_lines(candidate))
            case ["compare"]:
                return _compared(self.running, candidate) or _SAME.format("active")
            case ["compare", "saved"]:
                return _compared(self.saved, candidate) or _SAME.format("saved")
            case ["discard"]:
                self.candidates[session.number] = self.running
                return (
                    "Changes have been discarded"
                    if candidate != self.running
                    else "No changes have been discarded"
                )
            case ["commit", *_] | ["commit-confirm", *_] if candidate == self.running:
                return "No configuration changes to commit"
            case ["commit", *_]:
                return self._commit(session)
            case ["commit-confirm", minutes, *_]:
                return await self._timed(session, int(minutes))
            case ["confirm"]:
                return "Reload timer stopped" if self.timer.confirm() else "No confirm pending"
            case ["save"]:
                self.saved = self.running
                return ""
            case ["exit", "discard"]:
                session.mode = ""
                return ""
        return f"  Invalid command: [{words[0]}]"

    def _change(self, session: CliSession, verb: str, path: Path) -> str:
        candidate = self.candidates[session.number]
        if not path or path[0] not in _ROOTS:
            return f"\n  Configuration path: [{' '.join(path)}] is not valid\n  {verb.capitalize()} failed\n"
        if verb == "delete":
            left = frozenset(each for each in candidate if each[: len(path)] != path)
            if left == candidate:
                return "  Nothing to delete (the specified node does not exist)"
            parent = next((path[:at] for at in range(len(path) - 1, 1, -1) if path[at - 2] in _TAGS), ())
            if parent and not any(each[: len(parent)] == parent for each in left):
                left |= {parent}  # the VLAN stays, with nothing in it
            self.candidates[session.number] = left
            return ""
        same = [
            each for each in candidate if len(path) > 1 and path[-2] in _SINGLE and each[:-1] == path[:-1]
        ]
        empty = {path[:at] for at in range(len(path))}
        self.candidates[session.number] = (candidate - set(same) - empty) | {path}
        return ""

    def _commit(self, session: CliSession) -> str:
        candidate = self.candidates[session.number]
        wrong = [
            path for path in candidate if path[:3] == ("service", "ssh", "port") and not path[3].isdigit()
        ]
        if not wrong:
            self.running = candidate
            return ""
        if self.partial:
            old = {path for path in self.running if path[0] == "service"}
            self.running = frozenset(path for path in candidate if path[0] != "service") | old
        return "[ service ssh ]\nthe port must be a number\n\n[[service ssh]] failed\nCommit failed\n"

    async def _timed(self, session: CliSession, minutes: int) -> str:
        if self.timer.pending:
            return "Another confirm is pending"
        how = "reload" if _RELOAD in self.running else "reboot"
        asked = (
            f"commit-confirm will automatically {how} in {minutes} minutes unless changes\nare confirmed.\n"
        )
        if (await session.ask(f"{asked}\nProceed ? [Y/n] ")).strip().lower() not in {"", "y", "yes"}:
            return "commit-confirm canceled"
        before = self.running
        self.timer.arm(minutes * 60, lambda: self._reload(before) if how == "reload" else self._reboot())
        said = f"Initialized commit-confirm; {minutes} minutes to confirm before {how}\n"
        return said + self._commit(session)

    def _reload(self, before: Store) -> None:
        self.running = before

    def _reboot(self) -> None:
        self.running = self.saved
        self.reboots += 1
        self.cut()


def _lines(store: Store) -> list[str]:
    return [f"set {' '.join(path[:-1])} '{path[-1]}'" for path in sorted(store)]


def _compared(old: Store, new: Store) -> str:
    gone = [f"- {' '.join(path)}" for path in sorted(old - new)]
    return "\n".join([*gone, *(f"+ {' '.join(path)}" for path in sorted(new - old))])
