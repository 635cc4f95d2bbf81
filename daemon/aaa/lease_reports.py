"""What accounting says of a session's addresses, in the words of the address book."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Network

from daemon.aaa.attachment import of_session
from daemon.aaa.lease_owner import circuit_text
from daemon.aaa.session import Session
from ipam.address import Unit
from ipam.history import Party
from ipam.kinds import BITS, Space
from radius.codes import Attr

_V4_OCTETS = 4
_V6_OCTETS = 16


def party_of(session: Session) -> Party:
    """Return who and where a session is."""
    calling = session.find(Attr.CALLING_STATION_ID) or b""
    circuit = circuit_text(of_session(session))
    return Party(session.subscriber, session.nas, circuit, calling.decode("utf-8", "backslashreplace"))


def reported_units(shown: tuple[bytes | None, ...]) -> Iterator[Unit]:
    """Yield the addresses and prefixes in reported values; what is malformed names none."""
    for value, of_prefix in zip(shown, (False, False, True, True), strict=True):
        if value is None:
            continue
        if not of_prefix:
            space = Space.IPV4 if len(value) == _V4_OCTETS else Space.IPV6
            number = int.from_bytes(value, "big")
            if len(value) in (_V4_OCTETS, _V6_OCTETS) and number:  # 0.0.0.0: not known yet
                yield Unit(space, number, BITS[space])
        elif 2 <= len(value) <= 2 + _V6_OCTETS and value[1] <= BITS[Space.IPV6]:
            prefix = IPv6Network((value[2:].ljust(_V6_OCTETS, b"\0"), value[1]), strict=False)
            yield Unit(Space.IPV6, int(prefix.network_address), prefix.prefixlen)
