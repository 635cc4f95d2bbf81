"""The daemon with a feed in it, told over its standard input what to read: the server of `feed.py`.

A line `snapshot EPOCH FILE` reads a file of items page by page, as a connection would bring them; `batches FILE`
applies one batch of 1000 items after the other. One JSON line answers each.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from config.load import load
from daemon import options
from daemon.app import Edge
from daemon.clock import SystemClock
from daemon.sync.feed.feed import FeedOptions, Surroundings
from daemon.sync.feed.feeds import Feeds
from daemon.sync.feed.model import Applied, Batch, Item, Lines, Op, Refused
from daemon.sync.load import unrenderable
from daemon.sync.owners import Owners

_PAGE = 500
_READ = 20  # lines parsed before others have a turn
_KINDS = frozenset({"plan", "nas", "subscriber"})


class Server:
    """One daemon and its feed; composed here as long as the settings name no feed."""

    def __init__(self, settings: Path) -> None:
        self.answers = os.dup(1)
        os.dup2(2, 1)  # logs go where errors do
        loaded = load(settings, os.environ)
        self.edge = Edge(loaded, os.environ, SystemClock())
        inner = vars(self.edge)
        around = Surroundings(
            index=inner["_index"],
            engine=inner["_engine"],
            writer=inner["_writer"],
            key=options.sealing_key(loaded.settings, os.environ),
            clock=SystemClock(),
            dictionary=inner["_dictionary"],
            owners=Owners(),
            on_change=inner["_aaa"].enforcement.reconciler.changed,
            unrenderable=unrenderable,
        )
        self.feeds = Feeds([FeedOptions(name="main", tenant="bench", kinds=_KINDS)], around)
        self.feed = self.feeds.get("main")

    async def snapshot(self, epoch: str, file: Path) -> Mapping[str, object]:
        began = time.monotonic()
        staging = await self.feed.snapshot(epoch, 1)
        count = 0
        for page in pages(file):
            await staging.add_lines(Lines("".join(page).encode(), 2, 1), str(count))
            count += len(page)
            await asyncio.sleep(0)
        staged = time.monotonic()
        done = await staging.finish(None)
        ended = time.monotonic()
        said = "" if isinstance(done, Applied) else f"{done.why}: {done.detail}"
        return {"items": count, "s": ended - began, "staged_s": staged - began, "refused": said}

    async def batches(self, file: Path) -> Mapping[str, object]:
        began, count = time.monotonic(), 0
        for page in pages(file, 1000):
            position = self.feed.position
            assert position is not None
            items = []
            for at, each in enumerate(page):
                items.append(item(each, position.rev + 1 + at))
                if at % _READ == _READ - 1:
                    await asyncio.sleep(0)
            to = position.rev + len(items)
            batch = Batch(
                feed="main", epoch=position.epoch, after=position.rev, to=to, head=to, items=tuple(items)
            )
            done = await self.feed.apply(batch)
            if isinstance(done, Refused) or done.nacks:
                return {"refused": repr(done)[:500]}
            count += len(items)
        return {"items": count, "s": time.monotonic() - began, "refused": ""}

    async def run(self) -> None:
        await self.edge.start()
        await self.feeds.restore()
        answers = os.fdopen(self.answers, "w")
        print(json.dumps({"ready": True}), file=answers, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            what, *words = line.split()
            if what == "snapshot":
                answer = await self.snapshot(words[0], Path(words[1]))
            else:
                answer = await self.batches(Path(words[0]))
            print(json.dumps(answer), file=answers, flush=True)
        await self.feeds.close()
        await self.edge.stop()


def pages(file: Path, size: int = _PAGE) -> Iterator[list[str]]:
    """Yield the lines of a file in pages."""
    with file.open() as lines:
        page: list[str] = []
        for line in lines:
            page.append(line)
            if len(page) == size:
                yield page
                page = []
        if page:
            yield page


def item(line: str, rev: int) -> Item:
    """Return the item of a line."""
    said = json.loads(line)
    return Item(said["k"], said["id"], rev, Op.PUT, said["body"], 1, 1)


if __name__ == "__main__":
    asyncio.run(Server(Path(sys.argv[1])).run())
