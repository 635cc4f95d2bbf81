"""The items of a page of a snapshot, read from its lines as they came: in whatever process has the time for it."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.sync.feed.model import Item, Lines
from daemon.sync.feed.wire import PageEnd, read_page_line
from daemon.sync.feed.wire_json import Malformed


def items_of(lines: Lines) -> Iterator[Item | Malformed]:
    """Yield the item of each line, up to the first one that is none."""
    for number, line in enumerate(whole_lines(lines.octets), lines.first):
        found = read_page_line(line, number, lines.start_rev)
        if isinstance(found, PageEnd):
            found = Malformed(f"line {number}", "a trailer", "an item")
        if isinstance(found, Malformed):
            yield found
            return
        yield found if found.rev else found._replace(rev=lines.start_rev)


def whole_lines(octets: bytes) -> list[bytes]:
    """Return lines without their ends; the last one need not have one."""
    found = octets.split(b"\n")
    if not found[-1]:
        found.pop()
    return found


def count_of(octets: bytes) -> int:
    """Return how many lines there are, without taking them apart."""
    return octets.count(b"\n") + (bool(octets) and not octets.endswith(b"\n"))
