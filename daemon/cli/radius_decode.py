"""Read RADIUS packets from captures and hex, verify them, pair requests with replies, name everything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TextIO

from daemon.cli.radius_attributes import shown
from radius import capture, dictionary, tree
from radius.authenticator import (
    ZERO16,
    Key,
    message_is_authentic,
    request_is_authentic,
    response_is_authentic,
)
from radius.codes import Attr, Code
from radius.errors import Malformed
from radius.packet import Packet
from radius.packet import decode as decode_packet

_OWN_AUTHENTICATOR = frozenset({Code.ACCESS_REQUEST, Code.STATUS_SERVER})
_COMPUTED_AUTHENTICATOR = frozenset({Code.ACCOUNTING_REQUEST, Code.DISCONNECT_REQUEST, Code.COA_REQUEST})
_CODES = frozenset(Code)
_REQUESTS = _OWN_AUTHENTICATOR | _COMPUTED_AUTHENTICATOR
# pcap in both byte orders, with micro- and nanoseconds, and pcapng.
_CAPTURE_MAGIC = tuple(
    bytes.fromhex(magic) for magic in ("d4c3b2a1", "a1b2c3d4", "4d3cb2a1", "a1b23c4d", "0a0d0d0a")
)
_NO_HEX = re.compile(r"[\s:,.-]|0x")


@dataclass(frozen=True, slots=True)
class Datagram:
    """Octets with what is known of where and when they were on the wire."""

    octets: bytes
    at: float | None = None  # epoch seconds
    source: str | None = None
    destination: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One datagram, looked at."""

    datagram: Datagram
    packet: Packet | None
    problem: str | None = None  # why it is no packet
    authentic: str | None = None  # yes, no or why it is not known; None without a secret
    latency_s: float | None = None
    attributes: tuple[str, ...] = ()

    @property
    def wrong(self) -> bool:
        """Tell whether the packet is malformed or does not verify."""
        return self.packet is None or self.authentic == "no"

    def as_fields(self) -> Mapping[str, object]:
        """Return everything for JSON and YAML."""
        packet, at = self.packet, self.datagram.at
        return {
            "at": None if at is None else _time(at),
            "source": self.datagram.source,
            "destination": self.datagram.destination,
            "code": packet and _title(packet.code),
            "identifier": packet and packet.identifier,
            "length": len(packet.octets if packet else self.datagram.octets),
            "problem": self.problem,
            "authentic": self.authentic,
            "latency_ms": None if self.latency_s is None else round(self.latency_s * 1000, 3),
            "attributes": [shown(line) for line in self.attributes],
        }

    def as_text(self) -> str:
        """Return a line about the packet and one, indented, for each attribute."""
        fields = self.as_fields()
        words = [str(fields["at"])] if fields["at"] else []
        if fields["source"]:
            words.append(f"{fields['source']} -> {fields['destination']}")
        if self.packet is None:
            words.append(f"malformed, {fields['length']} octets: {self.problem}")
        else:
            words.append(f"{fields['code']} id {fields['identifier']}, {fields['length']} octets")
        if self.authentic is not None:
            words.append(f"authentic: {self.authentic}")
        if self.latency_s is not None:
            words.append(f"after {fields['latency_ms']} ms")
        return "\n    ".join(("  ".join(words), *self.attributes))


def datagrams(source: str, stdin: TextIO) -> list[Datagram]:
    """Return the datagrams of a file, of hex text or, for `-`, of hex text on standard input.

    Raises ValueError where it is neither, CaptureError for a broken capture.
    """
    if source == "-":
        return _from_hex(stdin.read())
    path = Path(source)
    # Long hex is no file name, and asking for it would be an error of the system.
    if len(source) < 256 and path.is_file():
        with path.open("rb") as file:
            magic = file.read(4)
        if magic in _CAPTURE_MAGIC:
            return [
                Datagram(each.octets, each.at, _place(each.source), _place(each.destination))
                for each in capture.read(path)
            ]
        return _from_hex(path.read_text(encoding="ascii", errors="replace"))
    return _from_hex(source)


def look(found: Iterable[Datagram], secret: bytes | None, *, show_secrets: bool) -> list[Seen]:
    """Return every datagram decoded, verified under `secret` and paired: a reply follows its request."""
    key = None if secret is None else Key(secret)
    known = dictionary.shipped()
    pending: dict[tuple[str | None, str | None, int], tuple[Packet, Datagram]] = {}
    seen = []
    for datagram in found:
        try:
            packet = decode_packet(datagram.octets)
        except Malformed as error:
            seen.append(Seen(datagram=datagram, packet=None, problem=str(error)))
            continue
        request, latency_s = None, None
        if packet.code in _REQUESTS:
            pending[datagram.source, datagram.destination, packet.identifier] = packet, datagram
        elif pair := pending.get((datagram.destination, datagram.source, packet.identifier)):
            request = pair[0]
            if datagram.at is not None and pair[1].at is not None:
                latency_s = datagram.at - pair[1].at
        seen.append(
            Seen(
                datagram=datagram,
                packet=packet,
                authentic=None if key is None else _authentic(packet, request, key),
                latency_s=latency_s,
                attributes=_lines(packet, request, known, secret, show_secrets=show_secrets),
            )
        )
    return seen


def _authentic(packet: Packet, request: Packet | None, key: Key) -> str:
    """Say whether the packet verifies: yes, no, or why nobody can tell."""
    signed = Attr.MESSAGE_AUTHENTICATOR in packet.spots
    if packet.code in _OWN_AUTHENTICATOR:
        if not signed:
            return "no Message-Authenticator"
        return _yes(message_is_authentic(packet, key, packet.authenticator))
    if packet.code in _COMPUTED_AUTHENTICATOR:
        verify, authenticator = partial(request_is_authentic, packet, key), ZERO16
    elif request is None:
        return "request not seen"
    else:
        authenticator = request.authenticator
        verify = partial(response_is_authentic, packet, authenticator, key)
    return _yes(verify() and (not signed or message_is_authentic(packet, key, authenticator)))


def _lines(
    packet: Packet,
    request: Packet | None,
    known: dictionary.Dictionary,
    secret: bytes | None,
    *,
    show_secrets: bool,
) -> tuple[str, ...]:
    if packet.code in _COMPUTED_AUTHENTICATOR:
        authenticator: bytes | None = ZERO16  # the real one covers the hidden values, so it cannot hide them
    elif packet.code in _OWN_AUTHENTICATOR:
        authenticator = packet.authenticator
    else:
        authenticator = None if request is None else request.authenticator
    attributes = tree.decode(packet, known, secret=secret, request_authenticator=authenticator)
    return tuple(each.text(show_secrets=show_secrets) for each in attributes)


def _from_hex(text: str) -> list[Datagram]:
    blocks = [_NO_HEX.sub("", block) for block in re.split(r"\n\s*\n", text)]
    try:
        found = [Datagram(bytes.fromhex(block)) for block in blocks if block]
    except ValueError:
        raise ValueError("neither a file nor hex text nor a pcap or pcapng capture") from None
    if not found:
        raise ValueError("no packet in there")
    return found


def _place(endpoint: tuple[str, int]) -> str:
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _title(code: int) -> str:
    return Code(code).title if code in _CODES else f"code {code}"


def _yes(value: object) -> str:
    return "yes" if value else "no"
