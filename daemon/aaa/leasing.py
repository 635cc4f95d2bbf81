"""What a login takes from the address book: who owns it, from which pools, and what the reply says of it.

Fixed addresses and routed blocks that the platform gives are leases, too, so that the book knows them and their
history is kept; they need not be on disk before the answer, because it is the platform that promises them. What comes
from a pool is told only when it is.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Network

from daemon.aaa.decision import Decision
from daemon.aaa.endpoint import Endpoint, Waiting
from daemon.aaa.lease_attributes import LeaseAttributes
from daemon.aaa.reasons import Deny, Drop
from daemon.leases.addresses import Addresses
from daemon.metrics import RequestCounts
from daemon.replica.records import Plan, Subscriber
from ipam.address import Unit
from ipam.history import Party
from ipam.kinds import BITS, Cause, Kind, Shortage, Space
from ipam.lease import Bundle, Conflict, Exhausted, Request, Wanted
from ipam.model import lease_time
from ipam.selection import Facts, Selectors
from radius import line, values
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
# RFC 2865 section 5.8: the user, or the NAS, shall choose the address. It is nobody's then.
_CHOSEN_ELSEWHERE = (IPv4Address("255.255.255.255"), IPv4Address("255.255.255.254"))

ReadText = Callable[[Packet, str], str | None]
"""(packet, attribute name) -> its value as text, None where the packet has none."""


class Choices:
    """What logins of one sort are leased from pools: the same for all of a tenant and plan at a NAS."""

    __slots__ = ("pooled", "requests", "units")

    def __init__(self, units: tuple[Wanted, ...], pooled: frozenset[Kind]) -> None:
        self.units = units
        self.pooled = pooled
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


_NOTHING = Choices((), frozenset())


class Wants:
    """What a login is to be leased. `pooled` are the kinds that come from pools; the others are the platform's."""

    __slots__ = ("choices", "owner", "pooled")

    def __init__(self, owner: str, choices: Choices) -> None:
        self.owner = owner
        self.choices = choices
        self.pooled = choices.pooled


class Held:
    """An Access-Accept that waits for its leases to be on disk."""

    __slots__ = ("decision", "reply", "waiting")

    def __init__(self, waiting: Waiting, reply: bytes, decision: Decision) -> None:
        self.waiting = waiting
        self.reply = reply
        self.decision = decision


_Key = tuple[str, str, str, str]


class Leasing:
    """The address book as logins see it."""

    def __init__(self, addresses: Addresses[Held], counts: RequestCounts, read_text: ReadText) -> None:
        self._addresses = addresses
        self._counts = counts
        self._read_text = read_text
        self.attributes = LeaseAttributes()
        self._choices: dict[_Key, Choices] = {}
        self._generation = -1
        addresses.serve(self._stored, self._refused)

    # --- what is wanted --------------------------------------------------------------------------

    def wants(self, decision: Decision, subscriber: Subscriber, access: Access) -> Wants | None:
        """Return what this login is to be leased; None: nothing."""
        plan = decision.plan
        choices = self._chosen(decision, subscriber, plan, access)
        owner = subscriber.id
        if subscriber.personal:
            fixed = fixed_units(subscriber, vrf_of(subscriber, plan))
            if fixed or subscriber.ipv4_address is not None:
                pooled = choices.pooled - {each.kind for each in fixed}
                pooled -= set() if subscriber.ipv4_address is None else {Kind.V4}
                chosen = tuple([each for each in choices.units if each.kind in pooled])
                choices = Choices((*fixed, *chosen), pooled)
            if fixed:
                return Wants(owner, choices)
        if not choices.units:
            return None
        if not has_one_session(subscriber, plan) and not self._set_aside(subscriber, choices.pooled):
            owner = owner_key(subscriber, plan, access, *_equipment(decision.packet, access))
        return Wants(owner, choices)

    def _chosen(
        self, decision: Decision, subscriber: Subscriber, plan: Plan | None, access: Access
    ) -> Choices:
        """Return the pools for each kind that selectors name and the NAS can be told of."""
        if self._generation != self._addresses.generation or len(self._choices) > _CHOICES_MOST:
            self._generation = self._addresses.generation
            self._choices.clear()
        nas, name = decision.client.nas, "" if plan is None else plan.id
        key = (subscriber.tenant, name, nas.id, access)
        found = self._choices.get(key)
        if found is None:
            selectors = self._addresses.selectors(subscriber.tenant)
            found = _NOTHING if selectors is None else self._choose(decision, key, selectors, access)
            if selectors is None or not selectors.attributes:  # else each login may differ
                self._choices[key] = found
        return found

    def _choose(self, decision: Decision, key: _Key, selectors: Selectors, access: Access) -> Choices:
        client = decision.client
        tenant, plan, nas, _ = key
        shown = {each: self._read_text(decision.packet, each) for each in selectors.attributes}
        facts = Facts(
            tenant=tenant,
            plan=plan,
            nas=nas,
            site=client.nas.site or "",
            attributes={each: text for each, text in shown.items() if text is not None},
        )
        says, profile = self.attributes.says, client.profile
        chosen = [each for each in selectors.choose(facts) if says(profile, access, each.kind)]
        wanted = tuple([Wanted(each.kind, each.pools) for each in chosen])
        return Choices(wanted, frozenset([each.kind for each in chosen]))

    def _set_aside(self, subscriber: Subscriber, kinds: frozenset[Kind]) -> bool:
        """Tell whether an operator has set something aside for the subscriber, which it gets with any equipment."""
        aside = self._addresses.register.set_aside
        return bool(aside) and any((subscriber.tenant, subscriber.id, kind) in aside for kind in kinds)

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
            return Party(subscriber.id, decision.client.nas.id, _circuit(packet), calling)

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

    def octets(self, decision: Decision, access: Access) -> bytes:
        """Return what the reply says of leases from pools; the platform's own are in the grant already.

        Raises Unencodable for an address that no subscriber may have.
        """
        pooled = decision.leases
        if len(decision.pooled) != len(pooled):  # the platform has given something, too
            pooled = tuple([each for each in pooled if each.kind in decision.pooled])
        return self.attributes.octets(decision.client.profile, access, pooled) if pooled else b""

    def give_back(self, bundle: Bundle, at: float) -> None:
        """The login was not answered after all."""
        addresses = self._addresses
        addresses.book.release(bundle.id, Cause.REFUSED, addresses.clock.monotonic(), at, session="")

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

    def hold(self, bundle: Bundle, held: Held) -> None:
        """Send the reply once the leases are on disk."""
        self._addresses.lessor.wait(bundle, held)

    def _stored(self, batch: list[Held]) -> None:
        """The leases are on disk: answer."""
        by_endpoint: dict[Endpoint, list[Datagram]] = {}
        for held in batch:
            endpoint = held.waiting.endpoint
            datagram = endpoint.finish(held.waiting, held.reply)
            if datagram is not None:
                by_endpoint.setdefault(endpoint, []).append(datagram)
        for endpoint, datagrams in by_endpoint.items():
            endpoint.socket.send(datagrams)

    def _refused(self, batch: list[Held]) -> None:
        """The leases could not be stored: no answer, the NAS will ask again."""
        for held in batch:
            waiting = held.waiting
            waiting.endpoint.duplicates.forget(waiting.key, waiting.authenticator)
            held.decision.detail = "not answered: its leases could not be stored"
            label = held.decision.client.label
            self._counts.add(_ACCESS_REQUEST, label, "drop", Drop.STORE_UNAVAILABLE)


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


