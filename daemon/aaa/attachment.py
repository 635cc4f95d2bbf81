"""Where a subscriber is attached, as a login or a live session shows it: equipment, line, VLAN, port."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from daemon.aaa.session import Session
from radius import line
from radius.codes import Attr
from radius.packet import Packet

_CALLING_STATION = int(Attr.CALLING_STATION_ID)
_NAS_PORT_ID = int(Attr.NAS_PORT_ID)
_NAS_PORT = int(Attr.NAS_PORT)
# `vlan120`, `VLAN-ID=120`, or the last parts of `0/1/3:100.200`, `ge-0/0/1.1073741828:100-200`, `eth 2/1:100`.
_VLAN_WORD = re.compile(r"vlan(?:-?id)?[ =:_-]?(\d{1,4})(?:[.-](\d{1,4}))?(?!\d)", re.IGNORECASE)
_VLAN_TAIL = re.compile(r":(\d{1,4})(?:[.-](\d{1,4}))?\Z")


class Attachment(NamedTuple):
    """What is known of it; None where it is not. `vlan` is `outer` or `outer.inner`, `port` is NAS and port."""

    mac: str | None = None
    circuit: bytes | None = None
    remote: bytes | None = None
    vlan: str | None = None
    port: str | None = None


def of_packet(packet: Packet, nas: str) -> Attachment:
    """Return what an Access-Request says."""
    named = line.read(packet)
    return _made(
        packet.find(_CALLING_STATION),
        packet.find(_NAS_PORT_ID),
        packet.find(_NAS_PORT),
        nas,
        named.circuit_id,
        named.remote_id,
    )


def of_session(session: Session) -> Attachment:
    """Return what accounting has said of a session, and how its login has named the line where that is known."""
    circuit, remote = session.line
    return _made(
        session.find(Attr.CALLING_STATION_ID),
        session.find(Attr.NAS_PORT_ID),
        session.find(Attr.NAS_PORT),
        session.nas,
        circuit,
        remote,
    )


def same_equipment(one: Attachment, other: Attachment) -> bool:
    """Tell whether two attachments are of the same equipment: by MAC, else by circuit, else by port.

    A port that names no VLAN is an interface with many lines behind it perhaps, and proves nothing.
    """
    if one.mac is not None and other.mac is not None:
        return one.mac == other.mac
    if one.circuit is not None and other.circuit is not None:
        return one.circuit == other.circuit
    return one.port is not None and one.vlan is not None and one.port == other.port


def same_mac(one: Attachment, other: Attachment) -> bool:
    """Tell whether two attachments show one MAC."""
    return one.mac is not None and one.mac == other.mac


def own_of(mine: Attachment, live: Sequence[Attachment]) -> list[bool]:
    """Return of each of a subscriber's live sessions whether it is of the same equipment.

    Where several of them share a port, it is a VLAN for many lines, and the port alone proves nothing.
    """
    shared = [each.port for each in live].count(mine.port) > 1
    if shared:
        mine = mine._replace(port=None)
    return [same_equipment(mine, each) for each in live]


def _made(
    calling: bytes | None,
    port_id: bytes | None,
    port: bytes | None,
    nas: str,
    circuit: bytes | None,
    remote: bytes | None,
) -> Attachment:
    named = "" if port_id is None else port_id.decode("utf-8", "backslashreplace")
    if not named and port is not None:
        named = str(int.from_bytes(port, "big"))
    return Attachment(
        mac=None if calling is None else line.canonical_mac(calling.decode("utf-8", "replace")),
        circuit=circuit,
        remote=remote,
        vlan=_vlan(named),
        port=f"{nas} {named}" if named else None,
    )


def _vlan(port_id: str) -> str | None:
    found = _VLAN_WORD.search(port_id) or _VLAN_TAIL.search(port_id)
    if found is None:
        return None
    outer, inner = found[1], found[2]
    return outer if inner is None else f"{outer}.{inner}"
