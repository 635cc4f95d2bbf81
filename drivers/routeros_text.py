"""RouterOS console text: quoting, lines of an export, what a change would make of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

_WORD = re.compile(
    r'\s*(\[(?:[^\[\]"]|"(?:[^"\\]|\\.)*")*\]|(?:[^\s"\[\]=]*=)?"(?:[^"\\]|\\.)*"|[^\s"\[\]]+)'
)
_ESCAPE = re.compile(r'\\(["\\$?nrtabfv_]|[0-9A-F]{2})')
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "_": " "}
_BARE = re.compile(r"[\w.,:/+\-*@]+")
_DEFAULTS = {("disabled", "no"), ("disabled", "false")}
_VERBS = ("add", "set", "remove")
FORBIDDEN = ("/ppp/secret",)  # logins live in RADIUS; a local one would shadow it


class BadChange(Exception):
    """A change that cannot be understood or must not be made; its text says which line and what is expected."""


def quote(value: str) -> str:
    """Return a value as a string of the console, safe inside scripts too: `$` and `?` mean something there."""
    out = []
    for octet in value.encode():
        letter = chr(octet)
        if letter in '"\\$?':
            out.append(f"\\{letter}")
        elif 0x20 <= octet < 0x7F:
            out.append(letter)
        else:
            out.append(f"\\{octet:02X}")
    return '"' + "".join(out) + '"'


def unquote(text: str) -> str:
    """Return the value of a word, quoted or not."""
    if len(text) < 2 or text[0] != '"':
        return text

    def plain(found: re.Match[str]) -> str:
        what = found[1]
        return _ESCAPES.get(what, chr(int(what, 16)) if len(what) == 2 else what)

    value = _ESCAPE.sub(plain, text[1:-1])
    try:
        return value.encode("latin-1").decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return value


def words(line: str) -> list[str]:
    """Return the words of a line; a bracketed command is one word. BadChange for an open quote or bracket."""
    found, place = [], 0
    line = line.strip()
    while place < len(line):
        word = _WORD.match(line, place)
        if word is None:
            raise BadChange(f"{line[:60]!r} has an open quote or bracket")
        found.append(word[1])
        place = word.end()
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """One command. `where`: what `find` looks for, None for a menu of one item; `plain`: another selector."""

    menu: str
    verb: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] | None = None
    plain: str = ""

    def render(self) -> str:
        """Return the line in one fixed form, so that equal lines are equal texts."""
        picked = "" if self.where is None else f" [find {_pairs(self.where)}]"
        plain = f" {self.plain}" if self.plain else ""
        return f"{self.menu} {self.verb}{picked}{plain} {_pairs(self.attrs)}".rstrip()


def _pairs(attrs: Mapping[str, str]) -> str:
    return " ".join(
        f"{name}={value if _BARE.fullmatch(value) else quote(value)}" for name, value in sorted(attrs.items())
    )


def pairs(tokens: Iterable[str]) -> dict[str, str]:
    """Return NAME=VALUE words as a dictionary."""
    split = (token.partition("=") for token in tokens)
    return {name: unquote(value) for name, equals, value in split if equals}


def parse(text: str) -> list[Line]:
    """Return the commands of an export or a change: full paths, or a menu line and what is inside it.

    BadChange for anything but add, set and remove: only those can be compared and read back.
    """
    lines: list[Line] = []
    menu, idle = "", ""
    for raw in re.sub(r"\\\r?\n\s*", "", text).splitlines():
        if not raw.strip() or raw.lstrip().startswith("#"):
            continue
        tokens = words(raw)
        path, rest = _path(tokens, menu)
        if idle and (not rest or tokens[0].startswith("/")):
            break
        idle = "" if rest else raw.strip()
        menu = path
        if rest:
            lines.append(_line(path, rest, raw))
    if idle:
        raise BadChange(f"{idle[:60]!r}: expected add, set or remove in this menu")
    return lines


def _path(tokens: list[str], menu: str) -> tuple[str, list[str]]:
    parts = [] if tokens[0].startswith("/") else menu.split("/")[1:]
    for number, token in enumerate(tokens):
        for place, part in enumerate(each for each in token.split("/") if each):
            if part in _VERBS and not (place and "=" in token):
                return "/" + "/".join(parts), [part, *tokens[number + 1 :]]
            if "=" in part or part.startswith((":", "[", "{")):
                return "/" + "/".join(parts), tokens[number:]
            parts.append(part)
    return "/" + "/".join(parts), []


def _line(menu: str, rest: list[str], raw: str) -> Line:
    verb, *tokens = rest
    if verb not in _VERBS:
        raise BadChange(f"{raw.strip()[:60]!r}: expected add, set or remove in {menu}")
    where, plain = None, ""
    if tokens and tokens[0].startswith("["):
        inner = tokens.pop(0)[1:-1].split(maxsplit=1)
        if not inner or inner[0] != "find":
            raise BadChange(f"{raw.strip()[:60]!r}: expected [find NAME=VALUE ...]")
        asked = [each for each in words(inner[1]) if each not in {"where", "and"}] if len(inner) > 1 else []
        where = pairs(asked)
        if not where or len(where) != len(asked):
            raise BadChange(f"{raw.strip()[:60]!r}: expected [find NAME=VALUE ...]")
    elif tokens and "=" not in tokens[0]:
        plain = tokens.pop(0)
    if verb == "remove" and where is None:
        raise BadChange(f"{raw.strip()[:60]!r}: expected remove [find NAME=VALUE ...]")
    return Line(menu, verb, pairs(tokens), where, plain)


def checked(text: str) -> list[Line]:
    """Return the lines of a change that may be made; BadChange otherwise."""
    lines = parse(text)
    for line in lines:
        if allowed(line.menu) is False:
            raise BadChange(f"{line.menu} is never written: local logins shadow those in RADIUS")
    return lines


def allowed(menu: str) -> bool:
    """Return whether this menu may be written at all."""
    return not any(menu == each or menu.startswith(f"{each}/") for each in FORBIDDEN)


def sendable(text: str) -> str:
    """Return a change as it is imported: whole lines of what was understood, and nothing else."""
    return "".join(f"{line.render()}\n" for line in checked(text))


def merged(export: str, change: str) -> tuple[list[str], list[str]]:
    """Return (lines before, lines after the change), in the fixed form."""
    before = [_steady(line) for line in parse(export)]
    after = list(before)
    for line in checked(change):
        after = _applied(after, line)
    return [line.render() for line in before], [line.render() for line in after]


def _applied(lines: list[Line], new: Line) -> list[Line]:
    if new.verb == "add":
        new = _steady(new)
        there = any(
            each.verb == "add" and each.menu == new.menu and _holds(each.attrs, new.attrs) for each in lines
        )
        return lines if there else [*lines, new]
    where = new.where or {}
    hits = [
        n for n, each in enumerate(lines) if each.menu == new.menu and _meant(each, new, where)
    ]  # a set line of the export stands for an item that always exists
    if new.verb == "remove":
        return [each for n, each in enumerate(lines) if n not in hits or each.verb != "add"]
    if not hits:
        return [*lines, _steady(new)] if _steady(new).attrs else lines
    return [
        _steady(replace(each, attrs={**each.attrs, **new.attrs})) if n in hits else each
        for n, each in enumerate(lines)
    ]


def _steady(line: Line) -> Line:
    """Return a line without `disabled=no`: that is the default everywhere, and an export leaves it out."""
    kept = {name: value for name, value in line.attrs.items() if (name, value) not in _DEFAULTS}
    return replace(line, attrs=kept)


def _meant(line: Line, new: Line, where: Mapping[str, str]) -> bool:
    if new.where is None:
        return line.verb == "set" and line.where is None and line.plain == new.plain
    return _holds(line.attrs, where) if line.verb == "add" else line.where == new.where


def _holds(attrs: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(attrs.get(name) == value for name, value in wanted.items())
