"""What a subscriber gets: one pure function, and the prepared reply octets it leads to.

Login, dry run, explanation, reconciler and CoA all ask `grant`. A reply is rendered once for each plan and NAS
(once for each subscriber and NAS where something of it is personal) and kept as octets until the data change.
Grants of plans are kept apart from that, so that a look at all live sessions renders nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.aaa.prepared import NOTHING, Prepared, prepare
from daemon.aaa.standing import Standing
from daemon.replica.records import Nas, Plan, Service, Subscriber
from daemon.replica.rules import Act, Garden
from ipam.kinds import Kind
from radius.codes import Attr
from radius.errors import Unencodable
from radius.grant import Access, Grant, Rate
from radius.packet import Packet
from radius.vendors.base import VendorProfile

_KEPT_MOST = 20_000
_FRAMED_PROTOCOL = int(Attr.FRAMED_PROTOCOL)
_PPP = 1
_NO_SERVICE = Service()


@dataclass(frozen=True, slots=True)
class Defaults:
    """What plans do not say: the interim interval, and by how much timers are spread (0.1: ten per cent)."""

    interim_s: int
    spread: float


def access_of(packet: Packet, plan: Plan | None) -> Access:
    """Return how the subscriber connects: what the plan says, else what the request shows."""
    if plan is not None and plan.access is not None:
        return plan.access
    return Access.PPP if packet.find_int(_FRAMED_PROTOCOL) == _PPP else Access.IPOE


def grant(
    subscriber: Subscriber,
    plan: Plan | None,
    standing: Standing,
    garden: Garden | None,
    at: float | None,
    access: Access,
    default_interim_s: int,
) -> Grant:
    """Return what a session of this subscriber gets at epoch seconds `at`; for None what lasts of it.

    What does not last are the end of the session by the clock, and the octets that are left.
    `plan` is its own; the standing may put another in its place, or the garden. The subscriber's own values win
    over the plan's. A session ends no later than the subscription does. There must be a plan, or a garden for a
    captive standing.
    """
    if standing.act is Act.CAPTIVE:
        assert garden is not None, "the policy has seen to that"
        return _captive(subscriber, plan, garden, access, default_interim_s)
    own = subscriber.service
    if standing.plan is not None:
        plan, own = standing.plan, None
    assert plan is not None, "the policy has seen to that"
    pick = _Pick(plan.service, own)
    own_rate = own is not None and own.rate is not None
    limits = own if own_rate else plan.service
    assert limits is not None
    other = standing.rate
    return Grant(
        access=access,
        rate=other or limits.rate,
        burst=None if other else limits.burst,
        committed=None if other else limits.committed,
        priority=pick("priority") or 8,
        rate_text=None
        if other or (own_rate and own is not None and own.rate_text is None)
        else pick("rate_text"),
        download_policy=None if other else pick("download_policy"),
        upload_policy=None if other else pick("upload_policy"),
        qos_profile=None if other else pick("qos_profile"),
        services=pick("services"),
        group=pick("group"),
        address_list=pick("address_list"),
        filter_id=pick("filter_id"),
        vrf=pick("vrf"),
        ipv4_address=subscriber.ipv4_address,
        ipv4_pool=pick("ipv4_pool"),
        ipv6_address=subscriber.ipv6_address,
        ipv6_prefix=subscriber.ipv6_prefix,
        ipv6_delegated=subscriber.ipv6_delegated,
        ipv6_pool=pick("ipv6_pool"),
        ipv6_address_pool=pick("ipv6_address_pool"),
        ipv6_delegated_pool=pick("ipv6_delegated_pool"),
        routes=subscriber.routes,
        dns4=pick("dns4"),
        dns6=pick("dns6"),
        vlan_id=subscriber.vlan_id,
        inner_vlan_id=subscriber.inner_vlan_id,
        session_timeout_s=_timeout(pick("session_timeout_s"), subscriber, standing, at),
        idle_timeout_s=pick("idle_timeout_s"),
        interim_interval_s=pick("interim_interval_s") or default_interim_s,
        volume_octets=None if at is None else standing.volume_octets,
    )


def _timeout(
    planned_s: int | None, subscriber: Subscriber, standing: Standing, at: float | None
) -> int | None:
    """Return the session timeout: the plan's, cut at the end of the subscription and of the standing."""
    if at is None:
        return planned_s
    ends = [each for each in (subscriber.valid_until, standing.ends_at) if each is not None]
    left = [max(1, int(each - at)) for each in ends]
    return min([*left, *([] if planned_s is None else [planned_s])], default=None)


def _captive(
    subscriber: Subscriber, plan: Plan | None, garden: Garden, access: Access, default_interim_s: int
) -> Grant:
    """Return what a session in the walled garden gets.

    Addresses, routes and whatever else only a new login can change stay as the plan has them, so that a session
    goes in and out of the garden without one.
    """
    pick = _Pick(_NO_SERVICE if plan is None else plan.service, subscriber.service)
    return Grant(
        access=access,
        captive=True,
        redirect_url=garden.redirect_url,
        address_list=garden.address_list,
        services=garden.services,
        filter_id=garden.filter_id,
        rate=garden.rate,
        group=pick("group"),
        vrf=pick("vrf"),
        ipv4_address=subscriber.ipv4_address,
        ipv4_pool=garden.ipv4_pool or pick("ipv4_pool"),
        ipv6_address=subscriber.ipv6_address,
        ipv6_prefix=subscriber.ipv6_prefix,
        ipv6_delegated=subscriber.ipv6_delegated,
        ipv6_pool=pick("ipv6_pool"),
        ipv6_address_pool=pick("ipv6_address_pool"),
        ipv6_delegated_pool=pick("ipv6_delegated_pool"),
        routes=subscriber.routes,
        dns4=pick("dns4"),
        dns6=pick("dns6"),
        vlan_id=subscriber.vlan_id,
        inner_vlan_id=subscriber.inner_vlan_id,
        session_timeout_s=garden.session_timeout_s,
        interim_interval_s=garden.interim_interval_s or default_interim_s,
    )


