"""Two nodes share a pool: whatever dies, comes back or is wrongly believed dead, no address gets two owners."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipam.address import Unit
from ipam.blocks import Block, Given, divide, gain_block, give_block, lose_block, outdated
from ipam.book import Book
from ipam.history import Chain, broken
from ipam.kinds import Cause, Kind, Shortage
from ipam.lease import Bundle, Exhausted
from ipam.register import Register
from ipam.restore import faults
from ipam.store import Fenced
from tests.ipam.pools import TENANT, Disk, pool, request, v4

NODES = st.sampled_from(["north", "south"])
SHARED = pool("shared", Kind.V4, "10.0.0.0-10.0.0.5", hold_s=20.0, quarantine_s=30.0)
REUSE_S = 30.0


class Node:
    """One daemon: its book, and the bundles that wait for the disk."""

    def __init__(self, name: str, disk: Disk, now: float) -> None:
        self.name = name
        self.disk = disk
        self.now = now
        self.register = Register(name, disk.next_boot(), disk.chain_end(name))
        self.book = Book(self.register)
        self.register.add_pool(SHARED, divided=True)
        self.waiting: list[Bundle] = []
        self.bundles: list[int] = []
        for owner, block in list(disk.blocks.values()):
            if owner == name:
                self.gain(block)

    def gain(self, block: Block) -> None:
        inside = range(block.first_slot, block.last_slot + 1)
        rows = [row for row in self.disk.rows.values() if row.slot in inside]
        assert gain_block(self.register, self.book, block, rows, self.now, 1_800_000_000.0) == 0


class TwoNodes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        for first, last in divide(6, 2):
            block = Block(tenant=TENANT, pool="shared", first_slot=first, last_slot=last, generation=0)
            self.disk.blocks["shared", first] = None, block
        self.at = 1_800_000_000.0
        self.true_now = 0.0
        self.nodes: dict[str, Node | None] = {name: Node(name, self.disk, 5.0) for name in ("north", "south")}
        self.told: dict[Unit, tuple[str, float]] = {}  # owner, when last seen to be its own

    def _up(self, name: str) -> Node | None:
        return self.nodes[name]

    @rule(name=NODES, owner=st.sampled_from(["ann", "bob", "cy", "dan"]), then=st.booleans())
    def take(self, name: str, owner: str, then: bool) -> None:
        node = self._up(name)
        if node is None:
            return
        got = node.book.take(f"{owner}@{name}", request(v4("shared")), node.now, self.at)
        if isinstance(got, Bundle):
            node.waiting.append(got)
            node.bundles.append(got.id)
            if then:
                self.write(name)
                node.book.bind(got.id, "s", node.now, self.at)
        else:
            assert isinstance(got, Exhausted)
            assert got.reason in (Shortage.NO_BLOCK, Shortage.EXHAUSTED, Shortage.WAITING)
            self.claim(name)

    @rule(name=NODES)
    def claim(self, name: str) -> None:
        node = self._up(name)
        free = [first for (_, first), (owner, _) in self.disk.blocks.items() if owner is None]
        if node is not None and free:
            node.gain(self.disk.claim(name, "shared", free[0]))

    @rule(name=NODES)
    def give(self, name: str) -> None:
        node = self._up(name)
        mine = [block for owner, block in self.disk.blocks.values() if owner == name]
        if node is None or not mine:
            return
        block = mine[0]
        given = give_block(node.register, TENANT, "shared", block.first_slot)
        if given is Given.GIVEN:
            self.disk.blocks["shared", block.first_slot] = None, block

    @rule(name=NODES)
    def take_over(self, name: str) -> None:
        """The other node is believed dead, rightly or not."""
        node = self._up(name)
        theirs = [block for owner, block in self.disk.blocks.values() if owner not in (None, name)]
        if node is not None and theirs:
            node.gain(self.disk.claim(name, "shared", theirs[0].first_slot))

    @rule(name=NODES)
    def write(self, name: str) -> None:
        node = self._up(name)
        if node is None:
            return
        while (batch := node.register.batch()) is not None:
            try:
                self.disk.write(batch)
            except Fenced as fenced:
                node.register.ledger.refuse()
                for fence in fenced.lost:
                    lose_block(node.register, node.book, TENANT, fence.pool, fence.block, node.now, self.at)
            else:
                node.register.ledger.confirm()
        for bundle in [each for each in node.waiting if node.book.durable(each)]:
            node.waiting.remove(bundle)
            self._tell(node, bundle)

    def _tell(self, node: Node, bundle: Bundle) -> None:
        for lease in bundle.leases:
            owner, last = self.told.get(lease.unit, ("", -1e9))
            if owner != bundle.owner:
                assert self.true_now - last >= REUSE_S, "another owner got it too early"
                slot = node.register.shelves[TENANT, "shared"].slot_of(lease.unit)
                assert self.disk.blocks["shared", slot // 2 * 2][0] == node.name, "of another's block"
            self.told[lease.unit] = (bundle.owner, self.true_now)

    @rule(name=NODES, data=st.data())
    def release(self, name: str, data: st.DataObject) -> None:
        node = self._up(name)
        if node is not None and node.bundles:
            node.book.release(data.draw(st.sampled_from(node.bundles)), Cause.STOP, node.now, self.at)

    @rule(name=NODES)
    def die(self, name: str) -> None:
        self.nodes[name] = None

    @precondition(lambda self: None in self.nodes.values())
    @rule(name=NODES, now=st.sampled_from([0.0, 1e6]))
    def come_back(self, name: str, now: float) -> None:
        if self.nodes[name] is None:
            self.nodes[name] = Node(name, self.disk, now)

    @rule(seconds=st.sampled_from([1.0, 11.0, 21.0, 101.0]))
    def advance(self, seconds: float) -> None:
        self._see()
        self.true_now += seconds
        self.at += seconds
        for node in self.nodes.values():
            if node is not None:
                node.now += seconds
                owned = [block for owner, block in self.disk.blocks.values() if owner == node.name]
                for tenant, name, first in outdated(node.register, owned):
                    lose_block(node.register, node.book, tenant, name, first, node.now, self.at)
                node.book.expire_due(node.now, self.at, 100)

    def _see(self) -> None:
        """Note what is live by the book of the node whose block it is in."""
        for name, node in self.nodes.items():
            if node is None:
                continue
            shelf = node.register.shelves[TENANT, "shared"]
            for cell, tenure in shelf.tenures.items():
                segment = shelf.allocator.segment_of(cell)
                owner, block = self.disk.blocks["shared", segment.block]
                ours = owner == name and block.generation == segment.fence
                unit = shelf.unit(cell)
                if ours and tenure.claims and self.told.get(unit, ("", 0))[0] == tenure.owner:
                    self.told[unit] = (tenure.owner, self.true_now)

    @invariant()
    def each_book_agrees_with_itself(self) -> None:
        self._see()
        for node in self.nodes.values():
            if node is not None:
                assert faults(node.register) == ()

    @invariant()
    def both_chains_hold(self) -> None:
        for name, events in self.disk.events.items():
            assert broken(events, Chain(name)) is None

    @invariant()
    def no_slot_is_open_on_two_nodes(self) -> None:
        """Of the generation that counts; a node that lost a block may not know yet, but cannot store."""
        opened: dict[int, str] = {}
        for name, node in self.nodes.items():
            if node is None:
                continue
            for segment in node.register.shelves[TENANT, "shared"].allocator.segments:
                owner, block = self.disk.blocks["shared", segment.block]
                if block.generation == segment.fence and owner == name:
                    assert segment.block not in opened
                    opened[segment.block] = name


TestTwoNodes = TwoNodes.TestCase
TestTwoNodes.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
