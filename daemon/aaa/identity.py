"""Whom a request is about: user name, MAC or access line, in the order that the NAS's entry gives."""

from __future__ import annotations

from daemon.aaa.nas import Client
from daemon.replica.records import IdentitySource, Subscriber
from radius import line
from radius.codes import Attr
from radius.packet import Packet

_USER_NAME = int(Attr.USER_NAME)
_CALLING_STATION = int(Attr.CALLING_STATION_ID)


def find(packet: Packet, client: Client) -> tuple[Subscriber | None, IdentitySource | None]:
    """Return the subscriber and what named it; (None, source) when a source spoke of nobody we know.

    (None, None) means that the request carries none of the identities this NAS is set to use.
    """
    spoke: IdentitySource | None = None
    for source in client.nas.identities:
        if source is IdentitySource.USERNAME:  # the usual one, without the look-up of an enum
            known, subscriber = _by_username(packet, client)
        else:
            known, subscriber = _BY_SOURCE[source](packet, client)
        if subscriber is not None:
            return subscriber, source
        if known and spoke is None:
            spoke = source
    return None, spoke


def calls_itself(packet: Packet) -> bool:
    """Tell whether a MAC that came as user name is the one that calls, as far as the NAS says who calls.

    A PPPoE client types what it likes as user name; Calling-Station-Id comes from the NAS.
    """
    calling = packet.find_text(_CALLING_STATION)
    return calling is None or line.canonical_mac(calling) == line.canonical_mac(
        packet.find_text(_USER_NAME) or ""
    )


def _by_username(packet: Packet, client: Client) -> tuple[bool, Subscriber | None]:
    name = packet.find(_USER_NAME)
    if not name:
        return False, None
    names = client.index.usernames
    subscriber = names.get(name)
    if subscriber is None and client.nas.strip_realm and b"@" in name:
        subscriber = names.get(name[: name.rindex(b"@")])
    return True, subscriber


def _by_mac_name(packet: Packet, client: Client) -> tuple[bool, Subscriber | None]:
    return _by_mac(packet, client, _USER_NAME)


def _by_calling_station(packet: Packet, client: Client) -> tuple[bool, Subscriber | None]:
    return _by_mac(packet, client, _CALLING_STATION)


def _by_mac(packet: Packet, client: Client, kind: int) -> tuple[bool, Subscriber | None]:
    text = packet.find_text(kind)
    mac = line.canonical_mac(text) if text else None
    if mac is None:
        return False, None
    return True, client.index.macs.get(mac)


def _by_circuit(packet: Packet, client: Client) -> tuple[bool, Subscriber | None]:
    circuit = line.read(packet).circuit_id
    return circuit is not None, client.index.circuits.get(circuit) if circuit else None


def _by_remote(packet: Packet, client: Client) -> tuple[bool, Subscriber | None]:
    remote = line.read(packet).remote_id
    return remote is not None, client.index.remotes.get(remote) if remote else None


_BY_SOURCE = {
    IdentitySource.USERNAME: _by_username,
    IdentitySource.MAC: _by_mac_name,
    IdentitySource.CALLING_STATION: _by_calling_station,
    IdentitySource.CIRCUIT: _by_circuit,
    IdentitySource.REMOTE: _by_remote,
}
