"""A whole file: every error with its line, objects that contradict each other, and no secret in any of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from daemon.replica.codec import tenant_of
from daemon.replica.index import Index
from daemon.replica.records import Nas, Plan, Record, Tenant
from daemon.sync.check import Checked, check
from daemon.sync.document import of_objects, read
from daemon.sync.problems import DataInvalid, Problem
from radius.dictionary import Dictionary

Check = Callable[..., Checked]
BASE = """
- {kind: tenant, id: demo}
- {kind: plan, id: home, body: {download: 1M, upload: 1M}}
"""


def told(problems: tuple[Problem, ...]) -> list[tuple[int | None, str, str]]:
    return [(each.line, each.slug, each.path) for each in problems]


def replica(*records: Record) -> Index:
    index = Index()
    for record in sorted(records, key=lambda each: not isinstance(each, Tenant)):
        index.put(record)
    return index


def stored(checked: Check, text: str) -> Index:
    done = checked(text)
    assert done.problems == ()
    return replica(*done.records)


def test_every_object_is_checked_and_every_error_told_with_its_line(checked: Check) -> None:
    done = checked(
        """- kind: tenant
  id: demo
- kind: olt
  id: x
  body: {}
- kind: plan
  id: a b
  bdy: {}
- kind: subscriber
  id: s1
  body:
    radius_username: alice
    passwrd: CANARY
    access_mode: active
- kind: plan
  id: home
  body:
    bandwidth_down: 100
    upload: 5G
- kind: subscriber
  id: s2
  body:
    username: alice
    password: CANARY
    access_mode: active
    offer_id: hom
- kind: subscriber
  id: s2
  body: {}
