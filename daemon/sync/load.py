"""A data file into the replica: read, validate whole, apply. Anything wrong, and nothing of it is applied."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.aaa.authorize import grant
from daemon.aaa.prepared import prepare
from daemon.aaa.standing import FULL, Standing
from daemon.errors import StoreUnavailable
from daemon.replica.codec import Json, export
from daemon.replica.index import Index
from daemon.replica.records import AccessMode, Nas, Plan, Subscriber
from daemon.replica.rules import Act, Garden, Rules
from daemon.sync.apply import Applied, Apply
from daemon.sync.check import check
from daemon.sync.document import read
from daemon.sync.problems import DataInvalid, Problem
from radius import vendors
from radius.dictionary import Dictionary
from radius.errors import Unencodable
from radius.grant import Access, Rate

_SLICE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """A data file as it came: its octets, its name for messages, and what to do with it.

    `tenant` owns objects that do not say whose they are. With `replace`, the tenants of the file are left with
    nothing else; with `dry_run` nothing changes.
    """

    octets: bytes
    name: str
    tenant: str | None = None
    replace: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """What a load changed, and what was allowed but odd."""

    applied: Applied
    warnings: tuple[Problem, ...]


class DataLoader:
    """Loads data files, one at a time."""

    def __init__(self, index: Index, apply: Apply, dictionary: Dictionary) -> None:
        self._index = index
        self._apply = apply
        self._dictionary = dictionary
        self._turn = asyncio.Lock()

    async def load(self, request: LoadRequest) -> Changed:
        """Validate and apply one file. Raises DataInvalid, then nothing changed; or StoreUnavailable."""
        async with self._turn:
            document = await asyncio.to_thread(read, request.octets, request.name)
            checked = await asyncio.to_thread(
                check,
                document,
                self._index,
                self._dictionary,
                tenant=request.tenant,
                replace=request.replace,
                unrenderable=unrenderable,
                owner_of=self._apply.owners.feed_of,
            )
            if checked.problems:
                raise DataInvalid(checked.problems)
            applied = await self._apply.load(
                checked.records, replace=request.replace, dry_run=request.dry_run
            )
            return Changed(applied, checked.warnings)

    async def load_files(self, files: Sequence[Path]) -> list[tuple[Path, Exception]]:
        """Load files one after the other; return those that were refused, and why: their last good data serve."""
        refused: list[tuple[Path, Exception]] = []
        for file in files:
            try:
                octets = await asyncio.to_thread(file.read_bytes)
                await self.load(LoadRequest(octets=octets, name=str(file)))
            except (OSError, DataInvalid, StoreUnavailable) as error:
                refused.append((file, error))
        return refused

    async def export(self, secrets: bool) -> list[dict[str, Json]]:
        """Return every object as a data file has it, secrets only where asked."""
        out: list[dict[str, Json]] = []
        for i, record in enumerate(list(self._index.records())):
            out.append(export(record, secrets=secrets))
            if i % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        return out


def unrenderable(what: Plan | Garden, nas: Nas) -> str | None:
    """Return why a plan, or a walled garden, cannot be said to a NAS of that vendor; None where it can.

    A plan is tried at each rate that its rules can give it.
    """
    profile = vendors.find(nas.vendor)
    assert profile is not None, "the wire models admit known vendors only"
    anybody = Subscriber(tenant=nas.tenant, id="", access_mode=AccessMode.ACTIVE, plan=None)
    garden, plan = (what, None) if isinstance(what, Garden) else (None, what)
    standings = [Standing(act=Act.CAPTIVE)]
    if plan is not None:
        standings = [FULL, *(Standing(rate=rate) for rate in _other_rates(plan.rules))]
    edits = () if plan is None else plan.service.edits
    access = (None if plan is None else plan.access) or Access.PPP
    try:
        for standing in standings:
            given = grant(anybody, plan, standing, garden, 0.0, access, 600)
            prepare(given, profile, 0.0, ("nas", nas.edits), ("plan", edits))
    except Unencodable as reason:
        return str(reason)
    return None


def _other_rates(rules: Rules) -> tuple[Rate, ...]:
    """Return the rates that rules can put in the place of the plan's, each once."""
    then = (each.then.rate for each in rules.allowances)
    rates = (*(each.rate for each in rules.rate_hours), *(rate for rate in then if rate is not None))
    return tuple(dict.fromkeys(rates))
