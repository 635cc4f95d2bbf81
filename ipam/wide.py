"""SQLite statements that store many rows at once.

The text is made once, for several widths, so a batch costs its rows and nothing else. The driver leaves the
interpreter to the event loop for each statement, and has to get it back; between two calls of the driver the event
loop has to come round several times. Both happen a few times for each batch, not for each row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Insert
from sqlalchemy.dialects.sqlite.aiosqlite import dialect
from sqlalchemy.ext.asyncio import AsyncConnection

_WIDTHS = (64, 1)
_MOST_VALUES = 32_766  # that SQLite takes in one statement


class WideInsert:
    """An INSERT of one table, with whatever it does on a conflict; rows are tuples of all columns in their order."""

    def __init__(self, statement: Insert) -> None:
        columns = len(statement.table.columns)
        assert columns * _WIDTHS[0] <= _MOST_VALUES, "the widest statement is one that SQLite takes"
        text = str(statement.compile(dialect=dialect()))
        one = f"({', '.join('?' * columns)})"
        before, values, after = text.partition(one)
        assert values, "one row of values is repeated"
        self._texts = {width: before + ", ".join([one] * width) + after for width in _WIDTHS}

    async def write(self, connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Store rows in their order, in the transaction of the connection."""
        done = 0
        for width in _WIDTHS:
            end = len(rows) - (len(rows) - done) % width
            blocks = [
                tuple(chain.from_iterable(rows[first : first + width])) for first in range(done, end, width)
            ]
            if blocks:
                await connection.exec_driver_sql(self._texts[width], blocks)
            done = end
