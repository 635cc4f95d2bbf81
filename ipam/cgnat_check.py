"""Checks what a device does against a deterministic plan: its table of blocks, or connections through it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from ipam.cgnat import MAX_PORT, DeterministicPlan, OutOfPlan, Ports

# The first five fields that a line of conntrack has twice: as the subscriber sent it, and as the answer comes.
_CONNTRACK = re.compile(
    r"\b(?:tcp|udp)\b.*?\bsrc=(?P<inside>\S+)\s.*?\bsport=\d+\s.*?"
    r"\bsrc=\S+\s+dst=(?P<outside>\S+)\s+sport=\d+\s+dport=(?P<port>\d+)"
)
_CONNTRACK_LIKE = re.compile(r"\bsrc=\S+\s+dst=\S+")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a device says: an inside address has a block, or a connection with one port where `whole` is False."""

    line: int  # of the export, from 1
    inside: IPv4Address
    outside: IPv4Address
    first_port: int
    last_port: int
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that says nothing that can be checked."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The device does not what the plan says; `expected` is None where the plan gives the address nothing."""

    seen: Seen
    expected: Ports | None
    why: str


def read_export(text: str) -> Iterator[Seen | Unreadable]:
    """Yield what the lines of an export say.

    Each line is `inside,outside,first port,last port` or, for a connection, `inside,outside,port`; or a line of
    Linux `conntrack -L` (TCP and UDP). Empty lines, comments (#) and a first line of titles are left out.
    """
    begun = False
    for number, line in enumerate(text.splitlines(), 1):
        shown = line.strip()
        if not shown or shown.startswith("#"):
            continue
        if _CONNTRACK_LIKE.search(shown):
            yield from _connection(number, shown)
            continue
        fields = [each.strip() for each in re.split(r"[,;\t]", shown)]
        said = _row(number, fields)
        if begun or isinstance(said, Seen) or fields[0][:1].isdigit():
            yield said
        begun = True


def check(plan: DeterministicPlan, seen: Iterable[Seen]) -> Iterator[Difference]:
    """Yield where the device does not what the plan says."""
    for each in seen:
        expected = plan.forward(each.inside)
        if isinstance(expected, OutOfPlan):
            yield Difference(each, None, "the plan gives this inside address no ports")
            continue
        if each.outside != expected.outside:
            yield Difference(each, expected, "another outside address")
        elif each.whole:
            if (each.first_port, each.last_port) != (expected.first_port, expected.last_port):
                yield Difference(each, expected, "other ports")
        elif plan.reverse(each.outside, each.first_port) != each.inside:
            yield Difference(each, expected, "a port outside of the block")


def _connection(number: int, line: str) -> Iterator[Seen | Unreadable]:
    matched = _CONNTRACK.search(line)
    if matched is None:
        return  # ICMP and others have no ports
    seen = _row(number, [matched["inside"], matched["outside"], matched["port"]])
    if isinstance(seen, Unreadable) or seen.inside != seen.outside:
        yield seen  # else nothing is translated: traffic of the router itself


def _row(number: int, fields: list[str]) -> Seen | Unreadable:
    if len(fields) not in (3, 4):
        return Unreadable(number, "expected: inside,outside,first port,last port; or inside,outside,port")
    try:
        inside, outside = IPv4Address(fields[0]), IPv4Address(fields[1])
    except AddressValueError as error:
        return Unreadable(number, f"no IPv4 address: {error}")
    ports = fields[2:]
    if not all(each.isascii() and each.isdigit() and int(each) <= MAX_PORT for each in ports):
        return Unreadable(number, f"no ports from 0 to {MAX_PORT}: {' '.join(ports)}")
    first, last = int(ports[0]), int(ports[-1])
    if first > last:
        return Unreadable(number, f"the first port {first} is above the last port {last}")
    return Seen(number, inside, outside, first, last, len(ports) == 2)
