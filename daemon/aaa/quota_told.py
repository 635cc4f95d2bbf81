"""Which used-up allowances the platform has been told of; kept in the usage rows that the news is about."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from daemon.aaa.usage import Balance, Key
from daemon.store.usage_rows import UsageRow

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_FIELD = b'"told":'

Judge = Callable[[str, str], tuple[Balance, ...] | None]
"""(tenant, subscriber): the allowances that are used up and act, None where the data do not say."""


class Turned(NamedTuple):
    """What is news about the allowances of a subscriber. `over` are all that are used up now."""

    key: Key
    reached: Mapping[str, Balance]
    restored: tuple[str, ...]
    over: tuple[str, ...]


class QuotaTold:
    """Names of used-up allowances by subscriber, as they were told. Few have any."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._told: dict[Key, tuple[str, ...]] = {}

    def load(self, rows: Iterable[UsageRow]) -> None:
        """Take in what rows say that was told; a row that cannot be read says nothing."""
        for row in rows:
            if _FIELD in row.detail:
                try:
                    names = json.loads(row.detail).get("told", ())
                except ValueError:
                    continue
                self._told[row.tenant, row.subscriber] = tuple(map(str, names))

    def turn(self, rows: Sequence[UsageRow]) -> tuple[list[UsageRow], list[Turned]]:
        """Return rows as they are to be stored, with what will have been told, and what is news with them.

        Call `done` once they are stored; nothing has been told before.
        """
        kept: list[UsageRow] = []
        turned: list[Turned] = []
        for row in rows:
            key = row.tenant, row.subscriber
            told = self._told.get(key, ())
            found = self._judge(*key)
            over = told if found is None else tuple(each.allowance.name for each in found)
            if found is not None and set(over) != set(told):
                reached = {each.allowance.name: each for each in found if each.allowance.name not in told}
                restored = tuple(name for name in told if name not in over)
                turned.append(Turned(key, reached, restored, over))
            kept.append(_with(row, over) if over else row)
        return kept, turned

    def done(self, turned: Iterable[Turned]) -> None:
        """What was news is stored, and so it is told."""
        for each in turned:
            if each.over:
                self._told[each.key] = each.over
            else:
                self._told.pop(each.key, None)


def _with(row: UsageRow, names: Sequence[str]) -> UsageRow:
    """Return a row that says as well what was told."""
    return row._replace(detail=row.detail[:-1] + b"," + _FIELD + _ENCODE(names).encode() + b"}")
