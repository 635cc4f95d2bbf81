"""Attributes in wire form from what the command line says; nothing for what it does not say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

import click

from radius import exchange
from radius.authenticator import Key
from radius.codes import Attr
from radius.errors import RadiusError
from radius.packet import attribute


def text(kind: Attr, value: str | None) -> bytes:
    """Return a text attribute."""
    return octets(kind, None if value is None else value.encode())


def octets(kind: Attr, value: bytes | None) -> bytes:
    """Return an attribute of octets; an empty one may not be sent, so it is left out."""
    return attribute(kind, value) if value else b""


def integer(kind: Attr, value: int | None) -> bytes:
    """Return an attribute of 32 bits."""
    return b"" if value is None else attribute(kind, value.to_bytes(4, "big"))


def counter(low: Attr, high: Attr, value: int | None) -> bytes:
    """Return an octet counter of 64 bits, its upper half as gigawords (RFC 2869 section 5.1)."""
    if value is None:
        return b""
    return integer(low, value & 0xFFFFFFFF) + (integer(high, value >> 32) if value >> 32 else b"")


def address(ipv4: Attr, ipv6: Attr, value: IPv4Address | IPv6Address | None) -> bytes:
    """Return an address under the attribute of its family."""
    if value is None:
        return b""
    return attribute(ipv4 if value.version == 4 else ipv6, value.packed)


def line(nas_ip: IPv4Address | IPv6Address, calling_station: str | None) -> bytes:
    """Return what a NAS says about itself and the line."""
    return address(Attr.NAS_IP_ADDRESS, Attr.NAS_IPV6_ADDRESS, nas_ip) + text(
        Attr.CALLING_STATION_ID, calling_station
    )


def named(assignments: Sequence[str], key: Key, authenticator: bytes) -> bytes:
    """Return attributes given as `Name=value` or `Name:tag=value`; raises click.BadParameter."""
    if not assignments:
        return b""
    from radius import dictionary, tree  # noqa: PLC0415 - only where names are needed

    known = dictionary.shipped()
    wire = b""
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name, _, tag = name.strip().partition(":")
        if not equals or (tag and not tag.isdecimal()):
            raise click.BadParameter(f"{assignment!r}: expected NAME=VALUE or NAME:TAG=VALUE")
        if known.by_name(name) is None:
            near = ", ".join(known.suggest(name))
            raise click.BadParameter(f"no attribute {name!r}" + (f"; did you mean {near}?" if near else ""))
        try:
            wire += tree.encode(
                name,
                value.strip(),
                known,
                tag=int(tag) if tag else None,
                secret=key.secret,
                authenticator=authenticator,
            )
        except RadiusError as error:
            raise click.BadParameter(str(error)) from error
    return wire


def proof(
    method: str, user: str, password: str, authenticator: bytes, key: Key
) -> tuple[bytes, bytes | None]:
    """Return the attributes that prove the password and, for mschapv2, how MS-CHAP2-Success must begin."""
    identifier = os.urandom(1)[0]
    if method == "mschapv2":
        return exchange.mschap_v2(identifier, user.encode(), password, os.urandom(16), os.urandom(16))
    if method == "mschap":
        return exchange.mschap_v1(identifier, password, os.urandom(8)), None
    if method == "chap":
        return exchange.chap(identifier, password.encode(), os.urandom(16)), None
    return exchange.pap(password.encode(), authenticator, key), None


def shown(line: str) -> dict[str, object]:
    """Return name and value of an attribute's text `Name = value`."""
    name, _, value = line.partition(" = ")
    return {"name": name, "value": value}
