"""Where the CoA for a box goes, and what must be known of its NAS for that."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from daemon.aaa.coa.client import Address, Target
from daemon.replica.records import Nas
from radius.authenticator import Key
from radius.codes import Attr
from radius.grant import Grant, Rendered


class Speech(Protocol):
    """The part of a vendor profile that CoA needs."""

    @property
    def identities(self) -> tuple[tuple[int, ...], ...]:
        """Sets of attribute types that name a session to these NASes, the best first."""

    def change(self, applied: Grant, wanted: Grant) -> tuple[Rendered, ...] | None:
        """Return what turns `applied` into `wanted` in a live session, None where only a new login does."""


class Entry(Protocol):
    """A NAS entry with its vendor profile; `aaa.nas.Client` is one."""

    @property
    def nas(self) -> Nas:
        """The entry."""

    @property
    def profile(self) -> Speech:
        """Its vendor profile."""


def target_of(nas: Nas, box: bytes, source: Address | None = None) -> Target | None:
    """Return where requests for a box behind `nas` go; None where no address of it is known.

    `source` is where its packets were seen to come from. Without that and without an address in the entry,
    the box's own word is taken where it lies in the entry's prefixes: some NASes name an address that they do
    not send from.
    """
    address = nas.coa_address or source or _address_of(nas, box)
    if address is None:
        return None
    return Target(address, nas.coa_port, keys_of(nas), nas.coa_message_authenticator, nas.coa_event_timestamp)


def keys_of(nas: Nas) -> tuple[Key, ...]:
    """Return the secrets that sign CoA for this NAS: its own for CoA, else those of its requests."""
    if nas.coa_secret is not None:
        return (Key(nas.coa_secret.value),)
    previous = nas.previous_secret
    return (Key(nas.secret.value),) if previous is None else (Key(nas.secret.value), Key(previous.value))


def _address_of(nas: Nas, box: bytes) -> IPv4Address | IPv6Address | None:
    if box[:1] == b"\0" and len(box) in (5, 17):
        return ip_address(box[1:])
    if len(nas.prefixes) == 1 and nas.prefixes[0].num_addresses == 1:
        return nas.prefixes[0].network_address
    if (box[:1], len(box)) in ((bytes((Attr.NAS_IP_ADDRESS,)), 5), (bytes((Attr.NAS_IPV6_ADDRESS,)), 17)):
        address = ip_address(box[1:])
        if any(address in prefix for prefix in nas.prefixes):
            return address
    return None
