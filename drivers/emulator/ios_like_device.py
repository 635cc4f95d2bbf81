"""What emulated IOS, IOS-XR and EOS have in common: paging, modes of a configuration, interfaces, neighbours."""

from __future__ import annotations

from drivers.emulator.blocks import Block, enter, known, opens
from drivers.emulator.cli import CliDevice, CliSession

INVALID = "             ^\n% Invalid input detected at '^' marker."

INTERFACES = """GigabitEthernet0/0 is up, line protocol is up
  Hardware is iGbE, address is 0050.56aa.0001 (bia 0050.56aa.0001)
  Description: uplink to core1
  MTU 1500 bytes, BW 1000000 Kbit/sec, DLY 10 usec,
GigabitEthernet0/1 is administratively down, line protocol is down
  Hardware is iGbE, address is 0050.56aa.0002 (bia 0050.56aa.0002)
  MTU 1500 bytes, BW 100000 Kbit/sec, DLY 100 usec,"""

LLDP = """------------------------------------------------
Local Intf: Gi0/0
Chassis id: 0050.56bb.0001
Port id: Gi0/2
Port Description: to r1
System Name: core1.example.net

Management Addresses:
    IP: 192.0.2.254

Total entries displayed: 1"""

CDP = """-------------------------
Device ID: core1.example.net
Entry address(es):
  IP address: 192.0.2.254
Platform: cisco ISR4331/K9,  Capabilities: Router Switch
Interface: GigabitEthernet0/0,  Port ID (outgoing port): GigabitEthernet0/2
Holdtime : 155 sec"""

_MODES = {
    "interface": "if",
    "router": "router",
    "archive": "archive",
    "line": "line",
    "policy-map": "pmap",
    "class": "pmap-c",
    "prefix-set": "pfx",
    "route-policy": "rpl",
    "address-family": "af",
    "crypto": "cert-chain",
    "certificate": "pubkey",
}


class Editor:
    """Where one session stands in a configuration that it edits."""

    def __init__(self, config: Block) -> None:
        self.config = config
        self.path: list[tuple[str, Block]] = []

    @property
    def mode(self) -> str:
        """Return what stands in the prompt after `config`."""
        if not self.path:
            return ""
        word = self.path[-1][0].split()[0]
        return f"-{_MODES.get(word, word)}"

    @property
    def here(self) -> Block:
        """Return the innermost block."""
        return self.path[-1][1] if self.path else self.config

    def type(self, line: str) -> str:
        """Take one line; return what is wrong with it.

        A block is left by itself for a line that makes no sense inside. `vrf` does inside `grpc`, which is
        how a pasted configuration goes astray that leaves no block.
        """
        if not known(line):
            return INVALID
        if opens(line) and self.path and not _fits(self.path[-1][0], line):
            self.path.clear()
        elif self.path and self.path[-1][0] == "grpc" and line.startswith("description"):
            return INVALID
        inside = enter(self.here, line)
        if inside is not None:
            self.path.append((line, inside))
        return ""

    def leave(self) -> bool:
        """Go out of one block; False at the top."""
        if not self.path:
            return False
        self.path.pop()
        return True


def _fits(head: str, line: str) -> bool:
    return (head.split(maxsplit=1)[0], line.split(maxsplit=1)[0]) in {
        ("policy-map", "class"),
        ("vrf", "address-family"),
        ("router", "address-family"),
        ("router", "neighbor"),
        ("neighbor", "address-family"),
        ("grpc", "vrf"),
        ("crypto", "certificate"),
    }


class IosLikeDevice(CliDevice):
    """A device that pages until `terminal length 0`, and keeps its sessions' editors."""

    more = " --More-- "

    def __init__(self, hostname: str) -> None:
        super().__init__(hostname)
        self.page_lines = 4
        self.editors: dict[int, Editor] = {}

    def ended(self, session: CliSession) -> None:
        """Forget the editor of a session."""
        self.editors.pop(session.number, None)

    def _terminal(self, session: CliSession, line: str) -> str | None:
        """Answer terminal settings; None for any other command."""
        if not session.memory.get("seen"):
            session.page_lines, session.memory["seen"] = self.page_lines, "yes"
        if line == "terminal length 0":
            session.page_lines = 0
        return "" if line.startswith("terminal ") else None

    def name_of(self, config: Block) -> str:
        """Return the host name that a configuration sets."""
        told = next((line for line in config.lines if line.startswith("hostname ")), "")
        return told.removeprefix("hostname ") or self.hostname
