"""Logins of staff to devices: authenticity, identity, credential, checks, privilege, reply. On ports of their own.

Staff and subscribers never meet: only staff is looked up here, and only by User-Name; what the request says about
Service-Type decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Protocol

from daemon.aaa import authentic, credentials
from daemon.aaa.credentials import Proof, Slow
from daemon.aaa.decision import Decision
from daemon.aaa.endpoint import Endpoint
from daemon.aaa.explain import Step
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Deny, Drop
from daemon.aaa.trace import Trace
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.records import Nas, Staff
from radius.authenticator import Key, sign_reply
from radius.codes import Attr, Code
from radius.errors import Malformed, Unencodable
from radius.grant import Rendered
from radius.packet import Packet
from radius.udp import source

_ACCESS_REQUEST = int(Code.ACCESS_REQUEST)
_ACCEPT = int(Code.ACCESS_ACCEPT)
_USER_NAME = int(Attr.USER_NAME)


class OnEvent(Protocol):
    """Told of every login that was decided, permitted (`reason` empty) or denied.

    `staff` and `username` are empty where nobody of that name is known: people type passwords at the wrong prompt.
    """

    def __call__(
        self,
        kind: str,
        /,
        *,
        tenant: str,
        nas: str,
        reason: str,
        staff: str,
        username: str,
        method: str,
        source: str,
        calling_station_id: str,
    ) -> object:
        """Take note."""


class StaffDecision(Decision):
    """A Decision about a member of staff: `subscriber`, `plan` and `prepared` stay None.

    `rendered` are the attributes that tell the device the privilege; None while there are none. Where the base is
    compiled this module must be, too: setup.py names both.
    """

    __slots__ = ("rendered", "staff")

    def __init__(
        self,
        endpoint: Endpoint,
        client: Client,
        packet: Packet,
        peer: bytes,
        key: bytes,
        at: float,
        signer: Key,
        generation: int,
    ) -> None:
        super().__init__(endpoint, client, packet, peer, key, at, signer, generation)
        self.staff: Staff | None = None
        self.rendered: tuple[Rendered, ...] | None = None


Check = Callable[[Staff, Nas, float], Deny | None]
"""(staff, NAS, epoch seconds) -> why not, or None."""


def enabled(staff: Staff, _nas: Nas, _at: float) -> Deny | None:
    """The platform's switch."""
    return None if staff.enabled else Deny.STAFF_DISABLED


def validity(staff: Staff, _nas: Nas, at: float) -> Deny | None:
    """The end of the time for which access was given."""
    return Deny.STAFF_EXPIRED if staff.valid_until is not None and at >= staff.valid_until else None


def nas_allowed(staff: Staff, nas: Nas, _at: float) -> Deny | None:
    """The NASes that were named, where any were."""
    return Deny.WRONG_NAS if staff.nases and nas.id not in staff.nases else None


def site_allowed(staff: Staff, nas: Nas, _at: float) -> Deny | None:
    """The sites that were named, where any were; a NAS without a site is at none of them."""
    return Deny.WRONG_SITE if staff.sites and nas.site not in staff.sites else None


CHECKS: tuple[Check, ...] = (enabled, validity, nas_allowed, site_allowed)


def decide(staff: Staff, nas: Nas, at: float) -> Deny | None:
    """Return why this member of staff may not log in to that NAS now, None when it may."""
    for check in CHECKS:
        reason = check(staff, nas, at)
        if reason is not None:
            return reason
    return None


