"""The rule of coverage against every mishap: random histories, in which a replica must end equal to its platform.

Each rule is taken away once, and then histories must be found in which the replica differs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon.sync.feed import feed as feed_module
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.model import Applied, Batch, Item, Op, Position, Refusal, Refused
from daemon.sync.feed.rule import Verdict, judge, news
from tests.daemon.feed.stage import Edge, Platform, line, plan
from tests.effort import effort

HISTORIES, STEPS = effort(500, 3000), 250
KEYS = 12

Judge = Callable[[Position | None, Batch], Verdict]


@dataclass
class Central:
    """A platform: commits in the order of revisions, some of which concern others only."""

    random: random.Random
    epoch: str = "e0"
    rev: int = 0
    least: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    log: list[Item] = field(default_factory=list)
    saved: tuple[int, dict[str, int], list[Item], int] = (0, {}, [], 0)
    epochs: int = 0

    def write(self) -> None:
        self.rev += 1
        key = f"k{self.random.randrange(KEYS)}"
        kind = self.random.random()
        if kind < 0.2:
            return  # of somebody else
        if kind < 0.45:
            self.objects.pop(key, None)
            self.log.append(Item("subscriber", key, self.rev, Op.DELETE, None))
        else:
            self.objects[key] = self.rev * 1000 + self.epochs
            self.log.append(Item("subscriber", key, self.rev, Op.PUT, {"value": self.objects[key]}))

    def compact(self) -> None:
        self.least = max(self.least, self.rev - self.random.randrange(6))
        self.log = [each for each in self.log if each.rev > self.least]

    def save(self) -> None:
        self.saved = (self.rev, dict(self.objects), list(self.log), self.least)

    def restore(self) -> None:
        self.rev, objects, log, self.least = self.saved
        self.objects, self.log = dict(objects), list(log)
        self.epochs += 1
        self.epoch = f"e{self.epochs}"

    def changes(self, epoch: str, after: int, limit: int) -> Batch | None:
        if epoch != self.epoch or after < self.least or after > self.rev:
            return None
        found = [each for each in self.log if each.rev > after]
        some = found[:limit]
        to = some[-1].rev if len(found) > limit else self.rev
        return Batch(feed="main", epoch=self.epoch, after=after, to=to, head=self.rev, items=tuple(some))


@dataclass
class Replica:
    """The edge of the model: what is on disk and what is shown; `disk` is an older image of the former."""

    judge: Judge = judge
    at_end: bool = False  # fault: the position after a snapshot is that of its end
    cursor_first: bool = (
        False  # fault: the position is stored in a transaction of its own, before the objects
    )
    position: Position | None = None
    objects: dict[str, int] = field(default_factory=dict)
    image: tuple[Position | None, dict[str, int]] = (None, {})

    def apply(self, batch: Batch, crash: bool) -> Verdict:
        verdict = self.judge(self.position, batch)
        if verdict is not Verdict.APPLY or self.position is None:
            return verdict
        if crash and not self.cursor_first:
            return verdict  # nothing of the transaction is there
        before, self.position = self.position, Position(self.position.epoch, batch.to)
        if crash:
            return verdict
        for item in news(before, batch.items):
            if item.op is Op.DELETE:
                self.objects.pop(item.id, None)
            else:
                assert item.body is not None
                self.objects[item.id] = item.body["value"]
        return verdict


def no_gap_rule(position: Position | None, batch: Batch) -> Verdict:
    verdict = judge(position, batch)
    return Verdict.APPLY if verdict is Verdict.GAP else verdict


def no_epoch_rule(position: Position | None, batch: Batch) -> Verdict:
    if position is None:
        return Verdict.EPOCH
    return judge(Position(batch.epoch, position.rev), batch)


def snapshot(chance: random.Random, central: Central, replica: Replica) -> None:
    """Read a fuzzy snapshot: between its pages others write; it may be broken off."""
    epoch, start = central.epoch, central.rev
    found: dict[str, int] = {}
    keys = [f"k{n}" for n in range(KEYS)]
    for first in range(0, KEYS, 4):
        for key in keys[first : first + 4]:
            if key in central.objects:
                found[key] = central.objects[key]
        for _ in range(chance.randrange(3)):
            central.write()
        if chance.random() < 0.1:
            return
    if central.epoch == epoch:
        replica.position = Position(epoch, central.rev if replica.at_end else start)
        replica.objects = found


def history(seed: int, replica: Replica) -> bool:
    """Play one history; tell whether the replica is equal to its platform when all is quiet."""
    chance = random.Random(seed)
    central = Central(chance)
    wire: list[Batch] = []
    for _ in range(STEPS):
        dice = chance.random()
        if dice < 0.465:
            platform_step(dice, central)
        elif dice < 0.48:
            replica.image = (replica.position, dict(replica.objects))
        elif dice < 0.49:
            replica.position, replica.objects = replica.image[0], dict(replica.image[1])
        elif dice < 0.70:
            poll(chance, central, replica, wire)
        elif wire:
            deliver(chance, replica, wire)
    while wire:  # what is late comes, in any order
        deliver(chance, replica, wire)
    for _ in range(100):
        if replica.position == Position(central.epoch, central.rev):
            break
        poll(chance, central, replica, wire, prompt=True)
    return replica.objects == central.objects


def platform_step(dice: float, central: Central) -> None:
    """Let something happen at the platform."""
    if dice < 0.42:
        central.write()
    elif dice < 0.44:
        central.compact()
    elif dice < 0.46:
        central.save()
    else:
        central.restore()


def poll(
    chance: random.Random, central: Central, replica: Replica, wire: list[Batch], prompt: bool = False
) -> None:
    position = replica.position
    batch = (
        None if position is None else central.changes(position.epoch, position.rev, chance.randrange(1, 5))
    )
    if batch is None:
        snapshot(chance, central, replica)
    elif prompt:
        replica.apply(batch, False)
    else:
        wire.append(batch)


def deliver(chance: random.Random, replica: Replica, wire: list[Batch]) -> None:
    """Deliver one of the batches that are under way: any, perhaps twice, perhaps never, perhaps into a crash."""
    batch = wire.pop(chance.randrange(len(wire)) if chance.random() < 0.4 else 0)
    if chance.random() < 0.1:
        return
    if chance.random() < 0.2:
        wire.append(batch)
    replica.apply(batch, chance.random() < 0.05)


def diverged(make: Callable[[], Replica], histories: int = HISTORIES) -> int:
    return sum(not history(seed, make()) for seed in range(histories))


def test_as_specified_no_history_diverges() -> None:
    assert diverged(Replica) == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Replica(judge=no_gap_rule),
        lambda: Replica(at_end=True),
        lambda: Replica(judge=no_epoch_rule),
        lambda: Replica(cursor_first=True),
    ],
    ids=["gap", "end-of-snapshot", "epoch", "cursor-apart"],
)
def test_without_one_of_the_rules_histories_diverge(make: Callable[[], Replica]) -> None:
    assert diverged(make, 600) > 0


# -- the feed itself, on its database


class Real:
    """A platform and the feed itself; steps are those of the model."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.chance = random.Random(seed)
        self.platform = Platform()
        self.platform.put("plan", "home", plan())
        self.saved = 0
        self.wire: list[Batch] = []
        self.saves: tuple[int, dict[tuple[str, str], tuple[int, int, object]], list[Item]] | None = None

    def write(self) -> None:
        key = f"k{self.chance.randrange(KEYS)}"
        if self.chance.random() < 0.2:
            self.platform.rev += 1
        elif self.chance.random() < 0.35 and ("subscriber", key) in self.platform.objects:
            self.platform.delete("subscriber", key)
        else:
            vlan = self.chance.randrange(1, 4000)
            self.platform.put("subscriber", key, line(key, vlan_id=vlan))

    async def step(self, edge: Edge) -> None:
        dice = self.chance.random()
        if dice < 0.4:
            self.write()
        elif dice < 0.42:
            self.saves = (self.platform.rev, dict(self.platform.objects), list(self.platform.log))
        elif dice < 0.44 and self.saves is not None:
            self.platform.rev, objects, log = self.saves
            self.platform.objects, self.platform.log = dict(objects), list(log)
            self.saved += 1
            self.platform.epoch = f"e{self.saved + 1}"
        elif dice < 0.46:
            self.platform.least = max(self.platform.least, self.platform.rev - 5)
            self.platform.log = [e for e in self.platform.log if e.rev > self.platform.least]
        elif dice < 0.7:
            await self.poll(edge)
        elif self.wire:
            batch = self.wire.pop(self.chance.randrange(len(self.wire)))
            if self.chance.random() < 0.2:
                self.wire.append(batch)
            await edge.feed.apply(batch)

    async def poll(self, edge: Edge, prompt: bool = False) -> None:
        position, platform = edge.feed.position, self.platform
        if (
            position is None
            or position.epoch != platform.epoch
            or not platform.least <= position.rev <= platform.rev
        ):
            await self.read(edge)
            return
        batch = platform.changes(position.rev, self.chance.randrange(1, 5))
        if prompt:
            await edge.feed.apply(batch)
        else:
            self.wire.append(batch)

    async def read(self, edge: Edge) -> None:
        epoch = self.platform.epoch
        staging = await edge.feed.snapshot(epoch, self.platform.rev)
        keys = [("plan", "home"), *(("subscriber", f"k{n}") for n in range(KEYS))]
        for start in range(0, len(keys), 5):
            there = {(each.kind, each.id): each for each in self.platform.all()}
            await staging.add([there[key] for key in keys[start : start + 5] if key in there], str(start))
            if self.chance.random() < 0.3:
                self.write()
            if self.chance.random() < 0.08:
                await staging.drop()
                return
        done = await staging.finish(None)
        assert isinstance(done, Applied) or done.why is Refusal.BRAKE, done

    async def settle(self, edge: Edge) -> None:
        while self.wire:
            await edge.feed.apply(self.wire.pop())
        for _ in range(100):
            if edge.feed.position == Position(self.platform.epoch, self.platform.rev):
                return
            await self.poll(edge, prompt=True)


