"""What an accounting record says, written as JSON straight from the octets of its packet.

No dictionary is built: at 20,000 records a second that alone would take a core.
"""

from __future__ import annotations

from functools import lru_cache
from json.encoder import encode_basestring as quoted

from daemon.aaa.accounting_packet import NEVER_KEPT
from daemon.aaa.reaper import box_text
from daemon.aaa.session import TRACKED, Report
from daemon.aaa.telling import addresses, rfc3339
from daemon.store.journal import Record
from radius.codes import Attr
from radius.packet import HEADER, VSA, Packet
from radius.udp import source_octets
from radius.usage import Usage

_MICROSOFT = 311  # its attributes carry passwords and keys
_VENDOR_OCTETS = 4
_IPV4_OCTETS = 4
_PLAIN = 5  # of TRACKED: address, calling and called station, port by name and number
_SECRETS = frozenset(
    (
        *NEVER_KEPT,
        *map(int, (Attr.CHAP_CHALLENGE, Attr.EAP_MESSAGE, Attr.MESSAGE_AUTHENTICATOR, Attr.PROXY_STATE)),
        *(int(Attr.STATE), 17, 69, 70, 71, 73),  # Change-Password, Tunnel-Password, ARAP
    )
)
_NAMED = frozenset(
    (
        *TRACKED,
        *map(
            int,
            (
                Attr.USER_NAME,
                Attr.NAS_IP_ADDRESS,
                Attr.NAS_IPV6_ADDRESS,
                Attr.NAS_IDENTIFIER,
                Attr.CLASS,
                Attr.ACCT_STATUS_TYPE,
                Attr.ACCT_DELAY_TIME,
                Attr.ACCT_INPUT_OCTETS,
                Attr.ACCT_OUTPUT_OCTETS,
                Attr.ACCT_SESSION_ID,
                Attr.ACCT_SESSION_TIME,
                Attr.ACCT_INPUT_PACKETS,
                Attr.ACCT_OUTPUT_PACKETS,
                Attr.ACCT_TERMINATE_CAUSE,
                Attr.ACCT_INPUT_GIGAWORDS,
                Attr.ACCT_OUTPUT_GIGAWORDS,
                Attr.EVENT_TIMESTAMP,
            ),
        ),
    )
)
_UNTOLD = _NAMED | _SECRETS
"""Attributes that are told under a name of their own, or never."""
_FIRST: tuple[bytes | None, ...] = (None,) * _PLAIN
_NONE = (None,) * (len(TRACKED) - _PLAIN)


def body_of(record: Record, packet: Packet, read: Report, usage: Usage, session: str) -> str:
    """Return the data of a record as the text of a JSON object; what it does not say is left out.

    `session` is the number of its session, empty where none is known.
    """
    text = _place(record.nas, source_octets(record.peer), read.box) + quoted(read.username)
    if record.subscriber:
        text += f',"subscriber_id":{quoted(record.subscriber)}'
    if session:
        text += f',"session_id":"{session}"'
    text += (
        f',"acct_session_id":{quoted(read.acct_session_id.decode("utf-8", "backslashreplace"))},'
        f'"status_type":{read.status},"received_at":"{rfc3339(record.at)}"'
    )
    if read.session_time_s is not None:
        text += f',"session_time_s":{read.session_time_s}'
    text += _tracked(read.tracked)
    if read.terminate_cause is not None:
        text += f',"terminate_cause":{quoted(read.terminate_cause)}'
    if read.class_octets is not None:
        text += f',"class":"{read.class_octets.hex()}"'
    if not packet.spots.keys() <= _UNTOLD:
        text += _others(packet.octets)
    return text + _counters(usage) + "}"


@lru_cache(maxsize=4096)
def _place(nas: str, source: bytes, box: bytes) -> str:
    """Return the beginning of what every record of a box says, up to the name of the user."""
    address = ".".join(map(str, source)) if len(source) == _IPV4_OCTETS else source.hex()
    return f'{{"nas":{quoted(nas)},"nas_address":"{address}","box":{quoted(box_text(box))},"username":'


def _tracked(values: tuple[bytes | None, ...]) -> str:
    """Return addresses, stations and ports; the four that most records have are written here."""
    address, calling, called, port_id, port = values[:_PLAIN]
    text = ""
    if address is not None:
        text = f',"framed_ip_address":"{".".join(map(str, address))}"'
    if calling is not None:
        text += f',"calling_station_id":{quoted(calling.decode("utf-8", "backslashreplace"))}'
    if called is not None:
        text += f',"called_station_id":{quoted(called.decode("utf-8", "backslashreplace"))}'
    if port_id is not None:
        text += f',"nas_port_id":{quoted(port_id.decode("utf-8", "backslashreplace"))}'
    if port is not None:
        text += f',"nas_port":{int.from_bytes(port, "big")}'
    if values[_PLAIN:] != _NONE:
        for name, value in addresses(_FIRST + values[_PLAIN:]).items():
            if value is not None:
                text += f',"{name}":{quoted(value)}'
    return text


def _counters(usage: Usage) -> str:
    """Return how much went over the line, by direction."""
    _, upload, download, up_packets, down_packets, _, ipv6_upload, ipv6_download = usage
    text = ""
    if upload is not None:
        text = f',"octets_from_subscriber":{upload}'
    if download is not None:
        text += f',"octets_to_subscriber":{download}'
    if up_packets is not None:
        text += f',"packets_from_subscriber":{up_packets}'
    if down_packets is not None:
        text += f',"packets_to_subscriber":{down_packets}'
    if ipv6_upload is not None:
        text += f',"ipv6_octets_from_subscriber":{ipv6_upload}'
    if ipv6_download is not None:
        text += f',"ipv6_octets_to_subscriber":{ipv6_download}'
    return text


def _others(octets: bytes) -> str:
    """Return the attributes that have no name here, as hex; never one that may carry a password or key."""
    found = []
    spot, end = HEADER, len(octets)
    while spot < end:
        kind, length = octets[spot], octets[spot + 1]
        if kind == VSA:
            vendor = int.from_bytes(octets[spot + 2 : spot + 2 + _VENDOR_OCTETS], "big")
            if vendor != _MICROSOFT and length - 2 >= _VENDOR_OCTETS:
                value = octets[spot + 2 + _VENDOR_OCTETS : spot + length].hex()
                found.append(f'{{"type":{kind},"vendor":{vendor},"value":"{value}"}}')
        elif kind not in _UNTOLD:
            found.append(f'{{"type":{kind},"value":"{octets[spot + 2 : spot + length].hex()}"}}')
        spot += length
    return f',"attributes":[{",".join(found)}]' if found else ""
