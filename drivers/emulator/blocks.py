"""Indented configurations of emulated devices: blocks, `no`, lines of which there is only one, diffs. Pure."""

from __future__ import annotations

import copy
import re

# Lines of which a block has only one: a new one takes the place of the old.
_SINGLE = (
    "hostname",
    "description",
    "snmp-server location",
    "ip address",
    "ipv4 address",
    "encapsulation",
    "service-policy output",
    "banner motd",
)
_BLOCKS = re.compile(
    r"(?:interface|router|archive|line|username \S+$|vrf|policy-map|class|prefix-set|route-policy|address-family"
    r"|grpc|neighbor \S+$|crypto pki certificate chain|certificate|vlan \d+$|management)\b"
)
_KNOWN = re.compile(
    r"(?:no )?(?:hostname|interface|router|archive|line|vrf|policy-map|class|prefix-set|end-set|route-policy|end-policy"
    r"|address-family|grpc|neighbor|description|ip|ipv4|ipv6|snmp-server|encapsulation|service-policy|shutdown|path"
    r"|username|secret|enable|ntp|banner|version|logging|port|bgp|remote-as|pass|vlan|name|management|crypto|certificate|quit"
    r"|switchport|transport|aaa|maximum|\d[\d./]*(?: le \d+)?$|[0-9A-F]{8} )"
)


class Block:
    """The lines of a block in their order, each with the block inside it."""

    def __init__(self) -> None:
        self.lines: dict[str, Block] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and list(self.lines.items()) == list(other.lines.items())

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Block:
        """Return a deep copy."""
        return copy.deepcopy(self)


def opens(line: str) -> bool:
    """Return whether a line opens a block."""
    return _BLOCKS.match(line) is not None


def known(line: str) -> bool:
    """Return whether the device understands a line."""
    return _KNOWN.match(line) is not None


def enter(into: Block, line: str) -> Block | None:
    """Bring one line into a block; return the block that it opens, if it does."""
    if line.startswith("no "):
        gone = line.removeprefix("no ")
        for each in [each for each in into.lines if each == gone or each.startswith(f"{gone} ")]:
            del into.lines[each]
        return None
    only = next((each for each in _SINGLE if line.startswith(f"{each} ")), None)
    old = next((each for each in into.lines if only and each.startswith(f"{only} ")), None)
    if old is not None and old != line:  # in the place of the old one
        into.lines = {line if each == old else each: inside for each, inside in into.lines.items()}
    inside = into.lines.setdefault(line, Block())
    return inside if opens(line) else None


def parse(text: str) -> Block:
    """Return the blocks of a text; the indent nests. A banner is one line with the line feeds inside."""
    root = Block()
    merge(root, text)
    return root


def lines_of(text: str) -> list[str]:
    """Return the lines that mean something; a banner up to its end is one."""
    found: list[str] = []
    ends = ""
    for line in text.splitlines():
        if ends:
            found[-1] += f"\n{line}"
            ends = "" if ends in line else ends
        elif line.strip() and line.strip() not in {"!", "end"} and not line.lstrip().startswith("!"):
            found.append(line.rstrip())
            banner = re.match(r"banner \w+ (.)", line)
            ends = banner[1] if banner and line.count(banner[1]) < 2 else ""
    return found


def render(block: Block, step: int = 1, depth: int = 0, separator: str = "!\n") -> str:
    """Return a block as text."""
    text = ""
    for line, inside in block.lines.items():
        text += f"{' ' * depth}{line}\n{render(inside, step, depth + step, '')}"
        if inside.lines:
            text += separator
    return text


def merge(into: Block, text: str) -> list[str]:
    """Bring a text in and return the lines that were refused."""
    refused = []
    stack: list[tuple[int, Block]] = [(-1, into)]
    for raw in lines_of(text):
        depth = len(raw) - len(raw.lstrip(" "))
        while stack[-1][0] >= depth:
            stack.pop()
        line = raw.strip(" ")
        if not known(line):
            refused.append(line)
            continue
        inside = enter(stack[-1][1], line)
        if inside is not None:
            stack.append((depth, inside))
    return refused


def missing(running: Block, text: str) -> list[str]:
    """Return the lines of a text that would change something, with the heads of their blocks."""
    before = running.copy()
    found: list[str] = []
    stack: list[tuple[int, Block, str]] = [(-1, before, "")]
    for raw in lines_of(text):
        depth = len(raw) - len(raw.lstrip(" "))
        while stack[-1][0] >= depth:
            stack.pop()
        shown = stack[-1][1].copy()
        line = raw.strip(" ")
        inside = enter(stack[-1][1], line)
        if shown != stack[-1][1]:
            for _, _, head in stack:
                if head and head not in found:
                    found.append(head)
            found.append(raw)
        if inside is not None:
            stack.append((depth, inside, raw))
    return found


def differences(old: Block, new: Block, depth: int = 0) -> list[str]:
    """Return lines with + and -, each block with its head where something inside differs."""
    found = []
    for line, inside in old.lines.items():
        if line not in new.lines:
            found.append(f"-{' ' * depth}{line}")
            found.extend(differences(inside, Block(), depth + 1))
    for line, inside in new.lines.items():
        there = old.lines.get(line)
        below = differences(there or Block(), inside, depth + 1)
        if there is None:
            found.append(f"+{' ' * depth}{line}")
        elif below:
            found.append(f" {' ' * depth}{line}")
        found.extend(below)
    return found
