"""What a login takes from the address book: who owns it, from which pools, and what the reply says of it.

Fixed addresses and routed blocks that the platform gives are leases, too, so that the book knows them and their
history is kept; they need not be on disk before the answer, because it is the platform that promises them. What comes
from a pool is told only when it is.
"""

from __future__ import annotations

from collections.abc import Callable

from daemon.aaa.decision import Decision
from daemon.aaa.endpoint import Endpoint, Waiting
from daemon.aaa.lease_attributes import LeaseAttributes
from daemon.aaa.lease_owner import (
    circuit_of,
    equipment_key,
    equipment_of_packet,
    fixed_units,
    has_aside,
    has_one_session,
    vrf_of,
)
from daemon.aaa.reasons import Deny, Drop
from daemon.aaa.reservations import Permit
from daemon.aaa.standing import Question
from daemon.leases.addresses import Addresses
from daemon.metrics import RequestCounts
from daemon.replica.records import Nas, Plan, Subscriber
from daemon.replica.rules import Act, Garden
from ipam.history import Party
from ipam.kinds import Kind, Shortage
from ipam.lease import Bundle, Conflict, Exhausted, Request, Wanted
from ipam.model import lease_time
from ipam.selection import Facts, Selectors
from radius import values
from radius.codes import Attr, Code
from radius.definitions import Dictionary
from radius.errors import Malformed
from radius.grant import Access
from radius.packet import Packet
from radius.udp import Datagram

_ACCESS_REQUEST = int(Code.ACCESS_REQUEST)
_CALLING_STATION = int(Attr.CALLING_STATION_ID)
_CHOICES_MOST = 50_000
_REQUESTS_MOST = 1_000
_USER_NAME = int(Attr.USER_NAME)
_CAPTIVE = Act.CAPTIVE
_ROUTED = frozenset((Kind.V4, Kind.V6_NA, Kind.V6_PREFIX, Kind.PD))  # what is of a VRF

ReadText = Callable[[Packet, str], str | None]
"""(packet, attribute name) -> its value as text, None where the packet has none."""


_Basis = tuple[Nas, Plan | None, Garden | None]


class Choices:
    """What logins of one sort are leased from pools: the same for all of a tenant and plan at a NAS.

    `basis` are the records that it was chosen by: where one has changed, it is chosen again.
    """

    __slots__ = ("basis", "pooled", "requests", "units")

    def __init__(
        self, units: tuple[Wanted, ...], pooled: frozenset[Kind], basis: _Basis | None = None
    ) -> None:
        self.units = units
        self.pooled = pooled
        self.basis = basis
        self.requests: dict[float | None, Request] = {}  # by interim interval

    def request(self, tenant: str, interim_s: float | None) -> Request:
        """Return what the book is asked."""
        found = self.requests.get(interim_s)
        if found is None:
            if len(self.requests) >= _REQUESTS_MOST:
                self.requests.clear()
            lease_s = None if interim_s is None else lease_time(interim_s)
            found = Request(tenant=tenant, wanted=self.units, lease_s=lease_s)
            self.requests[interim_s] = found
        return found


class Wants:
    """What a login is to be leased. `pooled` are the kinds that come from pools; the others are the platform's."""

    __slots__ = ("choices", "owner", "pooled", "vrf")

    def __init__(self, owner: str, choices: Choices, vrf: str) -> None:
        self.owner = owner
        self.choices = choices
        self.pooled = choices.pooled
        self.vrf = vrf


class Held:
    """An Access-Accept that waits for its leases to be on disk; nothing of it is counted or remembered until then."""

    __slots__ = ("decision", "permit", "question", "reply", "waiting")

    def __init__(
        self, waiting: Waiting, reply: bytes, decision: Decision, permit: Permit, question: Question | None
    ) -> None:
        self.waiting = waiting
        self.reply = reply
        self.decision = decision
        self.permit = permit
        self.question = question


OnHeld = Callable[[Held], None]
_Key = tuple[str, str, str, str, bool]


