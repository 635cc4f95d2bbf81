"""Runs one daemon in this process, and what of it the command line needs without one running."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Mapping

from config.load import Loaded
from daemon import logs
from daemon.app.edge import Edge
from daemon.clock import SystemClock
from daemon.options.check import check
from daemon.sync.records import KINDS
from daemon.sync.schema import schema


def data_schemas() -> dict[str, dict[str, object]]:
    """Return the JSON Schema of every kind of object that can be loaded."""
    return {kind: schema(kind) for kind in KINDS}


async def _serve(loaded: Loaded, environ: Mapping[str, str], announce: Callable[[Edge], None]) -> bool:
    edge = Edge(loaded, environ, SystemClock())
    try:
        gc.disable()  # until all is read: it would walk what has come again and again
        await edge.start()
        _settle_collector()
        announce(edge)
        return await edge.run()
    finally:
        await edge.stop()


def run(loaded: Loaded, announce: Callable[[Edge], None]) -> bool:
    """Run the daemon until it is told to stop; False when it failed. uvloop is used where it is installed.

    Raises ConfigInvalid where it could not start with what the settings refer to.
    """
    logs.setup(loaded.settings.log.level, loaded.settings.log.format)
    environ = dict(os.environ)
    check(loaded, environ, whole=False)
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(_serve(loaded, environ, announce))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded, environ, announce))


def _settle_collector() -> None:
    """Keep the garbage collector off the replica, and rare: what requests make is freed by reference count.

    With the usual thresholds it walks every session again and again, which costs accounting a third of its rate.
    """
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 1000, 1000)