class _Pick:
    """Says a field of the subscriber's own service where it has one, else of the plan's."""

    __slots__ = ("_own", "_plan")

    def __init__(self, plan: Service, own: Service | None) -> None:
        self._plan = plan
        self._own = own

    def __call__(self, name: str) -> Any:
        own = None if self._own is None else getattr(self._own, name)
        return getattr(self._plan, name) if own is None or own == () else own


# By whose record it is: the plan, the NAS, the garden, the subscriber where something is its own. `_Kept` holds them,
# so that no other can have the same number meanwhile. A request that began before a change may still ask with
# what was in force then: its answer must not be that of the others.
_Key = tuple[int, int, int, int, bool, str, Rate | None, frozenset[Kind]]
_Held = tuple[Plan | None, Nas | None, Garden | None, Subscriber | None]


class Replies:
    """Prepared replies, and the grants of plans, kept until the generation of the replica changes."""

    def __init__(self, defaults: Defaults) -> None:
        self.defaults = defaults
        self._generation = -1
        self._kept: dict[_Key, tuple[_Held, Prepared | Unencodable]] = {}
        self._grants: dict[_Key, tuple[_Held, Grant]] = {}

    def turn(self, generation: int) -> None:
        """Forget everything if the data changed; to be called once in each batch."""
        if generation != self._generation:
            self._generation = generation
            self._kept.clear()
            self._grants.clear()

    def lasting(
        self,
        subscriber: Subscriber,
        plan: Plan | None,
        standing: Standing,
        garden: Garden | None,
        access: Access,
    ) -> Grant:
        """Return what lasts of the grant, see `grant`; one object for all who get the same from their plan.

        Whether a NAS can be told it is another question.
        """
        interim_s = self.defaults.interim_s
        if subscriber.personal:
            return grant(subscriber, plan, standing, garden, None, access, interim_s)
        held = _held(subscriber, plan, standing, garden, None)
        key = _key(held, standing, access)
        found = self._grants.get(key)
        if found is None:
            if len(self._grants) >= _KEPT_MOST:
                self._grants.clear()
            found = held, grant(subscriber, plan, standing, garden, None, access, interim_s)
            self._grants[key] = found
        return found[1]

    def granted(
        self,
        subscriber: Subscriber,
        plan: Plan | None,
        standing: Standing,
        garden: Garden | None,
        access: Access,
        at: float,
    ) -> Grant:
        """Return the grant of that subscriber now, at epoch seconds `at`."""
        if _timeless(subscriber, standing):
            return self.lasting(subscriber, plan, standing, garden, access)
        return grant(subscriber, plan, standing, garden, at, access, self.defaults.interim_s)

    def prepare(
        self,
        subscriber: Subscriber,
        plan: Plan | None,
        standing: Standing,
        garden: Garden | None,
        nas: Nas,
        profile: VendorProfile,
        access: Access,
        at: float,
        leased: frozenset[Kind] = NOTHING,
    ) -> Prepared | Unencodable:
        """Return the reply of that subscriber now; Unencodable is a value here: the login is denied.

        `leased` is what comes from pools of ours, see `aaa.prepared`.
        """
        if not _timeless(subscriber, standing):  # something in it depends on the second
            return self._prepare(subscriber, plan, standing, garden, nas, profile, access, at, leased)
        held = _held(subscriber, plan, standing, garden, nas)
        key = _key(held, standing, access, leased)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT_MOST:
                self._kept.clear()
            found = (
                held,
                self._prepare(subscriber, plan, standing, garden, nas, profile, access, at, leased),
            )
            self._kept[key] = found
        return found[1]

    def _prepare(
        self,
        subscriber: Subscriber,
        plan: Plan | None,
        standing: Standing,
        garden: Garden | None,
        nas: Nas,
        profile: VendorProfile,
        access: Access,
        at: float,
        leased: frozenset[Kind],
    ) -> Prepared | Unencodable:
        own = _NO_SERVICE if subscriber.service is None else subscriber.service
        captive = standing.act is Act.CAPTIVE
        given = standing.plan or plan
        edits = () if captive or given is None else given.service.edits
        personal = () if captive or standing.plan is not None else own.edits
        try:
            return prepare(
                self.granted(subscriber, plan, standing, garden, access, at),
                profile,
                self.defaults.spread,
                ("nas", nas.edits),
                ("plan", edits),
                ("subscriber", personal),
                leased=leased,
            )
        except Unencodable as reason:
            return reason


def _timeless(subscriber: Subscriber, standing: Standing) -> bool:
    return subscriber.valid_until is None and standing.ends_at is None and standing.volume_octets is None


def _held(
    subscriber: Subscriber, plan: Plan | None, standing: Standing, garden: Garden | None, nas: Nas | None
) -> _Held:
    """Return the records on which an answer rests."""
    return (
        standing.plan or plan,
        nas,
        garden if standing.act is Act.CAPTIVE else None,
        subscriber if subscriber.personal else None,
    )


def _key(held: _Held, standing: Standing, access: Access, leased: frozenset[Kind] = NOTHING) -> _Key:
    given, nas, garden, subscriber = held
    return (
        id(given),
        id(nas),
        id(garden),
        id(subscriber),
        access is Access.PPP,
        standing.act or "",
        standing.rate,
        leased,
    )
