"""The text of an accounting record says what a plain reading of its packet says, whatever is in it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.aaa import report
from daemon.aaa.accounting_packet import NEVER_KEPT
from daemon.aaa.reaper import box_text
from daemon.aaa.session_codec import text
from daemon.aaa.telling import addresses, rfc3339
from daemon.store.journal import Record, entries, pack
from daemon.sync.outbox.accounting_text import body_of
from daemon.sync.outbox.envelope import encode
from daemon.sync.outbox.model import Event, Incarnation, Stream, Urgency
from radius import vendors
from radius.codes import Attr
from radius.packet import Packet, attribute, decode
from radius.udp import source_octets
from tests.daemon.outbox.stage import BELIEF
from tests.daemon.stack import T0
from tests.effort import effort

NAMED = {
    1,
    4,
    95,
    32,
    25,
    40,
    41,
    42,
    43,
    44,
    46,
    47,
    48,
    49,
    52,
    53,
    55,
    8,
    30,
    31,
    87,
    5,
    97,
    123,
    168,
    96,
    50,
}
SECRET = {*NEVER_KEPT, 60, 79, 80, 33, 24, 17, 69, 70, 71, 73}
NUMBERS = (40, 41, 42, 43, 46, 47, 48, 49, 52, 53, 55, 5)
PEERS = (
    b"\x02\x00\x07\x15" + bytes((192, 0, 2, 9)) + bytes(8),
    b"\x0a\x00\x07\x15" + bytes(4) + bytes(range(16)) + bytes(4),
)


def plain(record: Record, packet: Packet, profile: Any, session: str) -> dict[str, Any]:
    """Return what a record says, the long way: every value built, what is not there left out."""
    read = report.read(1, record, packet, profile, BELIEF)
    source, usage = source_octets(record.peer), profile.usage(packet)
    others: list[dict[str, Any]] = []
    for kind, value in packet.attributes():
        if kind == Attr.VENDOR_SPECIFIC:
            vendor = int.from_bytes(value[:4], "big")
            if vendor != 311 and len(value) >= 4:
                others.append({"type": kind, "vendor": vendor, "value": value[4:].hex()})
        elif kind not in NAMED | SECRET:
            others.append({"type": kind, "value": value.hex()})
    said = {
        "nas": record.nas,
        "nas_address": ".".join(map(str, source)) if len(source) == 4 else source.hex(),
        "box": box_text(read.box),
        "username": read.username,
        "subscriber_id": record.subscriber or None,
        "session_id": session or None,
        "acct_session_id": text(read.acct_session_id),
        "status_type": read.status,
        "received_at": rfc3339(record.at),
        "session_time_s": read.session_time_s,
        **addresses(read.tracked),
        "terminate_cause": read.terminate_cause,
        "class": None if read.class_octets is None else read.class_octets.hex(),
        "attributes": others or None,
        "octets_from_subscriber": usage.upload_octets,
        "octets_to_subscriber": usage.download_octets,
        "packets_from_subscriber": usage.upload_packets,
        "packets_to_subscriber": usage.download_packets,
        "ipv6_octets_from_subscriber": usage.ipv6_upload_octets,
        "ipv6_octets_to_subscriber": usage.ipv6_download_octets,
    }
    return {name: value for name, value in said.items() if value is not None}


values = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.text(min_size=1, max_size=20).map(lambda said: said.encode("utf-8", "surrogatepass")),
    st.sampled_from([b'"\\\x00\x1f\x7f', b"\xff\xfe", "\u2028é".encode()]),
)
attributes = st.one_of(
    st.tuples(st.integers(1, 255), values),
    st.tuples(st.sampled_from(sorted(NAMED)), values),
    st.tuples(
        st.sampled_from(NUMBERS), st.integers(0, (1 << 32) - 1).map(lambda said: said.to_bytes(4, "big"))
    ),
    st.tuples(st.just(40), st.integers(1, 8).map(lambda said: said.to_bytes(4, "big"))),
    st.tuples(
        st.just(26),
        st.tuples(st.sampled_from([311, 2011, 2636, 4874, 6527, 14988]), values).map(
            lambda said: said[0].to_bytes(4, "big") + bytes((144, len(said[1]) + 2)) + said[1]
        ),
    ),
)


@settings(max_examples=effort(60, 1000), deadline=None)
@given(
    said=st.lists(attributes, max_size=25),
    names=st.tuples(st.text(max_size=9), st.text(max_size=9), st.text(max_size=9)).filter(
        lambda said: all(each.isprintable() for each in said)
    ),
    peer=st.sampled_from(PEERS),
    at=st.floats(0, 4e9),
    session=st.sampled_from(["", "7"]),
    vendor=st.sampled_from(["standard", "mikrotik", "huawei", "juniper", "nokia"]),
)
def test_a_text_says_what_a_plain_reading_says(
    said: list[tuple[int, bytes]],
    names: tuple[str, str, str],
    peer: bytes,
    at: float,
    session: str,
    vendor: str,
) -> None:
    profile = vendors.find(vendor)
    assert profile is not None
    octets = b"".join(attribute(kind, value) for kind, value in said)
    octets = bytes((4, 1)) + (20 + len(octets)).to_bytes(2, "big") + bytes(16) + octets
    record = Record(at, peer, *names, octets)
    packet = decode(octets)
    body = body_of(
        record, packet, report.read(1, record, packet, profile, BELIEF), profile.usage(packet), session
    )
    assert json.loads(body) == plain(record, packet, profile, session)
    assert "\n" not in body
    told = Event(9, T0, 'a"b', Urgency.B, names[0], session, body, b"")
    assert json.loads(encode('p"7', Stream.ACCOUNTING, Incarnation("i", 2), told)) == {
        "id": 'p"7/accounting/i/7',
        "type": 'a"b',
        "schema_version": 1,
        "stream": "accounting",
        "seq": 7,
        "tenant_id": names[0],
        "occurred_at": rfc3339(T0),
        "class": "B",
        "source": 'p"7',
        "correlation_id": session,
        "data": json.loads(body),
    }


@given(
    st.lists(st.tuples(st.binary(max_size=20), st.text(max_size=9), st.binary(max_size=60)), max_size=9),
    st.integers(0, 10),
)
def test_a_row_is_read_from_any_record_on(made: list[tuple[bytes, str, bytes]], skip: int) -> None:
    records = [
        Record(T0 + i, peer, name, name[::-1], name * 2, octets)
        for i, (peer, name, octets) in enumerate(made)
    ]
    packed = [pack(each) for each in records]
    assert list(entries(b"".join(packed), skip)) == list(zip(records, packed, strict=True))[skip:]
