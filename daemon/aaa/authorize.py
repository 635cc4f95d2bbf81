"""What a subscriber gets: one pure function, and the prepared reply octets it leads to.

Login, dry run and explanation all ask `grant`. A reply is rendered once for each plan and NAS (once for each
subscriber and NAS where something of it is personal) and kept as octets until the data change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.replica.records import AttributeEdit, EditOp, Nas, Plan, Service, Subscriber
from radius.codes import Attr
from radius.errors import Unencodable
from radius.grant import Access, Grant, Rendered
from radius.packet import Packet
from radius.vendors.base import VendorProfile

_KEPT_MOST = 200_000
_FRAMED_PROTOCOL = int(Attr.FRAMED_PROTOCOL)
_PPP = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """A reply ready to be sent: the grant, its attributes with where each came from, and their octets."""

    grant: Grant
    rendered: tuple[Rendered, ...]
    octets: bytes


def access_of(packet: Packet, plan: Plan) -> Access:
    """Return how the subscriber connects: what the plan says, else what the request shows."""
    if plan.access is not None:
        return plan.access
    return Access.PPP if packet.find_int(_FRAMED_PROTOCOL) == _PPP else Access.IPOE


def grant(subscriber: Subscriber, plan: Plan, at: float, access: Access, default_interim_s: int) -> Grant:
    """Return what a session of this subscriber on this plan gets at epoch seconds `at`.

    The subscriber's own values win over the plan's. A session ends no later than the subscription does.
    """
    own = subscriber.service
    pick = _Pick(plan.service, own)
    timeout = pick("session_timeout_s")
    if subscriber.valid_until is not None:
        left = max(1, int(subscriber.valid_until - at))
        timeout = left if timeout is None else min(timeout, left)
    own_rate = own is not None and own.rate is not None
    limits = own if own_rate else plan.service
    assert limits is not None
    return Grant(
        access=access,
        rate=limits.rate,
        burst=limits.burst,
        committed=limits.committed,
        priority=pick("priority") or 8,
        rate_text=None if own_rate and own is not None and own.rate_text is None else pick("rate_text"),
        download_policy=pick("download_policy"),
        upload_policy=pick("upload_policy"),
        qos_profile=pick("qos_profile"),
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
        session_timeout_s=timeout,
        idle_timeout_s=pick("idle_timeout_s"),
        interim_interval_s=pick("interim_interval_s") or default_interim_s,
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


def render(given: Grant, profile: VendorProfile, *edits: tuple[str, tuple[AttributeEdit, ...]]) -> Prepared:
    """Return the reply for a grant: the vendor's attributes, then the raw edits of NAS, plan, subscriber.

    Raises Unencodable where the vendor cannot say what is granted.
    """
    rendered = list(profile.render(given))
    for source, changes in edits:
        for edit in changes:
            if edit.op is not EditOp.ADD:
                rendered = [each for each in rendered if each.oid != edit.oid]
            if edit.op is not EditOp.REMOVE:
                rendered.append(Rendered(edit.oid, edit.octets, f"{edit.op} by {source}"))
    return Prepared(given, tuple(rendered), b"".join(each.octets for each in rendered))


class Replies:
    """Prepared replies, kept until the generation of the replica changes."""

    def __init__(self, default_interim_s: int) -> None:
        self.default_interim_s = default_interim_s
        self._generation = -1
        self._kept: dict[tuple[str, str, str, str, bool], Prepared | Unencodable] = {}

    def turn(self, generation: int) -> None:
        """Forget everything if the data changed; to be called once in each batch."""
        if generation != self._generation:
            self._generation = generation
            self._kept.clear()

    def prepare(
        self,
        subscriber: Subscriber,
        plan: Plan,
        nas: Nas,
        profile: VendorProfile,
        access: Access,
        at: float,
    ) -> Prepared | Unencodable:
        """Return the reply of that subscriber now; Unencodable is a value here: the login is denied."""
        personal = subscriber.personal
        key = (subscriber.tenant, plan.id, nas.id, subscriber.id if personal else "", access is Access.PPP)
        found = self._kept.get(key)
        if found is not None:
            return found
        own = subscriber.service.edits if subscriber.service is not None else ()
        try:
            given = grant(subscriber, plan, at, access, self.default_interim_s)
            prepared: Prepared | Unencodable = render(
                given, profile, ("nas", nas.edits), ("plan", plan.service.edits), ("subscriber", own)
            )
        except Unencodable as reason:
            prepared = reason
        if subscriber.valid_until is None:  # else the Session-Timeout depends on the second
            if len(self._kept) >= _KEPT_MOST:
                self._kept.clear()
            self._kept[key] = prepared
        return prepared
