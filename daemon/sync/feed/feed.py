"""One feed of one tenant: batches and snapshots of its platform become durable, then visible; nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.clock import Clock
from daemon.replica.index import Index
from daemon.replica.store import Unreadable
from daemon.store import feed_rows
from daemon.store.feed_rows import FeedRow
from daemon.store.seal import Sealer
from daemon.store.writer import Writer
from daemon.sync.feed.brake import USUAL, BrakeOptions
from daemon.sync.feed.census import Census, Task
from daemon.sync.feed.changing import Changing
from daemon.sync.feed.digest import bucket_of, root_of
from daemon.sync.feed.intake import SCHEMA, TOO_NEW, Intake
from daemon.sync.feed.ledger import Ledger
from daemon.sync.feed.model import (
    Applied,
    Batch,
    Brake,
    Digests,
    FeedStatus,
    Item,
    KindStatus,
    Nack,
    Pending,
    Position,
    Refusal,
    Refused,
    Trailer,
)
from daemon.sync.feed.pending import PendingTable
from daemon.sync.feed.rows import nack_of
from daemon.sync.feed.rule import Verdict, judge, news
from daemon.sync.feed.show import OnChange, Show
from daemon.sync.feed.signing import NO_KEYS, Keys
from daemon.sync.feed.slices import Slices
from daemon.sync.feed.staging import Snapshot
from daemon.sync.feed.state import Gathering, Permit
from daemon.sync.feed.swap import Swap
from daemon.sync.feed.worker import Setup
from daemon.sync.feed.workshop import Beside, Here, Workshop, WorkshopLost
from daemon.sync.owners import Owners
from daemon.sync.renderable import Unrenderable
from radius.dictionary import Dictionary


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedOptions:
    """A feed as the settings have it; `beside`: large snapshots are read by a process of their own."""

    name: str
    tenant: str
    kinds: frozenset[str]
    keys: Keys = NO_KEYS
    brake: BrakeOptions = USUAL
    beside: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all feeds of an edge share. `key` is the sealing key; `on_change` is told what has changed in the index."""

    index: Index
    engine: AsyncEngine
    writer: Writer
    key: bytes
    clock: Clock
    dictionary: Dictionary
    owners: Owners
    on_change: OnChange
    unrenderable: Unrenderable | None


