"""The file `users` of FreeRADIUS (mods-config/files/authorize): entries with checks, and replies below them."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field

from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import OPERATORS, Block, Login, Row, unescape

DEFAULT = "DEFAULT"

_NAME = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>(?!")[^\s,]+)', re.ASCII)
_PAIR = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._/:-]*)\s*(?P<op>:=|\+=|-=|==|!=|=~|!~|=\*|!\*|<=|>=|<|>|=)\s*"
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*)"|'(?P<single>(?:[^'\\]|\\.)*)'|`(?P<back>[^`]*)`|(?P<bare>(?!\s*["'`])[^\s,#]*))\s*""",
    re.ASCII,
)
_OPEN_QUOTE = re.compile(r"\s*[A-Za-z0-9][A-Za-z0-9._/:-]*\s*[:+=!~*<>-]{1,2}\s*[\"'`]", re.ASCII)
_COMMENT = re.compile(r"\s*#.*")


@dataclass(slots=True)
class Entry:
    """One entry as it stands in the file; `line` is that of its name."""

    name: str
    line: int
    checks: list[Row] = field(default_factory=list)
    replies: list[Row] = field(default_factory=list)


def entries(text: str, findings: Findings) -> list[Entry]:
    """Return the entries of a file; what cannot be read is told with its line."""
    found: list[Entry] = []
    rest_of_checks = False
    for number, given in enumerate(text.split("\n"), 1):  # not where Unicode ends a line
        line = given.removesuffix("\r")
        if not line.strip() or _COMMENT.fullmatch(line):
            continue
        if line[0].isspace():
            if not found:
                findings.add(Why.SYNTAX, f"line {number}", "(entry)", "replies without a name above", number)
                continue
            rows, more = _pairs(line, number, found[-1].name, findings)
            (found[-1].checks if rest_of_checks else found[-1].replies).extend(rows)
            rest_of_checks = rest_of_checks and more
            continue
        match = _NAME.match(line)
        if line.startswith("$"):
            findings.add(Why.SYNTAX, f"line {number}", "$INCLUDE", "name that file as well", number)
        elif match is None:
            said = "a quote without its end" if line[0] == '"' else "a name was expected"
            findings.add(Why.SYNTAX, f"line {number}", "(entry)", said, number)
        else:
            quoted = match["quoted"]
            found.append(Entry(match["bare"] if quoted is None else unescape(quoted), number))
            rows, rest_of_checks = _pairs(line[match.end() :], number, found[-1].name, findings)
            found[-1].checks += rows
    return found


def _pairs(text: str, line: int, owner: str, findings: Findings) -> tuple[list[Row], bool]:
    """Return the pairs of a line, and whether a comma at its end says that more come."""
    rows: list[Row] = []
    at, more = 0, False
    while at < len(text):
        if _COMMENT.fullmatch(text[at:]) or not text[at:].strip():
            break
        match = _PAIR.match(text, at)
        if match is None:
            said = (
                "a quote without its end" if _OPEN_QUOTE.match(text, at) else "expected `Attribute op value`"
            )
            findings.add(Why.SYNTAX, owner, "(pair)", said, line)
            return rows, False
        rows.append(_row(match, line))
        at, more = match.end(), False
        if text[at : at + 1] == ",":
            at, more = at + 1, True
    return rows, more


def _row(match: re.Match[str], line: int) -> Row:
    double, single, back, bare = match["double"], match["single"], match["back"], match["bare"]
    if double is not None:
        value = unescape(double)
    elif single is not None:
        value = single.replace("\\'", "'")
    else:
        value = back if back is not None else bare
    dynamic = single is None and "%" in value and bool(re.search(r"%[{A-Za-z]", value))
    return Row(match["name"], OPERATORS[match["op"]], value, dynamic or back is not None, line)


def logins(found: list[Entry]) -> Iterator[Login]:
    """Yield each user with the entries that may concern it, those for everybody among them, in the file's order."""
    defaults: list[tuple[int, Block]] = []
    own: dict[str, list[tuple[int, Block]]] = {}
    for place, each in enumerate(found):
        shared = each.name == DEFAULT
        label = each.name
        if shared:
            label = DEFAULT if not defaults else f"{DEFAULT}-{len(defaults) + 1}"
        block = Block(label, tuple(each.checks), tuple(each.replies), shared=shared)
        (defaults if shared else own.setdefault(each.name, [])).append((place, block))
    places = [place for place, _ in defaults]
    for name, blocks in own.items():
        last = blocks[-1][0]
        merged = blocks + defaults[: bisect(places, last)] + defaults[bisect(places, last) :]
        yield Login(name, tuple(block for _, block in sorted(merged, key=lambda each: each[0])))
