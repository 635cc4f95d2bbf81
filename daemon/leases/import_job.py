"""One import at a time: read, checked, carried out to its end even where nobody listens any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator

from daemon.errors import StoreUnavailable
from daemon.leases.definitions import Definitions
from daemon.leases.definitions_desk import Spawn
from daemon.leases.import_model import OwnerKey, Plan, Progress, Report
from daemon.leases.import_plan import Planner
from daemon.leases.import_run import CutOff, Run, foreseen
from daemon.replica.index import Index

Step = Progress | Report | str
"""How far it is, what it has come to, or why it could not be finished."""

_AGAIN = "what was added so far is not open to logins; the same import again completes it"


class Busy(Exception):
    """Another import is under way."""


class Importer:
    """Takes address books over. `key_of` says by what the book will know a subscriber at its next login."""

    def __init__(self, definitions: Definitions, index: Index, key_of: OwnerKey, spawn: Spawn) -> None:
        self._definitions = definitions
        self._index = index
        self._key_of = key_of
        self._spawn = spawn
        self._busy = False

    async def plan(self, tenant: str, octets: AsyncIterable[bytes]) -> Plan:
        """Read the lines of an import and check them against what is here. Raises Busy.

        Call `carry_out` or `drop` with what it returns.
        """
        if self._busy:
            raise Busy("another import is under way: try again when it is through")
        self._busy = True
        try:
            planner = Planner(self._definitions, self._index, tenant, self._key_of)
            async for each in octets:
                await planner.feed(each)
            return await planner.finish()
        except BaseException:
            self._busy = False
            raise

    async def drop(self, plan: Plan) -> Report:
        """Return what a plan would make or why it cannot be, and forget it."""
        try:
            return await foreseen(plan, self._definitions.addresses.clock.wall())
        finally:
            self._busy = False

    def carry_out(self, plan: Plan) -> AsyncIterator[Step]:
        """Begin to do what a plan without problems says; the last step is the report, or why it was cut off."""
        steps: asyncio.Queue[Step] = asyncio.Queue()
        self._spawn(self._work(plan, steps), "import")
        return _told(steps)

    async def _work(self, plan: Plan, steps: asyncio.Queue[Step]) -> None:
        run = Run(plan, self._definitions)
        said: Step = f"the daemon has stopped: {_AGAIN}"
        try:
            async for step in run.steps():
                steps.put_nowait(step)
            said = run.report(done=True)
        except CutOff as error:
            said = str(error)
        except StoreUnavailable as error:
            said = f"the store refuses ({error}): {_AGAIN}"
        except Exception as error:  # the one who asked is told, the supervisor's log has the rest
            said = f"{type(error).__name__}: {error}: {_AGAIN}"
            raise
        finally:
            self._busy = False
            steps.put_nowait(said)


async def _told(steps: asyncio.Queue[Step]) -> AsyncIterator[Step]:
    while True:
        step = await steps.get()
        yield step
        if not isinstance(step, Progress):
            return
