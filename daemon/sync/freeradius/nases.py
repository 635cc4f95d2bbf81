"""Clients of FreeRADIUS, from its table `nas` or `clients.conf`, as our NASes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network

from daemon.sync.freeradius.fields import Body
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.semantics import Made, object_id
from daemon.sync.normalise import VENDORS
from radius import vendors
from radius.codes import Vendor

Resolve = Callable[[str], Awaitable[Sequence[str]]]

# Whose attributes in replies tell what a NAS without a type of its own is.
_OF_VENDOR = {
    int(Vendor.MIKROTIK): "mikrotik",
    9: "cisco",
    4874: "juniper",
    2636: "juniper",
    2011: "huawei",
    6527: "nokia",
}
_UNTOLD = frozenset({"", "other", "standard"})
_TRUE = frozenset({"true", "t", "yes", "y", "1", "on"})
_FALSE = frozenset({"false", "f", "no", "n", "0", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NasReading:
    """How clients are read.

    `default_vendor` is that of clients of type `other`; empty: the one whose attributes the replies hold, where they
    are of one vendor only. `coa_ports` are by address or name of the client, where it is not the vendor's port.
    """

    default_vendor: str = ""
    coa_ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client as FreeRADIUS has it. `name` is an address, a prefix or a host; empty flags say nothing."""

    name: str
    secret: str = field(repr=False)
    shortname: str = ""
    kind: str = ""
    coa_port: int | None = None
    require_message_authenticator: str = ""
    limit_proxy_state: str = ""
    line: int = 0


def client(row: Mapping[str, object]) -> Client:
    """Return the client of a row of the table."""

    def text(name: str) -> str:
        value = row.get(name)
        return "" if value is None else str(value).strip()

    port = text("coa_port")
    return Client(
        name=text("nasname"),
        secret=str(row.get("secret") or ""),
        shortname=text("shortname"),
        kind=text("type").lower(),
        coa_port=int(port) if port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65_535 else None,
        require_message_authenticator=text("require_message_authenticator").lower(),
        limit_proxy_state=text("limit_proxy_state").lower(),
    )


def ids(clients: Sequence[Client]) -> list[str]:
    """Return the id of each: its short name, with the name behind it where others have the same."""
    times = Counter(each.shortname for each in clients)
    return [
        object_id(
            each.name
            if not each.shortname
            else each.shortname
            if times[each.shortname] == 1
            else f"{each.shortname}-{each.name}"
        )
        for each in clients
    ]


def prefix(name: str) -> str | None:
    """Return the prefix that a name is, `*` being everything; None for a host."""
    if name == "*":
        return "0.0.0.0/0"
    try:
        return str(ip_network(name, strict=False))
    except ValueError:
        return None


def by_address(clients: Sequence[Client]) -> dict[str, str]:
    """Return the ids of clients that are one address, for conditions on NAS-IP-Address."""
    return {
        each.name: key
        for each, key in zip(clients, ids(clients), strict=True)
        if (found := prefix(each.name)) is not None and found.endswith(("/32", "/128"))
    }


def inferred(reading: NasReading, seen: Collection[int]) -> str:
    """Return the vendor of clients that do not say theirs."""
    if reading.default_vendor:
        return reading.default_vendor
    named = {_OF_VENDOR[each] for each in seen if each in _OF_VENDOR}
    return named.pop() if len(named) == 1 else "standard"


async def nases(
    clients: Sequence[Client], reading: NasReading, vendor: str, resolve: Resolve, findings: Findings
) -> list[Made]:
    """Return the NASes of clients. One whose host does not resolve is told, with no address, and so refused.

    Clients with the same address are told; the feed refuses all but the one that was there first.
    """
    made: list[Made] = []
    taken: dict[str, tuple[Client, str]] = {}
    for each, key in zip(clients, ids(clients), strict=True):
        found = prefix(each.name)
        prefixes = [found] if found is not None else await _resolved(each, key, resolve, findings)
        twin = next((taken[one] for one in prefixes if one in taken), None)
        if twin is not None:
            same = twin[0].secret == each.secret and twin[0].kind == each.kind
            text = f"the same address as {twin[1]}" + ("" if same else ", with another secret or type")
            findings.add(Why.DUPLICATE, f"nas {key}", "nasname", text, each.line)
            if same:
                continue  # two rows that say the same are one NAS
        for one in prefixes:
            taken.setdefault(one, (each, key))
        made.append(Made("nas", key, _body(each, prefixes, reading, vendor, key, findings)))
    return made


async def _resolved(client: Client, key: str, resolve: Resolve, findings: Findings) -> list[str]:
    try:
        found = await resolve(client.name)
    except OSError:
        found = ()
    if not found:
        findings.add(Why.HOST, f"nas {key}", "nasname", f"the host {client.name} has no address", client.line)
    return sorted({str(ip_network(each)) for each in found})


def _body(
    client: Client, prefixes: list[str], reading: NasReading, vendor: str, key: str, findings: Findings
) -> Body:
    word = VENDORS.get(client.kind, client.kind)
    if word in _UNTOLD or vendors.find(word) is None:
        word = vendor
    # As a bare text, so that what is a reference rather than a secret is refused.
    body: Body = {"prefixes": prefixes, "secret": client.secret, "vendor": word}
    port = reading.coa_ports.get(key) or reading.coa_ports.get(client.name) or client.coa_port
    if port is not None:
        body["coa_port"] = port
    for name in ("require_message_authenticator", "limit_proxy_state"):
        said = str(getattr(client, name))
        if said in _TRUE or said in _FALSE:
            body[name] = said in _TRUE
        elif said not in ("", "auto"):
            findings.add(Why.VALUE, f"nas {key}", name, "expected yes, no or auto", client.line)
    return body
