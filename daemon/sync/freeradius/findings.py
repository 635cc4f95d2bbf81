"""What of FreeRADIUS's data has no place in ours: counted by attribute, told with its place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Why(StrEnum):
    """Why something was left out."""

    UNKNOWN = (
        "unknown-attribute"  # not in our dictionary; FreeRADIUS rejects the user where it is not in its own
    )
    VALUE = "bad-value"  # cannot be encoded
    INTERNAL = "server-attribute"  # FreeRADIUS uses it inside, and we have nothing like it
    DYNAMIC = "expanded-value"  # made for each request
    OPERATOR = "operator"  # does nothing there, or never holds
    CONDITION = "condition"  # on what the request holds, which we cannot keep
    PASSWORD = "password"  # noqa: S105 - a reason: it is not one that can be checked
    ADDRESS = "address"  # such as 0.0.0.0
    DUPLICATE = "duplicate"
    HOST = "unresolved-host"
    ROW = "not-a-row"  # no attribute, no value, or no operator
    SYNTAX = "syntax"
    REFUSED = "refused"  # the object it makes is none of ours; it is left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was left out. `owner` is the user, group or NAS; `text` never shows a value of a secret."""

    why: Why
    owner: str
    attribute: str
    text: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.owner}: {self.attribute}: {self.text}"


class Findings:
    """Counts all of them and keeps the first `most`; one of the same kind, owner and attribute counts once."""

    def __init__(self, most: int = 1000, file: str = "") -> None:
        self._most = most
        self.file = file
        self.kept: list[Finding] = []
        self.counts: Counter[tuple[Why, str]] = Counter()
        self._told: dict[str, set[tuple[Why, str]]] = {}

    def add(self, why: Why, owner: str, attribute: str, text: str, line: int = 0) -> None:
        """Note that something was left out."""
        told = self._told.setdefault(owner, set())
        if (why, attribute) in told:
            return
        told.add((why, attribute))
        self.counts[why, attribute] += 1
        if len(self.kept) < self._most:
            self.kept.append(
                Finding(why=why, owner=owner, attribute=attribute, text=text, file=self.file, line=line)
            )

    def forget(self, owner: str) -> None:
        """Forget what was found of one owner, which is read again or gone."""
        told = self._told.pop(owner, None)
        if told:
            self.counts.subtract(told)
            self.kept = [each for each in self.kept if each.owner != owner]

    def by_name(self, why: Why) -> tuple[tuple[str, int], ...]:
        """Return the attributes left out for that reason and for how many owners, the most frequent first."""
        found = [(name, count) for (each, name), count in self.counts.items() if each is why and count > 0]
        return tuple(sorted(found, key=lambda pair: (-pair[1], pair[0])))
