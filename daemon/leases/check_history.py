"""The history against its hashes: its end as memory has it, and, where asked for, every event from the anchor on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.leases.check_model import Finding, Progress, Rule, Scope, Step
from daemon.store.history_pages import chain_page
from ipam.history import broken
from ipam.history_rows import kept_books
from ipam.store import chain_end, kept_from

_PAGE = 250
_REMEDY = "keep the database file as it is; compare it with a backup from before this event"


async def steps(scope: Scope) -> AsyncIterator[Step]:
    """Yield where the history does not follow from itself."""
    node, ledger = scope.addresses.options.node, scope.addresses.register.ledger
    seq, last_hash = ledger.chain_end
    async with scope.addresses.engine.connect() as connection:
        stored = await chain_end(connection, node)
        if stored.seq < seq or (stored.seq == seq and stored.hash != last_hash):
            text = f"the history of {node} ends with event {stored.seq} on disk, and with {seq} in memory"
            yield Finding(rule=Rule.HISTORY, tenant="", subject=node, text=text, remedy=_REMEDY)
        if not scope.deep:
            return
        for book in [each.book for each in await kept_books(connection)]:
            async for step in _of_book(connection, book):
                yield step


async def _of_book(connection: AsyncConnection, book: str) -> AsyncIterator[Step]:
    chain = await kept_from(connection, book)
    end = (await chain_end(connection, book)).seq
    first = chain.seq
    while True:
        events = await chain_page(connection, book, chain.seq, chain.hash, _PAGE)
        at = broken(events, chain)
        if at is not None:
            text = (
                f"event {at} of {book} does not follow from the one before: it was changed, or one is missing"
            )
            yield Finding(rule=Rule.HISTORY, tenant="", subject=f"{book} {at}", text=text, remedy=_REMEDY)
            return
        yield Progress("history", chain.seq - first, max(end, chain.seq) - first)
        if len(events) < _PAGE:
            return
        await asyncio.sleep(0)
