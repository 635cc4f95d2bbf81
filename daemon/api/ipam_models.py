"""What the API answers about definitions of the address book, and what it is asked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from daemon.api.models import Model
from ipam.kinds import Kind, Order, PoolState

_LONGEST_S = 2**32 - 1  # as in the data
_MOST = 1000  # of a list: reading and comparing them must not hold up logins
_Seconds = Field(None, ge=0, le=_LONGEST_S, allow_inf_nan=False, description="seconds")
_Span = Field(None, gt=0, le=_LONGEST_S, allow_inf_nan=False, description="seconds")
_Text = Annotated[str, Field(max_length=255)]
_Texts = Annotated[list[_Text], Field(max_length=_MOST)]
_Ranges = Field(
    min_length=1, description="192.0.2.0/24, 192.0.2.10-192.0.2.99, 2001:db8::/40; of VLANs 100-199"
)


class Wish(BaseModel):
    """Base of what is asked for: unknown fields are a mistake of the asker."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PoolSettings(Wish):
    """What of a pool can be changed while it is in use; None: as it is, or the default."""

    site: _Text | None = None
    sticky: bool | None = None
    hold_s: float | None = _Seconds
    quarantine_s: float | None = _Seconds
    min_reuse_s: float | None = _Seconds
    decline_s: float | None = _Seconds
    lease_s: float | None = _Span
    tentative_s: float | None = _Span
    low_percent: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    critical_percent: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    fallbacks: _Texts | None = None
    state: PoolState | None = None


class PoolWish(PoolSettings):
    """A new pool."""

    name: str = Field(min_length=1, max_length=64)
    tenant: str | None = Field(None, description="may be left out where there is one tenant only")
    kind: Kind
    ranges: _Texts = _Ranges
    vrf: str = ""
    unit_length: int | None = Field(None, gt=0, description="prefix length of a unit; ports of a port block")
    exclusions: _Texts = []
    order: Order = Order.SEQUENTIAL
    first_port: int = Field(1024, ge=0, le=65_535)
    last_port: int = Field(65_535, ge=0, le=65_535)
    any_length: bool = False


class ResizeWish(Wish):
    """Ranges to add and to take away; what is in use drains first."""

    add: _Texts = []
    remove: _Texts = []


class DrainWish(Wish):
    """What is to drain: some ranges, or all of a pool."""

    ranges: _Texts = []
    disconnect: bool = Field(False, description="end the sessions there, so that they are renumbered")
    per_second: float = Field(
        5.0, gt=0, le=1000, allow_inf_nan=False, description="sessions ended a second at the most"
    )


class ExclusionWish(Wish):
    """Numbers to exclude, and to include again."""

    add: _Texts = []
    remove: _Texts = []


class UseView(Model):
    """Slots by state; `used_percent` is of those that are not disabled."""

    size: int
    free: int
    tentative: int
    bound: int
    held: int
    quarantined: int
    declined: int
    reserved: int
    disabled: int
    used_percent: float


class RangeView(Model):
    """A range of a pool. `used`: slots that are leased or wait after it, as far as they are this node's."""

    range: str
    slots: int
    first_slot: int
    used: int
    draining: bool
    leaving: bool = Field(description="it goes as soon as nothing of it is used")


class BlocksView(Model):
    """How much of a divided pool a node has; an empty name: nobody."""

    node: str
    blocks: int
    slots: int


class DisconnectView(Model):
    """How far it is with ending the sessions in what drains."""

    asked: int
    live: int
    per_second: float


class PoolView(Model):
    """A pool, with what it is used."""

    tenant: str
    name: str
    kind: str
    vrf: str
    site: str
    state: str
    origin: Literal["operator", "platform"]
    unit_length: int
    ranges: list[RangeView]
    exclusions: list[str]
    order: str
    sticky: bool
    hold_s: float
    quarantine_s: float
    min_reuse_s: float
    decline_s: float
    lease_s: float
    tentative_s: float
    low_percent: float
    critical_percent: float
    fallbacks: list[str]
    first_port: int
    last_port: int
    use: UseView
    blocks: list[BlocksView]
    disconnecting: DisconnectView | None