async def play(path: Path, seed: int, steps: int = 120) -> bool:
    """Play a history on a real store, with restarts and its disk set back; tell whether both are equal."""
    real, image = Real(path, seed), None
    left = steps
    file = path / "edge.db"
    while left > 0:
        async with Edge(file, brake=BrakeOptions(percent=100)).running() as edge:
            for _ in range(min(left, real.chance.randrange(10, 50))):
                left -= 1
                await real.step(edge)
            await edge.tidy()
            if left <= 0:
                await real.settle(edge)
                same = (await edge.feed.digests()).buckets == real.platform.buckets()
                shown = {key: each.vlan_id for key, each in edge.index.tenants["demo"].subscribers.items()}
                wanted = {
                    key: body["vlan_id"]
                    for (kind, key), (_, _, body) in real.platform.objects.items()
                    if kind == "subscriber"
                }
                return same and shown == wanted
        if image is not None and real.chance.random() < 0.4:
            for each in path.glob("edge.db*"):
                each.unlink()
            file.write_bytes(image)
        elif real.chance.random() < 0.5:
            image = file.read_bytes()
    return False


@pytest.mark.parametrize("seed", range(6))
def test_the_feed_itself_ends_equal_to_its_platform(tmp_path: Path, seed: int) -> None:
    assert asyncio.run(play(tmp_path, seed))


@pytest.mark.parametrize("rule", [no_gap_rule, no_epoch_rule])
def test_the_feed_itself_diverges_without_a_rule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: Judge
) -> None:
    monkeypatch.setattr(feed_module, "judge", rule)
    equal = []
    for seed in range(12):
        place = tmp_path / str(seed)
        place.mkdir()
        equal.append(asyncio.run(play(place, seed)))
        if not equal[-1]:
            break
    assert not all(equal)


def test_a_batch_of_another_epoch_is_not_taken_for_a_duplicate() -> None:
    position = Position("e1", 10)
    batch = Batch(feed="main", epoch="e2", after=0, to=5, head=5, items=())
    assert judge(position, batch) is Verdict.EPOCH
    assert isinstance(Refused(Refusal.EPOCH, "", position), Refused)
