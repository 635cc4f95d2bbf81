"""Changes of single objects: judged beside what is served, stored with the new position, then shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from daemon.errors import StoreUnavailable
from daemon.replica.codec import RecordUnreadable, load
from daemon.replica.index import Index
from daemon.replica.records import Record
from daemon.store import feed_finds, feed_rows
from daemon.store.feed_rows import Known, NackRow, ObjectRow
from daemon.store.seal import Sealer
from daemon.sync.faults import Fault
from daemon.sync.feed.brake import BrakeOptions, Window
from daemon.sync.feed.digest import bucket_of
from daemon.sync.feed.intake import Made, refusal, storable
from daemon.sync.feed.ledger import Change, Ledger
from daemon.sync.feed.model import Applied, Brake, Item, Op, Position, Refusal, Refused
from daemon.sync.feed.rows import nack_of, nack_row, object_row, unpacked
from daemon.sync.feed.show import Show
from daemon.sync.feed.slices import Slices, give_way
from daemon.sync.feed.state import State
from daemon.sync.feed.vet import IN_THE_WAY, vet
from daemon.sync.feed.workshop import Here
from daemon.sync.outlook import Key
from daemon.sync.owners import Owners
from daemon.sync.renderable import Unrenderable

_AT_ONCE = 100
_RETRIED = 500  # refused objects that are tried again at one go

_Name = tuple[str, str]


class Changing:
    """Changes objects of one feed."""

    def __init__(
        self,
        ledger: Ledger,
        show: Show,
        here: Here,
        index: Index,
        owners: Owners,
        unrenderable: Unrenderable | None,
        seal: Sealer,
        kinds: frozenset[str],
        brake: BrakeOptions,
    ) -> None:
        self._ledger = ledger
        self._show = show
        self._here = here
        self._index = index
        self._owners = owners
        self._unrenderable = unrenderable
        self._seal = seal
        self._kinds = kinds
        self._brake = brake
        self._doubtful: set[_Name] = set()  # stored perhaps, and not shown

    async def change(self, goal: Position, items: Sequence[Item], *, force: bool) -> Applied | Refused:
        """Apply items, in the order of their revisions; the feed is at `goal` then. Raises StoreUnavailable."""
        made = await self._here.read([item for item in items if item.op is Op.PUT])
        gone = [(storable(item.kind), storable(item.id)) for item in items if item.op is Op.DELETE]
        async with self._owners.turn:
            await self._settle()
            known = await self._known([*((each.kind, each.id) for each in made), *gone])
            return await self._apply(goal, made, gone, known, force=force)

    async def repair(self, position: Position, bucket: int, items: Sequence[Item]) -> Applied | Refused:
        """Take items as all that there is in a bucket. Raises StoreUnavailable."""
        made = await self._here.read([item for item in items if item.op is Op.PUT])
        async with self._owners.turn:
            await self._settle()
            known = await feed_rows.in_bucket(self._ledger.engine, self._ledger.place, bucket)
            named = {(each.kind, each.id) for each in made}
            gone = [name for name in known if name not in named]
            return await self._apply(position, made, gone, known, force=False)

    async def _known(self, names: Sequence[_Name]) -> dict[_Name, Known]:
        return await feed_finds.find(self._ledger.engine, self._ledger.place, names)

    async def _apply(
        self,
        goal: Position,
        made: Sequence[Made],
        gone: Sequence[_Name],
        known: Mapping[_Name, Known],
        *,
        force: bool,
    ) -> Applied | Refused:
        state = self._ledger.state
        gone = [name for name in gone if name in known]
        losses = Counter(name[0] for name in gone if known[name].object is not None)
        window = state.window.at(self._ledger.clock.wall(), self._ledger.counts.objects).more(losses)
        if not force:
            held = await self._held(state, window, losses, goal)
            if held is not None:
                return held
        await give_way()  # as below: a batch has a thousand objects
        made = [each for each in made if known.get((each.kind, each.id)) != Known(each.digest, None)]
        await give_way()
        refused = await self._refused(made, gone)
        good = [each for each in made if each.refuse is None and (each.kind, each.id) not in refused]
        await give_way()
        at = self._ledger.clock.wall()
        nacks = [
            nack_row(each, each.refuse or refusal(refused[each.kind, each.id]), at)
            for each in made
            if each.refuse is not None or (each.kind, each.id) in refused
        ]
        puts = [object_row(each) for each in good]
        await give_way()
        await self._store(_at(goal, state, at, Window() if force else window), known, puts, nacks, gone)
        records = [each.record for each in good if each.record is not None]
        await self._visible(records, gone, known)
        self._doubtful.clear()
        await self._count_waiting(nacks)
        if good or gone:
            await self._try_again()
        return Applied(goal, tuple(nack_of(each) for each in nacks))

    async def _visible(
        self, records: Sequence[Record], gone: Sequence[_Name], known: Mapping[_Name, Known]
    ) -> None:
        doomed = [name for name in gone if name[0] in self._kinds and known[name].object is not None]
        if records or doomed:
            await self._show.change(records, doomed)

    async def _held(
        self, state: State, window: Window, losses: Mapping[str, int], goal: Position
    ) -> Refused | None:
        """Hold a change that would take too much, unless somebody has said that it is meant."""
        found = window.too_much(self._brake, losses)
        if found is None:
            return None
        kind, count, of = found
        permit = state.permit
        meant = permit is not None and (permit.epoch, permit.kind) == (goal.epoch, kind)
        if meant and permit is not None and count <= permit.losses + self._brake.most(kind, of):
            return None
        since = self._ledger.clock.wall() if state.brake is None else state.brake.since
        brake = Brake(kind=kind, losses=count, of=of, since=since, epoch=goal.epoch, rev=goal.rev)
        if brake != state.brake:
            await self._ledger.save(replace(state, brake=brake))
        detail = f"{count} of {of} objects of kind {kind} would go within an hour"
        return Refused(Refusal.BRAKE, detail, state.position)

    async def _refused(self, made: Sequence[Made], gone: Sequence[_Name]) -> dict[_Name, Fault]:
        """Return what cannot come into force beside the others, with the first reason."""
        tenant = self._ledger.tenant
        records: dict[Key, Record] = {
            (each.kind, tenant, each.id): each.record for each in made if each.record is not None
        }
        doomed = frozenset((kind, tenant, key) for kind, key in gone)
        steps = vet(self._index, records, doomed, self._unrenderable)
        found = await Slices(self._ledger.clock.monotonic).exhaust(steps)
        return {(key[0], key[2]): fault for key, fault in reversed(found)}

    async def _store(
        self,
        state: State,
        known: Mapping[_Name, Known],
        puts: Sequence[ObjectRow],
        nacks: Sequence[NackRow],
        gone: Sequence[_Name],
    ) -> None:
        # A refusal by others may end without a word from the platform; what is wrong by itself stays so.
        kept = [each if each.code in IN_THE_WAY else each._replace(body=None) for each in nacks]
        buckets = {(each.kind, each.id): each.bucket for each in puts}
        buckets |= {(each.kind, each.id): each.bucket for each in kept}
        buckets |= {name: bucket_of(*name) for name in gone}
        ledger = self._ledger
        self._doubtful.update((each.kind, each.id) for each in puts)
        self._doubtful.update(gone)
        try:
            await ledger.commit(state, Change(known, buckets, puts, kept, gone), ledger.place)
        except StoreUnavailable:
            self._doubtful.clear()  # nothing of it is stored
            raise

    async def _count_waiting(self, nacks: Sequence[NackRow]) -> None:
        ledger = self._ledger
        if ledger.waiting or any(each.code in IN_THE_WAY for each in nacks):
            ledger.waiting = await feed_rows.count_waiting(ledger.engine, ledger.place)

    async def _settle(self) -> None:
        """Show what was stored where something came between storing and showing: a cancellation, a fault of ours."""
        ledger, names = self._ledger, sorted(self._doubtful)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            rows = await feed_rows.read_objects(ledger.engine, ledger.place, some)
            there = {(row.kind, row.id) for row in rows}
            records = [load(row.kind, row.body, self._seal) for row in rows]
            gone = [name for name in some if name not in there and name[0] in self._kinds]
            await self._show.change(records, gone)
        self._doubtful.clear()

    async def _try_again(self) -> None:
        """Look again at objects that others were in the way of."""
        ledger = self._ledger
        if not ledger.waiting:
            return
        rows = await feed_rows.read_waiting(ledger.engine, ledger.place, _RETRIED)
        made = [each for each in map(self._made, rows) if each is not None]
        refused = await self._refused(made, ())
        good = [each for each in made if (each.kind, each.id) not in refused]
        if good:
            known = await self._known([(each.kind, each.id) for each in good])
            await self._store(ledger.state, known, [object_row(each) for each in good], [], [])
            await self._show.change([each.record for each in good if each.record is not None], [])
            self._doubtful.clear()
            await self._count_waiting([])

    def _made(self, row: NackRow) -> Made | None:
        body, extra = unpacked(row.body or b"")
        try:
            record = load(row.kind, body, self._seal)
        except RecordUnreadable:
            return None
        return Made(row.kind, row.id, row.rev, row.bucket, row.digest, record, body, extra, None)


def _at(goal: Position, state: State, at: float, window: Window) -> State:
    """Return the state of a feed that has applied a change; a snapshot that the brake holds goes on being held."""
    held = state.staging is not None and state.staging.held
    brake = state.brake if held else None
    return replace(state, rev=goal.rev, applied_at=at, window=window, brake=brake, permit=None)