class Leasing:
    """The address book as logins see it."""

    def __init__(self, addresses: Addresses[Held], counts: RequestCounts, read_text: ReadText) -> None:
        self._addresses = addresses
        self._counts = counts
        self._read_text = read_text
        self.attributes = LeaseAttributes()
        self._choices: dict[_Key, Choices] = {}
        self._generation = -1
        self._on_answered: OnHeld | None = None
        self._on_dropped: OnHeld | None = None
        addresses.serve(self._stored, self._refused)

    # --- what is wanted --------------------------------------------------------------------------

    def wants(self, decision: Decision, subscriber: Subscriber, access: Access) -> Wants | None:
        """Return what this login is to be leased; None: nothing."""
        standing, plan = decision.standing, decision.plan
        good = standing is None or standing.act is None
        vrf = vrf_of(subscriber, plan)
        if standing is not None and standing.plan is not None:
            plan = standing.plan
            vrf = plan.service.vrf or ""  # a restricted plan is taken as it is
        garden = None
        if standing is not None and standing.act is _CAPTIVE:
            garden = decision.client.index.tenant.garden
        choices = self._chosen(decision, subscriber.tenant, plan, access, garden)
        if subscriber.personal:
            fixed = fixed_units(subscriber, vrf)
            if fixed or subscriber.ipv4_address is not None:
                pooled = choices.pooled - {each.kind for each in fixed}
                pooled -= set() if subscriber.ipv4_address is None else {Kind.V4}
                chosen = tuple([each for each in choices.units if each.kind in pooled])
                choices = Choices((*fixed, *chosen), pooled)
            if fixed:
                return Wants(subscriber.id, choices, vrf)
        if not choices.units:
            return None
        owner = self._owner(decision, subscriber, access, good=good)
        return Wants(owner, choices, vrf) if owner else None

    def _owner(self, decision: Decision, subscriber: Subscriber, access: Access, *, good: bool) -> str:
        """Return who owns what comes from pools; empty where nothing tells the login from those of others.

        Who is not in good standing may be one session too many, let in to a garden or a lesser plan.
        """
        if good and has_one_session(subscriber, decision.plan):
            return subscriber.id
        if has_aside(subscriber, self._addresses.register):
            return subscriber.id
        packet = decision.packet
        shown = equipment_of_packet(packet, decision.client.nas.id, access)
        username = "" if subscriber.id else packet.find_text(_USER_NAME) or ""
        return equipment_key(subscriber.id, access, shown, username)

    def _chosen(
        self, decision: Decision, tenant: str, plan: Plan | None, access: Access, garden: Garden | None
    ) -> Choices:
        """Return the pools for each kind that selectors name and the NAS can be told of."""
        if self._generation != self._addresses.generation or len(self._choices) > _CHOICES_MOST:
            self._generation = self._addresses.generation
            self._choices.clear()
        nas, name = decision.client.nas, "" if plan is None else plan.id
        key = (tenant, name, nas.id, access, garden is not None)
        found = self._choices.get(key)
        if found is not None and found.basis is not None:
            known_nas, known_plan, known_garden = found.basis
            if known_nas is nas and known_plan is plan and known_garden is garden:
                return found
        selectors = self._addresses.selectors(tenant)
        basis = nas, plan, garden
        if selectors is None:
            found = Choices((), frozenset(), basis)
        else:
            found = self._choose(decision, selectors, access, basis)
        if selectors is None or not selectors.attributes:  # else each login may differ
            self._choices[key] = found
        return found

    def _choose(self, decision: Decision, selectors: Selectors, access: Access, basis: _Basis) -> Choices:
        nas, plan, garden = basis
        shown = {each: self._read_text(decision.packet, each) for each in selectors.attributes}
        facts = Facts(
            tenant=nas.tenant,
            plan="" if plan is None else plan.id,
            nas=nas.id,
            site=nas.site or "",
            attributes={each: text for each, text in shown.items() if text is not None},
        )
        says, profile = self.attributes.says, decision.client.profile
        chosen = [each for each in selectors.choose(facts) if says(profile, access, each.kind)]
        if garden is not None and garden.ipv4_pool is not None:  # a pool of the NAS, which it walls in
            chosen = [each for each in chosen if each.kind is not Kind.V4]
        wanted = tuple([Wanted(each.kind, each.pools) for each in chosen])
        return Choices(wanted, frozenset([each.kind for each in chosen]), basis)

    # --- taking ----------------------------------------------------------------------------------

    def take(
        self, decision: Decision, subscriber: Subscriber, wants: Wants, interim_s: float | None
    ) -> Bundle | Deny | None:
        """Return the leases, or why there are none and the login is refused.

        None: nothing could be noted, and nothing of it comes from a pool, so the login goes on without.
        """

        def party() -> Party:
            packet = decision.packet
            calling = packet.find_text(_CALLING_STATION) or ""
            return Party(subscriber.id, decision.client.nas.id, circuit_of(packet), calling)

        astray = self._astray(subscriber.tenant, wants)
        if astray:
            decision.detail = f"{astray}, and the subscriber of VRF {wants.vrf or 'default'}"
            return Deny.POOL_UNKNOWN
        request = wants.choices.request(subscriber.tenant, interim_s)
        now = self._addresses.clock.monotonic()
        taken = self._addresses.book.take(wants.owner, request, now, decision.at, party)
        if isinstance(taken, Bundle):
            decision.leases, decision.pooled = taken.leases, wants.pooled
            return taken
        if isinstance(taken, Conflict):
            decision.detail = _conflict_text(taken)
            return Deny.ADDRESS_CONFLICT
        if taken.reason is Shortage.STORE_BEHIND and not wants.pooled:
            return None
        decision.detail = _shortage_text(taken)
        return Deny(taken.reason.value)

    def _astray(self, tenant: str, wants: Wants) -> str:
        """Return which of the wanted pools is of another VRF, where its addresses are others; empty: none."""
        register = self._addresses.register
        for each in wants.choices.units:
            aside = register.set_aside.get((tenant, wants.owner, each.kind)) if register.set_aside else None
            if aside is not None and each.unit is None and aside[0] != wants.vrf:
                return f"{aside[1]}, which is set aside for {wants.owner}, is of VRF {aside[0] or 'default'}"
            for name in each.pools:
                shelf = register.find(tenant, name)
                if shelf is None or each.kind not in _ROUTED:
                    continue
                if shelf.pool.vrf != wants.vrf:
                    return f"pool {name} is of VRF {shelf.pool.vrf or 'default'}"
                for other in shelf.pool.fallbacks:
                    spare = register.find(tenant, other)
                    if spare is not None and spare.pool.vrf != wants.vrf:
                        return f"pool {other}, a fallback of {name}, is of VRF {spare.pool.vrf or 'default'}"
        return ""

    def octets(self, decision: Decision, access: Access) -> bytes:
        """Return what the reply says of leases from pools; the platform's own are in the grant already.

        Raises Unencodable for an address that no subscriber may have.
        """
        pooled = decision.leases
        if len(decision.pooled) != len(pooled):  # the platform has given something, too
            pooled = tuple([each for each in pooled if each.kind in decision.pooled])
        return self.attributes.octets(decision.client.profile, access, pooled) if pooled else b""

    def give_back(self, bundle: Bundle, at: float) -> None:
        """The login was not answered after all; an earlier one that was keeps what both were given."""
        self._addresses.book.give_back(bundle.id, self._addresses.clock.monotonic(), at)

    def ready(self, decision: Decision, bundle: Bundle) -> bool:
        """Tell whether a login may be answered at once with what it has taken.

        What the platform has promised may be told before it is noted on disk.
        """
        if self._addresses.book.durable(bundle):
            return True
        if decision.pooled:
            return False
        self._addresses.lessor.wake()
        return True

    def serve(self, on_answered: OnHeld, on_dropped: OnHeld) -> None:
        """Name who is told what became of logins that waited."""
        self._on_answered, self._on_dropped = on_answered, on_dropped

    def hold(self, bundle: Bundle, held: Held) -> None:
        """Send the reply once the leases are on disk; of a caller that asks again the latest request is answered."""
        packet = held.decision.packet
        caller = (bundle.id, held.decision.client.label, packet.find(_CALLING_STATION))
        left = self._addresses.lessor.wait(bundle, held, caller)
        if left is held:
            self._drop(held, "too many logins wait for their leases to be stored")
        elif left is not None:
            self._counts.add(_ACCESS_REQUEST, left.decision.client.label, "drop", Drop.SUPERSEDED)
            self._note_drop(left, Drop.SUPERSEDED, "its sender has asked again")

    def _stored(self, batch: list[Held]) -> None:
        """The leases are on disk: answer."""
        by_endpoint: dict[Endpoint, list[Datagram]] = {}
        for held in batch:
            endpoint = held.waiting.endpoint
            datagram = endpoint.finish(held.waiting, held.reply)
            if datagram is None:  # which is counted
                self._note_drop(held, Drop.SUPERSEDED, "its sender has asked anew")
                continue
            by_endpoint.setdefault(endpoint, []).append(datagram)
            if self._on_answered is not None:
                self._on_answered(held)
        for endpoint, datagrams in by_endpoint.items():
            endpoint.socket.send(datagrams)

    def _refused(self, batch: list[Held]) -> None:
        """The leases could not be stored, or stand no more: no answer, the NAS will ask again."""
        addresses = self._addresses
        failing = addresses.away or addresses.lessor.failing
        why = "its leases ended while it waited" if failing is None else f"leases cannot be stored: {failing}"
        for held in batch:
            self._drop(held, why)

    def _drop(self, held: Held, why: str) -> None:
        waiting = held.waiting
        waiting.endpoint.duplicates.forget(waiting.key, waiting.authenticator)
        self._counts.add(_ACCESS_REQUEST, held.decision.client.label, "drop", Drop.STORE_UNAVAILABLE)
        self._note_drop(held, Drop.STORE_UNAVAILABLE, why)

    def _note_drop(self, held: Held, reason: Drop, why: str) -> None:
        held.decision.reason, held.decision.detail = reason, f"not answered: {why}"
        if self._on_dropped is not None:
            self._on_dropped(held)


def text_reader(dictionary: Dictionary) -> ReadText:
    """Return what reads an attribute of a packet by name, as the dictionary shows it."""

    def read_text(packet: Packet, name: str) -> str | None:
        definition = dictionary.by_name(name)
        if definition is None or definition.sensitive:
            return None
        oid = definition.oid
        octets = packet.find(oid[0]) if len(oid) == 1 else packet.find_vendor(oid[1], oid[2])
        if octets is None:
            return None
        try:
            return values.text(values.decode(octets, definition), definition)
        except Malformed:
            return None

    return read_text


def _conflict_text(conflict: Conflict) -> str:
    where = f"pool {conflict.pool}" if conflict.pool else "it overlaps a pool without being a slot of it"
    holder = f", by {conflict.holder}" if conflict.holder else ""
    return f"{conflict.unit} is {conflict.state}{holder} ({where})"


def _shortage_text(shortage: Exhausted) -> str:
    named = f"pool {shortage.pool or '(none named)'} has no {shortage.kind} lease"
    return named if shortage.next_at is None else f"{named} now; one may come free at {shortage.next_at:.0f}"
