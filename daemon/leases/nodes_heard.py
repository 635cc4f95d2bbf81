"""Sessions whose accounting goes to another node than their logins: their leases live as long as they do.

The rule. A slot is leased by the node that owns its block, and by nobody else. A node that hears of a live session
there tells the owner (`ipam.heard_rows`), and the owner decides by its book: the slot is the same subscriber's, or
nobody's, and the lease is kept for that session until the node says that it is over; or it is somebody else's, which
is recorded as a conflict and refused. A refused session is told as an address conflict, with what the settings say of
those; if this node had it when it began, its address went to another node by a takeover, and the session is ended.
So after a takeover a session goes on where the new owner has kept its address for it, and only there.

What a node has told holds while it is silent, because its sessions may go on; once it is taken over it holds for one
lease time more. The sessions of a lease that is kept so are called NODE#NUMBER in the book.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from daemon.errors import StoreUnavailable
from daemon.leases.addresses import Addresses
from daemon.leases.nodes_notes import Note
from daemon.leases.shared_store import SharedWriter
from ipam import heard_rows
from ipam.blocks import is_remote, remote_name
from ipam.book import Live
from ipam.cells import NONE
from ipam.choose import kind_of
from ipam.heard_rows import HeardRow, Key, Said
from ipam.history import Party, clean, clean_party
from ipam.kinds import BOUND, TENTATIVE, Cause
from ipam.lease import Bundle, Request, Sighting, Wanted
from ipam.shelf import Shelf

_AT_ONCE = 1_000
_STORED_S = 8.0
_LEFT = "@left"


class HeardKeeper:
    """Both sides of it: what this node tells, and what it is told. All raise StoreUnavailable."""

    def __init__(self, addresses: Addresses[Any]) -> None:
        assert isinstance(addresses.writer, SharedWriter)
        self._addresses = addresses
        self._writer: SharedWriter = addresses.writer
        self._clock = addresses.clock
        self._again = True
        self._serial = 0  # of the last change that was made for a row

    def begin(self) -> None:
        """The book has begun anew: look at all that was told."""
        self._again = True
        self._serial = 0

    def gained(self) -> None:
        """There are more blocks: look at all that was told."""
        self._again = True

    # --- what this node tells --------------------------------------------------------------------

    async def tell(self) -> None:
        """Let the store know what is not known there yet."""
        notes, node = self._addresses.notes, self._writer.node
        while told := notes.unsaid(_AT_ONCE):
            rows = [_row(key, note, node) for key, note in told if note is not None]
            async with self._writer.transaction() as connection:
                await heard_rows.end(connection, node, [key for key, note in told if note is None])
                await heard_rows.tell(connection, rows)
            notes.said(told)

    async def learn(self) -> tuple[str, ...]:
        """See that the store knows what this node has told; return the sessions that must end."""
        notes, node = self._addresses.notes, self._writer.node
        async with self._writer.transaction() as connection:
            refused = await heard_rows.refused(connection, node, _AT_ONCE)
            await heard_rows.sweep(connection, node)
            if not notes.dirty and await heard_rows.count(connection, node) != len(notes):
                notes.differ(await heard_rows.told_by(connection, node))
        ended = [notes.refuse(row.key, row.session) for row in refused]
        return tuple(dict.fromkeys(name for name in ended if name is not None))

    # --- what it is told -------------------------------------------------------------------------

    async def answer(self) -> None:
        """Look at what other nodes have told of this node's slots; answered when it is on disk here."""
        node = self._writer.node
        again, self._again = self._again, False
        try:
            if again:
                async with self._writer.transaction() as connection:
                    await heard_rows.ask_again(connection, node)
            while await self._answer_some() == _AT_ONCE:
                pass
            if again:
                async with self._writer.transaction() as connection:
                    self._leave_unknown(await heard_rows.kept_by(connection, node))
        except BaseException:
            self._again = self._again or again
            raise

    async def _answer_some(self) -> int:
        async with self._writer.transaction() as connection:
            rows = await heard_rows.open_for(connection, self._writer.node, _AT_ONCE)
        if not rows:
            return 0
        answers: dict[Said, list[HeardRow]] = {Said.KEPT: [], Said.REFUSED: [], Said.OVER: []}
        for row, said in self.take_up(rows):
            answers[said].append(row)
        await self._stored()
        async with self._writer.transaction() as connection:
            await heard_rows.forget(connection, answers[Said.OVER])
            await heard_rows.answer(connection, answers[Said.KEPT], Said.KEPT)
            await heard_rows.answer(connection, answers[Said.REFUSED], Said.REFUSED)
        done = sum(map(len, answers.values()))
        return _AT_ONCE if done == len(rows) == _AT_ONCE else 0

    async def _stored(self) -> None:
        """Wait until what was done is on disk: an answer must not be known before its reason."""
        try:
            async with asyncio.timeout(_STORED_S):
                await self._addresses.lessor.stored(self._serial)
        except TimeoutError as error:
            raise StoreUnavailable("leases that other nodes have told of are not stored yet") from error

    def take_up(self, rows: Iterable[HeardRow]) -> list[tuple[HeardRow, Said]]:
        """Bring the book in line with rows, what is over first; return what to say of each, OVER: delete it.

        Rows of slots that are not this node's (any more) are left out.
        """
        found: list[tuple[HeardRow, Said]] = []
        for row in sorted(rows, key=_over_first):
            shelf = self._addresses.register.find(row.tenant, row.pool)
            if shelf is None or shelf.allocator.segment_at(row.slot) is None:
                continue
            cell = shelf.allocator.carve(row.slot)
            if cell == NONE:
                continue
            said = self._take(shelf, cell, row)
            if said is not None:
                found.append((row, said))
        return found

    def _take(self, shelf: Shelf, cell: int, row: HeardRow) -> Said | None:
        book, now, at = self._addresses.book, self._clock.monotonic(), self._clock.wall()
        name = remote_name(row.node, row.session)
        if row.said in (Said.OVER, Said.LEFT) or row.node == self._writer.node:
            for live in self._told_by(shelf, cell, row.node):
                if row.said == Said.LEFT:
                    self._done(book.bind(live.id, live.session + _LEFT, now, at))
                else:
                    self._done(book.release(live.id, Cause.STOP, now, at))
            return Said.OVER
        said = self._keep(shelf, cell, row, name, now, at)
        if said is Said.KEPT:
            for live in self._told_by(shelf, cell, row.node):
                if live.session != name:
                    self._done(book.release(live.id, Cause.STOP, now, at))
        return said

    def _keep(self, shelf: Shelf, cell: int, row: HeardRow, name: str, now: float, at: float) -> Said | None:
        book, vrf, unit = self._addresses.book, shelf.pool.vrf, shelf.unit(cell)
        party = Party(row.subscriber, row.nas, row.circuit, row.mac)
        owner = row.owner
        tenure = shelf.tenures.get(cell)
        is_live = TENTATIVE <= shelf.allocator.states[cell] <= BOUND
        if is_live and tenure is not None and row.subscriber and tenure.party.subscriber == row.subscriber:
            owner = tenure.owner
        seen = self._addresses.steward.observe(row.tenant, vrf, unit, owner, name, now, at, party)
        self._done(seen.serial)
        if seen.sighting is not Sighting.KNOWN:
            return {Sighting.ADOPTED: Said.KEPT, Sighting.CONFLICT: Said.REFUSED}.get(seen.sighting)
        if any(live.session == name for live in self._told_by(shelf, cell, row.node)):
            return Said.KEPT
        known = book.find(seen.bundle_id)
        if known is not None and (not known.session or "@" in known.session):
            self._done(
                book.bind(known.id, name, now, at)
            )  # its login was here, or at a node whose block this was
            return Said.KEPT
        wanted = Wanted(kind_of(unit), unit=unit, vrf=vrf)
        taken = book.take(owner, Request(tenant=row.tenant, wanted=(wanted,), party=party), now, at)
        if not isinstance(taken, Bundle):
            return None
        self._done(book.bind(taken.id, name, now, at))
        return Said.KEPT

    def _done(self, serial: int | None) -> None:
        self._serial = max(self._serial, serial or 0)

    def _told_by(self, shelf: Shelf, cell: int, node: str) -> list[Live]:
        """Return the bundles of a slot that are of sessions which a node has told of."""
        book, tenure = self._addresses.book, shelf.tenures.get(cell)
        if tenure is None:
            return []
        found = [book.find(number) for number in book.bundles_of(shelf.pool.tenant, tenure.owner)]
        return [
            live
            for live in found
            if live is not None and is_remote(live.session, node) and (shelf, cell, tenure) in live.members
        ]

    def _leave_unknown(self, told: set[tuple[str, str]]) -> None:
        """Leases that were kept for sessions of which nobody tells any more have one lease time left."""
        book, now, at = self._addresses.book, self._clock.monotonic(), self._clock.wall()
        names = {remote_name(*each) for each in told}
        for live in book.bundles():
            if is_remote(live.session) and live.session not in names:
                book.bind(live.id, live.session + _LEFT, now, at)


def _over_first(row: HeardRow) -> tuple[bool, Key]:
    return row.said != Said.OVER, row.key


def _row(key: Key, note: Note, node: str) -> HeardRow:
    return HeardRow(*key, node, note.session, clean(note.owner), *clean_party(note.party), Said.TOLD.value)
