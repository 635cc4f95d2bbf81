"""Text of Huawei VRP: views are indentation; what a change leaves behind, and how one text becomes another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from drivers.model import Identity, Interface, Neighbor

Line = tuple[tuple[str, ...], str]  # the views it stands in, and the command

# Commands of which a view holds one: a new value takes the place of the old one.
_SINGLE = (
    "sysname",
    "description",
    "mtu",
    "port link-type",
    "port default vlan",
    "port trunk pvid vlan",
    "qos lr inbound",
    "qos lr outbound",
    "snmp-agent sys-info location",
    "snmp-agent sys-info contact",
)
_EXACT = (
    "description",
    "sysname",
    "snmp-agent",
)  # their text may hold spaces: "a b" is not "a" with a default
# What is no configuration, or leaves the view for the user view, where VRP8 asks whether to commit.
_NO_CONFIGURATION = re.compile(
    r"(?:commit|abort|return|quit|save|reset|reboot|schedule|rollback|startup|run|system-view|configuration|"
    r"clear|refresh|load|display|format|delete|undelete|upgrade)\b"
)
_VLANS = re.compile(r"(undo )?vlan batch ([\d to]+)")
_VERSION = re.compile(
    r"VRP \(R\) software, Version (\d+)\.(\d+)[\w.]*(?: \((\S+)(?: (V\w+))?\))?", re.IGNORECASE
)
_YUNSHAN = re.compile(r"YunShan OS Version ([\d.]+)(?: \((\S+) (V\w+)\))?", re.IGNORECASE)
_MODEL = re.compile(r"^(?:HUAWEI|Quidway) (\S+)[^\n]*? uptime is ([^\n]*)", re.MULTILINE | re.IGNORECASE)
_UNITS = {"week": 604800, "day": 86400, "hour": 3600, "minute": 60}
_PORT = re.compile(r"^(\S+) +(\*?\^?(?:up|down)\S*) +(\*?\^?(?:up|down)\S*) *(.*)$", re.MULTILINE)
_NEIGHBOR = re.compile(r"^(\S+) +has +\d+ +neighbor", re.MULTILINE)


def identity(told: str, esn: str) -> Identity | None:
    """Return who answered `display version` and `display esn`, or None if it is no VRP."""
    found, yunshan, model = _VERSION.search(told), _YUNSHAN.search(told), _MODEL.search(told)
    name = model[1] if model else ""
    serial = re.search(r"ESN of [^:\n]*: *(\S+)", esn)
    number = serial[1] if serial else ""
    if found:
        version = f"{found[1]}.{found[2]} {found[4] or ''}".strip()
        return Identity("Huawei", name or found[3] or "", f"vrp{found[1]}", version, number)
    if yunshan:
        return Identity("Huawei", name or yunshan[2] or "", "yunshan", yunshan[1], number)
    return None


def uptime_s(told: str) -> int | None:
    """Return the seconds of `uptime is 3 weeks, 2 days, 1 hour, 5 minutes`."""
    model = _MODEL.search(told)
    if model is None:
        return None
    return sum(
        int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+) (week|day|hour|minute)", model[2])
    )


def interfaces(told: str) -> tuple[Interface, ...]:
    """Return the ports of `display interface description`; `*down` is switched off by hand."""
    return tuple(
        Interface(name, description.strip(), physical.startswith("up"), not physical.startswith("*"))
        for name, physical, _, description in _PORT.findall(told)
    )


def neighbors(told: str) -> tuple[Neighbor, ...]:
    """Return the neighbours of `display lldp neighbor`."""
    found = []
    parts = _NEIGHBOR.split(told)[1:]
    for port, block in zip(parts[::2], parts[1::2], strict=True):
        for each in re.split(r"^Neighbor index[^\n]*\n", block, flags=re.MULTILINE)[1:]:
            said = {
                key.strip().lower(): value.strip()
                for key, value in re.findall(r"^([\w ]+?) *: *(.*)$", each, re.MULTILINE)
            }
            chassis = said.get("chassis id", "")
            found.append(
                Neighbor(
                    local_port=port,
                    chassis_id=_mac(chassis),
                    port_id=_mac(said.get("port id", "")),
                    name=said.get("system name", ""),
                    description=said.get("port description", ""),
                    address=said.get("management address", ""),
                )
            )
    return tuple(found)


def _mac(text: str) -> str:
    """Return 00e0-fc12-3456 as 00:e0:fc:12:34:56, anything else as it is."""
    if not re.fullmatch(r"[0-9a-fA-F]{4}(?:-[0-9a-fA-F]{4}){2}", text):
        return text
    plain = text.replace("-", "").lower()
    return ":".join(plain[at : at + 2] for at in range(0, 12, 2))


def lines_of(text: str) -> list[Line]:
    """Return configuration text as commands with the views they stand in; `vlan batch` one VLAN a line."""
    stack: list[tuple[int, str]] = []
    found: list[Line] = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#!" or line == "return":
            continue
        depth = len(raw) - len(raw.lstrip(" "))
        while stack and stack[-1][0] >= depth:
            stack.pop()
        views = tuple(view for _, view in stack)
        found += [(views, each) for each in _each_vlan(line)]
        stack.append((depth, line))
    return found


def _each_vlan(line: str) -> list[str]:
    batch = _VLANS.fullmatch(line)
    if batch is None:
        return [line]
    numbers: list[int] = []
    words = batch[2].split()
    for at, word in enumerate(words):
        if word != "to" and at and words[at - 1] == "to":
            numbers += range(numbers[-1] + 1, int(word) + 1)
        elif word != "to":
            numbers.append(int(word))
    return [f"{batch[1] or ''}vlan batch {number}" for number in numbers]


def strangers(change: Iterable[Line]) -> list[str]:
    """Return the lines of a change that are no configuration."""
    return [line for _, line in change if _NO_CONFIGURATION.match(line)]


def negated(line: str) -> str:
    """Return the command that takes a command back; where a view holds one value, VRP wants to hear none."""
    return line.removeprefix("undo ") if line.startswith("undo ") else f"undo {_key(line)}"


def _key(line: str) -> str:
    return next((head for head in _SINGLE if line == head or line.startswith(f"{head} ")), line)


def _fulfils(there: str, wanted: str) -> bool:
    """Return whether a printed line is the wanted one; the device may have written defaults behind it."""
    return there == wanted or (not wanted.startswith(_EXACT) and there.startswith(f"{wanted} "))


def _falls(each: Line, views: tuple[str, ...], gone: str) -> bool:
    """Return whether `undo GONE` in these views takes a line away, itself or with the view it stands in."""
    there, line = each
    depth = len(views)
    if there[:depth] != views:
        return False
    head = line if len(there) == depth else there[depth]
    return head == gone or head.startswith(f"{gone} ")


def merged(now: Sequence[Line], change: Iterable[Line]) -> list[Line]:
    """Return what the configuration is expected to be after a change: a forecast, for the diff."""
    result = list(now)
    for views, line in change:
        here = [at for at, (there, _) in enumerate(result) if there == views]
        if any(_fulfils(result[at][1], line) for at in here):
            continue
        if line.startswith("undo "):
            result = [each for each in result if not _falls(each, views, line.removeprefix("undo "))]
            continue
        same = next((at for at in here if _key(result[at][1]) == _key(line)), None)
        if same is None:
            parents = {there for there, _ in result}
            leaves = [at for at in here if (*views, result[at][1]) not in parents]
            inside = leaves or [at for at, (there, view) in enumerate(result) if (*there, view) == views]
            result.insert(inside[-1] + 1 if inside else len(result), (views, line))
        else:
            result[same] = (views, line)
    return result


def delta(now: Sequence[Line], wanted: Sequence[Line]) -> list[Line]:
    """Return the commands that turn one configuration into the other."""
    gone = [each for each in now if each not in set(wanted)]
    come = [each for each in wanted if each not in set(now)]
    lost = set(gone)
    commands: list[Line] = []
    for views, line in gone:
        with_its_view = any((views[:depth], views[depth]) in lost for depth in range(len(views)))
        replaced = any(there == views and _key(other) == _key(line) for there, other in come)
        if not with_its_view and not replaced:
            commands.append((views, negated(line)))
    return [*commands, *come]


def text_of(lines: Iterable[Line]) -> str:
    """Return commands as indented text, with the views they need."""
    path: tuple[str, ...] = ()
    out: list[str] = []
    for views, line in lines:
        common = 0
        while common < min(len(path), len(views)) and path[common] == views[common]:
            common += 1
        out += [" " * depth + views[depth] for depth in range(common, len(views))]
        out.append(" " * len(views) + line)
        path = (*views, line)
    return "\n".join(out)
