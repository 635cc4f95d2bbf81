"""RADIUS datagrams out of packet captures (pcap and pcapng); the one module that uses scapy.

scapy is GPL, so it is an optional extra and never needed by the daemon.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from radius.codes import Code
from radius.errors import Malformed, RadiusError
from radius.packet import decode

if TYPE_CHECKING:
    from scapy.packet import Packet as Layer

_CODES = frozenset(Code)


class CaptureError(RadiusError):
    """A capture file cannot be read: `slug` is `no-scapy` or `bad-capture`."""

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.slug = slug


@dataclass(frozen=True, slots=True)
class Captured:
    """One datagram; addresses are (host, port)."""

    at: float  # epoch seconds
    source: tuple[str, int]
    destination: tuple[str, int]
    octets: bytes


def read(path: Path) -> Iterator[Captured]:
    """Yield every UDP datagram of the file that is a RADIUS packet, on whatever port, in the file's order.

    VLAN tags and tunnels are looked through; IP fragments are left out. Raises CaptureError without scapy,
    and where the file is no capture.
    """
    try:
        # Optional, and takes long to load.
        from scapy.error import Scapy_Exception  # noqa: PLC0415
        from scapy.layers import inet, inet6, l2  # noqa: F401, PLC0415 - l2 and inet6 make scapy know them
        from scapy.utils import PcapReader  # noqa: PLC0415
    except ImportError:
        raise CaptureError(
            "no-scapy", "reading captures needs scapy: pip install dotmac-edge[capture]"
        ) from None
    try:
        # scapy takes a file too, though it says a name; by name it leaves the file open after an error.
        with path.open("rb") as file, PcapReader(cast("Any", file)) as reader:
            for frame in reader:
                for layer in frame.iterpayloads():
                    if isinstance(layer, inet.UDP) and (captured := _captured(layer, float(frame.time))):
                        yield captured
    except (Scapy_Exception, OSError, EOFError) as error:
        raise CaptureError("bad-capture", f"{path}: {error}") from error


def _captured(datagram: Layer, at: float) -> Captured | None:
    """Return the RADIUS packet in a UDP layer of scapy's, or None where it carries something else."""
    octets = bytes(datagram.payload.original)
    network = datagram.underlayer
    while network is not None and not hasattr(network, "src"):  # extension headers of IPv6
        network = network.underlayer
    if network is None or not _is_radius(octets):
        return None
    source, destination = (network.src, int(datagram.sport)), (network.dst, int(datagram.dport))
    return Captured(at, source, destination, octets)


def _is_radius(octets: bytes) -> bool:
    try:
        return decode(octets).code in _CODES
    except Malformed:
        return False
