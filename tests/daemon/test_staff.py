"""Logins of staff to devices, from packet to packet."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace

import pytest

from daemon.aaa.endpoint import Port
from daemon.aaa.staff import access as staff
from daemon.aaa.staff.access import StaffDecision
from daemon.replica.records import Secret, SecretKind
from radius import exchange, mschap
from radius.codes import Attr, Code, Vendor
from radius.grant import Privilege
from radius.packet import Packet, attribute
from tests.daemon.stack import T0, Stack, clear, nas, subscriber
from tests.daemon.staff_stack import StaffStack, member

ACCEPT, REJECT = Code.ACCESS_ACCEPT, Code.ACCESS_REJECT
PASSWORD = "Kanarie-password-77c1"
NAS_PROMPT = attribute(Attr.SERVICE_TYPE, b"\0\0\0\7")
FRAMED = attribute(Attr.SERVICE_TYPE, b"\0\0\0\2")


def code(reply: Packet | None) -> int | None:
    return None if reply is None else reply.code


def only(stack: StaffStack) -> StaffDecision:
    """Return the only decision that was recorded."""
    (decision,) = stack.trace.newest_first()
    assert isinstance(decision, StaffDecision)
    return decision


def microsoft(name: str, password: str) -> tuple[bytes, bytes]:
    """Return the attributes of MS-CHAPv2, as RouterOS sends them, and the success value."""
    attributes, success = exchange.mschap_v2(5, name.encode(), password, os.urandom(16), os.urandom(16))
    return attribute(Attr.USER_NAME, name.encode()) + attributes, success


# --- who gets in ---------------------------------------------------------------------------------------


def test_pap_is_accepted_with_the_privilege_in_the_vendors_words() -> None:
    stack = StaffStack()
    reply = stack.nas().ask(stack.nas().login("root", PASSWORD))
    assert reply is not None
    assert reply.code == ACCEPT
    assert reply.find_vendor(Vendor.MIKROTIK, 3) == b"full"
    cisco = stack.nas("10.9.0.1")
    reply = cisco.ask(cisco.login("root", PASSWORD))
    assert reply is not None
    assert reply.find_vendor(Vendor.CISCO, 1) == b"shell:priv-lvl=15"


def test_a_group_of_the_nass_vendor_replaces_the_privilege_and_no_other_vendor_sees_it() -> None:
    stack = StaffStack()
    for address, vendor, kind, value in (
        ("127.0.0.1", Vendor.MIKROTIK, 3, b"noc"),
        ("10.9.0.1", Vendor.CISCO, 1, b"shell:priv-lvl=1"),
    ):
        twin = stack.nas(address)
        reply = twin.ask(twin.login("guest", PASSWORD))
        assert reply is not None
        assert reply.find_vendor(vendor, kind) == value


def test_mschapv2_is_accepted_and_proves_the_server() -> None:
    twin = StaffStack().nas()
    attributes, success = microsoft("root", PASSWORD)
    reply = twin.ask(twin.request(attributes))
    assert reply is not None
    assert reply.code == ACCEPT
    assert exchange.mschap_v2_success(reply) == success
    assert reply.find_vendor(Vendor.MIKROTIK, 3) == b"full"


def test_chap_and_the_old_mschap_are_accepted() -> None:
    twin = StaffStack().nas()
    name = attribute(Attr.USER_NAME, b"root")
    for attributes in (
        exchange.chap(7, PASSWORD.encode(), os.urandom(16)),
        exchange.mschap_v1(5, PASSWORD, os.urandom(8)),
    ):
        assert code(twin.ask(twin.request(name + attributes))) == ACCEPT


def test_an_nt_hash_is_enough_for_routeros() -> None:
    secret = Secret(SecretKind.NT_HASH, mschap.nt_hash(PASSWORD))
    twin = StaffStack(member("hashed", secret=secret)).nas()
    assert code(twin.ask(twin.request(microsoft("hashed", PASSWORD)[0]))) == ACCEPT


@pytest.mark.parametrize("service", [b"", NAS_PROMPT, FRAMED])
def test_the_service_type_of_the_request_decides_nothing(service: bytes) -> None:
    twin = StaffStack().nas()
    assert code(twin.ask(twin.login("root", PASSWORD, service))) == ACCEPT
    assert code(twin.ask(twin.login("alice", "wonderland", service))) == REJECT


def test_a_login_without_signature_is_accepted_unless_the_nas_must_sign() -> None:
    for required, expected in ((False, ACCEPT), (True, None)):
        twin = StaffStack(nas(require_message_authenticator=required)).nas()
        assert code(twin.ask(twin.login("root", PASSWORD, message=False))) == expected


# --- who does not --------------------------------------------------------------------------------------


def test_a_subscriber_is_nobody_here_and_staff_is_nobody_there() -> None:
    stack = StaffStack()
    twin = stack.nas()
    assert code(twin.ask(twin.login("alice", "wonderland"))) == REJECT
    assert only(stack).reason == "unknown-user"
    other = Stack(member("root"))
    twin = other.nas()
    assert code(twin.ask(twin.login("root", PASSWORD))) == REJECT
    assert other.reasons() == {"unknown-user": 1}


def test_of_two_with_one_name_each_port_knows_its_own() -> None:
    stack = StaffStack(subscriber("root", "of the subscriber"))
    twin = stack.nas()
    assert code(twin.ask(twin.login("root", "of the subscriber"))) == REJECT
    assert code(twin.ask(twin.login("root", PASSWORD))) == ACCEPT


@pytest.mark.parametrize("name", ["box", "root@isp.example", "ROOT"])
def test_neither_mac_nor_realm_nor_case_makes_a_name_fit(name: str) -> None:
    mac = subscriber("box", None, macs=("02:00:00:00:00:2a",))
    stack = StaffStack(mac, nas(strip_realm=True))
    twin = stack.nas()
    calling = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-2A")
    assert code(twin.ask(twin.login(name, PASSWORD, calling))) == REJECT


def test_staff_of_another_tenant_is_nobody_here() -> None:
    stack = StaffStack()
    stack.index.put(replace(stack.index.tenants["demo"].tenant, id="other"))
    stack.index.put(member("theirs", tenant="other"))
    twin = stack.nas()
    assert code(twin.ask(twin.login("theirs", PASSWORD))) == REJECT


@pytest.mark.parametrize(
    ("name", "password", "reason", "step"),
    [
        ("root", "wrong", "wrong-password", "credential"),
        ("mallory", PASSWORD, "unknown-user", "identity"),
        ("gone", PASSWORD, "staff-disabled", "enabled"),
        ("student", PASSWORD, "staff-expired", "validity"),
        ("local", PASSWORD, "wrong-nas", "nas-allowed"),
        ("southern", PASSWORD, "wrong-site", "site-allowed"),
    ],
)
def test_every_denial_has_its_reason_and_tells_the_device_none(
    name: str, password: str, reason: str, step: str
) -> None:
    stack = StaffStack()
    twin = stack.nas()
    reply = twin.ask(twin.login(name, password))
    assert reply is not None
    assert reply.code == REJECT
    assert [kind for kind, _ in reply.attributes()] == [Attr.MESSAGE_AUTHENTICATOR]
    assert stack.reasons() == {reason: 1}
    decision = only(stack)
    assert decision.reason == reason
    *passed, last = staff.steps(decision)
    assert {each.result for each in passed} == {"passed"}
    assert (last.step, last.result) == (step, "failed")
    assert last.detail
    assert "subscriber" not in last.detail


def test_a_wrong_password_says_nothing_of_what_else_is_wrong() -> None:
    for name in ("gone", "student", "local", "southern"):
        stack = StaffStack()
        twin = stack.nas()
        assert code(twin.ask(twin.login(name, "wrong"))) == REJECT
        assert only(stack).reason == "wrong-password"


def test_nases_and_sites_let_in_where_they_fit() -> None:
    stack = StaffStack()
    north, edge = stack.nas(), stack.nas("10.9.0.1")
    assert code(edge.ask(edge.login("local", PASSWORD))) == ACCEPT
    assert code(north.ask(north.login("northern", PASSWORD))) == ACCEPT
    assert code(edge.ask(edge.login("northern", PASSWORD))) == REJECT, "a NAS without a site is at none"


def test_the_last_second_of_validity_counts() -> None:
    stack = StaffStack()
    twin = stack.nas()
    stack.at = T0 - 1
    assert code(twin.ask(twin.login("student", PASSWORD))) == ACCEPT
    stack.at = T0
    assert code(twin.ask(twin.login("student", PASSWORD))) == REJECT


def test_a_request_without_a_name_or_a_password_is_refused() -> None:
    stack = StaffStack()
    twin = stack.nas()
    assert code(twin.ask(twin.request(NAS_PROMPT))) == REJECT
    assert code(twin.ask(twin.request(attribute(Attr.USER_NAME, b"root")))) == REJECT
    assert stack.reasons() == {"no-identity": 1, "no-password": 1}


@pytest.mark.parametrize("name", ["mallory", "root", "gone"])
def test_an_mschap_reject_looks_the_same_whatever_the_reason(name: str) -> None:
    twin = StaffStack().nas()
    password = PASSWORD if name == "gone" else "wrong"
    reply = twin.ask(twin.request(microsoft(name, password)[0]))
    assert reply is not None
    assert reply.code == REJECT
    assert [(vendor, kind) for vendor, kind, _ in reply.vendor_attributes()] == [(Vendor.MICROSOFT, 2)]


def test_a_group_that_fits_no_attribute_is_a_denial_that_says_so() -> None:
    stack = StaffStack(member("root", groups=(("mikrotik", "x" * 300),)))
    twin = stack.nas()
    assert code(twin.ask(twin.login("root", PASSWORD))) == REJECT
    *_, last = staff.steps(only(stack))
    assert (last.step, last.result) == ("render", "failed")
    assert "300" in last.detail


def test_who_is_switched_off_is_out_at_the_next_login() -> None:
    stack = StaffStack()
    twin = stack.nas()
    assert code(twin.ask(twin.login("root", PASSWORD))) == ACCEPT
    stack.index.put(member("root", enabled=False))
    assert code(twin.ask(twin.login("root", PASSWORD))) == REJECT


# --- authenticity, rotation, repeats, delays, slow hashes ---------------------------------------------------


def test_what_is_not_authentic_gets_no_answer() -> None:
    stack = StaffStack()
    stranger = stack.nas(secret=b"another")
    assert stranger.ask(stranger.login("root", PASSWORD)) is None
    assert stranger.ask(stranger.status()) is None
    twin = stack.nas()
    proxied = attribute(Attr.PROXY_STATE, b"one")
    assert twin.ask(twin.login("root", PASSWORD, proxied, message=False)) is None
    eap = attribute(Attr.USER_NAME, b"root") + attribute(Attr.EAP_MESSAGE, b"\x02\x09\x00\x09\x01root")
    assert twin.ask(twin.request(eap, message=False)) is None
    assert stack.reasons() == {
        "bad-message-authenticator": 2,
        "proxy-state-unsigned": 1,
        "eap-unsigned": 1,
    }
    assert stack.events == [], "whoever has not the secret can log nothing"


def test_proxy_state_is_echoed() -> None:
    twin = StaffStack().nas()
    states = attribute(Attr.PROXY_STATE, b"one") + attribute(Attr.PROXY_STATE, b"two")
    for password in (PASSWORD, "wrong"):
        reply = twin.ask(twin.login("root", password, states))
        assert reply is not None
        assert reply.all(Attr.PROXY_STATE) == [b"one", b"two"]


def test_two_secrets_are_valid_during_a_rotation() -> None:
    stack = StaffStack(nas(secret=clear("new-secret"), previous_secret=clear("testing123")))
    for secret in (b"testing123", b"new-secret", b"testing123"):
        twin = stack.nas(secret=secret)
        for message in (True, False):
            assert code(twin.ask(twin.login("root", PASSWORD, message=message))) == ACCEPT


def test_an_unsigned_login_is_answered_with_the_secret_that_hid_its_password() -> None:
    for secret in (b"testing123", b"new-secret"):
        stack = StaffStack(nas(secret=clear("new-secret"), previous_secret=clear("testing123")))
        twin = stack.nas(secret=secret)
        assert code(twin.ask(twin.login("root", PASSWORD, message=False))) == ACCEPT


def test_status_server_is_answered_and_other_codes_are_dropped() -> None:
    stack = StaffStack()
    twin = stack.nas()
    assert code(twin.ask(twin.status())) == ACCEPT
    account = twin.account(attribute(Attr.ACCT_STATUS_TYPE, b"\0\0\0\1"))
    assert twin.send(account, twin.auth) == []
    assert twin.send(b"\x63\x01\x00\x14" + bytes(16)) == []
    assert stack.reasons() == {"status": 1, "wrong-port": 1, "unknown-code": 1}
    assert list(stack.trace.newest_first()) == []


def test_a_malformed_password_is_dropped() -> None:
    stack = StaffStack()
    twin = stack.nas()
    assert twin.ask(twin.request(attribute(1, b"root") + attribute(2, bytes(15)))) is None
    assert stack.reasons() == {"bad-password-attribute": 1}


def test_a_repeat_gets_the_same_octets_and_is_no_second_login() -> None:
    stack = StaffStack()
    twin = stack.nas()
    request = twin.login("root", PASSWORD)
    assert twin.send(request) == twin.send(request)
    assert len(stack.events) == 1


def test_a_reject_is_delayed_and_nobody_waits_behind_it() -> None:
    async def scenario() -> None:
        stack = StaffStack(reject_delay_s=0.05)
        twin = stack.nas()
        bad = twin.login("root", "wrong")
        assert twin.send(bad) == []
        assert twin.send(bad) == [], "a repeat meanwhile is dropped"
        assert code(twin.ask(twin.login("root", PASSWORD))) == ACCEPT
        sent = stack.wires[Port.STAFF_AUTH].sent
        async with asyncio.timeout(5):
            while not sent:
                await asyncio.sleep(0.01)
        ((octets, peer),) = sent
        assert peer == twin.peer
        assert exchange.check_reply(bad, octets, twin.key).code == REJECT

    asyncio.run(scenario())


def hashed(password: str) -> Secret:
    """Return a hash that takes its time."""
    made = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", "saltsalt", password], capture_output=True, text=True, check=True
    )
    return Secret(SecretKind.CRYPT, made.stdout.strip().encode())


def test_slow_hashes_are_checked_beside_the_loop_and_too_many_are_dropped() -> None:
    async def scenario() -> None:
        stack = StaffStack(member("slow", secret=hashed(PASSWORD)), hashes=2)
        twin = stack.nas()
        good, bad, third = (twin.login("slow", text) for text in (PASSWORD, "wrong", PASSWORD))
        assert twin.send(good) == twin.send(bad) == twin.send(third) == []
        assert stack.reasons() == {"hashes-busy": 1}
        sent = stack.wires[Port.STAFF_AUTH].sent
        async with asyncio.timeout(10):
            while len(sent) < 2:
                await asyncio.sleep(0.01)
        assert [octets[0] for octets, _ in sent] == [ACCEPT, REJECT]
        assert exchange.check_reply(good, sent[0][0], twin.key).find_vendor(Vendor.MIKROTIK, 3) == b"read"
        assert [each.fields["reason"] for each in stack.events] == ["", "wrong-password"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"enabled": False}, "staff-disabled"), ({"secret": clear("another")}, "wrong-password")],
)
def test_what_changes_while_a_hash_is_checked_counts(change: dict[str, object], reason: str) -> None:
    async def scenario() -> None:
        slow = member("slow", secret=hashed(PASSWORD))
        stack = StaffStack(slow)
        twin = stack.nas()
        assert twin.send(twin.login("slow", PASSWORD)) == []
        stack.index.put(replace(slow, **change))  # type: ignore[arg-type] # fields of every type
        sent = stack.wires[Port.STAFF_AUTH].sent
        async with asyncio.timeout(10):
            while not sent:
                await asyncio.sleep(0.01)
        assert sent[0][0][0] == REJECT
        assert only(stack).reason == reason

    asyncio.run(scenario())


# --- what is told of it ---------------------------------------------------------------------------------


def test_every_login_is_an_event_that_says_who_where_from_and_why() -> None:
    stack = StaffStack()
    twin = stack.nas()
    calling = attribute(Attr.CALLING_STATION_ID, b"198.51.100.7")
    twin.ask(twin.login("root", PASSWORD, calling))
    twin.ask(twin.login("gone", PASSWORD))
    first, second = stack.events
    assert first.kind == second.kind == "staff-login"
    assert first.fields == {
        "tenant": "demo",
        "nas": "lab",
        "reason": "",
        "staff": "ROOT",
        "username": "root",
        "method": "pap",
        "source": "127.0.0.1",
        "calling_station_id": "198.51.100.7",
    }
    assert (second.fields["staff"], second.fields["reason"]) == ("GONE", "staff-disabled")


def test_the_steps_of_a_permit_say_what_was_given() -> None:
    stack = StaffStack(member("root", privilege=Privilege.WRITE))
    twin = stack.nas()
    twin.ask(twin.login("root", PASSWORD))
    steps = list(staff.steps(only(stack)))
    assert {each.result for each in steps} == {"passed"}
    assert [each.step for each in steps][:4] == ["nas", "authenticity", "identity", "credential"]
    assert "write" in steps[-1].detail


def test_a_password_is_in_no_event_and_no_step_even_at_the_wrong_prompt() -> None:
    stack = StaffStack()
    twin = stack.nas()
    twin.ask(twin.login("root", PASSWORD))
    twin.ask(twin.login("gone", PASSWORD))
    twin.ask(twin.login(PASSWORD, "root"))
    told = repr(stack.events)
    for decision in stack.trace.newest_first():
        assert isinstance(decision, StaffDecision)
        told += repr(list(staff.steps(decision))) + repr(decision.staff) + decision.detail
    assert "Kanarie" not in told
    assert len(stack.events) == 3
