"""The relay finds the session that a request means, and says why where it does not."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from daemon.aaa import shown_id, token
from daemon.aaa.coa.wire import ErrorCause
from daemon.aaa.relay.find import Finder, Found
from radius.codes import Attr, Vendor
from radius.exchange import Request
from radius.packet import attribute, decode, vendor_attribute
from tests.daemon.relay_stage import Stage, address, change, disconnect, sid, user

RATE = vendor_attribute(Vendor.MIKROTIK, 8, b"10M/50M")
FILTER = attribute(Attr.FILTER_ID, b"RES-IN")
MAC = b"02:00:00:00:00:2a"


def nas_ip(text: str) -> bytes:
    return attribute(Attr.NAS_IP_ADDRESS, ip_address(text).packed)


def find(stage: Stage, request: Request, tenant: str = "demo") -> Found | ErrorCause:
    return Finder(stage.index, stage.live).find(tenant, decode(request.octets))


def found_uids(stage: Stage, request: Request) -> list[int]:
    found = find(stage, request)
    assert isinstance(found, Found), found
    return sorted(session.uid for session in found.sessions)


def two_homes() -> Stage:
    """Two subscribers on two boxes that use the same Acct-Session-Id."""
    stage = Stage()
    stage.session(
        "8000",
        "alice",
        framed_ip_address=ip_address("100.64.0.1").packed,
        calling_station_id=MAC,
        nas_port_id=b"eth1",
        framed_ipv6_prefix=b"\0\x40" + ip_address("2001:db8:a:1::").packed[:8],
        delegated_ipv6_prefix=b"\0\x38" + ip_address("2001:db8:1000::").packed,
        class_octets=token.class_attribute(77, token.subscriber_check("ALICE"))[2:],
    )
    stage.session(
        "8000",
        "bob",
        box=b"\x04" + ip_address("10.9.0.2").packed,
        framed_ip_address=ip_address("100.64.0.2").packed,
        calling_station_id=b"02:00:00:00:00:2b",
    )
    return stage


@pytest.mark.parametrize(
    "names",
    [
        (user(), sid("8000")),
        (user(),),
        (address("100.64.0.1"),),
        (sid("8000"), address("100.64.0.1")),
        (sid("8000"), attribute(Attr.CALLING_STATION_ID, MAC)),
        (sid("8000"), attribute(Attr.CALLING_STATION_ID, b"0200.0000.002A")),
        (sid("8000"), attribute(Attr.NAS_PORT_ID, b"eth1")),
        (sid("8000"), attribute(25, token.class_attribute(77, token.subscriber_check("ALICE"))[2:])),
        (user(), attribute(97, b"\0\x40" + ip_address("2001:db8:a:1::").packed)),
        (user(), attribute(123, b"\0\x38" + ip_address("2001:db8:1000::").packed[:7])),
        (sid("8000"), nas_ip("10.9.0.1")),
        (user(), sid("8000"), address("100.64.0.1"), nas_ip("10.9.0.1"), attribute(61, bytes(4))),
    ],
)
def test_one_session_is_found_when_everything_matches(names: tuple[bytes, ...]) -> None:
    assert found_uids(two_homes(), disconnect(*names)) == [1]
    assert found_uids(two_homes(), change(*names, RATE)) == [1]


@pytest.mark.parametrize(
    "names",
    [
        (user("eve"),),
        (user("bob"), address("100.64.0.1")),
        (user(), sid("8001")),
        (user(), attribute(Attr.CALLING_STATION_ID, b"02:00:00:00:00:2b")),
        (user(), attribute(Attr.CALLING_STATION_ID, b"not a mac")),
        (user(), attribute(Attr.NAS_PORT, bytes(4))),  # its NAS has never told a port
        (user(), attribute(97, b"\0\x40" + ip_address("2001:db8:a:2::").packed)),
        (user(), attribute(25, token.class_attribute(78, token.subscriber_check("ALICE"))[2:])),
        (user(), user("bob")),  # one of each, and all must match
        (address("100.64.0.1")[:1] + b"\x05\x64\x40\x00",),
    ],
)
def test_no_session_is_found_when_anything_does_not_match(names: tuple[bytes, ...]) -> None:
    assert find(two_homes(), disconnect(*names)) is ErrorCause.SESSION_CONTEXT_NOT_FOUND


def test_a_session_is_found_by_the_name_that_a_radacct_table_shows_for_it() -> None:
    stage = two_homes()
    for uid in (1, 2):
        shown = shown_id.suffixed("8000", uid, 64)
        assert found_uids(stage, disconnect(sid(shown))) == [uid]
    assert (
        find(stage, disconnect(sid(shown_id.suffixed("8000", 3, 64)))) is ErrorCause.SESSION_CONTEXT_NOT_FOUND
    )
    assert find(stage, disconnect(sid("8000~"))) is ErrorCause.SESSION_CONTEXT_NOT_FOUND


def test_a_closed_session_is_not_found() -> None:
    stage = two_homes()
    (session,) = stage.live.of_username("demo", "alice")
    stage.close(session)
    assert find(stage, disconnect(user())) is ErrorCause.SESSION_CONTEXT_NOT_FOUND


def test_sessions_of_another_tenant_are_not_looked_at() -> None:
    assert find(two_homes(), disconnect(user()), "other") is ErrorCause.SESSION_CONTEXT_NOT_FOUND


@pytest.mark.parametrize(
    "names", [(), (nas_ip("10.9.0.1"),), (attribute(Attr.CALLING_STATION_ID, MAC),), (FILTER[:0],)]
)
def test_a_request_without_indexed_identification_lacks_an_attribute(names: tuple[bytes, ...]) -> None:
    assert find(two_homes(), disconnect(*names)) is ErrorCause.MISSING_ATTRIBUTE


@pytest.mark.parametrize(
    ("box", "name", "fits"),
    [
        (b"\x04\x0a\x09\x00\x01", nas_ip("10.9.0.1"), True),
        (b"\x04\x0a\x09\x00\x01", nas_ip("10.9.0.2"), False),
        (b"\x04\x0a\x09\x00\x01", attribute(32, b"lab"), True),  # what our entry is called
        (b"\x04\x0a\x09\x00\x01", attribute(32, b"bng1"), False),
        (b"\x20bng1", attribute(32, b"bng1"), True),
        (b"\x20bng1", attribute(32, b"bng2"), False),
        (b"\x20bng1", nas_ip("10.9.0.7"), True),  # within the entry's prefix, and it says no address itself
        (b"\x20bng1", nas_ip("10.8.0.7"), False),
        (b"\x20bng1", attribute(4, b"\x0a\x09\x00"), False),
        (b"\x20bng1", attribute(95, ip_address("2001:db8::7").packed), False),
        (b"\x00\x0a\x09\x00\x05", nas_ip("10.9.0.5"), True),  # the source of its packets
        (b"\x00\x0a\x09\x00\x05", nas_ip("10.9.0.6"), False),
    ],
)
def test_nas_attributes_are_matched_against_the_box(box: bytes, name: bytes, *, fits: bool) -> None:
    stage = Stage()
    stage.session("1", box=box)
    found = find(stage, disconnect(user(), name))
    assert isinstance(found, Found) if fits else found is ErrorCause.NAS_IDENTIFICATION_MISMATCH


def test_a_nas_attribute_tells_sessions_of_one_name_apart() -> None:
    stage = two_homes()
    assert find(stage, disconnect(sid("8000"))) is ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED
    assert found_uids(stage, disconnect(sid("8000"), nas_ip("10.9.0.2"))) == [2]


def test_a_user_name_alone_means_all_sessions_of_a_subscriber_to_a_disconnect_only() -> None:
    stage = Stage()
    stage.session("1")
    stage.session("2")
    assert found_uids(stage, disconnect(user())) == [1, 2]
    assert find(stage, change(user(), RATE)) is ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED


def test_several_matches_are_refused_unless_a_user_name_of_one_subscriber_is_all_that_is_said() -> None:
    stage = Stage()
    shared = ip_address("100.64.0.9").packed
    stage.session("1", framed_ip_address=shared)
    stage.session("2", framed_ip_address=shared)
    several = ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED
    assert find(stage, disconnect(user(), address("100.64.0.9"))) is several
    stage.session("3", subscriber="SOMEBODY-ELSE")
    assert find(stage, disconnect(user())) is several


def test_what_is_no_identification_is_the_change_in_its_order() -> None:
    stage = two_homes()
    around = attribute(Attr.PROXY_STATE, b"p1"), attribute(Attr.EVENT_TIMESTAMP, bytes(4))
    request = change(RATE, user(), around[0], FILTER, sid("8000"), around[1], nas_ip("10.9.0.1"), FILTER)
    found = find(stage, request)
    assert isinstance(found, Found)
    assert found.service == RATE + FILTER + FILTER


def test_a_change_of_nothing_lacks_an_attribute() -> None:
    assert find(two_homes(), change(user())) is ErrorCause.MISSING_ATTRIBUTE


def test_a_disconnect_may_say_why_but_not_change_anything() -> None:
    stage = two_homes()
    why = attribute(Attr.REPLY_MESSAGE, b"bye"), attribute(49, (6).to_bytes(4, "big"))
    foreign_class = attribute(25, b"platform")
    found = find(stage, disconnect(user(), *why, foreign_class))
    assert isinstance(found, Found)
    assert found.service == b""
    assert find(stage, disconnect(user(), RATE)) is ErrorCause.UNSUPPORTED_ATTRIBUTE
    assert find(stage, disconnect(user(), FILTER)) is ErrorCause.UNSUPPORTED_ATTRIBUTE


@pytest.mark.parametrize(
    ("extra", "cause"),
    [
        (attribute(89, b"cui"), ErrorCause.UNSUPPORTED_ATTRIBUTE),
        (attribute(69, b"\x00\x80\x00" + bytes(16)), ErrorCause.UNSUPPORTED_ATTRIBUTE),
        (attribute(25, b"platform"), ErrorCause.UNSUPPORTED_ATTRIBUTE),
        (attribute(6, (17).to_bytes(4, "big")), ErrorCause.UNSUPPORTED_SERVICE),
        (attribute(241, b"\x08elsewhere"), ErrorCause.NAS_IDENTIFICATION_MISMATCH),
    ],
)
def test_a_change_that_cannot_be_relayed_is_refused(extra: bytes, cause: ErrorCause) -> None:
    assert find(two_homes(), change(user(), RATE, extra)) is cause
