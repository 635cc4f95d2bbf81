"""Where a subscriber is attached: what is read of it, and when two attachments are the same equipment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.attachment import Attachment, of_packet, of_session, own_of, same_equipment
from daemon.aaa.session_codec import from_row, to_row
from radius.codes import Attr
from radius.packet import attribute, decode, header
from tests.daemon.coa_stack import INTERIM, START, report
from tests.daemon.policy_stage import shown
from tests.daemon.stack import T0, Stack

PORT = attribute(Attr.NAS_PORT, (77).to_bytes(4, "big"))


def read(attributes: bytes) -> Attachment:
    return of_packet(decode(header(1, 1, 20 + len(attributes), bytes(16)) + attributes), "lab")


@pytest.mark.parametrize(
    ("port_id", "vlan"),
    [
        ("vlan100", "100"),
        ("vlan100.7", "100.7"),
        ("VLAN-ID=120", "120"),
        ("bras1 vlan_7-customer", "7"),
        ("slot=0;subslot=1;port=3;vlanid=100;", "100"),
        ("0/1/3:100.200", "100.200"),
        ("ge-0/0/1.1073741828:100-200", "100.200"),
        ("eth 2/1:100", "100"),
        ("ether1", None),
        ("vlan12345", None),
        ("0/1/3:12345", None),
        ("0/1/3", None),
        ("", None),
    ],
)
def test_the_vlan_is_read_from_the_port(port_id: str, vlan: str | None) -> None:
    assert read(shown(port=port_id) if port_id else b"").vlan == vlan


@pytest.mark.parametrize(
    ("attributes", "port"),
    [
        (shown(port="ether1"), "lab ether1"),
        (PORT, "lab 77"),
        (shown(port="ether1") + PORT, "lab ether1"),
        (b"", None),
    ],
)
def test_a_port_is_that_of_one_nas(attributes: bytes, port: str | None) -> None:
    assert read(attributes).port == port


@pytest.mark.parametrize(
    ("calling", "mac"),
    [
        ("02-00-00-00-00-2A", "02:00:00:00:00:2a"),
        ("0200.0000.002a", "02:00:00:00:00:2a"),
        ("1:02:00:00:00:00:2a", "02:00:00:00:00:2a"),
        ("+49 30 123456", None),
        ("192.0.2.1", None),
    ],
)
def test_only_a_mac_counts_as_one(calling: str, mac: str | None) -> None:
    assert read(shown(calling)).mac == mac


@given(st.binary(min_size=1, max_size=250), st.binary(min_size=1, max_size=250))
def test_any_octets_can_be_read(calling: bytes, port_id: bytes) -> None:
    attributes = attribute(Attr.CALLING_STATION_ID, calling) + attribute(Attr.NAS_PORT_ID, port_id)
    found = read(attributes)
    assert found.port is not None
    assert same_equipment(found, found) or (found.mac is None and found.vlan is None)


def test_a_session_shows_the_latest_and_a_login_of_the_same_place_the_same() -> None:
    stack = Stack()
    tracked: list[bytes | None] = [None] * 10
    _, session = stack.sessions.apply(report(1, START, 1, T0, tracked=tuple(tracked)))
    assert of_session(session) == Attachment()
    tracked[1], tracked[3] = b"02-00-00-00-00-2A", b"vlan7"
    stack.sessions.apply(report(1, INTERIM, 2, T0 + 60, tracked=tuple(tracked)))
    assert of_session(session) == read(shown("02-00-00-00-00-2A", "vlan7"))


def test_a_port_that_several_sessions_share_proves_nothing() -> None:
    here = Attachment(port="lab vlan7", vlan="7")
    assert own_of(here, [here]) == [True]
    assert own_of(here, [here, here]) == [False, False]
    mine = here._replace(mac=MAC)
    assert own_of(mine, [mine, here, here]) == [True, False, False]


def test_a_session_shows_the_line_that_its_login_has_named() -> None:
    _, session = Stack().sessions.apply(report(1, START, 1, T0, tracked=(None,) * 10))
    session.line = b"circuit", b"remote"
    assert of_session(session) == Attachment(circuit=b"circuit", remote=b"remote")
    assert of_session(from_row(to_row(session))) == of_session(session)


MAC, LINE, PLACE = "02:00:00:00:00:01", b"olt-1", "lab 7"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Attachment(mac=MAC, port="a"), Attachment(mac=MAC, port="b"), True),
        (Attachment(mac=MAC, port=PLACE, circuit=LINE), Attachment(mac="x", port=PLACE, circuit=LINE), False),
        (Attachment(circuit=LINE, port="a"), Attachment(circuit=LINE, port="b"), True),
        (Attachment(mac=MAC, circuit=LINE), Attachment(circuit=b"olt-2", port=PLACE), False),
        (Attachment(mac=MAC, port=PLACE, vlan="7"), Attachment(port=PLACE, vlan="7"), True),
        (Attachment(port=PLACE), Attachment(port=PLACE), False),
        (Attachment(mac=MAC), Attachment(circuit=LINE), False),
        (Attachment(), Attachment(), False),
    ],
)
def test_equipment_is_told_by_mac_else_by_circuit_else_by_port(
    one: Attachment, other: Attachment, same: bool
) -> None:
    assert same_equipment(one, other) is same
    assert same_equipment(other, one) is same
