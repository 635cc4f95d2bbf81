"""Who owns a lease: by what the book knows a subscriber's login again, and the session that reports its address.

A login and accounting must come to the same answer, because accounting may be all that is left of a login: after a
restart, or when a session is heard of again that was given up. So both ask here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network
from typing import NamedTuple

from daemon.aaa.attachment import Attachment, of_packet, of_session
from daemon.aaa.session import Session
from daemon.replica.records import Plan, Subscriber
from daemon.replica.rules import SimultaneousMode
from ipam.address import Unit
from ipam.kinds import BITS, Kind, Space
from ipam.lease import Wanted
from ipam.register import Register
from radius import line
from radius.codes import Attr
from radius.grant import Access
from radius.packet import Packet

_CALLING_STATION = int(Attr.CALLING_STATION_ID)
# RFC 2865 section 5.8: the user, or the NAS, shall choose the address. It is nobody's then.
_CHOSEN_ELSEWHERE = (IPv4Address("255.255.255.255"), IPv4Address("255.255.255.254"))
_ASIDE = (Kind.V4, Kind.V6_NA, Kind.V6_PREFIX, Kind.PD)


class Equipment(NamedTuple):
    """What tells one login of a subscriber from another; empty where it is not known. `port` is NAS and port."""

    mac: str = ""
    circuit: str = ""
    port: str = ""


def equipment_of_packet(packet: Packet, nas: str, access: Access) -> Equipment:
    """Return what a login shows: MAC, or whatever calls; the circuit where it is not PPP; the port for want of both."""
    calling = packet.find_text(_CALLING_STATION) or ""
    mac = line.canonical_mac(calling) or calling
    circuit = "" if access is Access.PPP else circuit_of(packet)
    port = "" if mac or circuit else of_packet(packet, nas).port or ""
    return Equipment(mac, circuit, port)


def equipment_of_session(session: Session) -> Equipment:
    """Return what accounting has shown of a session, and its login of the line where that is known."""
    shown = of_session(session)
    calling = (session.find(Attr.CALLING_STATION_ID) or b"").decode("utf-8", "backslashreplace")
    return Equipment(shown.mac or calling, circuit_text(shown), shown.port or "")


def circuit_of(packet: Packet) -> str:
    """Return the circuit of a login as text; empty where it does not say."""
    circuit = line.read(packet).circuit_id
    return "" if circuit is None else circuit.decode("utf-8", "backslashreplace")


def circuit_text(shown: Attachment) -> str:
    """Return the circuit of an attachment as text; empty where it is not known."""
    return "" if shown.circuit is None else shown.circuit.decode("utf-8", "backslashreplace")


def has_own(subscriber: Subscriber, register: Register) -> bool:
    """Tell whether a subscriber has something of its own, by the platform or an operator; then it owns all it has."""
    if subscriber.personal and fixed_units(subscriber, ""):
        return True
    return has_aside(subscriber, register)


def has_aside(subscriber: Subscriber, register: Register) -> bool:
    """Tell whether an operator has set something aside for the subscriber, which it gets with any equipment."""
    aside = register.set_aside
    if not aside or not subscriber.id:
        return False
    tenant, name = subscriber.tenant, subscriber.id
    return any((tenant, name, kind) in aside for kind in _ASIDE)


def has_one_session(subscriber: Subscriber, plan: Plan | None) -> bool:
    """Tell whether a subscriber in good standing is online once only, so that it needs one address of a kind.

    Only where one session too many is refused: where it is told, or kicks the other, both are online for a while.
    """
    limit = subscriber.simultaneous_use or (None if plan is None else plan.rules.simultaneous_use)
    if limit != 1 or not subscriber.id:
        return False
    return plan is None or plan.rules.simultaneous_mode is SimultaneousMode.REJECT_NEW


def owner_key(subscriber: Subscriber, plan: Plan | None, access: Access, mac: str, circuit: str) -> str:
    """Return by what the book knows a subscriber's login in good standing again, who has nothing of its own."""
    if has_one_session(subscriber, plan):
        return subscriber.id
    return equipment_key(subscriber.id, access, Equipment(mac, circuit))


def equipment_key(subscriber: str, access: Access, shown: Equipment, username: str = "") -> str:
    """Return by what the book knows the owner of a lease where each equipment of a subscriber has its own.

    PPP: the MAC, IPoE: circuit and MAC. Always with the subscriber, so that a line that is sold again begins anew.
    Where neither is known, NAS and port; the sessions of a subscriber whose NAS does not tell even that share an
    address. A stranger without a MAC is known by NAS, port and user name; empty where its NAS tells no port.
    """
    parts = [each for each in ("" if access is Access.PPP else shown.circuit, shown.mac) if each]
    if not parts and shown.port:
        parts = [shown.port] if subscriber else [shown.port, username]
    return "/".join((subscriber, *parts)) if parts else subscriber


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
