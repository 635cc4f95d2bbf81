"""Text of VyOS: set lines as words, how one configuration becomes another, tables, a subscriber's VLAN interface."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from drivers.model import Identity, Interface, Neighbor, ServiceIntent, ServiceVerb

Path = tuple[str, ...]

_FIELD = re.compile(r"^(Version|Hardware model|Hardware S/N) *: *(.*?) *$", re.MULTILINE)
_ROW = re.compile(r"^([a-z][\w.@]*) .*?\s([uAD])/([uD])(?: +(.*))?$", re.MULTILINE)


def identity(told: str) -> Identity | None:
    """Return who answered `show version`, or None if it is no VyOS."""
    said = dict(_FIELD.findall(told))
    version = re.match(r"VyOS (\S+)", said.get("Version", ""))
    if version is None:
        return None
    return Identity("VyOS", said.get("Hardware model", ""), "vyos", version[1], said.get("Hardware S/N", ""))


def interfaces(told: str) -> tuple[Interface, ...]:
    """Return the rows of `show interfaces`; A/D is switched off by hand."""
    return tuple(
        Interface(name, (description or "").strip(), link == "u" and state == "u", state != "A")
        for name, state, link, description in _ROW.findall(told)
    )


def neighbors(told: str) -> tuple[Neighbor, ...]:
    """Return the neighbours of `show lldp neighbors detail`, as lldpd prints them."""
    found = []
    for block in re.split(r"^(?=Interface:)", told, flags=re.MULTILINE):
        said = dict(
            re.findall(
                r"^ *(Interface|ChassisID|PortID|SysName|PortDescr|MgmtIP): *(.*?) *$", block, re.MULTILINE
            )
        )
        if "ChassisID" in said:
            found.append(
                Neighbor(
                    local_port=said.get("Interface", "").partition(",")[0],
                    chassis_id=said["ChassisID"].partition(" ")[2],
                    port_id=said.get("PortID", "").partition(" ")[2],
                    name=said.get("SysName", ""),
                    description=said.get("PortDescr", ""),
                    address=said.get("MgmtIP", ""),
                )
            )
    return tuple(found)


def commands(text: str) -> list[str]:
    """Return the set and delete lines of a change, quoted anew: the command line is a shell, and runs what is not.

    ValueError names a line that is neither, or whose quotes do not close.
    """
    found = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise ValueError(line) from error
        if words[0] not in {"set", "delete"} or len(words) < 2:
            raise ValueError(line)
        found.append(shlex.join(words))
    return found


def paths(text: str) -> set[Path]:
    """Return the set lines of a configuration as words; lines that are none do not count."""
    found = set()
    for line in text.splitlines():
        if line.startswith("set "):
            found.add(tuple(shlex.split(line)[1:]))
    return found


def _prefixes(of: Iterable[Path]) -> set[Path]:
    return {path[:depth] for path in of for depth in range(1, len(path) + 1)}


def delta(now: set[Path], wanted: set[Path]) -> list[str]:
    """Return the commands that turn one configuration into the other, leaving no empty nodes behind."""
    kept = _prefixes(wanted)
    gone = set()
    for path in now - wanted:
        depth = next((depth for depth in range(1, len(path) + 1) if path[:depth] not in kept), 0)
        if depth:
            gone.add(path[:depth])
    deletes = [shlex.join(("delete", *path)) for path in sorted(gone)]
    return [*deletes, *(shlex.join(("set", *path)) for path in sorted(wanted - now))]


def service(intent: ServiceIntent, now: set[Path]) -> str:
    """Return the lines that bring a VLAN interface about, or end it; ValueError if it is not ours or cannot be.

    The interface's description is the ownership marker.
    """
    kind = "bonding" if intent.port.startswith("bond") else "ethernet"
    if not re.fullmatch(r"(?:eth|bond)\d+", intent.port) or not intent.s_vlan or not intent.key:
        raise ValueError("a VLAN interface needs a port such as eth1 or bond0, s_vlan, and a key")
    if intent.upload_bps or intent.download_bps:
        raise ValueError("rates come from RADIUS or the QoS policies; the intent must carry none")
    base: Path = ("interfaces", kind, intent.port)
    vlan = (
        ("vif-s", str(intent.s_vlan), "vif-c", str(intent.c_vlan))
        if intent.c_vlan
        else ("vif", str(intent.s_vlan))
    )
    path: Path = (*base, *vlan)
    there = {each[len(path) :] for each in now if each[: len(path)] == path}
    ours = ("description", intent.key) in there
    if there and not ours:
        raise ValueError(f"{intent.port}.{intent.s_vlan} is not ours: expected description {intent.key!r}")
    match intent.verb:
        case ServiceVerb.ADD:
            wanted = {(*path, "description", intent.key)}
            wanted |= {(*path, "address", intent.address)} if intent.address else set()
            return "\n".join(shlex.join(("set", *each)) for each in sorted(wanted - now))
        case ServiceVerb.REMOVE:
            return shlex.join(("delete", *path)) if there else ""
        case ServiceVerb.SUSPEND if ours:
            return "" if ("disable",) in there else shlex.join(("set", *path, "disable"))
        case ServiceVerb.RESUME if ours:
            return shlex.join(("delete", *path, "disable")) if ("disable",) in there else ""
    raise ValueError(
        f"a VLAN interface cannot {intent.verb}" if ours else f"{intent.port} has no such VLAN of ours"
    )
