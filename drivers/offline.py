"""Offline diffs: computed by us where a device has none of its own."""

from __future__ import annotations

import difflib


def diff_lines(before: str, after: str) -> tuple[str, int, int]:
    """Return (unified diff without its header, lines added, lines removed); empty text for no difference."""
    old = [line.rstrip() for line in before.splitlines() if line.strip()]
    new = [line.rstrip() for line in after.splitlines() if line.strip()]
    lines = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    added = sum(line.startswith("+") for line in lines)
    removed = sum(line.startswith("-") for line in lines)
    return "\n".join(lines), added, removed
