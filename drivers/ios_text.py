"""Text of Cisco IOS, IOS-XR and Arista EOS: blocks, interfaces, neighbours, and strings for Tcl. Pure."""

from __future__ import annotations

import re

from drivers.model import Interface, Neighbor

_UPTIME = re.compile(r"(\d+) (year|week|day|hour|minute)s?")
_SECONDS = {"year": 31_536_000, "week": 604_800, "day": 86_400, "hour": 3600, "minute": 60}
_STATE = re.compile(r"^(\S+) is ([\w ]+), line protocol is (\w+)", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:/@%^&*()<>=+~|!'#-]")
_PIECE = 120  # characters of a line that go to the device at once: its input buffer ends at 254


def uptime_s(text: str) -> int | None:
    """Return the seconds that `uptime is 1 week, 2 days, 3 minutes` stands for; None where it is not told."""
    told = re.search(r"uptime is ([^\n]+)", text)
    if told is None:
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in _UPTIME.findall(told[1]))


def mac(text: str) -> str:
    """Return `00aa.bbcc.dd00` as `00:aa:bb:cc:dd:00`; anything else as it is."""
    digits = re.sub(r"[.:-]", "", text).lower()
    if re.fullmatch(r"[0-9a-f]{12}", digits) is None:
        return text
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def interfaces(text: str) -> tuple[Interface, ...]:
    """Return the interfaces of `show interfaces` (IOS, IOS-XE, IOS-XR)."""
    heads = list(_STATE.finditer(text))
    found = []
    for number, head in enumerate(heads):
        end = heads[number + 1].start() if number + 1 < len(heads) else len(text)
        body = text[head.end() : end]
        about = re.search(r"^ +Description: (.*?)\s*$", body, re.MULTILINE)
        address = re.search(r"address is ([0-9a-f.]+)", body)
        width = re.search(r"\bBW (\d+) Kbit", body)
        found.append(
            Interface(
                name=head[1],
                description=about[1] if about else "",
                up=head[3] == "up",
                enabled=not head[2].startswith("administratively"),
                mac=mac(address[1]) if address else "",
                speed_bps=int(width[1]) * 1000 if width else 0,
            )
        )
    return tuple(found)


def lldp(text: str) -> tuple[Neighbor, ...]:
    """Return the neighbours of `show lldp neighbors detail` (IOS, IOS-XE, IOS-XR)."""
    found = []
    for part in re.split(r"(?m)^(?=Local Int(?:f|erface):)", text)[1:]:
        address = re.search(r"^\s+(?:IP|IPv4 address): (\S+)", part, re.MULTILINE)
        found.append(
            Neighbor(
                local_port=_after(part, "Local Int(?:f|erface)"),
                chassis_id=mac(_after(part, "Chassis id")),
                port_id=_after(part, "Port id"),
                name=_after(part, "System Name"),
                description=_after(part, "Port Description"),
                address=address[1] if address else "",
            )
        )
    return tuple(found)


def cdp(text: str) -> tuple[Neighbor, ...]:
    """Return the neighbours of `show cdp neighbors detail`; the device id stands for the chassis."""
    found = []
    for part in re.split(r"(?m)^(?=Device ID:)", text)[1:]:
        ports = re.search(r"^Interface: (\S+?),\s+Port ID \(outgoing port\): (\S+)", part, re.MULTILINE)
        address = re.search(r"^\s+IP(?:v4)? address: (\S+)", part, re.MULTILINE)
        name = _after(part, "Device ID")
        if ports:
            about = _after(part, "Platform").partition(",")[0]
            address_of = address[1] if address else ""
            found.append(Neighbor(ports[1], name, ports[2], name, about, address_of, protocol="cdp"))
    return tuple(found)


def _after(text: str, label: str) -> str:
    told = re.search(rf"^{label}: *(.*?)\s*$", text, re.MULTILINE)
    return told[1] if told else ""


def block(config: str, head: str) -> tuple[str, ...] | None:
    """Return the lines inside the block of this first line, without their indent; None if it is not there."""
    lines = config.splitlines()
    at = next((number for number, line in enumerate(lines) if line.rstrip() == head), None)
    if at is None:
        return None
    inside = []
    for line in lines[at + 1 :]:
        if not line.startswith(" "):
            break
        inside.append(line.strip())
    return tuple(inside)


def tcl(text: str) -> str:
    r"""Return a Tcl string in quotes. What the command line would take for itself (? Tab ^C) goes as \ooo.

    Octal, because the Tcl 8.3 of IOS reads any number of digits after \x.
    """
    quoted = "".join(each if _PLAIN.match(each) or ord(each) > 126 else f"\\{ord(each):03o}" for each in text)
    return f'"{quoted}"'


def pieces(line: str) -> list[str]:
    """Return a line in pieces that fit into the device's input buffer, cut after spaces where there are any."""
    found, rest = [], line
    while len(rest) > _PIECE:
        at = rest.rfind(" ", 0, _PIECE) + 1
        if not rest[:at].strip():
            at = _PIECE
        found.append(rest[:at])
        rest = rest[at:]
    return [*found, rest]


def etx(text: str) -> str:
    """Return a configuration with the real character for the `^C` that a running configuration prints.

    With the two characters instead, the device would take `^` for the end of every banner.
    """
    return re.sub(r"(?m)^(banner \S+ )\^C|\^C$", lambda hit: (hit.group(1) or "") + "\x03", text)


def changes_of(text: str) -> list[str]:
    """Return a diff's lines without the headings of the archive; a reordering is told by `!` lines."""
    lines = [line for line in text.splitlines() if line.strip() and line.strip() != "end"]
    return [line for line in lines if not re.match(r"!(?:Contextual|List of|No changes)", line.strip())]
