"""Listen addresses: `192.0.2.1:1812` and `[2001:db8::1]:1812`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def parse(text: str) -> tuple[str, int]:
    """Return host and port of a listen address, the host in its shortest form.

    Only addresses are taken: a name would make the start depend on a resolver. Raises ValueError.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("the port is missing")
    bracketed = host.startswith("[") and host.endswith("]")
    inner = host[1:-1] if bracketed else host
    address = _address(inner, bracketed=bracketed)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError("the port is not a number from 1 to 65535")
    return str(address), int(port)


def _address(text: str, *, bracketed: bool) -> IPv4Address | IPv6Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text or 'nothing'} is not an IP address; a host name cannot stand here") from None
    if bracketed != (address.version == 6):
        raise ValueError("brackets are for IPv6 addresses, and those need them")
    return address
