"""What an accounting packet says about time and traffic (RFC 2866 section 5, RFC 2869 section 5.1).

Acct-Input is what the NAS received from the subscriber: the upload.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from radius.codes import Attr
from radius.packet import VSA, Packet

_INTEGER = Struct("!I").unpack_from

# Module constants: looking a member up in its class for each packet costs as much as reading the value.
_INPUT_OCTETS = int(Attr.ACCT_INPUT_OCTETS)
_OUTPUT_OCTETS = int(Attr.ACCT_OUTPUT_OCTETS)
_SESSION_TIME = int(Attr.ACCT_SESSION_TIME)
_INPUT_PACKETS = int(Attr.ACCT_INPUT_PACKETS)
_OUTPUT_PACKETS = int(Attr.ACCT_OUTPUT_PACKETS)
_INPUT_GIGAWORDS = int(Attr.ACCT_INPUT_GIGAWORDS)
_OUTPUT_GIGAWORDS = int(Attr.ACCT_OUTPUT_GIGAWORDS)


class Usage(NamedTuple):
    """Counters of one session, from the subscriber's side; None where the packet does not say.

    Octets have the gigawords folded in; `gigawords` tells whether such an attribute was there, because
    without it a counter may wrap at 4 GiB. The IPv6 counters are a part of the totals on most NASes.
    """

    session_time_s: int | None = None
    upload_octets: int | None = None
    download_octets: int | None = None
    upload_packets: int | None = None
    download_packets: int | None = None
    gigawords: bool = False
    ipv6_upload_octets: int | None = None
    ipv6_download_octets: int | None = None


def read(packet: Packet) -> Usage:
    """Return the standard counters (attributes 42, 43, 46, 47, 48, 52, 53); a malformed one is None."""
    octets = packet.octets
    find = packet.spots.get
    spot = find(_SESSION_TIME)
    session_time_s = None if spot is None or octets[spot + 1] != 6 else _INTEGER(octets, spot + 2)[0]
    spot = find(_INPUT_OCTETS)
    upload = None if spot is None or octets[spot + 1] != 6 else _INTEGER(octets, spot + 2)[0]
    spot = find(_OUTPUT_OCTETS)
    download = None if spot is None or octets[spot + 1] != 6 else _INTEGER(octets, spot + 2)[0]
    spot = find(_INPUT_PACKETS)
    upload_packets = None if spot is None or octets[spot + 1] != 6 else _INTEGER(octets, spot + 2)[0]
    spot = find(_OUTPUT_PACKETS)
    download_packets = None if spot is None or octets[spot + 1] != 6 else _INTEGER(octets, spot + 2)[0]
    gigawords = False
    spot = find(_INPUT_GIGAWORDS)
    if spot is not None and octets[spot + 1] == 6:
        gigawords = True
        if upload is not None:
            upload += _INTEGER(octets, spot + 2)[0] << 32
    spot = find(_OUTPUT_GIGAWORDS)
    if spot is not None and octets[spot + 1] == 6:
        gigawords = True
        if download is not None:
            download += _INTEGER(octets, spot + 2)[0] << 32
    return Usage(session_time_s, upload, download, upload_packets, download_packets, gigawords)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipv6Counters:
    """Where a vendor counts the octets of IPv6: attribute types in the usual vendor format."""

    vendor: int
    input_octets: int
    output_octets: int
    input_gigawords: int
    output_gigawords: int


def read_with_ipv6(packet: Packet, where: Ipv6Counters) -> Usage:
    """Return the standard counters together with the vendor's octets of IPv6."""
    usage = read(packet)
    if VSA not in packet.spots:
        return usage
    found = {
        kind: int.from_bytes(value, "big")
        for vendor, kind, value in packet.vendor_attributes()
        if vendor == where.vendor and len(value) == 4
    }
    upload = found.get(where.input_octets)
    download = found.get(where.output_octets)
    if upload is None and download is None:
        return usage
    return usage._replace(
        ipv6_upload_octets=_fold(upload, found.get(where.input_gigawords, 0)),
        ipv6_download_octets=_fold(download, found.get(where.output_gigawords, 0)),
    )


def _fold(octets: int | None, gigawords: int) -> int | None:
    return None if octets is None else octets + (gigawords << 32)
