"""One pass over the tables: logins that have changed become objects, the others are counted only."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.sync.freeradius.controls import ControlReader
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.logins import Gathered, Group, Groups, gather
from daemon.sync.freeradius.nases import Client, Resolve, by_address, client, ids, inferred, nases
from daemon.sync.freeradius.projection import Projection, raw_of
from daemon.sync.freeradius.semantics import Made, Translator, object_id
from daemon.sync.freeradius.sql_options import SqlOptions
from daemon.sync.freeradius.sql_rows import Schema
from daemon.sync.freeradius.staff import member
from radius.dictionary import Dictionary

_SEEN_AT_ONCE = 200  # logins before others have a turn: about a millisecond
_A_MAKING = 20  # how many times longer it takes to make an object than to see that its rows are the same

# What absurd values of one row may raise: tables take texts of any length, and others must not wait for them.
_ROW_FAULTS = (ValueError, ArithmeticError, LookupError, TypeError, RecursionError)
_UNREADABLE: Mapping[str, object] = {"unreadable": True}

Put = Callable[[Made], Awaitable[None]]


@dataclass(slots=True)
class Sweep:
    """One pass. Objects that are not what `earlier` had go to `put`; plans come before those who have them."""

    options: SqlOptions
    dictionary: Dictionary
    findings: Findings
    kinds: frozenset[str]
    earlier: Projection
    put: Put
    made: Projection = field(default_factory=Projection)
    skipped: int = 0
    _rule: re.Pattern[str] | None = None
    _clients: list[Client] = field(default_factory=list)
    _turns: int = 0

    async def read(self, connection: AsyncConnection, schema: Schema, *, fold: bool) -> None:
        """Read everything inside the transaction of `connection`; NASes are left to `close`."""
        self._rule = re.compile(self.options.users) if self.options.users else None
        self._clients = [client(each) for each in await schema.nases(connection)]
        self.made.rows += len(self._clients)
        groups = Groups(fold, self.findings)
        rows = await schema.groups(connection)
        groups.read(rows)
        self.made.rows += len(rows)
        addresses = by_address(self._clients)
        translator = Translator(self.options.reading, self.dictionary, self.findings, addresses)
        if "plan" in self.kinds:
            for group in list(groups.found.values()):
                await self._group(group, translator)
        # What is known of NASes and how rows are read decide as well as the rows.
        salt = blake2b(
            repr((self.options.reading, sorted(addresses.items()))).encode(), digest_size=16
        ).digest()
        if "subscriber" in self.kinds:
            await self._logins(gather(schema.users(connection), groups, salt), translator)
        if "staff" in self.kinds:
            await self._staff(gather(schema.staff(connection), Groups(fold, self.findings), salt))
        self.made.vendors = frozenset(translator.vendors) | self.earlier.vendors

    async def close(self, resolve: Resolve) -> None:
        """Make the NASes, whose hosts are looked up now that no transaction is open."""
        if "nas" in self.kinds:
            for key in ids(self._clients):
                self.findings.forget(f"nas {key}")
            vendor = inferred(self.options.nases, self.made.vendors)
            for each in await nases(self._clients, self.options.nases, vendor, resolve, self.findings):
                await self._object(each)

    async def _logins(self, chunks: AsyncIterator[list[Gathered]], translator: Translator) -> None:
        async for chunk in chunks:
            for each in chunk:
                await self._turn()
                if self._rule is not None and self._rule.fullmatch(each.name) is None:
                    self.skipped += 1
                    continue
                if each.name in self.made.logins:  # such as o'neil beside o=27neil
                    text = "two spellings of one name in the tables; the first counts"
                    self.findings.add(Why.DUPLICATE, each.name, "User-Name", text)
                    continue
                self.made.rows += each.rows
                entry = self.earlier.logins.get(each.name)
                if entry is not None and raw_of(entry) == each.raw:
                    self.made.same_login(each.name, entry, self.earlier)
                    continue
                await self._turn(_A_MAKING)
                self.findings.forget(each.name)
                await self._login(each, translator)

    async def _group(self, group: Group, translator: Translator) -> None:
        found: list[Made] = []
        try:
            found += translator.group(group.block)
        except _ROW_FAULTS as error:
            found = [self._unreadable("plan", group.block.label, error)]
        for each in found:
            await self._kept_or(each)

    def _unreadable(self, kind: str, name: str, error: BaseException) -> Made:
        """Tell of an object that cannot be made. What stands for it is refused, so that the last good one stays."""
        text = f"its rows cannot be read ({type(error).__name__}); what it was before stays"
        self.findings.add(Why.VALUE, name, "(row)", text)
        return Made(kind, object_id(name), dict(_UNREADABLE))

    async def _kept_or(self, made: Made) -> None:
        """Take an object; one that cannot be read stays as an earlier pass had it."""
        if made.body != _UNREADABLE or not self.made.same_other((made.kind, made.id), self.earlier):
            await self._object(made)

    async def _login(self, gathered: Gathered, translator: Translator) -> None:
        found: list[Made] = []
        try:
            for made in translator.login(gathered.login(self.findings)):
                found.append(made)  # noqa: PERF402 - a plan counts also where what follows it fails
        except _ROW_FAULTS as error:
            entry = self.earlier.logins.get(gathered.name)
            stand_in = self._unreadable("subscriber", gathered.name, error)
            if entry is not None:
                self.made.same_login(gathered.name, entry, self.earlier)
            else:
                found.append(Made("subscriber", stand_in.id, {**_UNREADABLE, "plan": ""}))
        for made in found:
            if made.kind == "plan":
                await self._object(made)
                continue
            old = self.earlier.logins.get(gathered.name)
            digest = self.made.add_login(gathered.name, gathered.raw, made)
            if old is None or digest not in old:
                await self.put(made)

    async def _staff(self, chunks: AsyncIterator[list[Gathered]]) -> None:
        reading = self.options.reading
        reader = ControlReader(reading.password_attribute, reading.zone(), self.findings)
        async for chunk in chunks:
            for each in chunk:
                await self._turn(_A_MAKING)
                self.made.rows += each.rows
                self.findings.forget(each.name)
                try:
                    made = member(each.login(self.findings), reader)
                except _ROW_FAULTS as error:
                    made = self._unreadable("staff", each.name, error)
                await self._kept_or(made)

    async def _object(self, made: Made) -> None:
        digest = self.made.add(made)
        if self.earlier.others.get((made.kind, made.id)) != digest and made.kind in self.kinds:
            await self.put(made)

    async def _turn(self, weight: int = 1) -> None:
        """Let others run now and then."""
        self._turns += weight
        if self._turns >= _SEEN_AT_ONCE:
            self._turns = 0
            await asyncio.sleep(0)
