"""What is wrong inside one body, before it is known which file and line that is."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.sync.problems import Path, got


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong at `path` of a body; the texts are those of `Problem`."""

    path: Path
    slug: str
    got: str
    expected: str
    hint: str = ""


class Faults:
    """Collects what is wrong, so that everything is told at once."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(self, path: Path, slug: str, value: object, expected: str, hint: str = "") -> None:
        """Note that `value` at `path` is wrong; the value is shown, so it must not be a secret."""
        self.found.append(Fault(path, slug, got(value), expected, hint))

    def add_hidden(self, path: Path, slug: str, expected: str, hint: str = "") -> None:
        """Note that a secret at `path` is wrong, without showing it."""
        self.found.append(Fault(path, slug, got("", hidden=True), expected, hint))
