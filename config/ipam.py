"""The settings of the address book: what it does about conflicts, what it keeps, which store nodes share."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict, StringConstraints

from config.base import Reference, Section, live, restart


class Ipam(Section):
    """Addresses that this edge leases itself, from pools of its own."""

    on_conflict: Literal["report", "disconnect"] = Field(
        default="report",
        description="What becomes of a session that reports an address which is leased to somebody else. It is "
        "always recorded, told as an event, and the address is kept from everybody else; with `disconnect` the session "
        "that has no right to the address is ended, too.",
        json_schema_extra=live(),
    )
    history_keep_days: int = Field(
        default=400,
        ge=1,
        le=36_500,
        description="How long it is kept who had which address: as long as your law asks, not longer than it allows.",
        json_schema_extra=restart(),
    )
    shared_store: Reference | None = Field(
        default=None,
        description="Where the URL of a PostgreSQL database is, `postgresql://USER:PASSWORD@HOST/NAME`, that several "
        "edges of a point of presence share: then each leases from blocks of its own, and one takes over the "
        "blocks of another that died. Without it all pools are this edge's alone, in its own database.",
        json_schema_extra=restart("file:PATH, env:NAME or credential:NAME", hidden=True),
    )
    node: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        default="edge",
        description="Name of this edge in the shared store and in the history of leases; each has its own, for ever.",
        json_schema_extra=restart("1 to 64 letters, digits, dots, dashes or underscores"),
    )
    takeover_after_s: float | None = Field(
        default=None,
        ge=60,
        le=86_400,
        allow_inf_nan=False,
        description="A node of the shared store that is silent for so long is taken over by the others. Without it "
        "only `dotmac-edge ipam takeover NODE` does that: an outage of the store itself looks the same to every node.",
        json_schema_extra=restart(),
    )
    block_slots: int = Field(
        default=256,
        ge=1,
        le=1_048_576,
        description="How many addresses a node takes from the shared store at a time.",
        json_schema_extra=restart(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachText:
    """One entry of `probe.reaches`, read."""

    interface: str
    prefixes: tuple[IPv4Network | IPv6Network, ...]
    method: str = "auto"
    tenant: str = ""
    vrf: str = ""


def read_reach(text: str) -> ReachText:
    """Return what an entry of `probe.reaches` says. Raises ValueError."""
    words = text.split()
    plain = [each for each in words if "=" not in each]
    named = dict(each.split("=", 1) for each in words if "=" in each)
    unknown = named.keys() - {"method", "tenant", "vrf"}
    if len(plain) < 2:
        raise ValueError("an interface and at least one prefix are needed")
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: method, tenant and vrf are known")
    if named.get("method", "auto") not in ("auto", "arp", "nd", "icmp"):
        raise ValueError("method is auto, arp, nd or icmp")
    return ReachText(interface=plain[0], prefixes=tuple(ip_network(each) for each in plain[1:]), **named)


def _checked_reach(text: str) -> str:
    read_reach(text)
    return text


_REACH = (
    "an interface, prefixes, and perhaps method=arp tenant=NAME vrf=NAME: `eth1 198.51.100.0/24 method=arp`"
)
_Reaches = Annotated[tuple[Annotated[str, AfterValidator(_checked_reach)], ...], Strict(strict=False)]
_Mac = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")]


class Probe(Section):
    """Whether somebody is at an address that nobody should have, before it is given out again."""

    reaches: _Reaches = Field(
        default=(),
        description="Which addresses can be asked where: ARP and neighbour discovery on the subscribers' link, echo "
        "behind routers. Empty: nothing is probed. Needs the extra `capture` and the right CAP_NET_RAW.",
        json_schema_extra=restart(f"a list of texts, each {_REACH}"),
    )
    per_s: float = Field(
        default=10.0,
        ge=0.1,
        le=1_000,
        allow_inf_nan=False,
        description="How many addresses are asked a second at most.",
        json_schema_extra=restart("a number of addresses"),
    )
    queue: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="How many addresses may wait for their turn; those beyond go on unasked.",
        json_schema_extra=restart(),
    )
    count: int = Field(
        default=2, ge=1, le=10, description="How often each is asked.", json_schema_extra=restart()
    )
    wait_s: float = Field(
        default=1.0,
        ge=0.1,
        le=10,
        allow_inf_nan=False,
        description="How long an answer is waited for.",
        json_schema_extra=restart(),
    )
    ahead_s: float = Field(
        default=60.0,
        ge=0.1,
        le=3_600,
        allow_inf_nan=False,
        description="How long before the end of its wait an address is asked about; no login waits for that.",
        json_schema_extra=restart(),
    )
    ignore_macs: Annotated[tuple[_Mac, ...], Strict(strict=False)] = Field(
        default=(),
        description="Equipment whose answers mean nothing: routers that answer for others (proxy ARP).",
        json_schema_extra=restart("a list of MACs, such as 02:00:5e:00:53:01"),
    )
    most_per_mac: int = Field(
        default=8,
        ge=1,
        le=100_000,
        description="One MAC that answers for more addresses than this within an hour is not believed.",
        json_schema_extra=restart(),
    )
