"""Text of Nokia SR OS MD-CLI: commands in one form, candidates as they are printed, tables, a subscriber's SAP."""

from __future__ import annotations

import re

from drivers.model import Identity, Neighbor, ServiceIntent, ServiceVerb

_SYSTEM = re.compile(
    r"^(System (?:Type|Version|Name|Up Time)|Configuration Mode Oper|Chassis Serial[^:\n]*?) *: *(.*?) *$",
    re.MULTILINE,
)
_UPTIME = re.compile(r"(?:(\d+) days?, )?(\d+):(\d+):(\d+)")
_LLDP = re.compile(
    r"^(\S+) +(?:NB|NTPMR|NC) +([0-9A-F:]{17}) +\d+ +(\S.*?) +(\S+) *$", re.MULTILINE | re.IGNORECASE
)
# Commands that are no configuration: they commit, leave, or act at once.
_NO_CONFIGURATION = re.compile(
    r"/?(?:commit|discard|admin|tools|quit-config|exit|logout|rollback|load|validate|compare|edit-config|info|file|"
    r"reset|clear|bof|environment|top|back|up|show|state|!)\b|/?!|/!|//"
)


def system(told: str) -> dict[str, str]:
    """Return the fields of `show system information` that we use."""
    return dict(_SYSTEM.findall(told))


def identity(told: str) -> Identity | None:
    """Return who answered, or None if it is no SR OS. `os` says whether its configuration is model-driven."""
    said = system(told)
    version = said.get("System Version", "")
    if not re.search(r"\b[A-Z]-\d+\.", version):
        return None
    mode = said.get("Configuration Mode Oper", "classic")
    os = "sros-md" if mode == "model-driven" else f"sros-{mode}"
    return Identity("Nokia", said.get("System Type", ""), os, version.split()[0])


def uptime_s(told: str) -> int | None:
    """Return the seconds of `3 days, 02:10:15.34 (hr:min:sec)`."""
    found = _UPTIME.search(system(told).get("System Up Time", ""))
    if found is None:
        return None
    days, hours, minutes, seconds = (int(each or 0) for each in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def neighbors(told: str) -> tuple[Neighbor, ...]:
    """Return the rows of `show system lldp neighbor`; the device cuts long ports and names with a *."""
    rows = _LLDP.findall(told)
    return tuple(
        Neighbor(port, chassis.lower(), remote.partition(",")[0], name)
        for port, chassis, remote, name in rows
    )


def commands(text: str) -> list[str]:
    """Return the lines of a change in the one form that works from anywhere: absolute, or `delete` from the top.

    ValueError names a line that is no configuration.
    """
    found = []
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        bare = re.sub(
            r"^(delete +)?/?configure +(delete +)?", lambda m: "delete " if m[1] or m[2] else "", line
        )
        if _NO_CONFIGURATION.match(bare) or bare.startswith("/") or "{" in bare or "}" in bare:
            raise ValueError(line)
        found.append(bare if bare.startswith("delete ") else f"/configure {bare}")
    return found


def as_running(info: str, running: str) -> str:
    """Return a candidate (`info` in /configure) as `admin show configuration` would print it.

    What the device keeps apart from /configure (persistent indices) is taken from the running configuration.
    """
    head, _, rest = running.partition("configure {\n")
    tail = rest.partition("\n}\n")[2]
    body = "".join(f"    {line}\n" for line in info.splitlines() if line.strip())
    return f"{head}configure {{\n{body}}}\n{tail}"


def under(text: str, path: str) -> str:
    """Return what stands under a path of printed configuration, one flat line each; empty if it is not there."""
    stack: list[str] = []
    found: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.endswith("{"):
            stack.append(line.removesuffix("{").strip())
        elif line == "}":
            del stack[-1:]
            continue
        whole = " ".join(stack if line.endswith("{") else [*stack, line])
        if f"{whole} ".startswith(f"{path} "):
            found.append(whole[len(path) :].strip() or "{}")
    return "\n".join(found)


def sap(intent: ServiceIntent) -> str:
    """Return the path of the intent's SAP, relative to /configure: `profile` names the VPLS it belongs to."""
    if not intent.profile or not intent.port or not intent.s_vlan:
        raise ValueError("a SAP needs a port, s_vlan, and the name of its VPLS as profile")
    if any(letter in intent.profile + intent.key for letter in '"\\\n{}') or not intent.key:
        raise ValueError("the key or the name of the VPLS cannot be quoted")
    if intent.upload_bps or intent.download_bps:
        raise ValueError("rates come from the QoS policies of the SAP; the intent must carry none")
    inner = f".{intent.c_vlan}" if intent.c_vlan else ""
    return f'service vpls "{intent.profile}" sap {intent.port}:{intent.s_vlan}{inner}'


def service(intent: ServiceIntent, told: str) -> str:
    """Return the lines that bring the service about; `told` is what stands in the SAP now, empty if it is not there.

    The SAP's description is the ownership marker. ValueError if it is not ours or cannot be done.
    """
    path = sap(intent)
    owner = re.search(r'^\s*description "?(.*?)"?\s*$', told, re.MULTILINE)
    there, ours = bool(told.strip()), owner is not None and owner[1] == intent.key
    if there and not ours:
        raise ValueError(f"{path} is not ours: expected description {intent.key!r}")
    enabled = re.search(r"^\s*admin-state disable", told, re.MULTILINE) is None
    match intent.verb:
        case ServiceVerb.ADD:
            return (
                ""
                if there
                else f'/configure {path} description "{intent.key}"\n/configure {path} admin-state enable'
            )
        case ServiceVerb.REMOVE:
            return f"delete {path}" if there else ""
        case ServiceVerb.SUSPEND | ServiceVerb.RESUME if there:
            on = intent.verb is ServiceVerb.RESUME
            return "" if enabled is on else f"/configure {path} admin-state {'enable' if on else 'disable'}"
    raise ValueError(f"{path} is not there" if not there else f"a SAP cannot {intent.verb}")
