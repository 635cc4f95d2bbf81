"""What a vendor profile is, and the encoders and checks that all profiles share.

A profile leaves out what its NASes have no words for, and `unsaid` names it; what would be wrong or
dangerous on the wire raises Unencodable instead. Nothing is ever shortened to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Protocol

from radius.codes import Attr, Vendor
from radius.errors import Unencodable
from radius.grant import Grant, Privilege, Rate, Rendered
from radius.packet import HEADER, LONGEST, MOST_ATTRIBUTES, VSA, Packet, attribute, vendor_attribute
from radius.rates import text as rate_text
from radius.usage import Usage
from radius.usage import read as read_usage
from radius.vendors.difference import Meaning, differs, mikrotik_meaning
from radius.vendors.live import PLAIN, Words, say

__all__ = [
    "COMMON",
    "MOST_32_BIT",
    "QOS_PROFILE",
    "Profile",
    "ReplyAttribute",
    "VendorProfile",
    "check_rates",
    "check_walls",
    "differs",
    "finish",
    "kbps",
    "left_out",
    "refuse_rate_text",
    "refuse_vrf",
    "standard",
    "vendor",
]

MOST_32_BIT = 0xFFFF_FFFF
QOS_PROFILE = "name a QoS profile of the NAS in the plan (qos_profile) instead of the numbers"

_EMPTY = Grant()
_NAMES = tuple(field.name for field in fields(Grant))
# A fixed address says all that its pool would, so the pool counts as said.
_SUPPRESSED_BY = {
    "ipv4_pool": "ipv4_address",
    "ipv6_pool": "ipv6_prefix",
    "ipv6_address_pool": "ipv6_address",
    "ipv6_delegated_pool": "ipv6_delegated",
}
_WALLS = {"address_list": "an address_list", "filter_id": "a filter_id"}


class VendorProfile(Protocol):
    """How one family of NASes wants to be told what a session gets, and how it reports usage."""

    @property
    def name(self) -> str:
        """The name that NAS records use."""

    @property
    def coa_port(self) -> int:
        """The UDP port on which these NASes listen for CoA and Disconnect by default."""

    @property
    def renders_rate(self) -> bool:
        """Whether a rate given in numbers reaches the NAS at all."""

    @property
    def changes(self) -> frozenset[str]:
        """The fields of a grant that a CoA-Request can change in a live session on these NASes."""

    @property
    def identities(self) -> tuple[tuple[int, ...], ...]:
        """The attribute types that identify a session in CoA and Disconnect: sets to try one after another.

        A value that the session has not shown is left out of its set, and an empty set is skipped.
        """

    def render(self, grant: Grant) -> tuple[Rendered, ...]:
        """Return the reply attributes for `grant`, in wire order.

        Each decision is sent once: a fixed address suppresses the pool of its family, a named policy
        the numbers. Raises Unencodable for a value that does not fit, or that contradicts another, and for a
        captive grant that says nothing which walls the session in.
        """

    def differs(self, applied: Grant, wanted: Grant) -> tuple[str, ...]:
        """Return the fields that differ and matter, with literal rates read as these NASes read them."""

    def change(self, applied: Grant, wanted: Grant) -> tuple[Rendered, ...] | None:
        """Return the attributes of a CoA-Request that turn a session with `applied` into one with `wanted`.

        Without those that identify it. Empty where both say the same to these NASes; None where the
        difference cannot be made live, so that the session has to end. Raises Unencodable where a login would
        be refused `wanted`.
        """

    def staff(self, privilege: Privilege, group: str | None) -> tuple[Rendered, ...]:
        """Return the reply attributes for a member of staff who logs in to the device itself.

        `group` names what the device calls the role (a user group, template or profile), where it has such.
        """

    def unsaid(self, grant: Grant) -> tuple[str, ...]:
        """Return the names of the fields of `grant` that `render` leaves out, for a warning."""

    def usage(self, packet: Packet) -> Usage:
        """Return the counters of an accounting packet."""


# Fields that every profile here takes into account. `priority` goes with `committed`, and a netmask with
# the address.
COMMON = frozenset(
    {
        "access",
        "ipv4_address",
        "ipv4_netmask",
        "ipv4_pool",
        "ipv6_prefix",
        "ipv6_delegated",
        "ipv6_delegated_pool",
        "routes",
        "priority",
        "rate_text",
        "vrf",
        "session_timeout_s",
        "idle_timeout_s",
        "interim_interval_s",
        "captive",
    }
)


@dataclass(frozen=True, slots=True)
class ReplyAttribute:
    """One attribute of a reply: its dictionary name, its place, and how many octets of text it takes."""

    name: str
    oid: tuple[int, ...]
    longest: int

    def octets(self, value: bytes, source: str) -> Rendered:
        """Return the attribute with `value` as it is."""
        if len(self.oid) == 1:
            return Rendered(self.oid, attribute(self.oid[0], value), source)
        return Rendered(self.oid, vendor_attribute(self.oid[1], self.oid[2], value), source)

    def text(self, value: str, source: str, *, before: str = "", tag: int | None = None) -> Rendered:
        """Return the attribute with a text in UTF-8, after the fixed text `before`.

        With `tag`, a tag octet comes first (RFC 2868 section 3.1). Raises Unencodable for an empty
        text, one above `longest` octets, and control characters.
        """
        if not value:
            raise Unencodable(self.name, f"{source} is empty", "leave it out")
        if not value.isprintable():
            raise Unencodable(self.name, f"{source} holds characters that cannot be printed")
        # isprintable has refused lone surrogates, so this always succeeds.
        content = (before + value).encode()
        room = self.longest - (tag is not None)
        if len(content) > room:
            raise Unencodable(self.name, f"{source} has {len(content)} octets, at most {room} fit")
        return self.octets(content if tag is None else bytes((tag,)) + content, source)

    def integer(self, value: int, source: str, least: int = 0) -> Rendered:
        """Return the attribute with a 32-bit integer of at least `least`."""
        if not least <= value <= MOST_32_BIT:
            raise Unencodable(self.name, f"{source} is {value}; {least:,} to {MOST_32_BIT:,} fit")
        return self.octets(value.to_bytes(4, "big"), source)

    def bits_per_second(self, bps: int, source: str) -> Rendered:
        """Return the attribute with a rate as a 32-bit integer in bit/s."""
        if bps > MOST_32_BIT:
            why = f"{rate_text(bps)} is above {MOST_32_BIT:,} bit/s, the most that fits"
            raise Unencodable(self.name, why, QOS_PROFILE)
        return self.integer(bps, source, 1)

    def address(self, value: IPv4Address | IPv6Address, source: str) -> Rendered:
        """Return the attribute with the four or sixteen octets of an address."""
        return self.octets(value.packed, source)

    def prefix(self, value: IPv6Network, source: str) -> Rendered:
        """Return the attribute with an IPv6 prefix (RFC 3162 section 2.3).

        All sixteen octets are sent: shorter forms are allowed, but NASes meet them rarely.
        """
        return self.octets(bytes((0, value.prefixlen)) + value.network_address.packed, source)


def standard(kind: Attr, name: str) -> ReplyAttribute:
    """Return a standard attribute; 253 octets fit."""
    return ReplyAttribute(name, (int(kind),), 253)


def vendor(number: Vendor, kind: int, name: str, longest: int = 247) -> ReplyAttribute:
    """Return a vendor attribute in the usual format; the NAS takes at most `longest` octets of text."""
    return ReplyAttribute(name, (VSA, int(number), kind), longest)


def finish(rendered: Iterable[Rendered]) -> tuple[Rendered, ...]:
    """Return `rendered` as a tuple; raises Unencodable where no packet could hold it."""
    result = tuple(rendered)
    size = sum(len(each.octets) for each in result)
    if size > LONGEST - HEADER or len(result) > MOST_ATTRIBUTES:
        why = f"{len(result)} attributes with {size} octets do not fit into one packet"
        raise Unencodable("reply", why, "give the session fewer routes or services")
    return result


def left_out(grant: Grant, renders: frozenset[str]) -> tuple[str, ...]:
    """Return the fields that `grant` sets and a profile that renders `renders` does not say."""
    return tuple(
        name
        for name in _NAMES
        if name not in renders
        and getattr(grant, name) != getattr(_EMPTY, name)
        and not (name in _SUPPRESSED_BY and getattr(grant, _SUPPRESSED_BY[name]) is not None)
    )


def check_rates(grant: Grant, attribute_name: str) -> Rate | None:
    """Return the rate of `grant`; raises Unencodable where rate, burst and committed rate contradict."""
    rate, burst, committed = grant.rate, grant.burst, grant.committed
    if rate is None:
        if burst is None and committed is None:
            return None
        raise Unencodable(attribute_name, "a burst or committed rate without a rate", "give the rate")
    _at_least(attribute_name, "the rate", rate, Rate(download_bps=1, upload_bps=1))
    if burst is not None:
        _at_least(attribute_name, "the burst rate", burst.rate, rate)
        _at_least(attribute_name, "the burst threshold", burst.threshold, Rate(download_bps=1, upload_bps=1))
        _at_least(attribute_name, "the burst rate, with the threshold,", burst.rate, burst.threshold)
        if burst.seconds < 1:
            raise Unencodable(attribute_name, f"a burst of {burst.seconds} seconds", "1 or more")
    if committed is not None:
        _at_least(attribute_name, "the committed rate", committed, Rate(download_bps=1, upload_bps=1))
        _at_least(attribute_name, "the rate, with the committed rate,", rate, committed)
        if not 1 <= grant.priority <= 8:
            raise Unencodable(attribute_name, f"priority {grant.priority}", "1 (highest) to 8")
    return rate


def refuse_vrf(grant: Grant, profile: str) -> None:
    """Raise Unencodable where `grant` names a VRF, for vendors that cannot be told.

    Left out in silence, it would put the session into a network that is not its own.
    """
    if grant.vrf is not None:
        raise Unencodable("vrf", f"{profile} has no attribute for a VRF", "bind the VRF on the NAS itself")


def refuse_rate_text(grant: Grant, profile: str) -> None:
    """Raise Unencodable where `grant` holds a literal rate string, for vendors that have none."""
    if grant.rate_text is not None:
        why = f"{profile} has no rate string to put a literal into"
        raise Unencodable("rate_text", why, "give download and upload rates, or a policy name")


def check_walls(grant: Grant, profile: str, walls: tuple[str, ...]) -> None:
    """Raise Unencodable where `grant` is captive and has none of the fields that wall a session in.

    A login that looks like a walled garden and is none would be a suspended subscriber with full service.
    """
    if not grant.captive or any(getattr(grant, name) for name in walls):
        return
    if not walls:
        why = f"{profile} has no attribute that walls a session in"
        raise Unencodable("captive", why, "reject such subscribers on this NAS instead")
    needed = " or ".join(_WALLS.get(name, name) for name in walls)
    raise Unencodable("captive", f"nothing walls the session in on {profile}", f"the garden needs {needed}")


def kbps(bps: int) -> int:
    """Return kbit/s, rounded up: a rate must never be rounded to zero, nor below what was sold."""
    return -(-bps // 1_000)


def _at_least(attribute_name: str, what: str, value: Rate, least: Rate) -> None:
    for direction, each, bound in (
        ("download", value.download_bps, least.download_bps),
        ("upload", value.upload_bps, least.upload_bps),
    ):
        if each < bound:
            raise Unencodable(
                attribute_name, f"{what} is {each} bit/s {direction}", f"at least {bound} is needed"
            )


def _nothing(_grant: Grant) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A VendorProfile put together from functions; each vendor module makes one."""

    name: str
    coa_port: int = 3799  # RFC 5176 section 2
    renders_rate: bool = True
    renders: frozenset[str]  # the fields of Grant that `rendering` takes into account
    rendering: Callable[[Grant], Iterator[Rendered]]
    reading: Callable[[Packet], Usage] = read_usage
    half_said: Callable[[Grant], tuple[str, ...]] = _nothing  # parts of fields that stay unsaid
    walls: tuple[str, ...]  # the fields that wall a captive session in, each alone
    changes: frozenset[str]
    words: Words = PLAIN
    meaning: Meaning = mikrotik_meaning  # of rates, numbers or literal
    identities: tuple[tuple[int, ...], ...]
    logins: Callable[[Privilege, str | None], Iterator[Rendered]]

    def render(self, grant: Grant) -> tuple[Rendered, ...]:
        """Return the reply attributes for `grant`; see VendorProfile."""
        check_walls(grant, self.name, self.walls)
        return finish(self.rendering(grant))

    def differs(self, applied: Grant, wanted: Grant) -> tuple[str, ...]:
        """Return the fields that differ and matter; see VendorProfile."""
        return differs(applied, wanted, self.meaning)

    def change(self, applied: Grant, wanted: Grant) -> tuple[Rendered, ...] | None:
        """Return the attributes of a CoA-Request, or None; see VendorProfile."""
        if not self.differs(applied, wanted):
            return ()
        shall = self.render(wanted)
        try:
            have = self.render(applied)
        except Unencodable:
            return None  # made by other rules: what the session really has is not known
        said = say(have, shall, wanted, self.changes, self.words)
        return None if said is None else finish(said)

    def staff(self, privilege: Privilege, group: str | None) -> tuple[Rendered, ...]:
        """Return the reply attributes for a member of staff; see VendorProfile."""
        return finish(self.logins(privilege, group))

    def unsaid(self, grant: Grant) -> tuple[str, ...]:
        """Return the fields, or parts of fields, of `grant` that stay unsaid; see VendorProfile."""
        return left_out(grant, self.renders) + self.half_said(grant)

    def usage(self, packet: Packet) -> Usage:
        """Return the counters of an accounting packet; see VendorProfile."""
        return self.reading(packet)
