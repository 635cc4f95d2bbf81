"""User names as rlm_sql writes them into its queries: what it holds unsafe stands as `=` and two hex digits.

So a name such as `o'neil` is found there only where the table has `o=27neil`.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^@a-zA-Z0-9.\-_: /\u0080-\U0010ffff]")
_WRITTEN = re.compile(r"=([0-9A-F]{2})")


def written(name: str) -> str:
    """Return a name as a query has it."""
    return _UNSAFE.sub(lambda match: f"={ord(match[0]):02X}", name)


def meant(name: str) -> str:
    """Return the name that a table means; one that was never written so stays as it is."""

    def char(match: re.Match[str]) -> str:
        found = chr(int(match[1], 16))
        return found if _UNSAFE.fullmatch(found) else match[0]

    return _WRITTEN.sub(char, name) if "=" in name else name
