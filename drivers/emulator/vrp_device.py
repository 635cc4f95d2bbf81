"""What emulated VRP5 and VRP8 devices share: views, a small configuration, pages, questions, error texts."""

from __future__ import annotations

import copy
import re

from drivers.emulator.cli import CliDevice, CliSession, SessionEnded

Store = dict[str, list[str]]  # the commands of each view; "" is the system view

UNKNOWN = "                    ^\nError: Unrecognized command found at '^' position."
WRONG = "                    ^\nError: Wrong parameter found at '^' position."
_ONE_VALUE = (
    "sysname",
    "description",
    "mtu",
    "port link-type",
    "port default vlan",
    "qos lr inbound",
    "qos lr outbound",
)
_GLOBAL = re.compile(
    r"(?:sysname \S+|snmp-agent .+|ntp-service .+|vlan batch [\d to]+|local-user .+|sftp server enable)"
)
_PORT = re.compile(
    r"(?:description .+|mtu \d+|port (?:link-type|default vlan) \S+|ip address [\d. ]+|shutdown|"
    r"qos lr (?:in|out)bound .+)"
)
FIRST: Store = {
    "": [
        "local-user edge password irreversible-cipher $1c$n0tre4l-c1pher$",
        "sysname HUAWEI",
        "vlan batch 10",
    ],
    "interface GigabitEthernet0/0/1": ["shutdown"],
    "interface GigabitEthernet0/0/2": ["description uplink", "ip address 192.0.2.1 255.255.255.0"],
    "interface LoopBack0": ["ip address 198.51.100.1 255.255.255.255"],
}
PORTS = """Interface                     PHY     Protocol Description
GE0/0/1                       *down   down
GE0/0/2                       up      up       uplink"""
NEIGHBORS = """GigabitEthernet0/0/2 has 1 neighbor(s):

Neighbor index                     :1
Chassis type                       :macAddress
Chassis ID                         :00e0-fc12-3456
Port ID type                       :interfaceName
Port ID                            :GigabitEthernet0/0/9
Port description                   :to access
System name                        :core1
"""


class VrpDevice(CliDevice):
    """One device with one level of views. `CliSession.mode`: "" user view, "system", or the command of a view."""

    more = "  ---- More ----"
    loses_undo = ""  # a command whose undo is accepted and does nothing

    def __init__(self, *, model: str, version: str, release: str, product: str) -> None:
        super().__init__("HUAWEI")
        self.model, self.version, self.release, self.product = model, version, release, product
        self.running: Store = copy.deepcopy(FIRST)
        self.startup: Store = copy.deepcopy(FIRST)
        self.page_lines = 24
        self.asks: dict[str, str] = {}  # a configuration line, and what the device asks before it takes it

    def name(self) -> str:
        """Return the host name in force."""
        return next(line.split()[1] for line in self.running[""] if line.startswith("sysname"))

    def show(self, store: Store) -> str:
        """Return a configuration as it is displayed."""
        out = [f"!Software Version {self.release}", "!Last configuration was updated at 2026-11-21 10:00:00"]
        for view, lines in store.items():
            out += ["#", *([view] if view else [])]
            out += [f" {line}" if view else line for line in lines]
        return "\n".join([*out, "#", "return"])

    def version_text(self) -> str:
        """Return the answer to `display version`."""
        return (
            "Huawei Versatile Routing Platform Software\n"
            f"VRP (R) software, Version {self.version} ({self.product} {self.release})\n"
            f"HUAWEI {self.model} uptime is 1 week, 2 days, 3 hours, 4 minutes"
        )

    def display(self, words: str) -> str | None:
        """Return the answer to a display command, or None if it is another one."""
        match words:
            case "display version":
                return self.version_text()
            case "display esn":
                return "ESN of slot 0: 2102351820"
            case "display current-configuration":
                return self.show(self.running)
            case "display saved-configuration":
                return self.show(self.startup)
            case "display lldp neighbor":
                return NEIGHBORS
            case "display interface description":
                return PORTS
        return None

    async def configure(self, session: CliSession, store: Store, line: str) -> str:
        """Take one configuration line into a store."""
        if line in self.asks:
            answer = await session.ask(f"{self.asks[line]} [Y/N]:")
            if answer.strip().lower() != "y":
                return ""
        view = "" if session.mode == "system" else session.mode
        opened = re.fullmatch(r"(undo )?(interface (?:GigabitEthernet0/0/[1-4]|LoopBack\d))", line)
        if opened and opened[1]:
            return "" if store.pop(opened[2], None) is not None else WRONG
        if opened:
            store.setdefault(opened[2], [])
            session.mode = opened[2]
            return ""
        if line.startswith("interface "):
            return WRONG
        bare = line.removeprefix("undo ")
        grammar = _PORT if view else _GLOBAL
        short = any(bare == head for head in _ONE_VALUE)
        if not grammar.fullmatch(bare) and not (line != bare and short):
            return UNKNOWN
        _edit(store.setdefault(view, []), bare, undo=line != bare, keep=bare == self.loses_undo)
        return ""

    async def _print(self, session: CliSession, text: str) -> None:
        """Print in pages; a page is wiped with cursor movements, as VRP does."""
        lines = text.splitlines()
        for number, line in enumerate(lines, 1):
            session.write(f"{line}\n")
            if session.page_lines and number % session.page_lines == 0 and number < len(lines):
                session.write(self.more)
                await session.key()
                session.write("\x1b[42D" + " " * 42 + "\x1b[42D")

    def leave(self, session: CliSession) -> None:
        """Go one view up."""
        session.mode = {"": "", "system": ""}.get(session.mode, "system")

    def common(self, session: CliSession, line: str) -> str | None:
        """Answer what every view answers, or return None."""
        shown = self.display(line)
        if shown is not None:
            return shown
        if not session.mode:
            if not session.memory:
                session.page_lines, session.memory["seen"] = self.page_lines, "yes"
            if line == "screen-length 0 temporary":
                session.page_lines = 0
                return "Info: The configuration takes effect on the current user terminal interface only."
            if line == "undo terminal monitor":
                return "Info: Current terminal monitor is off."
            if line == "quit":
                raise SessionEnded
        return None


def _edit(lines: list[str], bare: str, *, undo: bool, keep: bool) -> None:
    vlan = re.fullmatch(r"vlan batch ([\d to]+)", bare)
    if vlan:
        there = next((each for each in lines if each.startswith("vlan batch")), "")
        numbers = {int(each) for each in there.split()[2:]}
        wanted = {int(each) for each in vlan[1].split()}
        left = sorted(numbers - wanted if undo else numbers | wanted)
        lines[:] = [each for each in lines if each != there]
        if left:
            lines.append("vlan batch " + " ".join(map(str, left)))
        lines.sort()
        return
    head = next((each for each in _ONE_VALUE if bare.startswith(each)), bare)
    if not keep:
        gone = bare if undo and bare != head else head
        lines[:] = [each for each in lines if each != gone and not each.startswith(f"{gone} ")]
    if not undo:
        lines.append(bare)
        lines.sort()
