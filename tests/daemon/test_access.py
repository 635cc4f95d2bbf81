"""Logins from packet to packet: methods, reasons, authenticity, duplicates."""

from __future__ import annotations

import asyncio
import os
import subprocess
from dataclasses import replace
from ipaddress import ip_network

import pytest

from daemon.aaa import explain, token
from daemon.metrics import EdgeCollector, StoreCounts
from daemon.replica.records import AccessMode, IdentitySource, Nas, Secret, SecretKind, Tenant
from radius import exchange, mschap
from radius.authenticator import Key
from radius.codes import Attr, Code, Vendor
from radius.hiding import reveal_salted
from radius.packet import attribute, decode, vendor_attribute
from tests.daemon.stack import Stack, clear, nas, subscriber

ACCEPT, REJECT = Code.ACCESS_ACCEPT, Code.ACCESS_REJECT


def test_pap_is_accepted_with_what_the_plan_says() -> None:
    reply = Stack().nas().ask(Stack().nas().login("alice", "wonderland"))
    assert reply is not None
    assert reply.code == ACCEPT
    assert reply.find_vendor(Vendor.MIKROTIK, 8) == b"20M/100M"
    assert reply.find_int(Attr.ACCT_INTERIM_INTERVAL) == 600
    assert token.read(reply.find(Attr.CLASS)) is not None
    assert token.belongs(reply.find(Attr.CLASS) or b"", "ALICE")


def test_chap_is_accepted_with_and_without_a_challenge_attribute() -> None:
    twin = Stack().nas()
    challenge = os.urandom(16)
    with_challenge = attribute(1, b"alice") + exchange.chap(7, b"wonderland", challenge)
    authenticator = os.urandom(16)
    value = exchange.chap(8, b"wonderland", authenticator)[: 2 + 17]
    without = exchange.access_request(9, authenticator, attribute(1, b"alice") + value, twin.key)
    for request in (twin.request(with_challenge), without):
        reply = twin.ask(request)
        assert reply is not None
        assert reply.code == ACCEPT


def test_mschap_v1_is_accepted_with_its_keys() -> None:
    twin = Stack().nas()
    reply = twin.ask(
        twin.request(attribute(1, b"alice") + exchange.mschap_v1(5, "wonderland", os.urandom(8)))
    )
    assert reply is not None
    assert reply.code == ACCEPT
    assert len(reply.find_vendor(Vendor.MICROSOFT, 12) or b"") == 32


def test_mschap_v2_is_accepted_proves_the_server_and_gives_keys() -> None:
    twin = Stack().nas()
    attributes, success = exchange.mschap_v2(5, b"alice", "wonderland", os.urandom(16), os.urandom(16))
    request = twin.request(attribute(1, b"alice") + attributes)
    reply = twin.ask(request)
    assert reply is not None
    assert reply.code == ACCEPT
    assert exchange.mschap_v2_success(reply) == success
    send, receive = (
        reveal_salted(
            reply.find_vendor(Vendor.MICROSOFT, kind) or b"", twin.key.secret, request.authenticator
        )
        for kind in (16, 17)
    )
    assert len(send) == len(receive) == 16
    assert send != receive


@pytest.mark.parametrize("version", [1, 2])
def test_a_wrong_mschap_response_is_rejected_with_an_error_for_the_peer(version: int) -> None:
    twin = Stack().nas()
    if version == 1:
        attributes = exchange.mschap_v1(5, "wrong", os.urandom(8))
    else:
        attributes, _ = exchange.mschap_v2(5, b"alice", "wrong", os.urandom(16), os.urandom(16))
    reply = twin.ask(twin.request(attribute(1, b"alice") + attributes))
    assert reply is not None
    assert reply.code == REJECT
    error = reply.find_vendor(Vendor.MICROSOFT, 2) or b""
    assert error[:1] == b"\x05"
    assert error[1:].startswith(b"E=691 R=0")


