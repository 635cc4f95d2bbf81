"""What FreeRADIUS knows of a login: rows of checks and replies, in blocks that apply one after the other.

A block is what the tables hold for one user or one group, or one entry of a `users` file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

FALL_THROUGH = "Fall-Through"


class Operator(StrEnum):
    """The operators of a row; what each does depends on whether the row is a check or a reply."""

    SET = ":="
    ADD = "+="
    EQUALS = "="
    SUBTRACT = "-="
    IS = "=="
    IS_NOT = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    MATCHES = "=~"
    MATCHES_NOT = "!~"
    EXISTS = "=*"
    EXISTS_NOT = "!*"


OPERATORS: Mapping[str, Operator] = {each.value: each for each in Operator}


class Row(NamedTuple):
    """One check or reply. `dynamic` marks a value that FreeRADIUS would expand for each request."""

    attribute: str
    op: Operator
    value: str
    dynamic: bool = False
    line: int = 0  # of the file that it came from; 0: none


@dataclass(frozen=True, slots=True)
class Block:
    """Checks that must hold, and the replies that are then given.

    `shared` blocks are of groups and DEFAULT entries; they become plans. `goes_on` is what happens after this
    block where its replies do not say Fall-Through.
    """

    label: str
    checks: tuple[Row, ...] = ()
    replies: tuple[Row, ...] = ()
    shared: bool = False
    goes_on: bool = False
    profile: bool = False  # of the default profile, which comes after the groups


@dataclass(frozen=True, slots=True)
class Login:
    """One user name with all blocks that may concern it, in the order in which they are tried."""

    name: str
    blocks: tuple[Block, ...]


class Membership(NamedTuple):
    """A user in a group; lower priorities come first."""

    group: str
    priority: int


def row(attribute: str | None, op: str | None, value: str | None, line: int = 0) -> Row | None:
    """Return a row as a table has it; None where FreeRADIUS would not take it as one (3.2 rejects the user then).

    An empty operator is `==`. A value that is quoted as a whole loses its quotes, and in back quotes is expanded.
    """
    if not attribute or value is None:
        return None
    operator = OPERATORS.get((op or "==").strip())
    if operator is None:
        return None
    text, dynamic = value, False
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'`":
        text = value[1:-1]
        dynamic = value[0] == "`" and "%" in text
        if value[0] == '"':
            text = unescape(text)
    return Row(attribute.strip(), operator, text, dynamic, line)


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def unescape(text: str) -> str:
    """Return a text without the escapes of double quotes."""
    if "\\" not in text:
        return text
    out: list[str] = []
    i = 0
    while i < len(text):
        if text[i] == "\\" and i + 1 < len(text):
            octal = text[i + 1 : i + 4]
            if len(octal) == 3 and all(each in "01234567" for each in octal):
                out.append(chr(int(octal, 8)))
                i += 4
                continue
            out.append(_ESCAPES.get(text[i + 1], text[i + 1]))
            i += 2
            continue
        out.append(text[i])
        i += 1
    return "".join(out)