class StaffAccess:
    """What the authentication port of staff does. `reject_delay_s` may be changed while it runs."""

    def __init__(
        self,
        index: Index,
        trace: Trace,
        counts: RequestCounts,
        hashes: Executor,
        on_event: OnEvent,
        *,
        max_pending_hashes: int,
        reject_delay_s: float,
    ) -> None:
        self._index = index
        self._trace = trace
        self._counts = counts
        self._hashes = hashes
        self._on_event = on_event
        self._hashes_free = max_pending_hashes
        self.reject_delay_s = reject_delay_s

    def turn(self) -> None:
        """A batch begins: nothing is kept between two."""

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Return the reply to an Access-Request or Status-Server; None for a drop or a later answer."""
        if packet.code != _ACCESS_REQUEST:
            return self._status(client, packet, peer)
        signer = authentic.access_signer(client, packet, peer)
        if isinstance(signer, Drop):
            self._counts.add(_ACCESS_REQUEST, client.label, "drop", signer)
            return None
        decision = StaffDecision(endpoint, client, packet, peer, key, at, signer, self._index.generation)
        staff = decision.staff = find(packet, client)
        if staff is None:
            decision.method = credentials.method_of(packet)
            return self._deny(decision, Deny.UNKNOWN_USER if packet.find(_USER_NAME) else Deny.NO_IDENTITY)
        try:
            proof = authentic.prove(client, packet, signer, staff.secret)
        except Malformed as reason:
            self._counts.add(_ACCESS_REQUEST, client.label, "drop", reason.slug)
            return None
        if isinstance(proof, Slow):
            self._prove_later(proof, decision, staff)
            return None
        return self._decide(decision, staff, proof)

    def _status(self, client: Client, packet: Packet, peer: bytes) -> bytes | None:
        """Answer a Status-Server with Access-Accept (RFC 5997 section 3)."""
        signer = authentic.status_signer(client, packet, peer, Code.ACCOUNTING_REQUEST)
        if isinstance(signer, Drop):
            self._counts.add(packet.code, client.label, "drop", signer)
            return None
        self._counts.add(packet.code, client.label, "accept", "status")
        return sign_reply(_ACCEPT, packet.identifier, packet.authenticator, b"", signer)

    def _decide(self, decision: StaffDecision, staff: Staff, proof: Proof) -> bytes | None:
        """Return the answer of a request whose credential has been looked at."""
        client = decision.client
        if proof.signer is not None:
            client.prefer(decision.peer, proof.signer)
            decision.signer = proof.signer
        decision.method = proof.method
        reason = proof.reason or decide(staff, client.nas, decision.at)
        if reason is not None:
            return self._deny(decision, reason)
        try:
            return self._accept(decision, staff, proof)
        except Unencodable as error:  # the group does not fit its attribute, or all of it one packet
            decision.detail = str(error)
            return self._deny(decision, Deny.UNRENDERABLE)

    def _accept(self, decision: StaffDecision, staff: Staff, proof: Proof) -> bytes:
        """Return the Access-Accept. Raises Unencodable where the vendor cannot be told the privilege."""
        packet, client = decision.packet, decision.client
        rendered = client.profile.staff(staff.privilege, dict(staff.groups).get(client.profile.name))
        attributes = b"".join(each.octets for each in rendered)
        attributes += proof.attributes + authentic.proxy_states(packet)
        reply = sign_reply(_ACCEPT, packet.identifier, packet.authenticator, attributes, decision.signer)
        decision.rendered = rendered
        self._counts.add(_ACCESS_REQUEST, client.label, "accept", proof.method)
        self._trace.permit(decision)
        self._tell(decision)
        return reply

    def _deny(self, decision: StaffDecision, reason: Deny) -> bytes | None:
        """Return the Access-Reject, or send it later.

        Whatever the reason, the reply is the same but for what the method itself must say about a failure. The
        tenant's Reply-Message is not in it: that is written for subscribers.
        """
        decision.reason = reason
        decision.detail = decision.detail or _MEANINGS.get(reason, "")
        self._counts.add(_ACCESS_REQUEST, decision.client.label, "reject", reason)
        self._trace.deny(decision)
        self._tell(decision)
        attributes = credentials.failure(decision.packet)
        return authentic.refuse(decision, attributes, self.reject_delay_s, self._counts)

    def _tell(self, decision: StaffDecision) -> None:
        packet, nas, staff = decision.packet, decision.client.nas, decision.staff
        self._on_event(
            "staff-login",
            tenant=nas.tenant,
            nas=nas.id,
            reason=str(decision.reason),
            staff="" if staff is None else staff.id,
            username="" if staff is None else staff.username,
            method=decision.method,
            source=str(source(decision.peer)[0]),
            calling_station_id=packet.find_text(Attr.CALLING_STATION_ID) or "",
        )

    def _prove_later(self, slow: Slow, decision: StaffDecision, staff: Staff) -> None:
        """Check a slow hash in a thread; too many at a time are dropped, so that a flood cannot pile up."""
        if not self._hashes_free:
            self._counts.add(_ACCESS_REQUEST, decision.client.label, "drop", Drop.HASHES_BUSY)
            return
        loop = asyncio.get_running_loop()
        began = loop.time()

        def proved(future: Future[Proof]) -> None:
            decision.waited_s = loop.time() - began
            self._proved(future, decision, staff)

        def done(future: Future[Proof]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(proved, future)

        self._hashes.submit(slow.check).add_done_callback(done)
        self._hashes_free -= 1
        decision.endpoint.duplicates.keep(decision.key, decision.packet.authenticator, b"")

    def _proved(self, future: Future[Proof], decision: StaffDecision, asked: Staff) -> None:
        """Go on with a request whose hash was checked; by the data of now, which may have changed meanwhile."""
        self._hashes_free += 1
        if future.cancelled():
            return
        proof = future.result()
        decision.generation = self._index.generation
        current = decision.staff = find(decision.packet, decision.client)
        if current is None or current.secret != asked.secret:
            decision.method = proof.method
            reply = self._deny(decision, Deny.UNKNOWN_USER if current is None else Deny.WRONG_PASSWORD)
        else:
            reply = self._decide(decision, current, proof)
        if reply is not None:
            datagram = decision.endpoint.finish(decision.waiting(), reply)
            if datagram is not None:
                decision.endpoint.socket.send([datagram])


def find(packet: Packet, client: Client) -> Staff | None:
    """Return the member of staff of this NAS's tenant whom the packet names, letter by letter."""
    name = packet.find(_USER_NAME)
    return client.index.staff.get(name) if name else None


