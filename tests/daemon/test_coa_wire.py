"""What identifies a session to its NAS, what an Error-Cause is called, and what accounting shows of a change."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network

import pytest

from daemon.aaa.coa.job import Kind
from daemon.aaa.coa.ladder import Step, judge
from daemon.aaa.coa.target import Entry, keys_of, target_of
from daemon.aaa.coa.wire import (
    ErrorCause,
    Shown,
    cause_slug,
    identifications,
    request_attributes,
    shown,
)
from daemon.aaa.nas import Client
from daemon.aaa.session import TRACKED, Session
from radius.codes import Attr, Vendor
from radius.grant import Rendered
from radius.packet import VSA, attribute, decode, header, vendor_attribute
from tests.daemon.coa_stack import report
from tests.daemon.stack import clear, nas


def session(
    username: str = "alice", box: bytes = b"\x20lab", address: bytes | None = b"\x0a\0\0\1"
) -> Session:
    told = report(7, 1, 1, 0.0, username=username, box=box, tracked=(address,) + (None,) * (len(TRACKED) - 1))
    live = Session(told, 1)
    live.fold(told, start=True, stop=False)
    return live


def kinds(live: Session, *sets: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [each.kinds for each in identifications(live, sets)]


def test_a_session_is_named_by_what_its_nas_has_sent() -> None:
    (only,) = identifications(session(), [(1, 44, 8)])
    assert only.octets == bytes.fromhex("0107") + b"alice" + bytes.fromhex(
        "2c0a"
    ) + b"00000007" + bytes.fromhex("08060a000001")


def test_beside_the_session_id_the_rest_may_be_unknown_and_without_it_may_not() -> None:
    """A user name alone would name all sessions of that user, and all that match are affected."""
    unknown = session(address=None)
    assert kinds(unknown, (1, 44, 8), (1, 8), (87, 8)) == [(1, 44)]
    assert kinds(session(username=""), (1, 44), (1, 8)) == [(44,)]


def test_a_nas_is_named_only_by_what_it_calls_itself() -> None:
    assert kinds(session(box=b"\x20lab"), (44, 32, 4)) == [(44, 32)]
    assert kinds(session(box=b"\x04\x7f\0\0\1"), (44, 32, 4)) == [(44, 4)]
    assert kinds(session(box=b"\0\x7f\0\0\1"), (44, 32, 4), (44,)) == [(44,)]
    assert not identifications(session(), [(44,)])[0].names_nas
    assert identifications(session(), [(44, 32)])[0].names_nas


def test_there_is_always_a_name() -> None:
    assert kinds(session(address=None), (87, 8), (32,)) == [(44,)]


def test_a_name_too_long_for_an_attribute_is_left_out() -> None:
    assert kinds(session(username="x" * 254), (1, 44), (44,)) == [(44,)]


def test_event_timestamp_is_a_switch() -> None:
    assert request_attributes(b"ID", None, b"CHANGE") == b"IDCHANGE"
    assert request_attributes(b"ID", 16.9) == b"ID" + bytes.fromhex("370600000010")


@pytest.mark.parametrize(
    ("cause", "slug"),
    [
        (None, ""),
        (503, "session-context-not-found"),
        (403, "nas-identification-mismatch"),
        (999, "cause-999"),
    ],
)
def test_causes_have_slugs(cause: int | None, slug: str) -> None:
    assert cause_slug(cause) == slug


def test_a_cause_that_nobody_knows_is_no_reason_to_stop() -> None:
    assert judge(Kind.CHANGE, 999) is Step.DOWN
    assert {judge(Kind.DISCONNECT, cause) for cause in ErrorCause} >= {Step.NEXT, Step.STOP, Step.BACK_OFF}


def accounting(*attributes: bytes) -> bytes:
    body = b"".join(attributes)
    return header(4, 1, 20 + len(body), bytes(16)) + body


def std(kind: int, value: bytes) -> Rendered:
    return Rendered((kind,), attribute(kind, value), "test")


def avpair(text: bytes) -> Rendered:
    return Rendered((VSA, 9, 1), vendor_attribute(Vendor.CISCO, 1, text), "test")


RATE = Rendered((VSA, 14988, 8), vendor_attribute(Vendor.MIKROTIK, 8, b"2M/10M"), "test")


@pytest.mark.parametrize(
    ("sent", "carried", "state"),
    [
        ((RATE,), (vendor_attribute(14988, 8, b"2M/10M"),), Shown.EQUAL),
        ((RATE,), (vendor_attribute(14988, 8, b"1M/1M"),), Shown.DIFFERENT),
        ((RATE,), (vendor_attribute(14988, 19, b"2M/10M"), attribute(8, bytes(4))), Shown.ABSENT),
        ((RATE, std(11, b"slow")), (attribute(11, b"slow"),), Shown.EQUAL),
        (
            (RATE, std(11, b"slow")),
            (vendor_attribute(14988, 8, b"2M/10M"), attribute(11, b"x")),
            Shown.DIFFERENT,
        ),
        ((std(27, bytes(4)),), (attribute(27, b"\0\0\0\1"),), Shown.ABSENT),
        ((avpair(b"qos=fast"),), (avpair(b"circuit=7").octets, avpair(b"qos=fast").octets), Shown.EQUAL),
        ((avpair(b"qos=fast"),), (avpair(b"circuit=7").octets,), Shown.ABSENT),
        ((avpair(b"qos=fast"),), (avpair(b"qos=slow").octets,), Shown.DIFFERENT),
    ],
)
def test_accounting_shows_a_change(
    sent: tuple[Rendered, ...], carried: tuple[bytes, ...], state: Shown
) -> None:
    assert shown(sent, decode(accounting(*carried))) is state


def test_a_box_is_reached_where_its_entry_or_its_packets_say() -> None:
    box = b"\x04\x7f\0\0\5"
    source, fixed = IPv4Address("127.0.0.7"), IPv4Address("192.0.2.1")
    single = nas(prefixes=(ip_network("192.0.2.9/32"),))

    def address(entry: object, at: bytes, seen: IPv4Address | None = None) -> str:
        target = target_of(entry, at, seen)  # type: ignore[arg-type]
        return str(target.address) if target else ""

    assert address(nas(coa_address=fixed), box, source) == "192.0.2.1"
    assert address(nas(), box, source) == "127.0.0.7"
    assert address(nas(), box) == "127.0.0.5"
    assert address(nas(), b"\x04\x0a\0\0\5") == "", "an address that is none of this entry"
    assert address(nas(), b"\0\x7f\0\0\6") == "127.0.0.6"
    assert address(nas(), b"\x20lab") == ""
    assert address(single, b"\x20lab") == "192.0.2.9"


def test_a_secret_for_coa_stands_alone() -> None:
    assert [key.secret for key in keys_of(nas(previous_secret=clear("old")))] == [b"testing123", b"old"]
    assert [key.secret for key in keys_of(nas(previous_secret=clear("old"), coa_secret=clear("dae")))] == [
        b"dae"
    ]


def entry_of(client: Client) -> Entry:
    return client


def test_untracked_kinds_are_unknown() -> None:
    assert int(Attr.CLASS) not in TRACKED
    assert kinds(session(), (44, 25), (25,)) == [(44,)]
