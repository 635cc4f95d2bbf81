"""FRR configuration as text: indented blocks are merged, frr-reload's delta is read. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NOISE = re.compile(
    r"\s*(?:!.*|end|exit|exit-address-family|exit-vrf|exit-vnc|exit-ldp-if|configure terminal)\s*$"
)
_HEAD = re.compile(r"(?:Building configuration\.\.\.|Current configuration:)\s*$")
_CLOSERS = {"address-family": "exit-address-family", "vrf": "exit-vrf"}


@dataclass(slots=True)
class Block:
    """One line and the lines inside it."""

    line: str
    inside: list[Block] = field(default_factory=list)


def parse(text: str) -> Block:
    """Return the tree of a configuration; indentation nests, and closing lines are left out."""
    root = Block("")
    open_blocks: list[tuple[int, Block]] = [(-1, root)]
    for raw in text.splitlines():
        if not raw.strip() or _NOISE.match(raw) or _HEAD.match(raw):
            continue
        depth = len(raw) - len(raw.lstrip())
        while open_blocks[-1][0] >= depth:
            open_blocks.pop()
        block = Block(" ".join(raw.split()))
        open_blocks[-1][1].inside.append(block)
        open_blocks.append((depth, block))
    return root


def merge(into: Block, change: Block) -> None:
    """Bring the lines of a change in. `no LINE` takes out LINE, and what starts with its words."""
    for wanted in change.inside:
        if wanted.line.startswith("no "):
            line = wanted.line.removeprefix("no ")
            kept = [
                each for each in into.inside if each.line != line and not each.line.startswith(f"{line} ")
            ]
            if len(kept) < len(into.inside):
                into.inside = kept
                continue
        there = next((each for each in into.inside if each.line == wanted.line), None)
        if there is None:
            there = Block(wanted.line)
            if not wanted.line.startswith("no ") or _is_switch(wanted.line):
                into.inside.append(there)
        merge(there, wanted)


def _is_switch(line: str) -> bool:
    """Return whether a `no` line stands in a running configuration by itself, as its default is on."""
    return line.startswith(
        ("no ipv6 forwarding", "no ip forwarding", "no bgp ", "no neighbor", "no shutdown")
    )


def render(root: Block) -> str:
    """Return the tree as text, blocks closed."""
    lines: list[str] = []

    def put(block: Block, depth: int) -> None:
        lines.append(" " * depth + block.line)
        for each in block.inside:
            put(each, depth + 1)
        if block.inside:
            closer = _CLOSERS.get(block.line.split()[0], "exit")
            lines.append(" " * depth + closer)

    for each in root.inside:
        put(each, 0)
    return "\n".join(lines) + "\n"


def merged(running: str, change: str) -> str:
    """Return the running configuration with the change merged into it."""
    tree = parse(running)
    merge(tree, parse(change))
    return render(tree)


def delta(output: str) -> tuple[str, int, int]:
    """Return (lines with - and +, added, removed) from what `frr-reload.py --test` prints."""
    sign, lines = "", []
    for line in output.splitlines():
        if line.startswith("Lines To Delete"):
            sign = "-"
        elif line.startswith("Lines To Add"):
            sign = "+"
        elif sign and line.strip() and not set(line.strip()) <= {"="}:
            lines.append(f"{sign} {line.rstrip()}")
    added = sum(line.startswith("+") for line in lines)
    return "\n".join(lines), added, len(lines) - added
