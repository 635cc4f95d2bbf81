"""Device snippets of a deterministic plan, and why a device cannot do what a plan says.

What the syntax rests on:

* Junos, MX-SPC3: the pool lines and the arithmetic (64,512 ports, `block-size`, `host address`,
  `include-boundary-addresses`) as in the vendor's advisory for CVE-2023-22409 and in "Deterministic NAPT for
  Next Gen Services"; the rule-set lines were not checked against a router.
* MikroTik: jump, src-nat and to-ports as in published RouterOS 6 and 7 generators; netmap with to-ports was not
  checked against a router.
* Linux: loaded into nftables 1.0.6, and connections through it counted, by our tests.
* Cisco and Nokia are left out: we found no description of how Predefined NAT of IOS XR numbers the blocks, and
  SR OS takes only powers of two of subscribers an address. What such devices report in RADIUS accounting is
  taken instead (`ipam.cgnat_blocks`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from math import ceil

from ipam.cgnat import MAX_PORT, Algorithm, DeterministicPlan
from ipam.cgnat_plan import Row, rows

_JUNOS_FIRST_PORT = 1024
_JUNOS_PORTS = 64_512
_MANY_RULES = 4_000
_MOST_ROWS = 1 << 17  # inside addresses that are written out one by one
_MORE_BLOCKS = (
    "there are more blocks than inside addresses: on Junos without the fix of CVE-2023-22409 a certain command "
    "of the command line then restarts the service card"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,23}")


class Device(StrEnum):
    """What a snippet can be written for."""

    JUNOS = "junos"
    MIKROTIK = "mikrotik"
    NFTABLES = "nftables"


@dataclass(frozen=True, slots=True)
class Snippet:
    """Configuration text that makes a device do what the plan says."""

    device: Device
    text: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CannotExpress:
    """The device cannot do what the plan says, and what would help."""

    device: Device
    why: str
    remedy: str


def snippet(plan: DeterministicPlan, device: Device, name: str = "cgn") -> Snippet | CannotExpress:
    """Return the configuration of `plan`; `name` prefixes pools, chains and tables (letters, digits, hyphens).

    Raises ValueError for a name that a device could not take.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of at most 24 letters, digits and hyphens")
    return _WRITERS[device](plan, name)


def _junos(plan: DeterministicPlan, name: str) -> Snippet | CannotExpress:
    wrong = _runs_only(plan, Device.JUNOS) or _junos_cannot(plan)
    if wrong is not None:
        return wrong
    pool = f"set services nat source pool {name}"
    rules = f"set services nat source rule-set {name}"
    lines = [f"{pool} address {first}/32 to {last}/32" for first, last in _runs(plan.outside)]
    lines += [
        f"{pool} port deterministic block-size {plan.block_size}",
        f"{pool} port deterministic host address {plan.inside[0]}",
    ]
    if plan.boundaries:
        lines.append(f"{pool} port deterministic include-boundary-addresses")
    lines += [
        f"{rules} match-direction input",
        f"{rules} rule {name} match source-address {plan.inside[0]}",
        f"{rules} rule {name} then source-nat pool {name}",
    ]
    warnings = (_MORE_BLOCKS,) if plan.capacity > plan.inside_span.count else ()
    return Snippet(Device.JUNOS, _text(lines), warnings)


def _junos_cannot(plan: DeterministicPlan) -> CannotExpress | None:
    if plan.algorithm is not Algorithm.SEQUENTIAL:
        return CannotExpress(
            Device.JUNOS, "Junos numbers the blocks one after the other", "plan sequential blocks"
        )
    if (plan.first_port, plan.last_port) != (_JUNOS_FIRST_PORT, MAX_PORT):
        return CannotExpress(
            Device.JUNOS, "its blocks begin at port 1024 and end at 65535", "plan 1024 to 65535"
        )
    if len(plan.inside) != 1:
        return CannotExpress(
            Device.JUNOS, "a pool has one host address prefix", "make one plan for each inside prefix"
        )
    # One page divides by the ratio of the prefixes, the other by what fits: a plan must not depend on which is right.
    ratio = ceil(plan.inside_span.count / plan.outside_span.count)
    if not plan.sharing == ratio == _JUNOS_PORTS // plan.block_size:
        return CannotExpress(
            Device.JUNOS,
            f"it would put {_JUNOS_PORTS // plan.block_size} blocks of {plan.block_size} ports on an address, "
            f"the plan has {plan.sharing}",
            f"plan {ratio} blocks of {_JUNOS_PORTS // ratio} ports, without an overflow share",
        )
    return None


def _mikrotik(plan: DeterministicPlan, name: str) -> Snippet | CannotExpress:
    wrong = _runs_only(plan, Device.MIKROTIK)
    if wrong is not None:
        return wrong
    if plan.algorithm is Algorithm.STRIPED:
        return _netmap(plan)
    wrong = _too_many(plan, Device.MIKROTIK)
    if wrong is not None:
        return wrong
    lines = ["/ip firewall nat"]
    for number, (outside, held) in enumerate(_by_outside(plan), start=1):
        chain = f"{name}-{number}"
        lines += [
            f"add chain=srcnat action=jump jump-target={chain} src-address={first}-{last}"
            for first, last in _inside_runs(held)
        ]
        for row in held:
            ports = f"{row.ports.first_port}-{row.ports.last_port}"
            lines += [
                f"add chain={chain} action=src-nat protocol={protocol} src-address={row.inside} "
                f"to-addresses={outside} to-ports={ports}"
                for protocol in ("tcp", "udp")
            ]
        lines.append(f"add chain={chain} action=src-nat protocol=icmp to-addresses={outside}")
    warnings: tuple[str, ...] = ()
    if len(lines) > _MANY_RULES:
        warnings = (f"{len(lines) - 1} rules; a striped plan needs {3 * plan.sharing} netmap rules",)
    return Snippet(Device.MIKROTIK, _text(lines), warnings)


