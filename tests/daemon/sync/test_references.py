"""What objects say about each other by the rules: plans, NASes, sites, the walled garden, staff."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from daemon.replica.index import Index
from daemon.replica.records import Nas, Plan, Record, Tenant
from daemon.replica.rules import Garden
from daemon.sync.check import Checked
from daemon.sync.load import unrenderable
from daemon.sync.problems import Problem

Check = Callable[..., Checked]
WALLED = "- {kind: tenant, id: demo, body: {garden: {address_list: garden}}}\n"
OPEN = "- {kind: tenant, id: demo}\n"
BNG = "- {kind: nas, id: bng-1, body: {address: 192.0.2.1, secret: s, site: north, vendor: mikrotik}}\n"


def told(problems: tuple[Problem, ...]) -> list[tuple[int | None, str, str]]:
    return [(each.line, each.slug, each.path) for each in problems]


def stored(checked: Check, text: str) -> Index:
    done = checked(text)
    assert done.problems == ()
    index = Index()
    for record in sorted(done.records, key=lambda each: not isinstance(each, Tenant)):
        index.put(record)
    return index


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        ("tenant", "{treatments: {expired: 'plan:hom'}}", "treatments.expired"),
        ("plan", "{treatments: {expired: 'plan:hom'}}", "treatments.expired"),
        ("plan", "{allowances: [{name: a, octets: 1, then: 'plan:hom'}]}", "allowances[0].then"),
    ],
)
def test_a_plan_that_a_rule_names_must_be_there(checked: Check, kind: str, body: str, path: str) -> None:
    tenant = OPEN if kind == "plan" else ""
    name = "demo" if kind == "tenant" else "p"
    text = tenant + f"- {{kind: {kind}, id: {name}, body: {body}}}\n"
    home = "- {kind: plan, id: home, body: {}}\n"
    (problem,) = checked(text + home).problems
    assert (problem.slug, problem.hint) == ("unknown-plan", "did you mean home?")
    assert problem.path.endswith(f".body.{path}")
    assert checked(text.replace("plan:hom'", "plan:home'") + home).problems == ()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("plan", ""),
        ("subscriber", "access_mode: none, "),
        ("staff", "username: n, password: p, "),
    ],
)
def test_nases_and_sites_that_are_not_there_are_warnings(checked: Check, kind: str, body: str) -> None:
    text = f"- {{kind: {kind}, id: x, body: {{{body}nases: [bng-1, bng-9], sites: [north, nort]}}}}\n"
    done = checked(OPEN + BNG + text)
    assert done.problems == ()
    assert told(done.warnings) == [
        (3, "unknown-nas", "items[2].body.nases"),
        (3, "unknown-site", "items[2].body.sites"),
    ]
    assert [each.hint for each in done.warnings] == ["did you mean bng-1?", "did you mean north?"]
    from_replica = checked(text, index=stored(checked, OPEN + BNG), tenant="demo")
    assert [each.slug for each in from_replica.warnings] == ["unknown-nas", "unknown-site"]


def test_a_nas_that_many_subscribers_miss_is_told_once(checked: Check) -> None:
    lines = "".join(
        f"- {{kind: subscriber, id: s{each}, body: {{access_mode: none, nases: [bng-9]}}}}\n"
        for each in range(5)
    )
    assert told(checked(OPEN + lines).warnings) == [(2, "unknown-nas", "items[1].body.nases")]


def test_captive_without_a_garden_is_a_warning(checked: Check) -> None:
    text = (
        "- {kind: plan, id: p, body: {treatments: {expired: captive}, "
        "allowances: [{name: a, octets: 1, then: captive}]}}\n"
        "- {kind: subscriber, id: a, body: {access_mode: captive}}\n"
        "- {kind: subscriber, id: b, body: {access_mode: captive}}\n"
    )
    done = checked(OPEN + text)
    assert done.problems == ()
    assert sorted(told(done.warnings)) == [
        (2, "no-garden", "items[1].body.allowances[0].then"),
        (2, "no-garden", "items[1].body.treatments.expired"),
        (3, "no-garden", "items[2].body.access_mode"),
    ]
    assert done.warnings[-1].hint == "2 subscribers here are captive"
    assert checked(WALLED + text).warnings == ()
    assert checked(text, index=stored(checked, WALLED), tenant="demo").warnings == ()
    assert len(checked(text, index=stored(checked, OPEN), tenant="demo").warnings) == 3


def test_a_tenant_that_treats_with_a_garden_it_has_not_is_a_warning(checked: Check) -> None:
    done = checked("- {kind: tenant, id: demo, body: {treatments: {expired: captive}}}\n")
    assert told(done.warnings) == [(1, "no-garden", "items[0].body.treatments.expired")]


def test_staff_have_user_names_of_their_own(checked: Check) -> None:
    first = "- {kind: staff, id: n1, body: {username: nora, password: p}}\n"
    second = "- {kind: staff, id: n2, body: {username: nora, password: p}}\n"
    line = "- {kind: subscriber, id: n2, body: {access_mode: none, username: nora}}\n"
    done = checked(OPEN + first + second + line)
    assert told(done.problems) == [(3, "taken", "items[2].body.username")]
    assert "which member of staff n1 has" in done.problems[0].got
    index = stored(checked, OPEN + first + line)
    assert [each.slug for each in checked(second, index=index, tenant="demo").problems] == ["taken"]
    freed = "- {kind: staff, id: n1, body: {username: norbert, password: p}}\n"
    assert checked(second + freed, index=index, tenant="demo").problems == ()
    assert checked(first, index=index, tenant="demo").problems == ()
    assert checked(OPEN + second, index=index, replace=True).problems == ()


@pytest.mark.parametrize(
    "body", ["{username: n, password: 'enc:CANARY'}", "{username: n, secret: CANARY}", "{password: CANARY}"]
)
def test_no_error_shows_the_secret_of_staff(checked: Check, body: str) -> None:
    done = checked(OPEN + f"- {{kind: staff, id: n, body: {body}}}\n")
    assert done.problems
    assert "CANARY" not in repr(done)


# -- what vendors cannot build


def test_a_garden_that_a_vendor_cannot_build_is_a_warning_at_the_tenant_or_at_the_nas(checked: Check) -> None:
    def never(what: Plan | Garden, nas: Nas) -> str | None:
        return f"no {nas.vendor}" if isinstance(what, Garden) else None

    done = checked(WALLED + BNG, unrenderable=never)
    assert done.problems == ()
    assert told(done.warnings) == [(1, "garden-unrenderable", "items[0].body.garden")]
    (warning,) = done.warnings
    assert warning.got == "captive cannot be rendered on vendor mikrotik"
    assert "those subscribers are rejected there" in warning.expected
    assert warning.hint == "no mikrotik"
    index = stored(checked, WALLED)
    later = checked(BNG, index=index, tenant="demo", unrenderable=never)
    assert told(later.warnings) == [(1, "garden-unrenderable", "items[0].body.vendor")]
    assert checked(OPEN + BNG, unrenderable=never).warnings == ()


def sample(checked: Check, text: str) -> list[Record]:
    return list(checked(OPEN + BNG + text).records)


def test_a_night_rate_that_does_not_fit_makes_a_plan_unrenderable(checked: Check) -> None:
    _, nas, plan = sample(
        checked,
        "- {kind: plan, id: p, body: {download: 1G, upload: 1G, "
        "rate_hours: [{hours: '23:00-07:00', download: 5G, upload: 5G}]}}\n",
    )
    assert isinstance(nas, Nas)
    assert isinstance(plan, Plan)
    wispr = replace(nas, vendor="wispr")  # its rates are 32-bit numbers of bit/s
    assert unrenderable(plan, nas) is None
    why = unrenderable(plan, wispr)
    assert why is not None
    assert "5 Gbit/s" in why
    assert unrenderable(replace(plan, rules=replace(plan.rules, rate_hours=())), wispr) is None


def test_a_garden_is_tried_as_a_captive_session_of_that_vendor(checked: Check) -> None:
    _, nas, _ = sample(checked, "- {kind: plan, id: p, body: {}}\n")
    assert isinstance(nas, Nas)
    assert unrenderable(Garden(address_list="garden"), nas) is None
    why = unrenderable(Garden(address_list="garden"), replace(nas, vendor="cisco"))
    assert why is not None
    assert "the garden needs services" in why
    assert unrenderable(Garden(services=("GARDEN",)), replace(nas, vendor="cisco")) is None
