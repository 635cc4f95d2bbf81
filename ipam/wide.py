"""SQLite statements that store many rows at once.

The text is made once, for several widths, so a batch costs its rows and nothing else. The driver leaves the
interpreter to the event loop for each statement, and has to get it back; between two calls of the driver the event
event loop has to come round several times. Both happen a few times for each batch, not for each row; and the driver
is called as it is, which costs a quarter of a statement that goes through SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Insert
from sqlalchemy.dialects.sqlite.aiosqlite import dialect
from sqlalchemy.ext.asyncio import AsyncConnection

_WIDTHS = (64, 8, 1)
_MOST_VALUES = 32_766  # that SQLite takes in one statement


def flat(rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the values of rows that are tuples of all columns."""
    values: list[Any] = []
    for row in rows:
        values += row
    return values


class WideInsert:
    """An INSERT of one table, with whatever it does on a conflict."""

    def __init__(self, statement: Insert) -> None:
        columns = len(statement.table.columns)
        assert columns * _WIDTHS[0] <= _MOST_VALUES, "the widest statement is one that SQLite takes"
        text = str(statement.compile(dialect=dialect()))
        one = f"({', '.join('?' * columns)})"
        before, values, after = text.partition(one)
        assert values, "one row of values is repeated"
        self._texts = {width: before + ", ".join([one] * width) + after for width in _WIDTHS}

    async def write(
        self,
        connection: AsyncConnection,
        rows: Sequence[Any],
        values: Callable[[Sequence[Any]], list[Any]] = flat,
    ) -> None:
        """Store rows in their order, in the transaction of the connection.

        `values` returns the values of all columns of some rows, row after row. Errors are those of the driver.
        """
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None, "the connection is open"
        done = 0
        for width in _WIDTHS:
            end = len(rows) - (len(rows) - done) % width
            blocks = [values(rows[first : first + width]) for first in range(done, end, width)]
            if blocks:
                await driver.executemany(self._texts[width], blocks)
            done = end
