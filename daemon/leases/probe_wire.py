"""Conflict probes on one interface: frames and sockets; beside `radius.capture` the one module that uses scapy.

scapy is GPL and holds the interpreter while it works, so only the helper process imports this.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from daemon.leases.probe import Address, Method, NotAsked, Why

# Settings first: routes are the kernel's business here, and a router has a million of them.
from scapy.config import conf  # isort: skip

conf.route_autoload = conf.route6_autoload = False

from scapy.arch.linux import L2Socket  # noqa: E402
from scapy.interfaces import resolve_iface  # noqa: E402
from scapy.layers.inet import ICMP  # noqa: E402
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    IPv6,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether  # noqa: E402
from scapy.packet import Packet  # noqa: E402
from scapy.utils6 import in6_getnsma, in6_getnsmac  # noqa: E402

_FLAGS = 0x8913  # SIOCGIFFLAGS
_UP, _RUNNING = 0x1, 0x40
_ARPHRD_ETHER = 1
_ETH_P_ARP, _ETH_P_IPV6 = 0x0806, 0x86DD
_SO_ATTACH_FILTER = 26
_SOL_PACKET, _ADD_MEMBERSHIP, _ALL_MULTICAST = 263, 1, 2
_ICMP_FILTER, _ICMPV6_FILTER = 1, 1
_ECHO_REPLY, _ECHO_REPLY_V6 = 0, 129
_MOST_FRAMES = 64  # of one reading
_NOBODY = "0.0.0.0"

# Of all IPv6 only neighbour solicitations and advertisements: next header 58, type 135 or 136 (classic BPF).
_ONLY_ND: Final = (
    (0x30, 0, 0, 20),
    (0x15, 0, 4, 58),
    (0x30, 0, 0, 54),
    (0x15, 1, 0, 135),
    (0x15, 0, 1, 136),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
)


class CannotAsk(Exception):
    """The interface cannot be asked on; `outcome` says why."""

    def __init__(self, why: Why, detail: str) -> None:
        super().__init__(detail)
        self.outcome = NotAsked(why, detail)


@dataclass(frozen=True, slots=True)
class Seen:
    """A sign of somebody at an address; `mac` is empty for an echo."""

    address: Address
    mac: str
    method: Method


class Link:
    """One interface. Sockets are opened when they are needed first. Raises CannotAsk where it is not there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.index = _index(name)
        self.refresh()
        self._frames: dict[Method, L2Socket] = {}
        self._echoes: dict[int, socket.socket] = {}

    def refresh(self) -> None:
        """Read the addresses of the interface anew."""
        conf.ifaces.reload()
        try:
            known = resolve_iface(self.name)
        except ValueError:
            raise CannotAsk(Why.NO_INTERFACE, self.name) from None
        self.mac = known.mac or ""
        self.own: frozenset[str] = frozenset(known.ips[4]) | frozenset(known.ips[6])

    def check(self) -> None:
        """Raise CannotAsk unless this is still the interface that was opened, with a cable in it."""
        if _index(self.name) != self.index:
            raise CannotAsk(Why.NO_INTERFACE, f"{self.name} is another one than before")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                answer = fcntl.ioctl(sock, _FLAGS, struct.pack("16sH14x", self.name.encode(), 0))
            except OSError:
                raise CannotAsk(Why.NO_INTERFACE, self.name) from None
        flags = struct.unpack("16sH14x", answer)[1]
        if flags & (_UP | _RUNNING) != _UP | _RUNNING:
            raise CannotAsk(Why.INTERFACE_DOWN, self.name)

    # --- asking ----------------------------------------------------------------------------------

    def send(self, address: Address, method: Method, number: int) -> tuple[Method, ...]:
        """Ask once; return how. `number` tells echoes apart. Raises CannotAsk."""
        self.check()
        if method is not Method.AUTO:
            self._send(address, method, number)
            return (method,)
        asked: list[Method] = []
        refusal: CannotAsk | None = None
        on_link = Method.ARP if isinstance(address, IPv4Address) else Method.ND
        for each in (on_link, Method.ICMP):
            try:
                self._send(address, each, number)
                asked.append(each)
            except CannotAsk as error:
                refusal = refusal or error
        # Without an address of its own, or a way there, the link alone is asked. What does not even allow that is told.
        if refusal is not None and (not asked or refusal.outcome.why is Why.NO_PERMISSION):
            raise refusal
        return tuple(asked)

    def _send(self, address: Address, method: Method, number: int) -> None:
        try:
            if method is Method.ICMP:
                self._send_echo(address, number)
            else:
                self._frame_socket(method).send(self._frame(address))
        except PermissionError as error:
            raise CannotAsk(Why.NO_PERMISSION, f"{self.name}: {error.strerror}") from error
        except OSError as error:
            raise CannotAsk(Why.NOT_SENT, f"{self.name}: {error.strerror or error}") from error

    def _frame(self, address: Address) -> Packet:
        text = str(address)
        if isinstance(address, IPv4Address):
            ether = Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff")
            return ether / ARP(op=1, hwsrc=self.mac, psrc=_NOBODY, hwdst="00:00:00:00:00:00", pdst=text)
        group = in6_getnsma(address.packed)
        ether = Ether(src=self.mac, dst=in6_getnsmac(group))
        network = IPv6(src="::", dst=socket.inet_ntop(socket.AF_INET6, group), hlim=255)
        return ether / network / ICMPv6ND_NS(tgt=text)

    def _send_echo(self, address: Address, number: int) -> None:
        version = address.version
        if version not in self._echoes:
            self._echoes[version] = self._open_echo(version)
        own = [each for each in self.own if (":" in each) == (version == 6)]
        usable = [each for each in own if not IPv6Address(each).is_link_local] if version == 6 else own
        if not usable:
            raise CannotAsk(Why.NO_SOURCE, f"{self.name} has no IPv{version} address")
        layer = ICMPv6EchoRequest if version == 6 else ICMP
        octets = bytes(layer(id=self.index & 0xFFFF, seq=number & 0xFFFF))
        self._echoes[version].sendto(octets, (str(address), 0))

    # --- sockets ---------------------------------------------------------------------------------

    def _frame_socket(self, method: Method) -> L2Socket:
        known = self._frames.get(method)
        if known is not None:
            return known
        kind = _ETH_P_ARP if method is Method.ARP else _ETH_P_IPV6
        opened = L2Socket(iface=self.name, type=kind, promisc=False, nofilter=1)
        if opened.ins.getsockname()[3] != _ARPHRD_ETHER:
            opened.close()
            raise CannotAsk(Why.NOT_ETHERNET, self.name)
        if method is Method.ND:
            _attach_filter(opened.ins)
            # Answers go to all nodes, which the interface may not listen for when it has no IPv6 of its own.
            membership = struct.pack("IHH8s", self.index, _ALL_MULTICAST, 0, b"")
            opened.ins.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, membership)
        opened.ins.setblocking(False)
        self._frames[method] = opened
        return opened

    def _open_echo(self, version: int) -> socket.socket:
        if version == 4:
            opened = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            mask = struct.pack("I", 0xFFFFFFFF & ~(1 << _ECHO_REPLY))
            opened.setsockopt(socket.SOL_RAW if hasattr(socket, "SOL_RAW") else 255, _ICMP_FILTER, mask)
        else:
            opened = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            words = [0xFFFFFFFF] * 8
            words[_ECHO_REPLY_V6 >> 5] &= ~(1 << (_ECHO_REPLY_V6 & 31))
            opened.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("8I", *words))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self.name.encode() + b"\0")
        opened.setblocking(False)
        return opened

    def sockets(self) -> list[int]:
        """Return the file numbers to read from."""
        frames = [each.fileno() for each in self._frames.values()]
        return frames + [each.fileno() for each in self._echoes.values()]

    def close(self) -> None:
        """Close all sockets."""
        for frames in self._frames.values():
            frames.close()
        for echo in self._echoes.values():
            echo.close()
        self._frames.clear()
        self._echoes.clear()

    # --- hearing ---------------------------------------------------------------------------------

    def read(self, number: int) -> list[Seen]:
        """Return what has come on the socket with this file number; nothing where there is no such."""
        for opened in self._frames.values():
            if opened.fileno() == number:
                return self._read_frames(opened)
        for version, echo in self._echoes.items():
            if echo.fileno() == number:
                return _read_echoes(echo, version)
        return []

    def _read_frames(self, opened: L2Socket) -> list[Seen]:
        seen: list[Seen] = []
        with contextlib.suppress(
            OSError
        ):  # nothing more, or the interface is gone, which the next `check` tells
            for _ in range(_MOST_FRAMES):
                frame: Any = opened.recv()
                with contextlib.suppress(ValueError):  # addresses of another length: nobody we look for
                    seen += self._signs(frame)
        return seen

    def _signs(self, frame: Any) -> list[Seen]:
        """Return who a frame shows to be at which address; that may be a request, too (RFC 5227 section 2.1.1)."""
        if not isinstance(frame, Ether) or Dot1Q in frame or frame.src == self.mac:
            return []
        if ARP in frame:
            arp = frame[ARP]
            address = arp.psrc if arp.psrc != _NOBODY else arp.pdst  # a probe of somebody else for the same
            return [Seen(IPv4Address(address), arp.hwsrc, Method.ARP)]
        if ICMPv6ND_NA in frame:
            return [Seen(IPv6Address(frame[ICMPv6ND_NA].tgt), frame.src, Method.ND)]
        if ICMPv6ND_NS in frame:
            source = frame[IPv6].src
            address = frame[ICMPv6ND_NS].tgt if source == "::" else source
            return [Seen(IPv6Address(address), frame.src, Method.ND)]
        return []


def _read_echoes(echo: socket.socket, version: int) -> list[Seen]:
    """Return whose replies have come: that they are to another's echo does not make him less there."""
    seen: list[Seen] = []
    with contextlib.suppress(OSError):
        for _ in range(_MOST_FRAMES):
            host = echo.recvfrom(2048)[1][0]
            address = IPv4Address(host) if version == 4 else IPv6Address(host.partition("%")[0])
            seen.append(Seen(address, "", Method.ICMP))
    return seen


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        raise CannotAsk(Why.NO_INTERFACE, name) from None


def _attach_filter(sock: socket.socket) -> None:
    """Let the kernel pass on only what `_ONLY_ND` does."""
    import ctypes  # noqa: PLC0415 - what the option takes is an address

    program = b"".join(struct.pack("HBBI", *each) for each in _ONLY_ND)
    memory = ctypes.create_string_buffer(program)
    options = struct.pack("HP", len(_ONLY_ND), ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, options)
