"""The process beside the daemon that reads snapshots, so that logins do not wait for that: its main program.

Frames over its pipes: four octets of length, then a pickle. The first one brings the sealing key: neither arguments
nor environment of a process are a place for it. It ends when its input does.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from daemon.store.feed_rows import FullRow, NackRow, Place
from daemon.store.seal import Sealer
from daemon.sync.feed import census
from daemon.sync.feed.intake import Intake, Made
from daemon.sync.feed.model import Item, Lines
from daemon.sync.feed.rows import Rows
from daemon.sync.feed.wire_json import Malformed
from daemon.sync.feed.wire_lines import items_of
from radius.dictionary import shipped

HEADER = 4
FRAME = 64  # rows of one answer: the daemon unpacks a frame at one go
_NICE = 10


class Setup(NamedTuple):
    """Of whom the items will be, and where their rows will lie; `key` is the sealing key."""

    place: Place
    kinds: frozenset[str]
    key: bytes


class Page(NamedTuple):
    """Items to read, as tuples or as they came; their rows are as of `at`, epoch seconds."""

    items: list[tuple[Any, ...]] | Lines
    at: float


Frame = tuple[list[FullRow], list[NackRow]]
"""Some rows of a page."""


def pack(value: object) -> bytes:
    """Return a frame."""
    octets = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return len(octets).to_bytes(HEADER, "big") + octets


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer frames until there are no more: a page with its rows, a task with its census.

    The rows of a page come in several frames, then None; or what of it is no item, and nothing else.
    """
    setup = _receive(source)
    if not isinstance(setup, Setup):
        return
    seal = Sealer(setup.key)
    intake = Intake(setup.place.tenant, setup.kinds, seal, shipped())
    while (asked := _receive(source)) is not None:
        if isinstance(asked, census.Task):
            sink.write(pack(census.take(asked, seal)))
        elif isinstance(asked, Page):
            sink.writelines(map(pack, _answers(asked, intake, setup.place)))
        sink.flush()


def _answers(page: Page, intake: Intake, place: Place) -> Iterator[Frame | Malformed | None]:
    items: Iterable[Item | Malformed]
    items = items_of(page.items) if isinstance(page.items, Lines) else [Item(*each) for each in page.items]
    newest: dict[tuple[str, str], Made] = {}
    for item in items:
        if isinstance(item, Malformed):
            yield item
            return
        made = intake.read(item)._replace(record=None)
        newest[made.kind, made.id] = made
    rows = Rows([], [])
    for each in newest.values():
        rows.take(each, place, page.at)
    for start in range(0, max(len(rows.objects), len(rows.nacks)), FRAME):
        yield rows.objects[start : start + FRAME], rows.nacks[start : start + FRAME]
    yield None


def _receive(source: BinaryIO) -> object:
    header = source.read(HEADER)
    if len(header) < HEADER:
        return None
    return pickle.loads(source.read(int.from_bytes(header, "big")))  # noqa: S301 - our own parent has made it


def main() -> None:
    """Serve over the standard streams, behind everything that is in a hurry."""
    os.nice(_NICE)
    sink = sys.stdout.buffer
    sys.stdout = sys.stderr  # a stray print must not get between the frames
    serve(sys.stdin.buffer, sink)


if __name__ == "__main__":
    # As a program this module has another name, and what is pickled says the usual one.
    from daemon.sync.feed import worker  # noqa: PLW0406 - see above

    worker.main()
