"""Records keep their meaning through storage and through the feed; secrets are sealed, damage is told."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings

from daemon.replica.codec import KINDS, RecordUnreadable, dump, export, kind_of, load, tenant_of
from daemon.replica.records import (
    AccessMode,
    Nas,
    Plan,
    Record,
    Secret,
    SecretKind,
    Service,
    Subscriber,
    Tenant,
)
from daemon.store.seal import Sealer
from daemon.sync.records import to_record
from radius.dictionary import shipped
from tests.daemon.sync.strategies import records

SEAL = Sealer(bytes(range(32)))
DICTIONARY = shipped()
ALICE = Subscriber(
    tenant="demo",
    id="alice",
    access_mode=AccessMode.ACTIVE,
    plan="home-100",
    usernames=("alice",),
    secret=Secret(SecretKind.CLEARTEXT, b"wonderland"),
)


@given(records)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_storage_gives_the_same_record_back(record: Record) -> None:
    assert load(kind_of(record), dump(record, SEAL), SEAL) == record


@given(records)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_an_export_reads_as_the_same_record(record: Record) -> None:
    exported = json.loads(json.dumps(export(record, secrets=True)))
    assert exported["kind"] == kind_of(record)
    again = to_record(exported["kind"], tenant_of(record), exported["id"], exported["body"], DICTIONARY)
    assert again == record


def test_stored_form_is_small_and_without_the_secret() -> None:
    stored = dump(ALICE, SEAL)
    assert b"wonderland" not in stored
    said = json.loads(stored)
    assert said.pop("secret")[0] == "cleartext"
    assert said == {
        "tenant": "demo",
        "id": "alice",
        "access_mode": "active",
        "plan": "home-100",
        "usernames": ["alice"],
    }


def test_all_secrets_of_a_nas_are_sealed() -> None:
    nas = Nas(
        tenant="demo",
        id="n",
        prefixes=(),
        secret=Secret(SecretKind.CLEARTEXT, b"canary-one"),
        previous_secret=Secret(SecretKind.CLEARTEXT, b"canary-two"),
        line_password=Secret(SecretKind.CLEARTEXT, b"canary-three"),
        coa_secret=Secret(SecretKind.CLEARTEXT, b"canary-four"),
    )
    assert b"canary" not in dump(nas, SEAL)
    assert load("nas", dump(nas, SEAL), SEAL) == nas


def test_export_has_secrets_only_when_asked() -> None:
    assert "secret" not in export(ALICE)["body"]
    assert export(ALICE, secrets=True)["body"]["secret"] == {"kind": "cleartext", "value": "wonderland"}


def test_export_says_a_raw_attribute_as_text_where_it_can() -> None:
    edits = to_record("plan", "demo", "p", {"attributes": ["Reply-Message = hello"]}, DICTIONARY)
    assert export(edits)["body"]["attributes"] == [
        {"op": "add", "name": "Reply-Message", "octets": "120768656c6c6f"}
    ]
    assert export(edits, spell=lambda _: "hello")["body"]["attributes"] == [
        {"op": "add", "name": "Reply-Message", "value": "hello"}
    ]


def test_a_secret_under_another_key_names_its_object_and_nothing_else() -> None:
    stored = dump(ALICE, SEAL)
    with pytest.raises(RecordUnreadable) as caught:
        load("subscriber", stored, Sealer(bytes(32)))
    error = caught.value
    assert (error.kind, error.tenant, error.identifier) == ("subscriber", "demo", "alice")
    assert error.why == "its secret cannot be opened with this sealing key"
    assert error.slug == "record-unreadable"


def test_a_secret_of_another_subscriber_does_not_open() -> None:
    stored = json.loads(dump(ALICE, SEAL))
    stored["id"] = "bob"
    with pytest.raises(RecordUnreadable):
        load("subscriber", json.dumps(stored).encode(), SEAL)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b"\xff",
        b'{"tenant":"demo","id":"alice"}',
        b'{"tenant":"demo","id":"alice","access_mode":"no","plan":null}',
        b'{"tenant":"demo","id":"alice","access_mode":"active","plan":null,"canary":1}',
        b'{"tenant":"demo","id":"alice","access_mode":"active","plan":null,"secret":["cleartext","canary"]}',
        b'{"tenant":"demo","id":"alice","access_mode":"active","plan":null,"secret":7}',
        b'{"tenant":"demo","id":"alice","access_mode":"active","plan":null,"ipv4_address":"canary"}',
        b'{"tenant":"demo","id":"alice","access_mode":"active","plan":null,"routes":[{}]}',
        b'{"tenant":7,"id":"alice","access_mode":"active","plan":null}',
        dump(ALICE, SEAL) + b"canary",
    ],
)
def test_damaged_octets_are_one_unreadable_object(body: bytes) -> None:
    with pytest.raises(RecordUnreadable) as caught:
        load("subscriber", body, SEAL)
    assert "canary" not in str(caught.value)


def test_unknown_kind_is_named() -> None:
    with pytest.raises(RecordUnreadable) as caught:
        load("olt", b"{}", SEAL)
    assert caught.value.why == f"unknown kind, not one of {', '.join(KINDS)}"


def test_words_that_many_subscribers_share_are_kept_once() -> None:
    first, second = (load("subscriber", dump(ALICE, SEAL), SEAL) for _ in range(2))
    assert isinstance(first, Subscriber)
    assert isinstance(second, Subscriber)
    assert first.plan is second.plan
    assert first.tenant is second.tenant


def test_a_tenant_and_a_plan_without_anything_round_trip() -> None:
    for record in (Tenant(id="t"), Plan(tenant="t", id="p", service=Service())):
        assert load(kind_of(record), dump(record, SEAL), SEAL) == record