@pytest.mark.parametrize(
    ("username", "password", "reason"),
    [
        ("alice", "wrong", "wrong-password"),
        ("mallory", "x", "unknown-user"),
        ("bob", "builder", "access-reject"),
        ("bob", "wrong", "wrong-password"),
        ("carol", "christmas", "captive-unsupported"),
        ("nobody", "terminal", "access-none"),
        ("early", "bird", "not-yet-valid"),
        ("expired", "milk", "expired"),
        ("planless", "x", "no-plan"),
        ("lost", "x", "no-plan"),
        ("keyless", "x", "no-secret"),
    ],
)
def test_every_denial_has_its_reason_and_tells_the_client_none(
    username: str, password: str, reason: str
) -> None:
    stack = Stack()
    twin = stack.nas()
    reply = twin.ask(twin.login(username, password))
    assert reply is not None
    assert reply.code == REJECT
    assert [kind for kind, _ in reply.attributes()] == [Attr.MESSAGE_AUTHENTICATOR]
    assert stack.reasons() == {reason: 1}
    (decision,) = stack.trace.newest_first()
    assert decision.reason == reason
    assert [step.result for step in explain.steps(decision)][-1] == "failed"


def test_the_reply_message_is_the_tenants_and_no_reason() -> None:
    stack = Stack(Tenant(id="demo", reject_message="Please call us"))
    twin = stack.nas()
    for username, password in (("bob", "builder"), ("mallory", "x")):
        reply = twin.ask(twin.login(username, password))
        assert reply is not None
        assert reply.find_text(Attr.REPLY_MESSAGE) == "Please call us"


def test_a_fixed_address_and_prefix_are_given() -> None:
    twin = Stack().nas()
    reply = twin.ask(twin.login("dave", "dragonfly"))
    assert reply is not None
    assert reply.find(Attr.FRAMED_IP_ADDRESS) == bytes((203, 0, 113, 10))
    assert (reply.find(Attr.DELEGATED_IPV6_PREFIX) or b"")[:8] == bytes.fromhex("003820010db81000")


def test_a_session_ends_no_later_than_the_subscription() -> None:
    stack = Stack()
    twin = stack.nas()
    for passed in (0, 30):
        stack.at += passed
        reply = twin.ask(twin.login("ending", "soon"))
        assert reply is not None
        assert reply.find_int(Attr.SESSION_TIMEOUT) == 90 - passed


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("02:00:00:00:00:2a", "02:00:00:00:00:2a"),
        ("02-00-00-00-00-2A", "02-00-00-00-00-2A"),
        ("0200.0000.002a", ""),
        ("02000000002A", "02000000002A"),
    ],
)
def test_a_mac_as_user_name_is_an_identity_in_any_notation(name: str, password: str) -> None:
    twin = Stack().nas()
    reply = twin.ask(twin.login(name, password))
    assert reply is not None
    assert reply.code == ACCEPT


def test_a_mac_with_a_foreign_password_is_refused() -> None:
    twin = Stack().nas()
    reply = twin.ask(twin.login("02:00:00:00:00:2a", "guess"))
    assert reply is not None
    assert reply.code == REJECT


