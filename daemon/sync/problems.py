"""What is wrong with an object of the feed: where it stands, what came, what was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from daemon.errors import DaemonError

Path = tuple[str | int, ...]

_QUOTED = re.compile(r"'([^']*)'")
_SHOWN = 60  # characters of a value that a message shows
_HIDDEN = "a hidden value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong. `line` and `column` count from 1; None where the object did not come from a file.

    `got` never shows what may be a secret. `kind`, `tenant` and `id` name the object, where they are known.
    """

    slug: str
    file: str
    line: int | None
    path: str  # such as items[3].body.download
    got: str
    expected: str
    hint: str = ""
    column: int | None = None
    kind: str = ""
    tenant: str = ""
    id: str = ""

    def __str__(self) -> str:
        place = ":".join(str(each) for each in (self.file, self.line, self.column) if each not in (None, ""))
        named = f" ({self.kind} {self.id})" if self.kind and self.id else ""
        text = f"{place}: {self.path}{named}: got {self.got}; expected {self.expected}"
        return printable(f"{text}; {self.hint}" if self.hint else text)

    def as_dict(self) -> dict[str, object]:
        """Return the fields that say something, for an answer in JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


class DataInvalid(DaemonError):
    """Objects were refused; `problems` has every one of them, the text has one a line."""

    slug = "invalid-data"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def path_text(path: Path) -> str:
    """Return a path as text: names joined by dots, positions in brackets."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        else:
            out += f".{printable(step)[:_SHOWN]}" if out else printable(step)[:_SHOWN]
    return out


def got(value: object, *, hidden: bool = False) -> str:
    """Return a value for a message: short, on one line, containers by their size only."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return f"an object of {len(value)} keys"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if hidden:
        return _HIDDEN
    if isinstance(value, (bool, int, float, str)):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    return type(value).__name__


def without_quotes(said: str) -> str:
    """Return what a parser said, without the pieces of the file that it quotes: they may be of a password."""
    return _QUOTED.sub(lambda match: match[0] if len(match[1]) < 2 else "(text)", said)


def printable(text: str) -> str:
    """Return `text` with everything that a terminal or a log cannot take written as an escape."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