def _netmap(plan: DeterministicPlan) -> Snippet | CannotExpress:
    outside = plan.outside[0]
    aligned = all(prefix.prefixlen <= outside.prefixlen for prefix in plan.inside)
    if len(plan.outside) != 1 or not plan.boundaries or not aligned:
        return CannotExpress(
            Device.MIKROTIK,
            "netmap replaces a prefix by one of the same size",
            "plan one outside prefix, inside prefixes at least as large, and all of their addresses",
        )
    lines = ["/ip firewall nat"]
    stripes = [part for prefix in plan.inside for part in prefix.subnets(new_prefix=outside.prefixlen)]
    for block, stripe in enumerate(stripes):
        first = plan.first_port + block * plan.block_size
        rule = f"add chain=srcnat action=netmap src-address={stripe} to-addresses={outside}"
        lines += [
            f"{rule} protocol={protocol} to-ports={first}-{first + plan.block_size - 1}"
            for protocol in ("tcp", "udp")
        ]
        lines.append(f"{rule} protocol=icmp")
    return Snippet(Device.MIKROTIK, _text(lines))


def _nftables(plan: DeterministicPlan, name: str) -> Snippet | CannotExpress:
    wrong = _runs_only(plan, Device.NFTABLES) or _too_many(plan, Device.NFTABLES)
    if wrong is not None:
        return wrong
    table = list(rows(plan))
    blocks = (
        f"{row.inside} : {row.ports.outside} . {row.ports.first_port}-{row.ports.last_port}" for row in table
    )
    plain = (f"{row.inside} : {row.ports.outside}" for row in table)
    lines = [
        f"table ip {name} {{",
        "  map blocks {",
        "    type ipv4_addr : interval ipv4_addr . inet_service",
        "    elements = {",
        *(f"      {each}," for each in blocks),
        "    }",
        "  }",
        "  map addresses {",
        "    type ipv4_addr : ipv4_addr",
        "    elements = {",
        *(f"      {each}," for each in plain),
        "    }",
        "  }",
        "  chain postrouting {",
        "    type nat hook postrouting priority srcnat; policy accept;",
        # RFC 7422 section 2 wants random ports within the block.
        "    meta l4proto { tcp, udp } snat ip to ip saddr map @blocks fully-random",
        "    meta l4proto icmp snat to ip saddr map @addresses",
        "  }",
        "}",
    ]
    return Snippet(Device.NFTABLES, _text(lines))


def _runs_only(plan: DeterministicPlan, device: Device) -> CannotExpress | None:
    if plan.algorithm is Algorithm.INTERLEAVED:
        return CannotExpress(
            device, "it cannot give every n-th port to a subscriber", "plan sequential blocks"
        )
    if any(plan.first_port <= port <= plan.last_port for port in plan.reserved_ports):
        return CannotExpress(device, "it cannot leave single ports out", "begin the range above them")
    return None


def _too_many(plan: DeterministicPlan, device: Device) -> CannotExpress | None:
    count = plan.inside_span.count
    if count <= _MOST_ROWS:
        return None
    return CannotExpress(
        device,
        f"{count} inside addresses would be at least {count} lines",
        f"make plans of at most {_MOST_ROWS}",
    )


def _by_outside(plan: DeterministicPlan) -> Iterator[tuple[IPv4Address, list[Row]]]:
    """Yield each outside address of a sequential plan that has subscribers, with their rows."""
    held: list[Row] = []
    for row in rows(plan):
        if held and held[0].ports.outside != row.ports.outside:
            yield held[0].ports.outside, held
            held = []
        held.append(row)
    if held:
        yield held[0].ports.outside, held


def _inside_runs(held: list[Row]) -> list[tuple[IPv4Address, IPv4Address]]:
    runs = [(held[0].inside, held[0].inside)]
    for row in held[1:]:
        first, last = runs[-1]
        if row.inside == last + 1:
            runs[-1] = first, row.inside
        else:
            runs.append((row.inside, row.inside))
    return runs


def _runs(prefixes: tuple[IPv4Network, ...]) -> list[tuple[IPv4Address, IPv4Address]]:
    """Join prefixes that follow one another, keeping their order."""
    runs: list[tuple[IPv4Address, IPv4Address]] = []
    for prefix in prefixes:
        if runs and prefix.network_address == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], prefix.broadcast_address
        else:
            runs.append((prefix.network_address, prefix.broadcast_address))
    return runs


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


_WRITERS: dict[Device, Callable[[DeterministicPlan, str], Snippet | CannotExpress]] = {
    Device.JUNOS: _junos,
    Device.MIKROTIK: _mikrotik,
    Device.NFTABLES: _nftables,
}
