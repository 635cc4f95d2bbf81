"""The keys of sessions in a radacct table: minted once and kept here, or those of a row that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.store import radacct_rows
from daemon.store.radacct_rows import Minted
from daemon.store.writer import Writer
from daemon.sync.outbox.radacct_engine import begun
from daemon.sync.outbox.radacct_merge import RadacctRow, SessionFacts, is_of_session, shown_id
from daemon.sync.outbox.radacct_table import RadacctTable

Taken = tuple[str, str, str, bool]
"""Key, user name, Acct-Session-Id of a row of the table, and whether it is open."""


class Coined(NamedTuple):
    """The keys of sessions by their numbers, how many are those of others' rows, how many ids got a suffix."""

    keys: dict[int, Minted]
    adopted: int
    renamed: int


class Mint:
    """Gives the sessions of one sink their keys."""

    def __init__(self, sink: str, store: AsyncEngine, writer: Writer, *, distinct_ids: bool) -> None:
        self._sink = sink
        self._store = store
        self._writer = writer
        self._distinct_ids = distinct_ids

    async def coin(self, engine: AsyncEngine, table: RadacctTable, facts: Sequence[SessionFacts]) -> Coined:
        """Give sessions their keys and keep them, before the table has any of it: a crash between changes nothing.

        What somebody else has kept for them meanwhile stays and is what is returned.
        """
        async with begun(engine) as connection:
            adopted = await self._adoptable(connection, table, facts)
            pairs = [(each.acct_session_id, each.username) for each in facts]
            taken = await table.taken(connection, pairs) if self._distinct_ids else []
        found: list[Minted] = []
        mine: set[str] = set()  # ids that sessions of this very run show
        renamed = 0
        for each in facts:
            old = adopted.get(each.uid)
            if old is not None:
                found.append(Minted(each.uid, old.acctuniqueid, old.acctsessionid))
                continue
            clash = self._distinct_ids and (each.acct_session_id in mine or _clashes(each, taken))
            mine.add(each.acct_session_id)
            renamed += clash
            shown = shown_id(each, clash, table.shape.widths.get("acctsessionid"))
            found.append(Minted(each.uid, each.unique_id(), shown))

        async def save(connection: AsyncConnection) -> None:
            await radacct_rows.save(connection, self._sink, found)

        await self._writer.commit(save)
        kept = await radacct_rows.find(self._store, self._sink, [each.uid for each in facts])
        return Coined(kept, len(adopted), renamed)

    async def _adoptable(
        self, connection: AsyncConnection, table: RadacctTable, facts: Sequence[SessionFacts]
    ) -> dict[int, RadacctRow]:
        """Return open rows that FreeRADIUS wrote for sessions whose Start we have not seen, by session."""
        lost = [each for each in facts if not each.start_seen]
        if not lost:
            return {}
        rows = await table.open_of(connection, [(each.username, each.acct_session_id) for each in lost])
        taken = await radacct_rows.known(self._store, self._sink, [row.acctuniqueid for row in rows])
        by_name: dict[tuple[str, str], list[RadacctRow]] = {}
        for row in rows:
            by_name.setdefault((row.username, row.acctsessionid), []).append(row)
        found: dict[int, RadacctRow] = {}
        for each in lost:
            for row in by_name.get((each.username, each.acct_session_id), ()):
                if row.acctuniqueid not in taken and is_of_session(row, each):
                    found[each.uid] = row
                    taken.add(row.acctuniqueid)
                    break
        return found


def _clashes(facts: SessionFacts, taken: Sequence[Taken]) -> bool:
    """Tell whether a row of another session shows its id: an open one, or any of the same login."""
    own = facts.unique_id()
    return any(
        shown == facts.acct_session_id and key != own and (is_open or username == facts.username)
        for key, username, shown, is_open in taken
    )
