"""Access-Requests: authenticity, identity, credential, policy, grant, reply. One column, no await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future

from daemon.aaa import authentic, credentials, identity, policy, token
from daemon.aaa.authorize import Replies, access_of
from daemon.aaa.credentials import Proof, Slow
from daemon.aaa.decision import Decision
from daemon.aaa.endpoint import Endpoint
from daemon.aaa.leasing import Held, Leasing
from daemon.aaa.loops import Loops
from daemon.aaa.nas import Client
from daemon.aaa.prepared import NOTHING, Prepared
from daemon.aaa.reasons import Deny, Drop
from daemon.aaa.rejects import Rejects
from daemon.aaa.reservations import Permit, caller_of
from daemon.aaa.standing import FULL, Books, Question, Standing, treated
from daemon.aaa.trace import Trace
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.records import AccessMode, IdentitySource, Subscriber
from daemon.replica.rules import Act
from ipam.lease import Bundle
from radius import vendors
from radius.authenticator import Key, sign_reply
from radius.codes import Attr, Code
from radius.errors import Malformed, Unencodable
from radius.packet import Packet, attribute

_ACCESS_REQUEST = int(Code.ACCESS_REQUEST)
_ACCEPT = int(Code.ACCESS_ACCEPT)
_USER_NAME = int(Attr.USER_NAME)
_CALLING_STATION = int(Attr.CALLING_STATION_ID)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_PROXY_STATE = int(Attr.PROXY_STATE)
_REPLY_MESSAGE = int(Attr.REPLY_MESSAGE)
_NO, _CAPTIVE = Act.REJECT, Act.CAPTIVE
# With these the server proves itself, too, for which it needs the password: a garden cannot stand in.
_MUTUAL = ("mschap", "mschapv2", "eap")

OnEvent = Callable[[str, Decision, str], None]
"""(kind, decision, text): something an operator should know of."""


class Access:
    """What the authentication port does. `reject_delay_s` may be changed while it runs."""

    def __init__(
        self,
        index: Index,
        replies: Replies,
        books: Books,
        loops: Loops,
        trace: Trace,
        counts: RequestCounts,
        hashes: Executor,
        on_event: OnEvent,
        leasing: Leasing,
        *,
        numbers: Iterator[int],
        max_pending_hashes: int,
        reject_delay_s: float,
    ) -> None:
        self._index = index
        self._replies = replies
        self._books = books
        self._reservations = books.reservations
        self._loops = loops
        self._trace = trace
        self._counts = counts
        self._hashes = hashes
        self._on_event = on_event
        self._leasing = leasing
        leasing.serve(self._answered, self._dropped)
        self._numbers = numbers
        self._hashes_free = max_pending_hashes
        self.reject_delay_s = reject_delay_s
        self.rejects = Rejects()

    def turn(self) -> None:
        """A batch begins."""
        self._replies.turn(self._index.generation)
        self._reservations.turn()

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Return the reply to an Access-Request or Status-Server; None for a drop or a later answer."""
        if packet.code != _ACCESS_REQUEST:
            return self._status(client, packet, peer)
        signer = authentic.access_signer(client, packet, peer)
        if not isinstance(signer, Key):
            self._counts.add(packet.code, client.label, "drop", signer)
            return None
        decision = Decision(endpoint, client, packet, peer, key, at, signer, self._index.generation)
        subscriber, source = identity.find(packet, client)
        decision.source = source
        decision.subscriber = subscriber
        if not self._loops.idle:
            login = _login(packet)
            if login is not None and self._loops.paused(login, subscriber, at):
                return self._deny(decision, Deny.RETRY_LOOP)
        if subscriber is None:
            decision.method = credentials.method_of(packet)
            return self._unproven(decision, Deny.NO_IDENTITY if source is None else Deny.UNKNOWN_USER)
        try:
            proof = self._prove(decision, subscriber)
        except Malformed as reason:
            self._counts.add(_ACCESS_REQUEST, client.label, "drop", reason.slug)
            return None
        if isinstance(proof, Slow):
            self._prove_later(proof, decision, subscriber)
            return None
        return self._decide(decision, subscriber, proof)

    def _status(self, client: Client, packet: Packet, peer: bytes) -> bytes | None:
        """Answer a Status-Server with Access-Accept (RFC 5997 section 3); it must be signed."""
        signer = authentic.status_signer(client, packet, peer, Code.ACCOUNTING_REQUEST)
        if not isinstance(signer, Key):
            self._counts.add(packet.code, client.label, "drop", signer)
            return None
        self._counts.add(packet.code, client.label, "accept", "status")
        return sign_reply(_ACCEPT, packet.identifier, packet.authenticator, b"", signer)

    def _prove(self, decision: Decision, subscriber: Subscriber) -> Proof | Slow:
        """Check the credential; a MAC or line is vouched for by the NAS, unless the subscriber has a password."""
        client, packet = decision.client, decision.packet
        by_line = decision.source is not IdentitySource.USERNAME
        if by_line and decision.source is IdentitySource.MAC and not identity.calls_itself(packet):
            return Proof("line", Deny.MAC_MISMATCH)
        if by_line and (subscriber.secret is None or client.nas.line_password is not None):
            return credentials.prove_line(packet, decision.signer, client.nas)
        proof = authentic.prove(client, packet, decision.signer, subscriber.secret)
        if isinstance(proof, Proof) and proof.signer is not None:
            client.prefer(decision.peer, proof.signer)
            decision.signer = proof.signer
        return proof

    def _decide(self, decision: Decision, subscriber: Subscriber, proof: Proof) -> bytes | None:
        """Return the answer of a request whose credential has been looked at."""
        client = decision.client
        decision.method = proof.method
        plan = decision.plan = client.index.plans.get(subscriber.plan or "")
        if proof.reason is not None:
            return self._unproven(decision, proof.reason)
        if plan is not None and plan.plain and subscriber.plain and client.index.contact.known is None:
            decision.standing = FULL
            return self._grant(decision, subscriber, FULL, proof, None)
        question = Question(
            subscriber, plan, decision.at, client.index, client.nas, self._books, decision.packet
        )
        standing = decision.standing = policy.decide(question)
        decision.noted = question.noted
        decision.refused_by = question.refused_by
        reply = self._grant(decision, subscriber, standing, proof, question)
        for kind, text in question.told:
            self._on_event(kind, decision, text)
        return reply

    def _unproven(self, decision: Decision, reason: Deny) -> bytes | None:
        """Refuse who has not proven to be a subscriber, or put it into the garden where the tenant wants that."""
        if reason not in policy.UNPROVEN or decision.method in _MUTUAL:
            return self._deny(decision, reason)
        client = decision.client
        nobody = decision.subscriber or Subscriber(
            tenant=client.nas.tenant, id="", access_mode=AccessMode.ACTIVE, plan=None
        )
        question = Question(nobody, None, decision.at, client.index, client.nas, self._books)
        standing = treated(question, reason)
        if standing.act is _NO:
            return self._deny(decision, reason)
        decision.standing = standing
        # Whoever it is gets nothing of the subscriber whose name was used.
        stranger = Subscriber(tenant=nobody.tenant, id="", access_mode=AccessMode.ACTIVE, plan=None)
        return self._grant(decision, stranger, standing, Proof(decision.method), None)

    def _grant(
        self,
        decision: Decision,
        subscriber: Subscriber,
        standing: Standing,
        proof: Proof,
        question: Question | None,
    ) -> bytes | None:
        """Return the answer to somebody of that standing."""
        if standing.act is _NO:
            return self._deny(decision, standing.reason or Deny.ACCESS_REJECT)
        client, at, plan = decision.client, decision.at, decision.plan
        access = access_of(decision.packet, plan)
        wants = self._leasing.wants(decision, subscriber, access)
        prepared = self._replies.prepare(
            subscriber,
            plan,
            standing,
            client.index.tenant.garden,
            client.nas,
            client.profile,
            access,
            at,
            NOTHING if wants is None else wants.pooled,
        )
        captive = standing.act is _CAPTIVE
        if type(prepared) is not Prepared:
            decision.detail = str(prepared)
            return self._deny(decision, Deny.CAPTIVE_UNSUPPORTED if captive else Deny.UNRENDERABLE)
        permit = Permit(next(self._numbers), subscriber, prepared, standing.reason or "", at, client.label)
        bundle: Bundle | None = None
        if wants is not None:
            taken = self._leasing.take(decision, subscriber, wants, prepared.grant.interim_interval_s)
            if isinstance(taken, Deny):
                self._on_event("lease-refused", decision, decision.detail)
                return self._deny(decision, taken)
            bundle = taken
        reply = self._accept_with(decision, permit, proof, bundle)
        if reply is None:
            return self._deny(decision, Deny.UNRENDERABLE)
        if question is not None:
            self._reserve(permit, question)
        if bundle is None or self._leasing.ready(decision, bundle):
            self._note_permit(decision, permit, question)
            return reply
        self._wait(bundle, Held(decision.waiting(), reply, decision, permit, question))
        return None

    def _accept_with(
        self, decision: Decision, permit: Permit, proof: Proof, bundle: Bundle | None
    ) -> bytes | None:
        """Return the Access-Accept with those leases; None where it cannot be said, then they are given back."""
        try:
            if bundle is None:
                return self._accept(decision, permit, proof, b"")
            permit.bundle_id = bundle.id
            leased = self._leasing.octets(decision, permit.prepared.grant.access)
            return self._accept(decision, permit, proof, leased)
        except Unencodable as error:  # too much for one packet, or an address that no subscriber may have
            if bundle is not None:
                self._leasing.give_back(bundle, decision.at)
            decision.detail = str(error)
            return None

    def _note_permit(self, decision: Decision, permit: Permit, question: Question | None) -> None:
        """Count and remember what was permitted and told, for the Start and for the next login."""
        nas, subscriber, label = decision.client.nas, permit.subscriber, decision.client.label
        self._reservations.young[permit.uid] = permit
        self._counts.requests[(_ACCESS_REQUEST, label, "accept", permit.reason or decision.method)] += 1
        self._trace.permit(decision)
        if question is not None:
            self._learn(decision, permit, question)
        if permit.reason:
            self._reservations.remember(caller_of(nas, decision.packet), permit)
        elif self._reservations.remembers:
            self._reservations.forget(caller_of(nas, decision.packet))
        if self._loops.counting and subscriber is decision.subscriber:
            login = _login(decision.packet)
            if login is not None:
                self._loops.permitted(login)

    def _wait(self, bundle: Bundle, held: Held) -> None:
        """Answer when the leases are on disk; a repeat of the request meanwhile is not looked at."""
        decision, waiting = held.decision, held.waiting
        if not decision.waited_s:  # a slow hash has done so before
            decision.endpoint.duplicates.keep(waiting.key, waiting.authenticator, b"")
        self._leasing.hold(bundle, held)

    def _answered(self, held: Held) -> None:
        """A login that waited for its leases was answered."""
        self._note_permit(held.decision, held.permit, held.question)

    def _dropped(self, held: Held) -> None:
        """A login that waited for its leases is not answered; its decision says why."""
        self._reservations.give_back(held.permit)
        self._trace.deny(held.decision)

    def _accept(self, decision: Decision, permit: Permit, proof: Proof, leased: bytes) -> bytes:
        """Return the Access-Accept. Raises Unencodable where the attributes do not fit one packet."""
        packet, uid = decision.packet, permit.uid
        attributes = (
            permit.prepared.octets(uid)
            + leased
            + token.class_attribute(uid, token.subscriber_check(permit.subscriber.id))
            + proof.attributes
        )
        if _PROXY_STATE in packet.spots:
            attributes += authentic.proxy_states(packet)
        reply = sign_reply(_ACCEPT, packet.identifier, packet.authenticator, attributes, decision.signer)
        decision.prepared = permit.prepared
        decision.uid = uid
        return reply

    def _reserve(self, permit: Permit, question: Question) -> None:
        """Let the subscriber count as online from the decision on, where that is limited."""
        if question.limit is None:
            permit.attachment = question.attachment_seen
            return
        permit.attachment = question.attachment
        permit.limit = question.limit
        permit.mode = question.mode
        self._reservations.hold(permit)

    def _learn(self, decision: Decision, permit: Permit, question: Question) -> None:
        """Tie the subscriber to what it has shown, where its plan asks for that, now that it is let in."""
        rules, subscriber = question.rules, permit.subscriber
        # Who is walled in may be there because it came from elsewhere: nothing is learned from that.
        if rules.bind and rules.bind_learn and not permit.reason:
            learned = self._books.bindings.learn(
                subscriber.tenant, subscriber.id, rules.bind, question.attachment, decision.at
            )
            if learned:
                self._on_event("binding-learned", decision, ", ".join(learned))

    def _deny(self, decision: Decision, reason: Deny) -> bytes | None:
        """Return the Access-Reject, or send it later; it carries no service attributes (RFC 2865 section 5.44).

        Whatever the reason, the reply is the same but for what the method itself must say about a failure.
        """
        decision.reason = reason
        self._counts.add(_ACCESS_REQUEST, decision.client.label, "reject", reason)
        self._trace.deny(decision)
        self.rejects.add(decision)
        login = None if reason is Deny.RETRY_LOOP else _login(decision.packet)
        if login is not None and self._loops.refused(login, decision.subscriber, decision.at):
            self._on_event("retry-loop", decision, reason)
        attributes = credentials.failure(decision.packet)
        if message := decision.client.index.tenant.reject_message:
            attributes += attribute(_REPLY_MESSAGE, message.encode()[:253])
        return authentic.refuse(decision, attributes, self.reject_delay_s, self._counts)

    def _prove_later(self, slow: Slow, decision: Decision, subscriber: Subscriber) -> None:
        """Check a slow hash in a thread; too many at a time are dropped, so that a flood cannot pile up."""
        if not self._hashes_free:
            self._counts.add(_ACCESS_REQUEST, decision.client.label, "drop", Drop.HASHES_BUSY)
            return
        self._hashes_free -= 1
        decision.endpoint.duplicates.keep(decision.key, decision.packet.authenticator, b"")
        loop = asyncio.get_running_loop()
        began = loop.time()

        def proved(future: Future[Proof]) -> None:
            decision.waited_s = loop.time() - began
            self._proved(future, decision, subscriber)

        def done(future: Future[Proof]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(proved, future)

        self._hashes.submit(slow.check).add_done_callback(done)

    def _proved(self, future: Future[Proof], decision: Decision, subscriber: Subscriber) -> None:
        """Go on with a request whose hash was checked; by the data of now, which may have changed meanwhile."""
        self._hashes_free += 1
        if future.cancelled():
            return
        self.turn()
        proof = future.result()
        client = self._current(decision.client)
        if client is None:  # its entry was taken away: it is a stranger now
            waiting = decision.waiting()
            decision.endpoint.duplicates.forget(waiting.key, waiting.authenticator)
            self._counts.add(_ACCESS_REQUEST, decision.client.label, "drop", Drop.UNKNOWN_NAS)
            return
        decision.client = client
        if proof.signer is not None:
            decision.client.prefer(decision.peer, proof.signer)
            decision.signer = proof.signer
        current, _ = identity.find(decision.packet, decision.client)
        if current is None or current.secret != subscriber.secret:
            reply = self._deny(decision, Deny.UNKNOWN_USER if current is None else Deny.WRONG_PASSWORD)
        else:
            decision.subscriber = current
            decision.generation = self._index.generation
            reply = self._decide(decision, current, proof)
        if reply is not None:
            datagram = decision.endpoint.finish(decision.waiting(), reply)
            if datagram is not None:
                decision.endpoint.socket.send([datagram])

    def _current(self, client: Client) -> Client | None:
        """Return a client by the data of now, None where its NAS is gone."""
        tenant = self._index.tenants.get(client.nas.tenant)
        nas = None if tenant is None else tenant.nases.get(client.nas.id)
        if tenant is None or nas is None:
            return None
        if nas is client.nas and tenant is client.index:
            return client
        profile = vendors.find(nas.vendor)
        assert profile is not None, "the wire models admit known vendors only"
        return Client(nas, tenant, profile)


def _login(packet: Packet) -> bytes | None:
    """Return what tells one login from another: user name and MAC.

    None where the NAS does not say who calls: then anybody's tries would keep the subscriber out.
    """
    calling = packet.find(_CALLING_STATION)
    return None if not calling else (packet.find(_USER_NAME) or b"") + b"\0" + calling
