"""Ascend's binary filters: one line of text to 32 octets (IPv4) or 56 (IPv6) and back.

`ip in forward srcip 10.0.0.0/8 dstip 192.0.2.1/32 tcp dstport = 80 est`; `ipv6` begins an IPv6 filter.
Directions `in`, `out`; actions `forward`, `drop`, `redirect`; comparisons `<`, `=`, `>`, `!=`. No RFC says
this: the layout is the one that Juniper and Nokia publish and radclient sends. Other filter kinds (generic,
IPX) have no text here and stay octets.
"""

from __future__ import annotations

import struct
from ipaddress import ip_network

KINDS = {"ip": 1, "ipv6": 3}
ACTIONS = {"drop": 0, "forward": 1, "redirect": 0x20}
DIRECTIONS = {"out": 0, "in": 1}
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ospf": 89}
COMPARISONS = {"<": 1, "=": 2, ">": 3, "!=": 4}
PADDING = 8
USAGE = "ip|ipv6 in|out forward|drop [srcip net] [dstip net] [protocol] [srcport = n] [dstport = n] [est]"


def parse(text: str) -> bytes:
    """Return the octets of the filter in `text`; raises ValueError that says what was expected."""
    words = text.lower().split()
    if len(words) < 3 or words[0] not in KINDS or words[1] not in DIRECTIONS or words[2] not in ACTIONS:
        raise ValueError(f"{USAGE} expected")
    width = 4 if words[0] == "ip" else 16
    nets = {"srcip": (bytes(width), 0), "dstip": (bytes(width), 0)}
    ports = {"srcport": (0, 0), "dstport": (0, 0)}
    protocol = established = 0
    rest = words[3:]
    while rest:
        word = rest.pop(0)
        if word in nets and rest:
            nets[word] = _net(rest.pop(0), width)
        elif word in ports and len(rest) > 1:
            ports[word] = _port(rest.pop(0), rest.pop(0))
        elif word == "est":
            established = 1
        elif word in PROTOCOLS or word.isdecimal():
            protocol = _within(PROTOCOLS.get(word) or int(word), 255, "a protocol")
        else:
            raise ValueError(f"{USAGE} expected, {word} does not fit")
    (source, source_bits), (target, target_bits) = nets["srcip"], nets["dstip"]
    (source_port, source_compare), (target_port, target_compare) = ports["srcport"], ports["dstport"]
    return (
        bytes((KINDS[words[0]], ACTIONS[words[2]], DIRECTIONS[words[1]], 0))
        + source
        + target
        + bytes((source_bits, target_bits, protocol, established))
        + struct.pack("!HHBBxx", source_port, target_port, source_compare, target_compare)
        + bytes(PADDING)
    )


def text(octets: bytes) -> str | None:
    """Return the filter in `octets` as text; None where text would lose something of it."""
    width = {1: 4, 3: 16}.get(octets[0]) if octets else None
    if width is None or len(octets) != 20 + 2 * width + PADDING - 4:
        return None
    spot = 4 + 2 * width
    source_bits, target_bits, protocol, established = octets[spot : spot + 4]
    source_port, target_port, source_compare, target_compare = struct.unpack_from("!HHBB", octets, spot + 4)
    try:
        words = [
            _name(KINDS, octets[0]),
            _name(DIRECTIONS, octets[2]),
            _name(ACTIONS, octets[1]),
            *_net_words("srcip", octets[4 : 4 + width], source_bits),
            *_net_words("dstip", octets[4 + width : spot], target_bits),
            *([_protocol(protocol)] if protocol else []),
            *_port_words("srcport", source_port, source_compare),
            *_port_words("dstport", target_port, target_compare),
            *(["est"] if established else []),
        ]
        result = " ".join(words)
        return result if parse(result) == octets else None
    except ValueError:
        return None


def _net(word: str, width: int) -> tuple[bytes, int]:
    net = ip_network(word, strict=False)
    if len(net.network_address.packed) != width:
        raise ValueError(f"an {'IPv4' if width == 4 else 'IPv6'} network expected, not {word}")
    return net.network_address.packed, net.prefixlen


def _port(compare: str, port: str) -> tuple[int, int]:
    if compare not in COMPARISONS or not port.isdecimal():
        raise ValueError(f"a comparison (< = > !=) and a port number expected, not {compare} {port}")
    return _within(int(port), 65535, "a port"), COMPARISONS[compare]


def _within(number: int, most: int, what: str) -> int:
    if number > most:
        raise ValueError(f"{what} from 0 to {most} expected, not {number}")
    return number


def _name(table: dict[str, int], number: int) -> str:
    for name, each in table.items():
        if each == number:
            return name
    raise ValueError(f"no name for {number}")


def _protocol(number: int) -> str:
    return next((name for name, each in PROTOCOLS.items() if each == number), str(number))


def _net_words(key: str, packed: bytes, bits: int) -> list[str]:
    return [key, str(ip_network((packed, bits)))] if bits or any(packed) else []


def _port_words(key: str, port: int, compare: int) -> list[str]:
    return [key, _name(COMPARISONS, compare), str(port)] if compare or port else []
