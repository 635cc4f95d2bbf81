"""One Access-Request on its way to its answer, and afterwards the record of what was decided."""

from __future__ import annotations

from daemon.aaa.endpoint import Endpoint, Waiting
from daemon.aaa.nas import Client
from daemon.aaa.prepared import NOTHING, Prepared
from daemon.aaa.standing import Standing
from daemon.replica.records import IdentitySource, Plan, Subscriber
from ipam.kinds import Kind
from ipam.lease import Lease
from radius.authenticator import Key
from radius.packet import Packet


class Decision:
    """Filled in step by step by `aaa.access`, then kept in the trace; only references, so keeping it is cheap."""

    __slots__ = (
        "at",
        "client",
        "contact",
        "detail",
        "endpoint",
        "generation",
        "key",
        "leases",
        "method",
        "noted",
        "packet",
        "peer",
        "plan",
        "pooled",
        "prepared",
        "reason",
        "refused_by",
        "signer",
        "source",
        "standing",
        "subscriber",
        "uid",
        "waited_s",
    )

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
        self.endpoint = endpoint
        self.client = client
        self.contact = client.index.contact  # how old the data were
        self.packet = packet
        self.peer = peer
        self.key = key  # of the duplicate cache
        self.at = at
        self.signer = signer  # the reply is made with this secret
        self.generation = generation  # of the replica
        self.source: IdentitySource | None = None
        self.subscriber: Subscriber | None = None
        self.method = ""
        self.reason = ""  # empty: permitted
        self.standing: Standing | None = None  # None: the credential did not get that far
        self.noted: dict[str, str] | None = None  # by check, what it saw
        self.refused_by: object = None  # the check of the policy that did
        self.detail = ""
        self.plan: Plan | None = None
        self.prepared: Prepared | None = None
        self.leases: tuple[Lease, ...] = ()
        self.pooled: frozenset[Kind] = NOTHING  # the kinds of them that come from pools of ours
        self.uid = 0
        self.waited_s = 0.0  # for a slow hash

    def waiting(self) -> Waiting:
        """Return what an answer that is sent later needs."""
        return Waiting(self.endpoint, self.peer, self.key, self.packet.authenticator)
