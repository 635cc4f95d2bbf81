"""What a conflict probe asks and what it finds: is somebody at an address who has no lease for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

Address = IPv4Address | IPv6Address

MOST_COUNT: Final = 10
LONGEST_WAIT_S: Final = 10.0
_LONGEST_NAME = 15  # of an interface, in the kernel


class Method(StrEnum):
    """How an address is asked."""

    AUTO = "auto"  # on the link, and with an echo besides where the interface has an address to ask from
    ARP = "arp"  # a probe of RFC 5227: nobody's cache is changed by it
    ND = "nd"  # a solicitation as for duplicate address detection, RFC 4862
    ICMP = "icmp"  # an echo, ICMP or ICMPv6, for what is behind routers


class Why(StrEnum):
    """Why an address could not be asked."""

    SWITCHED_OFF = "switched-off"
    NO_SCAPY = "no-scapy"
    NO_PERMISSION = "no-permission"
    NO_INTERFACE = "no-interface"
    INTERFACE_DOWN = "interface-down"
    NOT_ETHERNET = "not-ethernet"
    NO_SOURCE = "no-source-address"
    NOT_SENT = "not-sent"
    NOT_REACHED = "not-reached"  # no interface is named for it
    NO_ADDRESS = "no-address"  # a prefix, VLAN or port block: there is nothing to ask
    BUSY = "too-many-waiting"
    TOO_LATE = "no-longer-wanted"
    MANY_ADDRESSES = "answers-for-many"
    HELPER_ENDED = "helper-ended"
    HELPER_SILENT = "helper-silent"


REMEDIES: Final = {
    Why.SWITCHED_OFF: "name an interface and prefixes in `probe.reaches`",
    Why.NO_SCAPY: "pip install dotmac-edge[capture]",
    Why.NO_PERMISSION: "give the service AmbientCapabilities=CAP_NET_RAW, CapabilityBoundingSet=CAP_NET_RAW and "
    "RestrictAddressFamilies=AF_PACKET AF_NETLINK, see docs/operations.md",
    Why.NO_INTERFACE: "see `ip link` for the names of the interfaces there are",
    Why.INTERFACE_DOWN: "connect it, or bring it up: ip link set dev NAME up",
    Why.NOT_ETHERNET: "ask with the method icmp",
    Why.NO_SOURCE: "give the interface an address, or ask with arp or nd",
    Why.NOT_SENT: "look at the interface and its routes",
    Why.NOT_REACHED: "name an interface for its prefix in `probe.reaches`",
    Why.NO_ADDRESS: "single addresses can be asked: of a prefix, name one of its addresses",
    Why.BUSY: "try again in a few seconds, or raise `probe.per_s` and `probe.queue`",
    Why.TOO_LATE: "nothing: its slot has changed its state meanwhile",
    Why.MANY_ADDRESSES: "a router that does proxy ARP, or an attacker: name its MAC in `probe.ignore_macs`",
    Why.HELPER_ENDED: "try again in ten seconds; the log of the daemon says how it ended",
    Why.HELPER_SILENT: "try again in ten seconds: it is started anew",
}
"""What to do about each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One address to ask, `count` times, `wait_s` seconds for an answer each time. See `fault`."""

    address: Address
    interface: str
    method: Method = Method.AUTO
    count: int = 2
    wait_s: float = 1.0

    @property
    def longest_s(self) -> float:
        """How long it takes when nobody answers."""
        return self.count * self.wait_s


@dataclass(frozen=True, slots=True)
class Silent:
    """Nobody answered. `asked` are the methods that were sent."""

    asked: tuple[Method, ...]


@dataclass(frozen=True, slots=True)
class InUse:
    """Somebody answered, `rtt_s` after he was asked; `mac` is empty where he is behind a router."""

    mac: str
    method: Method
    rtt_s: float


@dataclass(frozen=True, slots=True)
class NotAsked:
    """It is not known whether somebody is there. `detail`: of what."""

    why: Why
    detail: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return REMEDIES[self.why]


Outcome = Silent | InUse | NotAsked


def fault(query: Query) -> str | None:
    """Return what is wrong with a query, in a sentence for whoever asked it; None where it can be asked."""
    address, name = query.address, query.interface
    if address.is_multicast or address.is_unspecified or address.is_loopback or int(address) == 0xFFFFFFFF:
        return f"{address} is no address that a subscriber can have"
    if not name or len(name.encode()) > _LONGEST_NAME or "/" in name or not name.isprintable() or " " in name:
        return f"{name!r} is no name of an interface"
    wrong = Method.ND if address.version == 4 else Method.ARP
    if query.method is wrong:
        return (
            f"{wrong} cannot ask {address}: use {Method.ARP if address.version == 4 else Method.ND} or icmp"
        )
    if not 1 <= query.count <= MOST_COUNT:
        return f"count is {query.count}, expected 1 to {MOST_COUNT}"
    if not 0.01 <= query.wait_s <= LONGEST_WAIT_S:
        return f"wait is {query.wait_s:g} s, expected 0.01 to {LONGEST_WAIT_S:g}"
    return None


# --- as lines between the daemon and its helper process ------------------------------------------


def query_line(number: int, query: Query) -> bytes:
    """Return a query as a line of JSON."""
    fields = {
        "number": number,
        "address": str(query.address),
        "interface": query.interface,
        "method": query.method.value,
        "count": query.count,
        "wait_s": query.wait_s,
    }
    return json.dumps(fields).encode() + b"\n"


def read_query(line: bytes) -> tuple[int, Query]:
    """Return what `query_line` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    fields: dict[str, Any] = json.loads(line)
    return int(fields["number"]), Query(
        address=ip_address(fields["address"]),
        interface=str(fields["interface"]),
        method=Method(fields["method"]),
        count=int(fields["count"]),
        wait_s=float(fields["wait_s"]),
    )


def outcome_line(number: int, outcome: Outcome) -> bytes:
    """Return an outcome as a line of JSON."""
    fields: dict[str, object] = {"number": number}
    match outcome:
        case Silent(asked):
            fields |= {"asked": [each.value for each in asked]}
        case InUse(mac, method, rtt_s):
            fields |= {"mac": mac, "method": method.value, "rtt_s": rtt_s}
        case NotAsked(why, detail):
            fields |= {"why": why.value, "detail": detail}
    return json.dumps(fields).encode() + b"\n"


def read_outcome(line: bytes) -> tuple[int, Outcome]:
    """Return what `outcome_line` wrote. Raises ValueError, KeyError or TypeError for anything else."""
    fields: dict[str, Any] = json.loads(line)
    number = int(fields["number"])
    if "asked" in fields:
        return number, Silent(tuple(map(Method, fields["asked"])))
    if "mac" in fields:
        return number, InUse(str(fields["mac"]), Method(fields["method"]), float(fields["rtt_s"]))
    return number, NotAsked(Why(fields["why"]), str(fields["detail"]))
