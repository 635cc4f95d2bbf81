"""An accounting packet read into a report: whose session, when, how much.

The time of an event is the NAS's Event-Timestamp when that is believable, else the time of arrival less
Acct-Delay-Time (RFC 2866 section 5.2, RFC 2869 section 5.3). Where both are there they must agree within the
skew; an Event-Timestamp alone is believed for as long as a record may have been under way.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.aaa import token
from daemon.aaa.counters import Sample
from daemon.aaa.session import TRACKED, Report
from daemon.aaa.sessions import place
from daemon.store.journal import Record
from radius.codes import AcctStatus, Attr, TerminateCause
from radius.packet import Packet
from radius.udp import source_octets
from radius.usage import Usage
from radius.vendors.base import VendorProfile

_START = int(AcctStatus.START)
_STOP = int(AcctStatus.STOP)
_USER_NAME = int(Attr.USER_NAME)
_SESSION_ID = int(Attr.ACCT_SESSION_ID)
_CLASS = int(Attr.CLASS)
_EVENT_TIMESTAMP = int(Attr.EVENT_TIMESTAMP)
_DELAY_TIME = int(Attr.ACCT_DELAY_TIME)
_STATUS_TYPE = int(Attr.ACCT_STATUS_TYPE)
_TERMINATE_CAUSE = int(Attr.ACCT_TERMINATE_CAUSE)
_BOX_NAMES = tuple(int(kind) for kind in (Attr.NAS_IDENTIFIER, Attr.NAS_IP_ADDRESS, Attr.NAS_IPV6_ADDRESS))
_CAUSES = {int(cause): cause.slug for cause in TerminateCause}


@dataclass(frozen=True, slots=True)
class Belief:
    """How far a NAS's clock is believed: ahead of ours by `skew_s`, and late by `delay_s`."""

    skew_s: float
    delay_s: float


def event_time(packet: Packet, heard_at: float, belief: Belief) -> float:
    """Return when the event happened, epoch seconds."""
    stamp = packet.find_int(_EVENT_TIMESTAMP)
    delay = packet.find_int(_DELAY_TIME)
    sent = heard_at - min(delay or 0, belief.delay_s)
    earliest = heard_at - belief.delay_s if delay is None else sent - belief.skew_s
    if stamp is not None and earliest <= stamp <= heard_at + belief.skew_s:
        return float(stamp)
    return sent


def box_of(packet: Packet, peer: bytes) -> bytes:
    """Return which box behind a NAS entry sent this: its own name, else its address, else the source.

    One entry may stand for many boxes, and hostapd counts sessions per BSS by NAS-Identifier.
    """
    for kind in _BOX_NAMES:
        value = packet.find(kind)
        if value:
            return bytes((kind,)) + value
    return b"\0" + source_octets(peer)


def read(seq: int, record: Record, packet: Packet, profile: VendorProfile, belief: Belief) -> Report:
    """Return the report in a packet that has an Acct-Session-Id and a session's Acct-Status-Type."""
    octets, spots = packet.octets, packet.spots
    at = event_time(packet, record.at, belief)
    box = box_of(packet, record.peer)
    session_id = packet.find(_SESSION_ID) or b""
    status = packet.find_int(_STATUS_TYPE) or 0
    usage = profile.usage(packet)
    time_s = usage.session_time_s
    began_at = at - time_s if time_s is not None else (at if status == _START else None)
    class_octets = packet.find(_CLASS)
    ipv6 = usage.ipv6_upload_octets, usage.ipv6_download_octets
    cause = packet.find_int(_TERMINATE_CAUSE) if status == _STOP else None
    return Report(
        seq=seq,
        key=place(record.tenant, record.nas, box) + b"\0" + session_id,
        tenant=record.tenant,
        nas=record.nas,
        box=box,
        acct_session_id=session_id,
        status=status,
        at=at,
        heard_at=record.at,
        began_at=began_at,
        username=packet.find_text(_USER_NAME) or "",
        subscriber=record.subscriber,
        class_octets=class_octets,
        uid=token.read(class_octets),
        session_time_s=time_s,
        sample=_sample(at, usage, status),
        ipv6_octets=None if ipv6 == (None, None) else (ipv6[0] or 0, ipv6[1] or 0),
        tracked=tuple(
            [
                octets[spots[kind] + 2 : spots[kind] + octets[spots[kind] + 1]] if kind in spots else None
                for kind in TRACKED
            ]
        ),
        terminate_cause=None if cause is None else _CAUSES.get(cause, str(cause)),
    )


def _sample(at: float, usage: Usage, status: int) -> Sample | None:
    """Return the counters; None where there are none, and for a Stop that says nothing but zeros.

    A NAS that lost the line sends such a Stop, and the last interim knows better (accel-ppp does).
    """
    upload, download = usage.upload_octets, usage.download_octets
    if upload is None and download is None:
        return None
    if status == _STOP and not upload and not download:
        return None
    return Sample(
        at,
        usage.session_time_s or 0,
        upload or 0,
        download or 0,
        usage.upload_packets or 0,
        usage.download_packets or 0,
        usage.gigawords,
    )
