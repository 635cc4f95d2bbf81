"""Finds the lines of the keys of a TOML text, for messages; the values come from a real parser."""

from __future__ import annotations

import re

Places = dict[tuple[str, ...], int]
"""Line, counted from 1, by (section,), (section, key) and (section, name, key)."""

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_NAME = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*\[{{1,2}}\s*({_NAME})\s*\]{{1,2}}")
_KEY = re.compile(rf"\s*({_NAME})\s*=(.*)")
_INLINE = re.compile(rf"[{{,]\s*({_NAME})\s*=")
_PARTS = re.compile(_PART)
_FENCES = ('"""', "'''")


def find(text: str) -> Places:
    """Return where each section and key of a valid or nearly valid TOML text first stands."""
    places: Places = {}
    section: tuple[str, ...] = ()
    fence = ""
    for number, line in enumerate(text.split("\n"), start=1):
        if fence:  # inside a text of several lines nothing is a key
            fence = "" if fence in line else fence
            continue
        header = _HEADER.match(line)
        if header:
            section = _split(header[1])
            for end in (3, 2, 1):
                places.setdefault(section[:end], number)
            continue
        key = _KEY.match(line)
        if key:
            path = section + _split(key[1])
            for end in (3, 2, 1):
                places.setdefault(path[:end], number)
            if len(path) == 1 and key[2].lstrip().startswith("{"):
                for inner in _INLINE.finditer(key[2]):
                    places.setdefault((path + _split(inner[1]))[:2], number)
        fence = next((each for each in _FENCES if line.count(each) % 2), "")
    return places


def _split(name: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PARTS.findall(name))