def vrf_of(subscriber: Subscriber, plan: Plan | None) -> str:
    """Return the VRF that a subscriber's addresses are of; empty: the default one."""
    own = None if subscriber.service is None else subscriber.service.vrf
    return own or (None if plan is None else plan.service.vrf) or ""


def fixed_units(subscriber: Subscriber, vrf: str) -> tuple[Wanted, ...]:
    """Return the addresses, prefixes and routed blocks that the platform has given to a subscriber, each once."""
    found: dict[Unit, Kind] = {}
    if subscriber.ipv4_address is not None and subscriber.ipv4_address not in _CHOSEN_ELSEWHERE:
        found[Unit(Space.IPV4, int(subscriber.ipv4_address), BITS[Space.IPV4])] = Kind.V4
    if subscriber.ipv6_address is not None:
        found[Unit(Space.IPV6, int(subscriber.ipv6_address), BITS[Space.IPV6])] = Kind.V6_NA
    for prefix, kind in ((subscriber.ipv6_prefix, Kind.V6_PREFIX), (subscriber.ipv6_delegated, Kind.PD)):
        if prefix is not None:
            found.setdefault(Unit(Space.IPV6, int(prefix.network_address), prefix.prefixlen), kind)
    for route in subscriber.routes:
        block = route.prefix
        six = isinstance(block, IPv6Network)
        unit = Unit(Space.IPV6 if six else Space.IPV4, int(block.network_address), block.prefixlen)
        found.setdefault(unit, Kind.FIXED)
    return tuple(Wanted(kind, unit=unit, vrf=vrf) for unit, kind in found.items())


def owner_key(subscriber: Subscriber, plan: Plan | None, access: Access, mac: str, circuit: str) -> str:
    """Return by what the book knows the owner of a lease again.

    PPP: the subscriber, with the equipment where several sessions are allowed, because each needs an address of its
    own. IPoE: circuit and MAC. Always with the subscriber, so that a line that is sold again begins anew.
    """
    if has_one_session(subscriber, plan):
        return subscriber.id
    if access is Access.PPP:
        return f"{subscriber.id}/{mac}" if mac else subscriber.id
    parts = [each for each in (circuit, mac) if each]
    return "/".join((subscriber.id, *parts))


def has_one_session(subscriber: Subscriber, plan: Plan | None) -> bool:
    """Tell whether a subscriber may be online once only, so that it needs no more than one address of a kind."""
    limit = subscriber.simultaneous_use or (None if plan is None else plan.rules.simultaneous_use)
    return limit == 1 and bool(subscriber.id)


def _equipment(packet: Packet, access: Access) -> tuple[str, str]:
    """Return MAC (or whatever calls) and circuit of a login; empty where it does not say."""
    calling = packet.find_text(_CALLING_STATION) or ""
    return line.canonical_mac(calling) or calling, "" if access is Access.PPP else _circuit(packet)


def _circuit(packet: Packet) -> str:
    circuit = line.read(packet).circuit_id
    return "" if circuit is None else circuit.decode("utf-8", "backslashreplace")


def _conflict_text(conflict: Conflict) -> str:
    where = f"pool {conflict.pool}" if conflict.pool else "it overlaps a pool without being a slot of it"
    holder = f", by {conflict.holder}" if conflict.holder else ""
    return f"{conflict.unit} is {conflict.state}{holder} ({where})"


def _shortage_text(shortage: Exhausted) -> str:
    named = f"pool {shortage.pool or '(none named)'} has no {shortage.kind} lease"
    return named if shortage.next_at is None else f"{named} now; one may come free at {shortage.next_at:.0f}"
