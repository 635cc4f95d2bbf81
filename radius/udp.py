"""A UDP socket that takes and gives datagrams in batches (recvmmsg, sendmmsg; Linux).

One system call moves up to 64 datagrams, which is worth a third of the time of a login. The buffers are laid
out once; integers are read and written through memory views, because attribute access through ctypes costs
more than the copy. A `peer` is opaque to callers: the socket address, and for a socket bound to every address
the packet-info control message, so that the answer leaves from the address that was asked (NASes
drop replies from elsewhere). IPv6 sockets are IPv6 only.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from radius.packet import LONGEST

BATCH = 64
_STRIDE = LONGEST + 64
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8
_MSG_DONTWAIT = int(socket.MSG_DONTWAIT)

Datagram = tuple[bytes, bytes]
"""Octets and peer."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint32))


_FAMILY_AT = 0 if sys.byteorder == "little" else 1
_INET = int(socket.AF_INET)
_HEADER_INTS = ctypes.sizeof(_Mmsghdr) // 4
_LENGTH_INT = _Mmsghdr.length.offset // 4
_CONTROL_INT = _Msghdr.control_length.offset // 4


class _Vector:
    """Buffers of one direction: BATCH messages, each with room for data, address and control message."""

    def __init__(self, name_size: int, control_size: int) -> None:
        self.data: Any = (ctypes.c_char * (_STRIDE * BATCH))()
        self.names: Any = (ctypes.c_char * (name_size * BATCH))()
        self.controls: Any = (ctypes.c_char * (max(control_size, 1) * BATCH))()
        self._iovecs = (_Iovec * BATCH)()
        self.headers = (_Mmsghdr * BATCH)()
        for i in range(BATCH):
            self._iovecs[i].base = ctypes.addressof(self.data) + i * _STRIDE
            self._iovecs[i].length = _STRIDE
            header = self.headers[i].header
            header.name = ctypes.addressof(self.names) + i * name_size
            header.name_length = name_size
            header.iov = ctypes.addressof(self._iovecs) + i * ctypes.sizeof(_Iovec)
            header.iov_count = 1
            if control_size:
                header.control = ctypes.addressof(self.controls) + i * control_size
                header.control_length = control_size
        self.data_view = memoryview(self.data).cast("B")
        self.name_view = memoryview(self.names).cast("B")
        self.control_view = memoryview(self.controls).cast("B")
        self.lengths = memoryview(self._iovecs).cast("B").cast("Q")  # odd places hold the lengths
        self.ints = memoryview(self.headers).cast("B").cast("I")


class BatchSocket:
    """One bound, non-blocking UDP socket."""

    def __init__(self, host: str, port: int, receive_buffer_octets: int = 8 << 20) -> None:
        """Bind; raises OSError where the address is taken or not ours."""
        address = ip_address(host)
        self.family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        self.ipv4 = address.version == 4
        self._name_size = 16 if address.version == 4 else 28
        self._control_size = (32 if address.version == 4 else 40) if address.is_unspecified else 0
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._configure(receive_buffer_octets)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._incoming = _Vector(self._name_size, self._control_size)
        self._outgoing = _Vector(self._name_size, self._control_size)
        self.send_failures = 0

    def _configure(self, receive_buffer_octets: int) -> None:
        sock = self._socket
        try:  # beyond net.core.rmem_max where we may, else as far as it goes
            sock.setsockopt(socket.SOL_SOCKET, 33, receive_buffer_octets)  # SO_RCVBUFFORCE
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_octets)
        if self.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if self._control_size:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        elif self._control_size:
            sock.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO

    def fileno(self) -> int:
        """Return the file descriptor, for an event loop."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The bound port."""
        port: int = self._socket.getsockname()[1]
        return port

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def kernel_drops(self) -> int:
        """Return how many datagrams the kernel has dropped because the receive buffer was full."""
        raw = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        return int(struct.unpack_from("=I", raw, 4 * _MEMINFO_DROPS)[0]) if len(raw) >= 36 else 0

    def receive(self) -> list[Datagram]:
        """Return the datagrams that wait, up to 64; an empty list when there are none."""
        vector = self._incoming
        name_size, control_size = self._name_size, self._control_size
        count = self._libc.recvmmsg(self.fileno(), vector.headers, BATCH, _MSG_DONTWAIT, None)
        if count <= 0:
            return []
        data, names, ints = vector.data, vector.names, vector.ints
        out: list[Datagram] = []
        add = out.append
        spot = name = 0
        length_at = _LENGTH_INT
        if not control_size:
            for _ in range(count):
                add((data[spot : spot + ints[length_at]], names[name : name + name_size]))
                spot += _STRIDE
                name += name_size
                length_at += _HEADER_INTS
            return out
        controls = vector.controls
        for i in range(count):
            control = i * control_size
            got = ints[i * _HEADER_INTS + _CONTROL_INT]
            peer = names[i * name_size : (i + 1) * name_size] + controls[control : control + got]
            add((data[i * _STRIDE : i * _STRIDE + ints[length_at]], peer))
            ints[i * _HEADER_INTS + _CONTROL_INT] = control_size  # the kernel wrote the used size
            length_at += _HEADER_INTS
        return out

    def send(self, datagrams: list[Datagram]) -> None:
        """Send all; one that cannot be sent is counted in `send_failures` and left out, as UDP may."""
        for start in range(0, len(datagrams), BATCH):
            self._send_batch(datagrams[start : start + BATCH])

    def _send_batch(self, datagrams: list[Datagram]) -> None:
        vector = self._outgoing
        name_size = self._name_size
        data, names, lengths = vector.data_view, vector.name_view, vector.lengths
        spot = name = 0
        length_at = 1
        for octets, peer in datagrams:
            size = len(octets)
            data[spot : spot + size] = octets
            lengths[length_at] = size
            names[name : name + name_size] = peer[:name_size]
            spot += _STRIDE
            name += name_size
            length_at += 2
        if self._control_size:
            self._put_controls(datagrams)
        sent, total = 0, len(datagrams)
        while sent < total:
            headers = ctypes.byref(vector.headers, sent * ctypes.sizeof(_Mmsghdr))
            count = self._libc.sendmmsg(self.fileno(), headers, total - sent, _MSG_DONTWAIT)
            if count < 1:
                self.send_failures += 1
                count = 1
            sent += count

    def _put_controls(self, datagrams: list[Datagram]) -> None:
        """Answer from the address that was asked, by whatever interface the routing table says."""
        vector, size = self._outgoing, self._control_size
        for i, (_, peer) in enumerate(datagrams):
            control = peer[self._name_size :]
            at = i * size
            vector.ints[i * _HEADER_INTS + _CONTROL_INT] = len(control)
            vector.control_view[at : at + len(control)] = control
            if self.family == socket.AF_INET:
                vector.control_view[at + 16 : at + 20] = bytes(4)
            elif control[16:18] != b"\xfe\x80":
                vector.control_view[at + 32 : at + 36] = bytes(4)


def source_octets(peer: bytes) -> bytes:
    """Return the address in a `peer`, 4 or 16 octets."""
    return peer[4:8] if peer[_FAMILY_AT] == _INET else peer[8:24]


def source(peer: bytes) -> tuple[IPv4Address | IPv6Address, int]:
    """Return address and port of a `peer`, for people."""
    return ip_address(source_octets(peer)), int.from_bytes(peer[2:4], "big")