- 7
"""
    )
    assert told(done.problems) == [
        (30, "syntax", "(file)"),
        (3, "unknown-kind", "items[1].kind"),
        (8, "unknown-key", "items[2].bdy"),
        (7, "bad-id", "items[2].id"),
        (6, "missing", "items[2].body"),
        (28, "repeated-object", "items[6].id"),
        (13, "unknown-key", "items[3].body.passwrd"),
        (18, "bad-rate", "items[4].body.bandwidth_down"),
        (26, "unknown-plan", "items[5].body.offer_id"),
    ]
    assert "CANARY" not in str(DataInvalid(done.problems))
    assert [record.id for record in done.records] == ["demo"]


def test_a_problem_reads_as_one_line(checked: Check) -> None:
    (problem,) = checked(BASE + "- kind: plan\n  id: fast\n  body: {download: fast, upload: 1M}\n").problems
    assert str(problem) == (
        'provider.yaml:6: items[2].body.download (plan fast): got "fast"; '
        "expected a rate such as 100Mbps, 20M, 512 kbit/s, 2.5G or plain bit/s"
    )
    assert problem.as_dict() == {
        "slug": "bad-rate",
        "file": "provider.yaml",
        "line": 6,
        "path": "items[2].body.download",
        "got": '"fast"',
        "expected": "a rate such as 100Mbps, 20M, 512 kbit/s, 2.5G or plain bit/s",
        "kind": "plan",
        "tenant": "demo",
        "id": "fast",
    }


def test_unknown_kind_lists_the_known_ones(checked: Check) -> None:
    (problem,) = checked("- {kind: tenant, id: demo}\n- {kind: olt, id: x, body: {}}\n").problems
    assert (problem.got, problem.expected) == (
        '"olt"',
        "one of tenant, plan, nas, subscriber, staff, pool, selector",
    )


# -- whose an object is


def test_the_only_tenant_of_the_file_owns_what_does_not_say(checked: Check) -> None:
    assert [tenant_of(each) for each in checked(BASE).records] == ["demo", "demo"]


def test_the_caller_may_say_the_tenant_and_an_object_may_say_its_own(checked: Check) -> None:
    text = "- {kind: plan, id: a, body: {}}\n- {kind: plan, id: b, tenant: two, body: {}}\n"
    index = replica(Tenant(id="one"), Tenant(id="two"))
    assert [tenant_of(each) for each in checked(text, index=index, tenant="one").records] == ["one", "two"]


@pytest.mark.parametrize("tenants", ["", "- {kind: tenant, id: a}\n- {kind: tenant, id: b}\n"])
def test_without_one_tenant_it_must_be_said(checked: Check, tenants: str) -> None:
    done = checked(tenants + "- {kind: plan, id: p, body: {}}\n- {kind: plan, id: q, body: {}}\n")
    (problem,) = done.problems
    assert (problem.slug, problem.line) == ("missing", tenants.count("\n") + 1)
    assert all(isinstance(each, Tenant) for each in done.records)


def test_a_tenant_that_does_not_exist_is_told_once(checked: Check) -> None:
    done = checked("- {kind: plan, id: p, body: {}}\n- {kind: plan, id: q, body: {}}\n", tenant="nobody")
    assert told(done.problems) == [(1, "unknown-tenant", "items[0].tenant")]
    assert done.records == ()


# -- references


def test_a_plan_may_come_later_in_the_file_or_be_in_the_replica(checked: Check) -> None:
    line = "- {kind: subscriber, id: s, body: {access_mode: none, plan: home}}\n"
    assert checked("- {kind: tenant, id: demo}\n" + line + BASE.split("\n", 2)[2]).problems == ()
    assert checked(line, index=stored(checked, BASE), tenant="demo").problems == ()


def test_a_plan_that_goes_with_a_replacement_is_unknown(checked: Check) -> None:
    index = stored(checked, BASE)
    text = "- {kind: tenant, id: demo}\n- {kind: subscriber, id: s, body: {access_mode: none, plan: home}}\n"
    assert checked(text, index=index).problems == ()
    assert told(checked(text, index=index, replace=True).problems) == [
        (2, "unknown-plan", "items[1].body.plan")
    ]


def test_a_plan_of_another_tenant_is_unknown(checked: Check) -> None:
    index = stored(checked, BASE)
    text = "- {kind: tenant, id: two}\n- {kind: subscriber, id: s, body: {access_mode: none, plan: home}}\n"
    assert [each.slug for each in checked(text, index=index).problems] == ["unknown-plan"]


def test_a_broken_plan_does_not_make_its_subscribers_wrong(checked: Check) -> None:
    done = checked(
        "- {kind: tenant, id: demo}\n- {kind: plan, id: p, body: {download: 1}}\n"
        "- {kind: subscriber, id: s, body: {access_mode: none, plan: p}}\n"
    )
    assert [each.kind for each in done.problems] == ["plan"]


# -- what only one can have


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("username", "alice", "username"),
        ("usernames", "[bob, alice]", "usernames"),
        ("radius_username", "alice", "radius_username"),
        ("mac", "00-53-00-AA-BB-CC", "mac"),
        ("circuit_id", "olt 1/1", "circuit_id"),
        ("static_ip", "203.0.113.10", "static_ip"),
        ("ipv6_address", "2001:db8::a", "ipv6_address"),
        ("ipv6_prefix", "2001:db8:1::/64", "ipv6_prefix"),
        ("delegated_prefix", "2001:db8:1000::/56", "delegated_prefix"),
    ],
)
def test_what_another_subscriber_has_is_taken(checked: Check, field: str, value: str, place: str) -> None:
    first = BASE + (
        "- {kind: subscriber, id: s1, body: {access_mode: none, username: alice, mac: '00:53:00:aa:bb:cc', "
        "circuit_id: olt 1/1, ipv4_address: 203.0.113.10, ipv6_address: '2001:db8::a', "
        "ipv6_prefix: '2001:db8:1::/64', delegated_prefix: '2001:db8:1000::/56'}}\n"
    )
    second = f"- {{kind: subscriber, id: s2, body: {{access_mode: none, {field}: {value}}}}}\n"
    in_file = checked(first + second)
    assert told(in_file.problems) == [(5, "taken", f"items[3].body.{place}")]
    assert "which subscriber s1 has" in in_file.problems[0].got
    in_replica = checked(second, index=stored(checked, first), tenant="demo")
    assert told(in_replica.problems) == [(1, "taken", f"items[0].body.{place}")]
    elsewhere = "- {kind: tenant, id: two}\n" + second
    assert checked(elsewhere, index=stored(checked, first)).problems == ()


def test_a_user_name_may_move_from_one_subscriber_to_another(checked: Check) -> None:
    index = stored(
        checked, BASE + "- {kind: subscriber, id: s1, body: {access_mode: none, username: alice}}\n"
    )
    moved = "- {kind: subscriber, id: s2, body: {access_mode: none, username: alice}}\n"
    freed = "- {kind: subscriber, id: s1, body: {access_mode: none}}\n"
    assert [each.slug for each in checked(moved, index=index, tenant="demo").problems] == ["taken"]
    assert checked(moved + freed, index=index, tenant="demo").problems == ()
    assert checked("- {kind: tenant, id: demo}\n" + moved, index=index, replace=True).problems == ()


def test_a_shared_remote_id_is_a_warning(checked: Check) -> None:
    lines = "".join(
        f"- {{kind: subscriber, id: {each}, body: {{access_mode: none, remote_id: node}}}}\n" for each in "ab"
    )
    done = checked(BASE + lines)
    assert done.problems == ()
    assert told(done.warnings) == [(5, "taken", "items[3].body.remote_id")]


def test_no_two_nases_have_the_same_prefix_whoever_owns_them(checked: Check) -> None:
    first = BASE + "- {kind: nas, id: n1, body: {address: 192.0.2.1, secret: s}}\n"
    second = "- {kind: nas, id: n2, body: {prefixes: [10.0.0.0/8, 192.0.2.1/32], secret: s}}\n"
    assert told(checked(first + second).problems) == [(5, "taken", "items[3].body.prefixes")]
    index = stored(checked, first)
    index.put(Tenant(id="two"))
    assert told(checked(second, index=index, tenant="two").problems) == [
        (1, "taken", "items[0].body.prefixes")
    ]
    wider = "- {kind: nas, id: n2, body: {prefixes: [192.0.2.0/24], secret: s}}\n"
    assert checked(first + wider).problems == ()


# -- plans and NASes

NASES = (
    "- {kind: nas, id: n1, body: {address: 192.0.2.1, secret: s, vendor: mikrotik}}\n"
    "- {kind: nas, id: n2, body: {address: 192.0.2.2, secret: s, vendor: cisco}}\n"
)


def test_a_plan_that_no_nas_can_be_told_is_an_error(checked: Check) -> None:
    def never(plan: Plan, nas: Nas) -> str | None:
        return f"{plan.id} is too fast for {nas.vendor}"

    done = checked(BASE + NASES, unrenderable=never)
    assert told(done.problems) == [(3, "unrenderable", "items[1].body")] * 2
    assert [each.hint for each in done.problems] == [
        "home is too fast for mikrotik",
        "home is too fast for cisco",
    ]
    assert [record.id for record in done.records] == ["demo", "n1", "n2"]


def test_a_plan_that_some_nases_cannot_be_told_is_a_warning(checked: Check) -> None:
    def cisco(plan: Plan, nas: Nas) -> str | None:
        return "no" if nas.vendor == "cisco" else None

    done = checked(BASE + NASES, unrenderable=cisco)
    assert done.problems == ()
    assert told(done.warnings) == [(3, "unrenderable", "items[1].body")]
    index = stored(checked, "- {kind: tenant, id: demo}\n" + NASES)
    assert len(checked(BASE, index=index, unrenderable=cisco).warnings) == 1


def test_a_user_name_without_a_password_is_a_warning(checked: Check) -> None:
    done = checked(BASE + "- {kind: subscriber, id: s, body: {access_mode: active, username: a}}\n")
    assert told(done.warnings) == [(4, "no-secret", "items[2].body")]


# -- secrets


@pytest.mark.parametrize(
    "body",
    [
        "{password: [CANARY]}",
        "{password: {CANARY: CANARY}}",
        "{password: 'enc:CANARY'}",
        "{password: '$6$CANARYCANARY'}",
        "{password: '{SSHA}CANARYCANARY'}",
        '{password: "CANARY\\0"}',
        "{passwort: CANARY}",
        "{radius_password: CANARY, password: CANARY2}",
        "{password: CANARY, secret: {kind: cleartext, value: CANARY}}",
        "{secret: CANARY}",
        "{secret: {kind: CANARY, value: CANARY}}",
        "{secret: {kind: nt-hash, value: CANARY}}",
        "{secret: {kind: crypt, value: CANARY}}",
        "{secret: {kind: ldap, value: '{SSHA}CANARY'}}",
        "{secret: {kind: pbkdf2, value: CANARY}}",
        "{secret: {kind: cleartext, value: CANARY, salt: CANARY}}",
        "{attributes: [User-Password = CANARY]}",
        "{attributes: [{op: add, name: User-Password, value: CANARY}]}",
        "{attributes: [CANARY CANARY]}",
        "{password: *CANARY}",
        "{password: !CANARY x}",
        "{password: 'CANARY}",
    ],
)
def test_no_error_shows_a_secret(checked: Check, body: str) -> None:
    done = checked(BASE + f"- kind: subscriber\n  id: s\n  body: {body}\n")
    assert done.problems
    shown = "\n".join([repr(done.problems), str(DataInvalid(done.problems)), repr(done.warnings)])
    assert "CANARY" not in shown.replace("User-Password = CANARY", "")


@pytest.mark.parametrize(
    "name", ["secret", "previous_secret", "line_password", "coa_secret", "shared_secret"]
)
@pytest.mark.parametrize("value", ["'env:CANARY'", "[CANARY]", "{kind: crypt, value: CANARY}", '"CANARY\\n"'])
def test_no_error_shows_the_secret_of_a_nas(checked: Check, name: str, value: str) -> None:
    other = "" if name in ("secret", "shared_secret") else "secret: s, "
    done = checked(BASE + f"- kind: nas\n  id: n\n  body: {{address: 192.0.2.1, {other}{name}: {value}}}\n")
    assert done.problems
    assert "CANARY" not in repr(done)


def test_objects_without_a_file_are_checked_the_same(dictionary: Dictionary) -> None:
    done = check(of_objects("feed", [{"kind": "plan", "id": "p", "body": {}}]), Index(), dictionary)
    (problem,) = done.problems
    assert (problem.line, problem.file) == (None, "feed")
    assert str(problem).startswith("feed: items[0].tenant (plan p): got nothing; expected `tenant`")


def test_a_large_file_of_errors_is_told_whole(dictionary: Dictionary) -> None:
    lines = ['{"kind":"tenant","id":"demo"}'] + [
        f'{{"kind":"subscriber","id":"s{number}","body":{{"access_mode":"x"}}}}' for number in range(2000)
    ]
    done = check(read("\n".join(lines).encode(), "a.ndjson"), Index(), dictionary)
    assert [each.line for each in done.problems] == list(range(2, 2002))