class ReservationWish(Wish):
    """A unit to set aside. For a VLAN the unit is its number, and `pool` says of which pool it is."""

    unit: str = Field(min_length=1)
    owner: str = Field(min_length=1, max_length=255)
    name: str = Field("", max_length=255)
    tenant: str | None = None
    vrf: str = ""
    pool: str | None = Field(None, description="of which pool; needed for VLANs only")


class ReservationView(Model):
    """A unit that is set aside. `origin` data: a fixed address of a subscriber inside a pool."""

    tenant: str
    vrf: str
    unit: str
    space: str
    owner: str
    name: str
    origin: Literal["operator", "data"]
    pool: str = Field(description="empty: outside of all pools")
    state: str
    notes: list[str] = Field([], description="what is odd about it and allowed")


class MatchView(Wish):
    """Which logins a selector is for; None: all."""

    plan: str | None = None
    nas: str | None = None
    site: str | None = None
    attribute: tuple[str, str] | None = Field(None, description="name and exact value")


class SelectorWish(Wish):
    """A selector."""

    name: str = Field(min_length=1, max_length=64)
    tenant: str | None = None
    priority: int = Field(100, ge=0, le=2**31 - 1)
    match: MatchView = MatchView(attribute=None)
    pools: dict[Kind, _Texts] = Field(description="by kind the pools, in the order they are tried")


class SelectorView(Model):
    """A selector, and whose it is."""

    tenant: str
    name: str
    priority: int
    match: MatchView
    pools: dict[str, list[str]]
    origin: Literal["operator", "platform"]
    notes: list[str] = Field([], description="what is odd about it and allowed")


class TriedPool(Model):
    """A pool that a login would be served from, in its turn."""

    kind: str
    pool: str
    selector: str
    fallback: bool
    note: str = Field(description="what keeps it from serving; empty: nothing")
    free: int


class SelectionView(Model):
    """Which pools a login would be served from."""

    tenant: str
    subscriber: str
    plan: str
    nas: str
    site: str
    pools: list[TriedPool]
    fixed: list[str] = Field(description="what the data give to the subscriber; it comes from no pool")
    selectors: list[str] = Field(description="those that match, in the order they are asked")


class PrefixWish(Wish):
    """A prefix to document."""

    prefix: str
    tenant: str | None = None
    vrf: str = ""
    role: str = Field("", max_length=64)
    site: str = Field("", max_length=64)
    state: Literal["container", "active", "reserved", "deprecated"] = "active"
    name: str = Field("", max_length=255)


class NextPrefixWish(Wish):
    """The next prefix of a length that is free under another."""

    length: int = Field(ge=0, le=128)
    role: str = Field("", max_length=64)
    site: str = Field("", max_length=64)
    state: Literal["container", "active", "reserved", "deprecated"] = "active"
    name: str = Field("", max_length=255)


class PrefixPoolView(Model):
    """A pool with ranges in a prefix, and what of these is used."""

    name: str
    kind: str
    slots: int
    used: int
    used_percent: float


class PrefixView(Model):
    """A prefix in its tree, with what the pools inside it use."""

    tenant: str
    vrf: str
    prefix: str
    parent: str | None
    depth: int
    role: str
    site: str
    state: str
    name: str
    slots: int
    used: int
    used_percent: float
    pools: list[PrefixPoolView] = Field(description="directly in it, in none under it")


class VrfWish(Wish):
    """A VRF to document."""

    name: str = Field(min_length=1, max_length=64)
    tenant: str | None = None
    distinguisher: str | None = Field(None, max_length=64)


class VrfView(Model):
    """A VRF, with how many pools are in it."""

    tenant: str
    name: str
    distinguisher: str | None
    pools: int


class VlanView(Model):
    """A VLAN of a pool that is not free, or the next that is."""

    tenant: str
    pool: str
    kind: str
    domain: str = Field(description="the VRF of its pool: ids are unique within it")
    vlan: str
    state: str
    owner: str
    subscriber: str
    nas: str
    session: str
    since: float | None


class NextVlanWish(Wish):
    """The next free VLAN of a pool, to be set aside for somebody."""

    pool: str
    owner: str = Field(min_length=1, max_length=255)
    name: str = Field("", max_length=255)
    tenant: str | None = None
