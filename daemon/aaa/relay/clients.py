"""Who may ask the CoA relay, and whether a request is theirs (RFC 5176 sections 2.3 and 6.3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from daemon.aaa.reasons import Drop
from daemon.replica.records import Network
from radius.authenticator import ZERO16, Key, message_is_authentic, request_is_authentic
from radius.codes import Attr, Code
from radius.packet import Packet

STAMP_WINDOW_S = 300.0
"""How far an Event-Timestamp may be from our time; beyond it is taken for a replay (RFC 5176 section 6.3)."""

_REQUESTS = frozenset({int(Code.DISCONNECT_REQUEST), int(Code.COA_REQUEST)})
_MESSAGE_AUTHENTICATOR = int(Attr.MESSAGE_AUTHENTICATOR)
_EVENT_TIMESTAMP = int(Attr.EVENT_TIMESTAMP)
_SOURCES_MOST = 1000


class RelayDrop(StrEnum):
    """Why a request is not answered, beside the reasons that all ports have."""

    UNKNOWN_CLIENT = "unknown-client"
    STALE_TIMESTAMP = "stale-timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayClient:
    """Who may ask: sources, secrets (two during a rotation) and the tenant whose sessions it may name.

    `name` is its label in metrics and events.
    """

    name: str
    tenant: str
    networks: tuple[Network, ...]
    keys: tuple[Key, ...]
    require_message_authenticator: bool = False


class RelayClients:
    """The clients by source address."""

    def __init__(self, clients: Iterable[RelayClient] = ()) -> None:
        self._clients = tuple(clients)
        self._found: dict[bytes, tuple[RelayClient, ...]] = {}

    def replace(self, clients: Iterable[RelayClient]) -> None:
        """Take others from now on; what is under way goes on."""
        self._clients = tuple(clients)
        self._found.clear()

    def find(self, address: bytes) -> tuple[RelayClient, ...]:
        """Return the clients of the longest prefix that holds an address, 4 or 16 octets; empty for a stranger.

        There may be several: one platform asks for each of its tenants with a secret of its own.
        """
        known = self._found.get(address)
        if known is None:
            if len(self._found) >= _SOURCES_MOST:
                self._found.clear()
            known = self._found[address] = self._find(address)
        return known

    def _find(self, octets: bytes) -> tuple[RelayClient, ...]:
        address = ip_address(octets)
        holding = [
            (network.prefixlen, client)
            for client in self._clients
            for network in client.networks
            if address in network
        ]
        longest = max((length for length, _ in holding), default=0)
        return tuple(client for length, client in holding if length == longest)


def prove(
    clients: tuple[RelayClient, ...], packet: Packet, at: float
) -> tuple[RelayClient, Key] | Drop | RelayDrop:
    """Return which of the clients at an address sent a request and with which key, or why it is dropped.

    `at` is our time in epoch seconds. Neither Message-Authenticator nor Event-Timestamp needs to be there, but what
    is there must be right.
    """
    if packet.code not in _REQUESTS:
        return Drop.UNKNOWN_CODE
    pairs = ((client, key) for client in clients for key in client.keys)
    found = next((pair for pair in pairs if request_is_authentic(packet, pair[1])), None)
    if found is None:
        return Drop.BAD_REQUEST_AUTHENTICATOR
    client, signer = found
    if _MESSAGE_AUTHENTICATOR not in packet.spots:
        if client.require_message_authenticator:
            return Drop.NO_MESSAGE_AUTHENTICATOR
    elif not message_is_authentic(packet, signer, ZERO16):
        return Drop.BAD_MESSAGE_AUTHENTICATOR
    stamp = packet.find_int(_EVENT_TIMESTAMP)
    if stamp is not None and abs(at - stamp) > STAMP_WINDOW_S:
        return RelayDrop.STALE_TIMESTAMP
    return found
