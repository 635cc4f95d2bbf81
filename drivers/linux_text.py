"""What the Linux driver knows of its texts: parts of a change, nftables scripts, tc lines. Pure.

A change has parts, each with a heading: `%% nft` holds commands for `nft -f`, `%% tc` lines for `tc -batch`,
`%% networkd NAME` the whole of a file, `%% networkd NAME absent` takes a file away.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

_HEAD = re.compile(r"%% (?:(nft)|(tc)|networkd (\S+)( absent)?)\s*$")
_FILE = re.compile(r"[\w][\w@\-]*(?:\.[\w@\-]+)*\.(?:network|netdev|link)")
_OBJECT = (
    r"(?:table|chain|rule|set|map|element|counter|quota|limit|flowtable|secmark|synproxy"
    r"|ct (?:helper|timeout|expectation))"
)
_STATEMENT = re.compile(
    rf"(?:(?:add|insert|replace|delete|destroy|flush|create|rename)\s+)?{_OBJECT}\s+"
    r"(?:(ip6?|inet|arp|bridge|netdev)\s+)?([A-Za-z_][\w./\-]*)"
)
_TC = re.compile(r"(qdisc|class|filter) (add|change|replace|del|delete) dev ([\w.\-@]+)\b(.*)")
_DYNAMIC = re.compile(
    r"(\n\t(?:set|map) \S+ \{\n(?:(?!\t\}).*\n)*?\t\tflags [^\n]*dynamic[^\n]*\n)((?:.*\n)*?)\t\}\n"
)
_ELEMENTS = re.compile(r"\t\telements = \{[^}]*\}\n")
_TABLE = re.compile(r"^table (\S+ \S+) \{.*?^\}$", re.MULTILINE | re.DOTALL)
ROOT = ("root", "ingress", "clsact")


class BadChange(Exception):
    """A change that cannot be understood; its text says which line and what is expected."""


@dataclass(slots=True)
class Parts:
    """The parts of a change. `files`: name to contents, None to take it away."""

    nft: str = ""
    tc: list[str] = field(default_factory=list)
    files: dict[str, str | None] = field(default_factory=dict)


def parse(text: str) -> Parts:
    """Return the parts of a change; BadChange if a line belongs to none, or a name or line is not one of ours."""
    parts, lines, kind = Parts(), list[str](), ""
    for raw in [*text.splitlines(), "%% tc"]:
        head = _HEAD.match(raw)
        if head is None:
            if raw.startswith("%%") or (not kind and raw.strip()):
                raise BadChange(
                    f"{raw[:60]!r} is in no part; expected %% nft, %% tc or %% networkd NAME before it"
                )
            lines.append(raw)
            continue
        _keep(parts, kind, lines)
        lines = []
        kind = "nft" if head[1] else "tc" if head[2] else f"file {head[3]}"
        if head[3]:
            if not _FILE.fullmatch(head[3]):
                raise BadChange(
                    f"{head[3]!r} is no name for networkd; expected NAME.network, .netdev or .link"
                )
            if head[4]:
                parts.files[head[3]] = None
                kind = ""
    tables(parts.nft)
    return parts


def _keep(parts: Parts, kind: str, lines: list[str]) -> None:
    if kind == "nft":
        parts.nft += "".join(f"{line}\n" for line in lines)
    elif kind == "tc":
        for line in filter(None, map(str.strip, lines)):
            if not _TC.match(line):
                raise BadChange(
                    f"{line!r} is no tc line; expected qdisc|class|filter add|replace|del dev ..."
                )
            parts.tc.append(line)
    elif kind:
        parts.files[kind.removeprefix("file ")] = "".join(f"{line}\n" for line in lines)


def tables(script: str) -> tuple[tuple[str, str], ...] | None:
    """Return (family, table) of all that an nft script touches; None for the whole ruleset.

    BadChange for includes, variables and what else hides what is touched.
    """
    touched: dict[tuple[str, str], None] = {}
    depth = 0
    for raw in script.splitlines():
        line = raw.strip()
        if not depth and line and not line.startswith("#"):
            if re.match(r"flush\s+ruleset\s*;?$", line):
                return None
            found = _STATEMENT.match(line)
            if found is None or ";" in line.partition("{")[0]:
                raise BadChange(f"{line[:60]!r} is no nft command that can be taken back")
            touched[(found[1] or "ip", found[2])] = None
        bare = re.sub(r'"[^"]*"|#.*', "", line)
        depth += bare.count("{") - bare.count("}")
    return tuple(touched)


def restoring(ruleset: str, touched: tuple[tuple[str, str], ...] | None) -> str:
    """Return the nft script that brings these tables of a listed ruleset back, in one transaction."""
    if touched is None:
        return f"flush ruleset\n{ruleset}"
    blocks = dict(_blocks(ruleset))
    script = []
    for family, name in touched:
        script.append(f"add table {family} {name}\ndelete table {family} {name}\n")
        script.append(blocks.get(f"{family} {name}", ""))
    return "".join(script) or "#\n"


def _blocks(ruleset: str) -> list[tuple[str, str]]:
    return [(each[1], f"{each[0]}\n") for each in _TABLE.finditer(ruleset)]


def steady(ruleset: str) -> str:
    """Return a listed ruleset, or a text that holds one, without what packets put into its dynamic sets.

    Tables come in the order of their names: the device lists them in the order in which they were made, and a
    table that was taken back is made anew.
    """
    blocks = sorted(_blocks(ruleset))
    there = iter(blocks)
    ordered = _TABLE.sub(lambda _: next(there)[1].rstrip("\n"), ruleset)
    return _DYNAMIC.sub(lambda found: f"{found[1]}{_ELEMENTS.sub('', found[2])}\t}}\n", ordered)


def device(line: str) -> str:
    """Return the interface of a tc line."""
    found = _TC.match(line)
    assert found is not None
    return found[3]


def _key(line: str) -> tuple[str, ...]:
    """Return what a tc line is about: another line with the same key replaces it."""
    found = _TC.match(line)
    assert found is not None
    words = found[4].partition("#")[0].split()
    told = dict(pairwise(words))
    if found[1] == "class":
        return "class", found[3], told.get("classid", "")
    where = next((word for word in ROOT if word in words), told.get("parent", ""))
    if found[1] == "qdisc":
        return "qdisc", found[3], where
    return "filter", found[3], where, *(told.get(each, "") for each in ("prio", "pref", "handle"))


def recorded(record: list[str], lines: list[str]) -> list[str]:
    """Return the record of tc lines, which rebuilds an interface from nothing, after these lines."""
    for line in lines:
        found, key = _TC.match(line), _key(line)
        assert found is not None
        if found[2] in {"del", "delete"}:
            record = [each for each in record if not _falls(each, key)]
        elif key in (keys := [_key(each) for each in record]):
            record = [line if keys[n] == key else each for n, each in enumerate(record)]
        else:
            record = [*record, line]
    return record


def _falls(line: str, gone: tuple[str, ...]) -> bool:
    """Return whether a recorded line goes when `gone` is deleted: itself, and what hangs on it."""
    key = _key(line)
    if key[1] != gone[1]:
        return False
    if gone[0] == "qdisc" and gone[2] in ROOT:
        side = key[2] if key[2] in ROOT else "ingress" if key[2].startswith("ffff:") else "root"
        return side == gone[2] or {side, gone[2]} == {"ingress", "clsact"}
    if gone[0] == "class":
        return key == gone or (key[0] != "class" and (key[2] == gone[2] or f"flowid {gone[2]}" in line))
    if gone[0] == "filter" and not gone[-1]:
        return key[0] == "filter" and key[2:5] == gone[2:5]
    return key == gone


def shaping(port: str, side: str, address: str, rate_bps: int, minor: int, key: str) -> list[str]:
    """Return the tc lines that hold one address to a rate on a port with `htb` as 1: (`side`: dst or src)."""
    mark = f"# edge:{key}"
    return [
        f"class replace dev {port} parent 1: classid 1:{minor:x} htb rate {rate_bps}bit ceil {rate_bps}bit {mark}",
        (
            f"filter replace dev {port} parent 1: protocol ip prio 10 handle 800::{minor:x}"
            f" u32 match ip {side} {address}/32 flowid 1:{minor:x} {mark}"
        ),
    ]


def unshaping(record: list[str], key: str) -> list[str]:
    """Return the tc lines that take away what carries this mark, filters before their classes."""
    lines: list[str] = []
    for line in record:
        if line.endswith(f"# edge:{key}"):
            kind, dev, *rest = _key(line)
            if kind == "filter":
                lines.insert(
                    0, f"filter del dev {dev} parent {rest[0]} protocol ip prio 10 handle {rest[-1]} u32"
                )
            elif kind == "class":
                lines.append(f"class del dev {dev} classid {rest[0]}")
    return lines


def free_minor(record: list[str], taken: int = 0) -> int:
    """Return a class number that no recorded line has, from 0x100 to 0xffe; 0 if all are taken."""
    used = {int(each, 16) for line in record for each in re.findall(r"classid 1:([0-9a-f]+)", line)}
    return next((n for n in range(0x100, 0xFFF) if n not in used and n != taken), 0)
