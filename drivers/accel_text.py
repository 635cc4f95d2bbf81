"""accel-ppp's configuration file and session table as text. Pure."""

from __future__ import annotations

import re

from drivers.model import Finding, Severity

_SECTION = re.compile(r"\[([\w\-]+)\]\s*(?:#.*)?$")
_REMOVE = re.compile(r"-([\w\-.]+)(=.*)?$")
# Keys that stand several times in one section: another value is another line, not a new value.
_REPEATED = {
    ("pppoe", "interface"),
    ("ipoe", "interface"),
    ("radius", "server"),
    ("client-ip-range", ""),
    ("pppoe", "service-name"),
    ("pppoe", "vlan-mon"),
    ("ipoe", "vlan-mon"),
    ("ipoe", "gw-ip-address"),
    ("ipoe", "local-net"),
    ("ipoe", "relay"),
    ("dns", "dns"),
    ("ipv6-dns", "dns"),
}
COLUMNS = "sid,state,ip,username"  # the name comes last: it may hold what looks like a column's border


def merged(running: str, change: str) -> str:
    """Return the file with the change merged in.

    A change has sections of its own: `key=value` sets a key (or adds a line, for a key that may stand several
    times), `key` alone switches on, `-key` takes all lines of a key out, `-key=value` that very line.
    """
    lines = running.splitlines()
    section = ""
    for raw in change.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if found := _SECTION.match(line):
            section = found[1]
        elif out := _REMOVE.match(line):
            lines = _without(lines, section, out[1] + (out[2] or ""), whole=bool(out[2]))
        else:
            lines = _with(lines, section, line)
    return "\n".join(lines).rstrip("\n") + "\n"


def _places(lines: list[str], section: str) -> list[int]:
    """Return the numbers of the lines inside a section, comments and empty lines left out."""
    here, places = "", []
    for number, line in enumerate(lines):
        if found := _SECTION.match(line.strip()):
            here = found[1]
        elif here == section and line.strip() and not line.lstrip().startswith("#"):
            places.append(number)
    return places


def _key(line: str) -> str:
    return line.partition("=")[0].strip()


def _without(lines: list[str], section: str, what: str, *, whole: bool) -> list[str]:
    gone = {
        number
        for number in _places(lines, section)
        if (lines[number].strip() == what if whole else _key(lines[number]) == what)
    }
    return [line for number, line in enumerate(lines) if number not in gone]


def _with(lines: list[str], section: str, line: str) -> list[str]:
    places = _places(lines, section)
    if any(lines[number].strip() == line for number in places):
        return lines
    same = [number for number in places if _key(lines[number]) == _key(line)]
    if len(same) == 1 and (section, _key(line)) not in _REPEATED:
        return [line if number == same[0] else each for number, each in enumerate(lines)]
    head = next((n for n, each in enumerate(lines) if each.strip().startswith(f"[{section}]")), None)
    if head is None:
        return [*lines, "", f"[{section}]", line]
    after = (places[-1] if places else head) + 1
    return [*lines[:after], line, *lines[after:]]


def findings(text: str) -> tuple[Finding, ...]:
    """Return what is wrong with a file; accel-ppp itself only says `failed`."""
    found: list[Finding] = []
    sections = set()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if head := _SECTION.match(line):
            sections.add(head[1])
        elif line.startswith("["):
            found.append(Finding(Severity.ERROR, f"a section without its end: {line[:40]}", f"line {number}"))
        elif not sections:
            found.append(Finding(Severity.ERROR, "a line before the first section", f"line {number}"))
    if "modules" not in sections:
        found.append(Finding(Severity.ERROR, "no section [modules]: no module would be loaded", "[modules]"))
    if "cli" not in sections:
        found.append(
            Finding(Severity.WARNING, "no section [cli]: accel-cmd reaches it by default only", "[cli]")
        )
    return tuple(found)


def sessions(table: str) -> list[dict[str, str]] | None:
    """Return the rows of `show sessions` with COLUMNS; None if this is no such table."""
    lines = [line.rstrip("\r") for line in table.splitlines()]
    border = next((n for n, line in enumerate(lines) if line and set(line) <= {"-", "+"}), None)
    names = COLUMNS.split(",")
    if not border or [each.strip() for each in lines[border - 1].split("|")] != names:
        return None
    marks = [place for place, mark in enumerate(lines[border]) if mark == "+"]
    rows = []
    for line in lines[border + 1 :]:
        if not line.strip():
            continue
        if any(line[mark : mark + 1] != "|" for mark in marks):
            return None
        starts, ends = [0, *(mark + 1 for mark in marks)], [*marks, len(line)]
        cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        rows.append(dict(zip(names, cells, strict=True)))
    return rows