def test_a_line_is_an_identity_where_the_nas_is_set_so() -> None:
    line = vendor_attribute(Vendor.ADSL_FORUM, 1, b"olt1 1/2/3:100")
    stack = Stack(nas(identities=(IdentitySource.CIRCUIT, IdentitySource.CALLING_STATION)))
    twin = stack.nas()
    by_circuit = twin.ask(twin.request(line))
    by_station = twin.ask(twin.request(attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-2A")))
    assert by_circuit is not None
    assert by_station is not None
    assert by_circuit.code == by_station.code == ACCEPT
    twin = Stack().nas()
    refused = twin.ask(twin.request(line))
    assert refused is not None
    assert refused.code == REJECT


def test_a_line_password_of_the_nas_must_match() -> None:
    stack = Stack(nas(line_password=clear("shared")))
    twin = stack.nas()
    good, bad, none = (
        twin.ask(twin.login("02:00:00:00:00:2a", "shared")),
        twin.ask(twin.login("02:00:00:00:00:2a", "02:00:00:00:00:2a")),
        twin.ask(twin.request(attribute(1, b"02:00:00:00:00:2a"))),
    )
    assert [each and each.code for each in (good, bad, none)] == [ACCEPT, REJECT, REJECT]


def test_a_realm_is_stripped_only_where_the_nas_is_set_so() -> None:
    for strip, code in ((False, REJECT), (True, ACCEPT)):
        twin = Stack(nas(strip_realm=strip)).nas()
        reply = twin.ask(twin.login("alice@isp.example", "wonderland"))
        assert reply is not None
        assert reply.code == code


# --- authenticity --------------------------------------------------------------------------------------


def test_a_wrong_message_authenticator_gets_no_answer() -> None:
    stack = Stack()
    twin = stack.nas(secret=b"another")
    assert twin.ask(twin.login("alice", "wonderland")) is None
    assert stack.reasons() == {"bad-message-authenticator": 1}


def test_an_unsigned_request_is_answered_unless_the_nas_must_sign() -> None:
    for required, answered in ((False, True), (True, False)):
        stack = Stack(nas(require_message_authenticator=required))
        twin = stack.nas()
        reply = twin.ask(twin.login("alice", "wonderland", message=False))
        assert (reply is not None) is answered
    assert stack.reasons() == {"no-message-authenticator": 1}


def test_proxy_state_without_signature_is_dropped_unless_allowed() -> None:
    stack = Stack()
    twin = stack.nas()
    extra = attribute(Attr.PROXY_STATE, b"one") + attribute(Attr.PROXY_STATE, b"two")
    assert twin.ask(twin.login("alice", "wonderland", extra, message=False)) is None
    assert stack.reasons() == {"proxy-state-unsigned": 1}
    for reply in (
        twin.ask(twin.login("alice", "wonderland", extra)),
        Stack(nas(limit_proxy_state=False))
        .nas()
        .ask(twin.login("alice", "wonderland", extra, message=False)),
    ):
        assert reply is not None
        assert reply.all(Attr.PROXY_STATE) == [b"one", b"two"]


def test_eap_must_be_signed_and_is_refused_with_an_eap_failure() -> None:
    stack = Stack()
    twin = stack.nas()
    start = attribute(1, b"alice") + attribute(Attr.EAP_MESSAGE, b"\x02\x09\x00\x0a\x01alice")
    assert twin.ask(twin.request(start, message=False)) is None
    reply = twin.ask(twin.request(start))
    assert reply is not None
    assert reply.code == REJECT
    assert reply.find(Attr.EAP_MESSAGE) == b"\x04\x09\x00\x04"
    assert stack.reasons() == {"eap-unsigned": 1, "method-unsupported": 1}


def test_two_secrets_are_valid_during_a_rotation() -> None:
    stack = Stack(nas(secret=clear("new-secret"), previous_secret=clear("testing123")))
    for secret in (b"testing123", b"new-secret", b"testing123"):
        twin = stack.nas(secret=secret)
        for message in (True, False):
            reply = twin.ask(twin.login("alice", "wonderland", message=message))
            assert reply is not None
            assert reply.code == ACCEPT


def test_a_strangers_packet_is_dropped_counted_and_kept_as_candidate() -> None:
    stack = Stack()
    twin = stack.nas("192.0.2.77")
    for _ in range(3):
        assert (
            twin.ask(twin.login("alice", "wonderland", attribute(Attr.NAS_IDENTIFIER, b"new-bras"))) is None
        )
    assert stack.reasons() == {"unknown-nas": 3}
    assert stack.strangers == [bytes((192, 0, 2, 77))]
    (candidate,) = stack.clients.candidates()
    assert (candidate.packets, candidate.nas_identifier) == (3, "new-bras")
    stack.index.put(nas(id="new", prefixes=(ip_network("192.0.2.0/24"),)))
    assert stack.clients.candidates() == []
    reply = twin.ask(twin.login("alice", "wonderland"))
    assert reply is not None, "a NAS is admitted at once"


def test_the_longest_prefix_wins_on_both_families() -> None:
    stack = Stack(
        nas(
            id="wide",
            prefixes=(ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")),
            secret=clear("wide-secret"),
        ),
        nas(
            id="one",
            prefixes=(ip_network("10.1.1.1/32"), ip_network("2001:db8::1/128")),
            secret=clear("one-secret"),
        ),
    )
    for address, secret in (
        ("10.1.1.1", b"one-secret"),
        ("10.1.1.2", b"wide-secret"),
        ("2001:db8::1", b"one-secret"),
        ("2001:db8::2", b"wide-secret"),
    ):
        twin = stack.nas(address, secret)
        assert twin.ask(twin.login("alice", "wonderland")) is not None


# --- repeats and delays --------------------------------------------------------------------------------


def test_a_repeat_gets_the_same_octets_without_a_second_decision() -> None:
    stack = Stack()
    twin = stack.nas()
    request = twin.login("alice", "wonderland")
    first, second = twin.send(request), twin.send(request)
    assert first == second
    assert len(list(stack.trace.newest_first())) == 1
    assert stack.reasons() == {"pap": 1, "duplicate": 1}


def test_the_same_identifier_with_another_request_is_decided_afresh() -> None:
    stack = Stack()
    twin = stack.nas()
    twin.send(twin.login("alice", "wonderland"))
    twin.identifier -= 1
    reply = twin.ask(twin.login("bob", "builder"))
    assert reply is not None
    assert reply.code == REJECT


def test_a_reject_is_delayed_and_nobody_waits_behind_it() -> None:
    async def scenario() -> None:
        stack = Stack(reject_delay_s=0.1)
        twin = stack.nas()
        bad = twin.login("alice", "wrong")
        assert twin.send(bad) == []
        assert twin.send(bad) == [], "a repeat meanwhile is dropped"
        good = twin.ask(twin.login("alice", "wonderland"))
        assert good is not None
        await asyncio.sleep(0.2)
        ((octets, peer),) = twin.auth.socket.sent  # type: ignore[attr-defined] # the wire twin
        assert peer == twin.peer
        assert exchange.check_reply(bad, octets, twin.key).code == REJECT
        assert twin.send(bad) == [octets]

    asyncio.run(scenario())


def test_a_superseded_request_is_not_answered() -> None:
    async def scenario() -> None:
        stack = Stack(reject_delay_s=0.05)
        twin = stack.nas()
        twin.send(twin.login("alice", "wrong"))
        twin.identifier -= 1
        assert twin.ask(twin.login("alice", "wonderland")) is not None
        await asyncio.sleep(0.1)
        assert twin.auth.socket.sent == []  # type: ignore[attr-defined] # the wire twin
        assert stack.reasons()["superseded"] == 1

    asyncio.run(scenario())


def test_slow_hashes_are_checked_beside_the_loop_and_a_flood_of_them_is_dropped() -> None:
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", "saltsalt", "slow"], capture_output=True, text=True, check=True
    ).stdout.strip()

    async def scenario() -> None:
        stack = Stack(subscriber("hashed", None, secret=Secret(SecretKind.CRYPT, hashed.encode())), hashes=2)
        twin = stack.nas()
        good, bad, third = (
            twin.login("hashed", "slow"),
            twin.login("hashed", "wrong"),
            twin.login("hashed", "slow"),
        )
        assert twin.send(good) == twin.send(bad) == twin.send(third) == []
        assert stack.reasons() == {"hashes-busy": 1}
        for _ in range(200):
            await asyncio.sleep(0.01)
            if len(twin.auth.socket.sent) == 2:  # type: ignore[attr-defined] # the wire twin
                break
        codes = [octets[0] for octets, _ in twin.auth.socket.sent]  # type: ignore[attr-defined]
        assert codes == [ACCEPT, REJECT]
        chap = twin.ask(twin.request(attribute(1, b"hashed") + exchange.chap(1, b"slow", os.urandom(16))))
        assert chap is not None
        assert chap.code == REJECT
        assert stack.reasons()["secret-unusable"] == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("vendor", ["cisco", None])
def test_a_nas_that_changes_while_a_hash_is_checked_is_answered_by_the_data_of_then(
    vendor: str | None,
) -> None:
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-salt", "saltsalt", "slow"], capture_output=True, text=True, check=True
    ).stdout.strip()

    async def scenario() -> None:
        stack = Stack(subscriber("hashed", None, secret=Secret(SecretKind.CRYPT, hashed.encode())))
        twin = stack.nas()
        assert twin.send(twin.login("hashed", "slow")) == []
        if vendor is None:
            stack.index.remove(Nas, "demo", "lab")
        else:
            stack.index.put(nas(vendor=vendor))
        sent = twin.auth.socket.sent  # type: ignore[attr-defined] # the wire twin
        for _ in range(200):
            await asyncio.sleep(0.01)
            if stack.reasons():
                break
        if vendor is None:
            assert (sent, stack.reasons()) == ([], {"unknown-nas": 1})
            return
        ((octets, _),) = sent
        reply = decode(octets)
        assert (reply.code, reply.find_vendor(Vendor.MIKROTIK, 8)) == (ACCEPT, None)
        assert reply.find_vendor(Vendor.CISCO, 1) is not None

    asyncio.run(scenario())


def test_an_nt_hash_proves_pap_and_mschap() -> None:
    stack = Stack(subscriber("hashed", None, secret=Secret(SecretKind.NT_HASH, mschap.nt_hash("pw"))))
    twin = stack.nas()
    attributes, _ = exchange.mschap_v2(5, b"hashed", "pw", os.urandom(16), os.urandom(16))
    for request in (twin.login("hashed", "pw"), twin.request(attribute(1, b"hashed") + attributes)):
        reply = twin.ask(request)
        assert reply is not None
        assert reply.code == ACCEPT


def test_status_server_is_answered_on_both_ports_and_touches_nothing() -> None:
    stack = Stack()
    twin = stack.nas()
    auth = twin.ask(twin.status())
    acct = twin.ask(twin.status(), twin.acct)
    assert auth is not None
    assert acct is not None
    assert (auth.code, acct.code) == (ACCEPT, Code.ACCOUNTING_RESPONSE)
    assert not list(stack.trace.newest_first())
    unsigned = exchange.Request(12, 1, bytes(16), b"\x0c\x01\x00\x14" + bytes(16))
    assert twin.ask(unsigned) is None


def test_unknown_codes_and_wrong_ports_are_dropped_and_counted() -> None:
    stack = Stack()
    twin = stack.nas()
    assert twin.send(b"\x63\x01\x00\x14" + bytes(16), twin.auth) == []
    assert twin.send(twin.login("alice", "wonderland"), twin.acct) == []
    assert twin.send(twin.account(attribute(40, b"\0\0\0\1")), twin.auth) == []
    assert stack.reasons() == {"unknown-code": 1, "wrong-port": 2}


def test_changed_data_change_the_next_answer() -> None:
    stack = Stack()
    twin = stack.nas()
    assert twin.ask(twin.login("alice", "wonderland")) is not None
    alice = stack.index.tenants["demo"].subscribers["ALICE"]
    stack.index.put(replace(alice, access_mode=AccessMode.REJECT))
    reply = twin.ask(twin.login("alice", "wonderland"))
    assert reply is not None
    assert reply.code == REJECT


def test_a_malformed_password_is_dropped() -> None:
    stack = Stack()
    twin = stack.nas()
    assert twin.ask(twin.request(attribute(1, b"alice") + attribute(2, bytes(15)))) is None
    assert stack.reasons() == {"bad-password-attribute": 1}


def test_what_the_vendor_cannot_be_told_is_a_denial_that_says_so() -> None:
    stack = Stack()
    plan = stack.index.tenants["demo"].plans["home-100"]
    too_fast = replace(plan.service.rate, download_bps=5_000_000_000)  # type: ignore[type-var] # has a rate
    stack.index.put(replace(plan, service=replace(plan.service, rate=too_fast)))
    stack.index.put(nas(vendor="wispr"))
    twin = stack.nas()
    reply = twin.ask(twin.login("alice", "wonderland"))
    assert reply is not None
    assert reply.code == REJECT
    (decision,) = stack.trace.newest_first()
    assert "4294967295" in decision.detail.replace(",", "") or "32" in decision.detail


def test_a_key_is_never_in_a_repr() -> None:
    assert "testing123" not in repr(Key(b"testing123")) + repr(nas()) + str(nas().secret)
    assert isinstance(nas(), Nas)


# --- what reviews found ------------------------------------------------------------------------------


def test_a_mac_as_user_name_must_be_the_one_that_calls() -> None:
    stack = Stack()
    twin = stack.nas()
    name = "02:00:00:00:00:2a"
    other = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-99")
    same = attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-2A")
    refused, accepted = (twin.ask(twin.login(name, name, extra)) for extra in (other, same))
    assert [each and each.code for each in (refused, accepted)] == [REJECT, ACCEPT]
    assert stack.reasons()["mac-mismatch"] == 1


def test_a_mac_does_not_replace_the_password_of_who_has_one() -> None:
    stack = Stack(subscriber("both", "secret", macs=("02:00:00:00:00:2b",)))
    twin = stack.nas()
    name = "02:00:00:00:00:2b"
    by_mac, by_password = twin.ask(twin.login(name, name)), twin.ask(twin.login(name, "secret"))
    assert [each and each.code for each in (by_mac, by_password)] == [REJECT, ACCEPT]


@pytest.mark.parametrize("user", ["bob", "mallory", "alice"])
def test_an_mschap_reject_looks_the_same_whatever_the_reason(user: str) -> None:
    twin = Stack().nas()
    attributes, _ = exchange.mschap_v2(5, user.encode(), "builder", os.urandom(16), os.urandom(16))
    reply = twin.ask(twin.request(attribute(1, user.encode()) + attributes))
    assert reply is not None
    assert reply.code == REJECT
    assert [(vendor, kind) for vendor, kind, _ in reply.vendor_attributes()] == [(Vendor.MICROSOFT, 2)]


def test_a_reply_that_cannot_be_made_costs_the_rest_of_the_batch_nothing() -> None:
    stack = Stack(Tenant(id="demo", reject_message="x" * 200))
    twin = stack.nas()
    padding = b"".join(attribute(Attr.PROXY_STATE, bytes(253)) for _ in range(15)) + attribute(33, bytes(120))
    long, good = twin.login("mallory", "x", padding), twin.login("alice", "wonderland")
    batch = [(each.octets, twin.peer) for each in (long, good)]
    replies = stack.conductor.handle(twin.auth, batch)
    assert [octets[0] for octets, _ in replies] == [ACCEPT]
    assert stack.reasons()["reply-too-long"] == 1
    assert stack.faults == []


def test_each_box_of_an_entry_rotates_at_its_own_time() -> None:
    stack = Stack(nas(secret=clear("new-secret"), previous_secret=clear("testing123")))
    for _ in range(2):
        for address, secret in (("127.0.0.1", b"testing123"), ("127.0.0.2", b"new-secret")):
            twin = stack.nas(address, secret)
            assert twin.ask(twin.login("alice", "wonderland")) is not None
            chap = attribute(1, b"alice") + exchange.chap(7, b"wonderland", os.urandom(16))
            reply = twin.ask(twin.request(chap, message=False))
            assert reply is not None, "signed with the secret that this box uses"


def test_unknown_codes_are_one_sample_in_the_metrics() -> None:
    stack = Stack()
    twin = stack.nas()
    for code in (99, 100, 101):
        twin.send(bytes((code,)) + b"\x01\x00\x14" + bytes(16), twin.auth)
    (requests, *_) = EdgeCollector(stack.counts, StoreCounts(), {}, {}).collect()
    assert [(sample.labels["code"], sample.value) for sample in requests.samples] == [("other", 3)]


def test_a_class_token_of_another_tenant_moves_nothing() -> None:
    evil = replace(nas(), tenant="evil", id="theirs", prefixes=(ip_network("10.0.0.0/8"),))
    stack = Stack(Tenant(id="evil"), evil)
    twin = stack.nas()
    accept = twin.ask(twin.login("alice", "wonderland"))
    assert accept is not None
    uid = token.read(accept.find(Attr.CLASS))
    assert uid is not None
    stop = twin.account(
        attribute(40, b"\0\0\0\2") + attribute(44, b"1") + attribute(25, accept.find(25) or b"")
    )
    packet = decode(stop.octets)
    theirs = stack.clients.find(bytes((10, 0, 0, 1)))
    assert theirs is not None
    assert stack.accounting._subscriber(packet, theirs, stack.at) == ""


def test_a_class_whose_number_no_database_could_hold_is_not_ours() -> None:
    assert token.read(b"\xd3\x01" + b"\xff" * 8 + b"abcd") is None
