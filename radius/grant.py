"""What one session gets, in neutral terms; a vendor profile renders it into attributes.

Rates are integer bit/s. Upload and download are seen from the subscriber.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network


class Access(StrEnum):
    """How the subscriber reaches the NAS; PPP sessions get Framed-Protocol, others must not."""

    PPP = "ppp"
    IPOE = "ipoe"


class Privilege(StrEnum):
    """What a member of staff may do on a device."""

    READ = "read"
    WRITE = "write"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A pair of rates in bit/s."""

    download_bps: int
    upload_bps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Burst above the rate for `seconds`, while the average stays below `threshold`."""

    rate: Rate
    threshold: Rate
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A routed block behind the subscriber; `gateway` None means the subscriber's own address."""

    prefix: IPv4Network | IPv6Network
    gateway: IPv4Address | IPv6Address | None = None
    metric: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Everything a session is given. None and empty mean: say nothing about it."""

    access: Access = Access.PPP
    rate: Rate | None = None
    burst: Burst | None = None
    committed: Rate | None = None  # guaranteed minimum
    priority: int = 8  # MikroTik queue priority, 1 highest, sent only with `committed`
    rate_text: str | None = None  # literal rate string of the vendor, instead of the numbers
    download_policy: str | None = None  # name of a policy, filter or QoS profile on the NAS
    upload_policy: str | None = None
    qos_profile: str | None = None  # one name for both directions
    services: tuple[str, ...] = ()  # services to activate; may hold {download_bps} and the like
    group: str | None = None  # PPP profile or subscriber profile on the NAS
    address_list: str | None = None
    filter_id: str | None = None
    vrf: str | None = None
    ipv4_address: IPv4Address | None = None
    ipv4_netmask: IPv4Address | None = None
    ipv4_pool: str | None = None
    ipv6_address: IPv6Address | None = None
    ipv6_prefix: IPv6Network | None = None
    ipv6_delegated: IPv6Network | None = None
    ipv6_pool: str | None = None  # SLAAC prefixes
    ipv6_address_pool: str | None = None  # IA_NA
    ipv6_delegated_pool: str | None = None
    routes: tuple[Route, ...] = ()
    dns4: tuple[IPv4Address, ...] = ()
    dns6: tuple[IPv6Address, ...] = ()
    vlan_id: int | None = None
    inner_vlan_id: int | None = None
    session_timeout_s: int | None = None
    idle_timeout_s: int | None = None
    interim_interval_s: int | None = None
    captive: bool = False  # a walled garden: a profile that cannot build it must refuse
    redirect_url: str | None = None  # of the walled garden
    volume_octets: int | None = None  # what may still pass before the NAS shall end the session


@dataclass(frozen=True, slots=True)
class Rendered:
    """One reply attribute in wire form.

    `oid` is (type,) or (26, vendor, type) and is what replace and remove compare; `source` says which part
    of the grant, or which override, made it.
    """

    oid: tuple[int, ...]
    octets: bytes
    source: str