# Where the common sentence speaks of subscribers.
_MEANINGS = {
    Deny.NO_IDENTITY: "the request has no User-Name",
    Deny.UNKNOWN_USER: "no member of staff of this tenant has that user name",
    Deny.WRONG_NAS: "this member of staff may not log in to this NAS",
    Deny.WRONG_SITE: "this member of staff may not log in at the site of this NAS",
}

_AFTER_CREDENTIAL = frozenset(
    (Deny.STAFF_DISABLED, Deny.STAFF_EXPIRED, Deny.WRONG_NAS, Deny.WRONG_SITE, Deny.UNRENDERABLE)
)


def steps(decision: StaffDecision) -> Iterator[Step]:
    """Yield the steps of a decision, in the order in which they were taken; the last one may have failed."""
    nas, staff, reason = decision.client.nas, decision.staff, decision.reason
    yield Step("nas", "passed", f"{nas.id}, vendor {nas.vendor}")
    signed = Attr.MESSAGE_AUTHENTICATOR in decision.packet.spots
    yield Step(
        "authenticity", "passed", "Message-Authenticator verified" if signed else "not signed, allowed here"
    )
    if staff is None:
        yield Step("identity", "failed", decision.detail)
        return
    yield Step("identity", "passed", f"staff {staff.id}")
    if reason and reason not in _AFTER_CREDENTIAL:
        yield Step("credential", "failed", f"{decision.method}: {Deny(reason).meaning}")
        return
    yield Step("credential", "passed", decision.method)
    for check in CHECKS:
        failed = check(staff, nas, decision.at)
        name = check.__name__.replace("_", "-")
        if failed is not None:
            yield Step(name, "failed", f"{failed}: {_MEANINGS.get(failed, failed.meaning)}")
            return
        yield Step(name, "passed", "")
    if decision.rendered is None:
        yield Step("render", "failed", decision.detail)
        return
    count = len(decision.rendered)
    yield Step("render", "passed", f"privilege {staff.privilege}: {count} attributes for {nas.vendor}")
