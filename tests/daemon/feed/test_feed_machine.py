"""Whatever comes in whatever order: what a feed keeps in memory is what its rows say, and what it should be."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from daemon.replica.index import Index
from daemon.replica.store import restore
from daemon.store.seal import Sealer
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.digest import bucket_of
from daemon.sync.feed.model import Applied, Op, Refusal, Refused
from tests.daemon.feed.stage import KEY, Edge, Platform, line, plan
from tests.effort import effort

KEYS = st.sampled_from([f"s{n}" for n in range(8)])
NAMES = st.sampled_from([f"user{n}" for n in range(5)])  # fewer than subscribers, so that they quarrel


class FeedMachine(RuleBasedStateMachine):
    """A platform that changes at will, and a feed that hears of it now and then."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.edge = Edge(Path(self.directory.name) / "edge.db", brake=BrakeOptions(objects=4, percent=0))
        self.life = self.edge.running()
        self.loop.run_until_complete(self.life.__aenter__())
        self.platform = Platform()
        self.platform.put("plan", "home", plan())
        self.epochs = 1
        self.loop.run_until_complete(self.edge.load(self.platform))

    def teardown(self) -> None:
        if hasattr(self, "edge"):
            self.loop.run_until_complete(self.life.__aexit__(None, None, None))
            self.loop.close()
            self.directory.cleanup()

    @rule(key=KEYS, name=NAMES, good=st.integers(0, 4), plan_id=st.sampled_from(["home", "gold"]))
    def put(self, key: str, name: str, good: int, plan_id: str) -> None:
        self.platform.put("subscriber", key, line(name, plan=plan_id, vlan_id=5 if good else 5000))

    @rule(at=st.integers(0, 7), told=st.booleans())
    def delete(self, at: int, told: bool) -> None:
        there = sorted(key for kind, key in self.platform.objects if kind == "subscriber")
        if there:
            if told:
                self.follow()
            self.platform.delete("subscriber", there[at % len(there)])
            self.follow()

    @rule(there=st.booleans())
    def gold(self, there: bool) -> None:
        if there:
            self.platform.put("plan", "gold", plan())
        elif ("plan", "gold") in self.platform.objects:
            self.platform.delete("plan", "gold")

    @rule()
    def follow(self) -> None:
        if self.edge.feed.position is not None and self.edge.feed.position.epoch == self.platform.epoch:
            before = self.edge.feed.position
            done = self.loop.run_until_complete(self.edge.follow(self.platform))
            if isinstance(done, Refused):
                assert done.why is Refusal.BRAKE
                assert self.edge.feed.position == before
                assert self.edge.feed.brake is not None

    @rule(new_epoch=st.booleans(), page=st.integers(1, 4))
    def snapshot(self, new_epoch: bool, page: int) -> None:
        if new_epoch:
            self.epochs += 1
            self.platform.epoch = f"e{self.epochs}"
        done = self.loop.run_until_complete(self.edge.load(self.platform, page))
        assert isinstance(done, Applied) or done.why is Refusal.BRAKE

    @rule()
    def release(self) -> None:
        self.loop.run_until_complete(self.edge.feed.release_brake())

    @rule(bucket_of_key=KEYS)
    def repair(self, bucket_of_key: str) -> None:
        position = self.edge.feed.position
        if position is None or (position.epoch, position.rev) != (self.platform.epoch, self.platform.rev):
            return
        bucket = bucket_of("subscriber", bucket_of_key)
        items = [each for each in self.platform.all() if bucket_of(each.kind, each.id) == bucket]
        assert all(each.op is Op.PUT for each in items)
        self.loop.run_until_complete(self.edge.feed.repair(bucket, position.rev, items))

    @rule()
    def tidy(self) -> None:
        self.loop.run_until_complete(self.edge.tidy())

    @invariant()
    def memory_is_as_the_rows_are(self) -> None:
        if not hasattr(self, "edge"):
            return
        self.loop.run_until_complete(self._compare())

    async def _compare(self) -> None:
        edge, feed = self.edge, self.edge.feed
        again = Index()
        assert await restore(edge.engine, again, Sealer(KEY)) == []
        mine, stored = edge.index.tenants["demo"], again.tenants["demo"]
        assert (mine.subscribers, mine.plans) == (stored.subscribers, stored.plans)
        for name, owner in mine.usernames.items():
            assert name.decode() in owner.usernames
        assert len(mine.usernames) == len(mine.subscribers), "nobody has what another one has"
        kept, counts = (await feed.digests()).buckets, feed._ledger.counts
        objects = {kind: number for kind, number in counts.objects.items() if number}
        nacks = {kind: number for kind, number in counts.nacks.items() if number}
        await feed._ledger.recount()
        assert (await feed.digests()).buckets == kept
        assert (feed._ledger.counts.objects, feed._ledger.counts.nacks) == (objects, nacks)
        position = feed.position
        if position is not None and (position.epoch, position.rev) == (
            self.platform.epoch,
            self.platform.rev,
        ):
            assert kept == self.platform.buckets()
        pending = {(each.kind, each.id) for each in await feed.pending()}
        assert pending == {
            ("subscriber", each.id) for each in mine.subscribers.values() if each.plan not in mine.plans
        }


TestFeedMachine = FeedMachine.TestCase
TestFeedMachine.settings = settings(
    max_examples=effort(8, 25), stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
