"""The end of a snapshot: it is looked at as a whole, served instead of what was served, and that is cleared away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.replica.index import Index
from daemon.store import feed_rows
from daemon.store.feed_rows import Place
from daemon.sync.feed.brake import NO_WINDOW, BrakeOptions, Window
from daemon.sync.feed.census import Census, Task, beside
from daemon.sync.feed.digest import Buckets
from daemon.sync.feed.intake import Made, Refuse
from daemon.sync.feed.ledger import Ledger
from daemon.sync.feed.model import Applied, Brake, Position, Refusal, Refused, Trailer
from daemon.sync.feed.rows import nack_of, nack_row
from daemon.sync.feed.show import Show
from daemon.sync.feed.signing import Keys
from daemon.sync.feed.state import Gathering

Look = Callable[[Task], Awaitable[Census]]

_PASSES = 4
_PURGED = 300  # rows of one transaction
_TOLD = 1000  # refused objects that an answer names


class Swap:
    """Ends snapshots of one feed."""

    def __init__(
        self, ledger: Ledger, show: Show, index: Index, kinds: frozenset[str], brake: BrakeOptions, keys: Keys
    ) -> None:
        self._ledger = ledger
        self._show = show
        self._index = index
        self._kinds = kinds
        self._brake = brake
        self._keys = keys
        self._behind: Place | None = None  # what the index shows, where that is not what is served

    @property
    def behind(self) -> bool:
        """Whether the index shows something else than what is served."""
        return self._behind is not None

    async def finish(self, gathering: Gathering, trailer: Trailer | None, look: Look) -> Applied | Refused:
        """Compare with the trailer, refuse what contradicts itself, serve the rest. Raises StoreUnavailable."""
        foreign = self._foreign(gathering, trailer)
        if foreign is not None:
            return await self._give_up(*foreign)
        await self.catch_up()
        census = await look(self._task(gathering))
        if trailer is not None:
            differs = _difference(census, trailer)
            if differs is not None:
                return await self._give_up(Refusal.MISMATCH, differs)
        for _ in range(_PASSES):
            if not census.refused or not await self._refuse(gathering, census.refused):
                break
            census = await look(self._task(gathering))  # what was served of them may be in the way of others
        return await self.serve(gathering, census.digests, force=False)

    def _foreign(self, gathering: Gathering, trailer: Trailer | None) -> tuple[Refusal, str] | None:
        """Return why a trailer is not that of this snapshot; what is signed could be that of an older one."""
        said = Trailer(counts={}, digests=()) if trailer is None else trailer
        why = self._keys.refuse(said)
        if why is not None:
            return Refusal.SIGNATURE, why
        names = {"feed": said.feed, "epoch": said.epoch, "start_rev": said.start_rev}
        silent = [name for name, value in names.items() if value is None]
        if self._keys.required and silent:
            return Refusal.SIGNATURE, f"its trailer does not say {', '.join(silent)}, and could be an old one"
        if said.feed not in (None, self._ledger.name):
            return Refusal.FEED, f"its trailer is of feed {str(said.feed)[:60]}"
        if said.epoch not in (None, gathering.epoch):
            return (
                Refusal.EPOCH,
                f"its trailer is of epoch {str(said.epoch)[:60]}, not {gathering.epoch[:60]}",
            )
        if said.start_rev is not None and said.start_rev < gathering.start_rev:
            detail = (
                f"its trailer is of a snapshot that began at {said.start_rev}, before {gathering.start_rev}"
            )
            return Refusal.MISMATCH, detail
        return None

    async def _give_up(self, why: Refusal, detail: str) -> Refused:
        state = self._ledger.state
        await self._ledger.save(replace(state, staging=None))
        return Refused(why, detail, state.position)

    def _task(self, gathering: Gathering) -> Task:
        ledger = self._ledger
        path = Path(str(ledger.engine.url.database))
        stay = beside(self._index, ledger.tenant, self._kinds)
        standing = tuple(self._index.standing())
        return Task(path, ledger.at(gathering.generation), ledger.place, stay, standing)

    async def _refuse(self, gathering: Gathering, found: Sequence[tuple[str, str, Refuse]]) -> bool:
        """Take objects out of a generation, and put what is served of them there; tell whether anything is."""
        ledger = self._ledger
        staged, served, at = ledger.at(gathering.generation), ledger.place, ledger.clock.wall()
        back = False
        for start in range(0, len(found), 100):
            why = {(kind, key): refuse for kind, key, refuse in found[start : start + 100]}
            rows = await feed_rows.read_objects(ledger.engine, staged, list(why))
            nacks = [
                nack_row(Made(*each[:2], each.rev, each.bucket, each.digest, None, each.body, each.extra, None),
                         why[each.kind, each.id], at)
                for each in rows
                # What was served already and is in the way itself can only go.
            ]  # fmt: skip
            names = [(each.kind, each.id) for each in rows]

            async def write(connection: AsyncConnection) -> None:
                await feed_rows.delete_objects(connection, staged, names)  # noqa: B023 - awaited below
                await feed_rows.save_nacks(connection, staged, nacks)  # noqa: B023
                await feed_rows.keep_last_good(connection, served, staged, names)  # noqa: B023

            await ledger.writer.commit(write)
            back = back or bool(await feed_rows.read_objects(ledger.engine, staged, names))
        return back

    async def serve(
        self, gathering: Gathering, digests: Sequence[bytes] | None, *, force: bool
    ) -> Applied | Refused:
        """Serve a generation that is whole, unless too much would go with what is served. Raises StoreUnavailable."""
        ledger, state = self._ledger, self._ledger.state
        staged = ledger.at(gathering.generation)
        gone, of = await feed_rows.losses(ledger.engine, ledger.place, staged, sorted(self._kinds))
        window = state.window.at(ledger.clock.wall(), of).beside(of).more(gone)
        if not force:
            held = await self._held(gathering, gone, window)
            if held is not None:
                return held
        before = ledger.place
        await ledger.save(
            replace(
                state,
                epoch=gathering.epoch,
                rev=gathering.start_rev,
                generation=gathering.generation,
                kinds=tuple(sorted(self._kinds)),
                staging=None,
                brake=None,
                permit=None,
                window=NO_WINDOW if force or not any(gone.values()) else window,
                applied_at=ledger.clock.wall(),
            )
        )
        self._behind = before
        await self.catch_up()
        if digests is not None:
            ledger.take_buckets(Buckets(int.from_bytes(each, "big") for each in digests))
        nacks = await feed_rows.read_nacks(ledger.engine, ledger.place, _TOLD)
        return Applied(Position(gathering.epoch, gathering.start_rev), tuple(map(nack_of, nacks)))

    async def _held(self, gathering: Gathering, gone: Mapping[str, int], window: Window) -> Refused | None:
        """Hold a snapshot with which too much would go, together with what went in the hour before."""
        ledger, state, permit = self._ledger, self._ledger.state, self._ledger.state.permit
        of = window.of or {}
        for kind in gone:
            if not gone[kind]:
                continue
            count, most = (window.losses or {})[kind], self._brake.most(kind, of[kind])
            meant = permit is not None and (permit.epoch, permit.kind) == (gathering.epoch, kind)
            if count <= most or (meant and permit is not None and count <= permit.losses + most):
                continue
            since = ledger.clock.wall() if state.brake is None else state.brake.since
            rev = gathering.start_rev
            brake = Brake(kind=kind, losses=count, of=of[kind], since=since, epoch=gathering.epoch, rev=rev)
            await ledger.save(replace(state, brake=brake, staging=replace(gathering, held=True)))
            detail = f"{count} of {of[kind]} objects of kind {kind} are not in the snapshot"
            return Refused(Refusal.BRAKE, detail, state.position)
        return None

    async def catch_up(self) -> None:
        """Bring the index to what is served, where that was not done yet; in the owners' turn.

        Raises StoreUnavailable.
        """
        if self._behind is not None:
            await self._show.generation(self._ledger, self._behind, sorted(self._kinds))
            await self._ledger.recount()
            self._behind = None

    async def purge(self) -> bool:
        """Delete some rows that are served no longer; True where there may be more. Raises StoreUnavailable."""
        ledger, state = self._ledger, self._ledger.state
        keep = [state.generation, *([state.staging.generation] if state.staging is not None else [])]
        kinds = list(state.kinds) if state.generation else []
        gone = 0

        async def write(connection: AsyncConnection) -> None:
            nonlocal gone
            gone = await feed_rows.purge(connection, ledger.name, keep, _PURGED)
            if gone < _PURGED and kinds:
                gone += await feed_rows.purge_local(connection, ledger.tenant, kinds, _PURGED - gone)

        await ledger.writer.commit(write)
        return gone >= _PURGED


def _difference(census: Census, trailer: Trailer) -> str | None:
    """Return how a snapshot differs from what its trailer says; None where it does not."""
    wanted = {kind: number for kind, number in trailer.counts.items() if number}
    for kind in sorted(wanted.keys() | census.counts.keys()):
        came, said = census.counts.get(kind, 0), wanted.get(kind, 0)
        if came != said:
            return f"{came} objects of kind {kind} came, and the trailer says {said}"
    differing = [i for i, (a, b) in enumerate(zip(census.digests, trailer.digests, strict=False)) if a != b]
    if len(trailer.digests) != len(census.digests):
        return f"the trailer has {len(trailer.digests)} digests, {len(census.digests)} expected"
    return (
        f"the digests of {len(differing)} buckets differ, the first is {differing[0]}" if differing else None
    )