class ReplicaFeed:
    """Implements `LineFeed`. `restore` comes first; everything else takes turns."""

    def __init__(self, options: FeedOptions, around: Surroundings) -> None:
        self.name = options.name
        self.tenant = options.tenant
        self.kinds = options.kinds
        self._options = options
        self._around = around
        self._ledger = Ledger(options.name, options.tenant, around.engine, around.writer, around.clock)
        self._turn = self._ledger.turn
        seal = Sealer(around.key)
        clock = around.clock
        self._here = Here(Intake(self.tenant, self.kinds, seal, around.dictionary), seal, clock)
        self._pending = PendingTable(around.index, self.tenant)
        self._show = Show(around.index, self.tenant, seal, clock, self._pending, around.on_change)
        self._changing = Changing(
            self._ledger, self._show, self._here, around.index, around.owners, around.unrenderable, seal,
            options.kinds, options.brake,
        )  # fmt: skip
        self._swap = Swap(self._ledger, self._show, around.index, options.kinds, options.brake, options.keys)
        self._snapshot: Snapshot | None = None
        self._held: Batch | None = None

    # -- standing

    @property
    def contact_at(self) -> float | None:
        """When the platform was last heard of for certain, epoch seconds; None before the first time."""
        return self._ledger.contact_at

    @property
    def position(self) -> Position | None:
        """How far it has been read; None before the first snapshot, and where its kinds are others than then."""
        state = self._ledger.state
        return None if tuple(sorted(self.kinds)) != state.kinds else state.position

    @property
    def brake(self) -> Brake | None:
        """What is held because too much would go."""
        return self._ledger.state.brake

    async def restore(self, row: FeedRow | None, unreadable: Sequence[Unreadable] = ()) -> None:
        """Take over what is stored, once the index has what is served. Raises StoreUnavailable.

        What of it could not be read counts as not there, so that a comparison with the platform brings it again.
        """
        await self._ledger.restore(row)
        damaged = [(each.kind, each.id) for each in unreadable if each.feed == self.name]
        if damaged:
            place = self._ledger.place
            await self._ledger.writer.commit(lambda rows: feed_rows.forget_digests(rows, place, damaged))
        if self._ledger.state.schema != SCHEMA:
            await self._ask_again()
        self._show.ready()

    async def _ask_again(self) -> None:
        """Let objects that an older version could not read as a whole be brought again."""
        place = self._ledger.place
        await self._ledger.writer.commit(lambda rows: feed_rows.forget_unread(rows, place, TOO_NEW))
        await self._ledger.save(replace(self._ledger.state, schema=SCHEMA))

    async def tidy(self) -> bool:
        """Delete some of what is served no longer, and look at what is pending; True where there may be more."""
        async with self._turn:
            await self._catch_up()
            return await self._swap.purge()

    async def _catch_up(self) -> None:
        if self._swap.behind:
            async with self._around.owners.turn:
                await self._swap.catch_up()

    async def nacks(self) -> list[Nack]:
        """Return the objects that are refused now."""
        return [nack_of(row) for row in await feed_rows.read_nacks(self._ledger.engine, self._ledger.place)]

    async def pending(self) -> list[Pending]:
        """Return the objects in force that name something that is not there."""
        await self._look_at_pending()
        return self._pending.all()

    def noticed(self, keys: Sequence[tuple[str, str, str]]) -> None:
        """Take note of objects that somebody else has changed: what waits for them waits no longer."""
        for tenant, kind, key in keys:
            if tenant == self.tenant and kind in ("plan", "pool") and kind not in self.kinds:
                known = self._around.index.tenants.get(tenant)
                there = known is not None and key in (known.plans if kind == "plan" else known.pools)
                if there:
                    self._pending.arrived((kind, key))
                else:
                    self._pending.removed((kind, key))

    async def _look_at_pending(self) -> None:
        if self._pending.stale:
            await Slices(self._around.clock.monotonic).exhaust(self._pending.scan(self.kinds))

    async def status(self) -> FeedStatus:
        """Return the feed at a glance."""
        await self._look_at_pending()
        ledger, state = self._ledger, self._ledger.state
        counts = ledger.counts
        kinds = sorted(self.kinds | {kind for kind, number in counts.nacks.items() if number})
        staging = state.staging
        return FeedStatus(
            name=self.name,
            tenant=self.tenant,
            kinds=tuple(
                KindStatus(
                    kind,
                    counts.objects.get(kind, 0),
                    counts.nacks.get(kind, 0),
                    self._pending.count(kind),
                )
                for kind in kinds
            ),
            position=self.position,
            head=state.head,
            contact_at=ledger.contact_at,
            applied_at=state.applied_at,
            skew_s=state.skew_s,
            brake=state.brake,
            staging=None if staging is None else Position(staging.epoch, staging.start_rev),
            wants_snapshot=self.position is None,
        )

    async def contact(self, head: int | None, server_time: float | None, asked_at: float, at: float) -> None:
        """Note that the platform was heard of; see `Feed`. Raises StoreUnavailable."""
        skew_s = None if server_time is None else server_time - (asked_at + at) / 2
        self._ledger.heard(head, skew_s)
        await self._ledger.contact(at)

    async def digests(self) -> Digests:
        """Return the digests of what the feed has brought, refused objects included as they came."""
        async with self._turn:
            buckets = (await self._ledger.buckets()).digests()
            return Digests(self.position or Position("", 0), buckets, root_of(buckets))

    # -- what comes

    async def apply(self, batch: Batch) -> Applied | Refused:
        """Apply a batch, durable and served when it returns. Raises StoreUnavailable."""
        async with self._turn:
            return await self._apply(batch, force=False)

    async def _apply(self, batch: Batch, *, force: bool) -> Applied | Refused:
        position = self.position
        refused = self._foreign(batch)
        if refused is not None:
            return refused
        verdict = judge(position, batch)
        if verdict is Verdict.EPOCH or position is None:
            return Refused(Refusal.EPOCH, f"it is of epoch {batch.epoch}: a snapshot is needed", position)
        if verdict is Verdict.GAP:
            detail = f"it begins after {batch.after}, and this feed is at {position.rev}"
            return Refused(Refusal.GAP, detail, position)
        if verdict is Verdict.DUPLICATE:
            return Applied(position, duplicate=True)
        await self._catch_up()
        self._ledger.heard(batch.head, None)
        goal = Position(batch.epoch, batch.to)
        done = await self._changing.change(goal, news(position, batch.items), force=force)
        held = isinstance(done, Refused) and done.why is Refusal.BRAKE
        self._held = batch if held else None
        return done

    def _foreign(self, batch: Batch) -> Refused | None:
        if batch.feed != self.name:
            return Refused(Refusal.FEED, f"it is of feed {batch.feed[:60]}", self.position)
        why = self._options.keys.refuse(batch)
        return None if why is None else Refused(Refusal.SIGNATURE, why, self.position)

    async def repair(self, bucket: int, rev: int, items: Sequence[Item]) -> Applied | Refused:
        """Take `items`, as of `rev`, as all that there is in a bucket. Refused (gap) unless the feed is at `rev`."""
        async with self._turn:
            position = self.position
            if position is None or position.rev != rev:
                return Refused(Refusal.GAP, f"it is as of {rev}, and this feed is elsewhere", position)
            if any(bucket_of(item.kind, item.id) != bucket for item in items):
                return Refused(Refusal.MISMATCH, f"it has an object that is not of bucket {bucket}", position)
            await self._catch_up()
            return await self._changing.repair(position, bucket, items)

    async def snapshot(self, epoch: str, start_rev: int) -> Snapshot:
        """Begin a snapshot, or go on with the one that was under way with the same epoch. Raises StoreUnavailable."""
        async with self._turn:
            if self._snapshot is not None:
                await self._snapshot.close()
            state = self._ledger.state
            gathering = state.staging
            if gathering is None or gathering.held or gathering.epoch != epoch:
                number = max(state.last_generation, state.generation) + 1
                gathering = Gathering(epoch=epoch, start_rev=start_rev, generation=number)
                await self._ledger.save(replace(state, staging=gathering, last_generation=number))
            beside = self._process if self._options.beside else None
            self._snapshot = Snapshot(self._ledger, gathering, self._here, beside, self._finish)
            return self._snapshot

    def _process(self, generation: int) -> Beside:
        return Beside(Setup(self._ledger.at(generation), self.kinds, self._around.key))

    async def _finish(
        self, gathering: Gathering, trailer: Trailer | None, workshop: Workshop
    ) -> Applied | Refused:
        async def look(task: Task) -> Census:
            try:
                return await workshop.census(task)
            except WorkshopLost:
                return await self._here.census(task)

        # What it is compared with must not change until it is served, so that loads of operators wait.
        async with self._turn, self._around.owners.turn:
            return await self._swap.finish(gathering, trailer, look)

    async def release_brake(self) -> Applied | Refused:
        """Apply what the brake holds; what is not kept here passes when it comes again. Raises StoreUnavailable."""
        async with self._turn:
            state = self._ledger.state
            held, self._held = self._held, None
            if state.staging is not None and state.staging.held:
                async with self._around.owners.turn:
                    return await self._swap.serve(state.staging, None, force=True)
            if held is not None:
                return await self._apply(held, force=True)
            brake = state.brake
            if brake is None:
                return Applied(state.position or Position("", 0), duplicate=True)
            permit = Permit(epoch=brake.epoch, kind=brake.kind, losses=brake.losses)
            await self._ledger.save(replace(state, brake=None, permit=permit))
            return Refused(Refusal.BRAKE, "released: it passes when it comes again", self.position)

    async def close(self) -> None:
        """Let go of the process that reads a snapshot; what is durable of it is gone on with after a restart."""
        if self._snapshot is not None:
            await self._snapshot.close()
