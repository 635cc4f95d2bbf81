"""Whether everything agrees: the book with itself, with its store, with live sessions, definitions and history.

Nothing stands still meanwhile, and no login waits for it: everything is looked at in slices, each of which sees one
moment, and what seems wrong across slices is looked at again before it is told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from daemon.leases import check_book, check_definitions, check_history, check_sessions, check_store
from daemon.leases.check_model import Scope, Step

_PARTS = (check_book, check_sessions, check_definitions, check_store, check_history)


async def check(scope: Scope) -> AsyncIterator[Step]:
    """Yield what is found, and how far it is. Raises what the database raises where it cannot be read."""
    for part in _PARTS:
        async for step in part.steps(scope):
            yield step
