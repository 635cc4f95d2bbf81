"""Access-Requests: authenticity, identity, credential, policy, grant, reply. One column, no await."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, Future

from daemon.aaa import credentials, identity, policy, token
from daemon.aaa.authorize import Prepared, Replies, access_of
from daemon.aaa.credentials import Proof, Slow
from daemon.aaa.decision import Decision
from daemon.aaa.endpoint import Endpoint
from daemon.aaa.nas import Client
from daemon.aaa.reasons import Deny, Drop
from daemon.aaa.trace import Trace
from daemon.metrics import RequestCounts
from daemon.replica.index import Index
from daemon.replica.records import IdentitySource, Subscriber
from radius.authenticator import Key, message_is_authentic, sign_reply
from radius.codes import Attr, Code
from radius.errors import Malformed, Unencodable
from radius.packet import Packet, attribute

_ACCESS_REQUEST = int(Code.ACCESS_REQUEST)
_STATUS_SERVER = int(Code.STATUS_SERVER)
_ACCEPT = int(Code.ACCESS_ACCEPT)
_REJECT = int(Code.ACCESS_REJECT)
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_PROXY_STATE = int(Attr.PROXY_STATE)
_EAP_MESSAGE = int(Attr.EAP_MESSAGE)
_REPLY_MESSAGE = int(Attr.REPLY_MESSAGE)


class Access:
    """What the authentication port does. `reject_delay_s` may be changed while it runs."""

    def __init__(
        self,
        index: Index,
        replies: Replies,
        issued: token.Issued,
        trace: Trace,
        counts: RequestCounts,
        hashes: Executor,
        *,
        numbers: Iterator[int],
        max_pending_hashes: int,
        reject_delay_s: float,
    ) -> None:
        self._index = index
        self._replies = replies
        self._issued = issued
        self._trace = trace
        self._counts = counts
        self._hashes = hashes
        self._numbers = numbers
        self._hashes_free = max_pending_hashes
        self.reject_delay_s = reject_delay_s

    def turn(self) -> None:
        """A batch begins."""
        self._replies.turn(self._index.generation)
        self._issued.turn()

    def answer(
        self, endpoint: Endpoint, client: Client, packet: Packet, peer: bytes, key: bytes, at: float
    ) -> bytes | None:
        """Return the reply to an Access-Request or Status-Server; None for a drop or a later answer."""
        if packet.code != _ACCESS_REQUEST:
            return self._status(client, packet, peer)
        signer = self._authentic(client, packet, peer)
        if signer is None:
            return None
        decision = Decision(endpoint, client, packet, peer, key, at, signer, self._index.generation)
        subscriber, source = identity.find(packet, client)
        decision.source = source
        decision.subscriber = subscriber
        if subscriber is None:
            decision.method = credentials.method_of(packet)
            return self._deny(decision, Deny.NO_IDENTITY if source is None else Deny.UNKNOWN_USER)
        try:
            proof = self._prove(decision, subscriber)
        except Malformed as reason:
            self._counts.add(_ACCESS_REQUEST, client.label, "drop", reason.slug)
            return None
        if isinstance(proof, Slow):
            self._prove_later(proof, decision, subscriber)
            return None
        return self._decide(decision, subscriber, proof)

    def _authentic(self, client: Client, packet: Packet, peer: bytes) -> Key | None:
        """Return the key to sign the reply with; None when the request must be dropped (RFC 3579, BlastRADIUS)."""
        if _MESSAGE_AUTHENTICATOR in packet.spots:
            for signer in client.keys_for(peer):
                if message_is_authentic(packet, signer, packet.authenticator):
                    client.prefer(peer, signer)
                    client.signed += 1
                    return signer
            drop = Drop.BAD_MESSAGE_AUTHENTICATOR
        elif client.nas.require_message_authenticator:
            drop = Drop.NO_MESSAGE_AUTHENTICATOR
        elif _EAP_MESSAGE in packet.spots:
            drop = Drop.EAP_UNSIGNED
        elif _PROXY_STATE in packet.spots and client.nas.limit_proxy_state:
            drop = Drop.PROXY_STATE_UNSIGNED
        else:
            client.unsigned += 1
            return client.keys_for(peer)[0]
        self._counts.add(packet.code, client.label, "drop", drop)
        return None

    def _status(self, client: Client, packet: Packet, peer: bytes) -> bytes | None:
        """Answer a Status-Server with Access-Accept (RFC 5997 section 3); it must be signed."""
        if packet.code != _STATUS_SERVER:
            drop = Drop.WRONG_PORT if packet.code in _OTHER_PORT else Drop.UNKNOWN_CODE
            self._counts.add(packet.code, client.label, "drop", drop)
            return None
        if _MESSAGE_AUTHENTICATOR not in packet.spots:
            self._counts.add(packet.code, client.label, "drop", Drop.NO_MESSAGE_AUTHENTICATOR)
            return None
        signer = self._authentic(client, packet, peer)
        if signer is None:
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
        proof = credentials.prove(packet, decision.signer, subscriber.secret)
        if len(client.keys) == 1 or _MESSAGE_AUTHENTICATOR in packet.spots:
            return proof
        # A NAS that does not sign may hide the password with the other of two valid secrets.
        other = next(key for key in client.keys if key is not decision.signer)
        second = credentials.prove(packet, other, subscriber.secret)
        if isinstance(proof, Slow) and isinstance(second, Slow):
            return Slow(proof.secret, proof.password, second.password, other)
        if isinstance(second, Proof) and second.reason is None and second.method == "pap":
            client.prefer(decision.peer, other)
            decision.signer = other
            return second
        return proof

    def _decide(self, decision: Decision, subscriber: Subscriber, proof: Proof) -> bytes | None:
        """Return the answer of a request whose credential has been looked at."""
        client, at = decision.client, decision.at
        decision.method = proof.method
        plan = decision.plan = client.index.plans.get(subscriber.plan or "")
        reason = proof.reason or policy.decide(subscriber, plan, at)
        if reason is not None:
            return self._deny(decision, reason)
        assert plan is not None, "policy.decide has seen to that"
        access = access_of(decision.packet, plan)
        prepared = self._replies.prepare(subscriber, plan, client.nas, client.profile, access, at)
        if type(prepared) is not Prepared:
            decision.detail = str(prepared)
            return self._deny(decision, Deny.UNRENDERABLE)
        try:
            return self._accept(decision, subscriber, prepared, proof)
        except Unencodable as error:  # too much for one packet
            decision.detail = str(error)
            return self._deny(decision, Deny.UNRENDERABLE)

    def _accept(self, decision: Decision, subscriber: Subscriber, prepared: Prepared, proof: Proof) -> bytes:
        """Return the Access-Accept. Raises Unencodable where the attributes do not fit one packet."""
        packet, label = decision.packet, decision.client.label
        uid = next(self._numbers)
        attributes = (
            prepared.octets
            + token.class_attribute(uid, token.subscriber_check(subscriber.id))
            + proof.attributes
        )
        if _PROXY_STATE in packet.spots:
            attributes += _proxy_states(packet)
        reply = sign_reply(_ACCEPT, packet.identifier, packet.authenticator, attributes, decision.signer)
        decision.prepared = prepared
        decision.uid = uid
        self._issued.young[uid] = subscriber
        self._counts.requests[(_ACCESS_REQUEST, label, "accept", proof.method)] += 1
        self._trace.permit(decision)
        return reply

    def _deny(self, decision: Decision, reason: Deny) -> bytes | None:
        """Return the Access-Reject, or send it later; it carries no service attributes (RFC 2865 section 5.44).

        Whatever the reason, the reply is the same but for what the method itself must say about a failure.
        """
        decision.reason = reason
        self._counts.add(_ACCESS_REQUEST, decision.client.label, "reject", reason)
        self._trace.deny(decision)
        packet = decision.packet
        attributes = credentials.failure(packet)
        message = decision.client.index.tenant.reject_message
        if message:
            attributes += attribute(_REPLY_MESSAGE, message.encode()[:253])
        if _PROXY_STATE in packet.spots:
            attributes += _proxy_states(packet)
        try:
            reply = sign_reply(_REJECT, packet.identifier, packet.authenticator, attributes, decision.signer)
        except Unencodable:  # the proxies' own state fills the packet
            self._counts.add(_ACCESS_REQUEST, decision.client.label, "drop", Drop.REPLY_TOO_LONG)
            return None
        delay_s = self.reject_delay_s - decision.waited_s
        if delay_s <= 0:
            return reply
        waiting = decision.waiting()
        decision.endpoint.duplicates.keep(waiting.key, waiting.authenticator, b"")
        decision.endpoint.send_later(waiting, reply, delay_s)
        return None

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


_OTHER_PORT = (int(Code.ACCOUNTING_REQUEST),)


def _proxy_states(packet: Packet) -> bytes:
    """Return the Proxy-State attributes of a request, to be echoed in order (RFC 2865 section 5.33)."""
    return b"".join(attribute(_PROXY_STATE, value) for value in packet.all(_PROXY_STATE) if value)
