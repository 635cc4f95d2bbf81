"""What we publish about the data is true: the schema, the example file, the documentation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.replica.records import AccessMode, Nas, Plan, Staff, Subscriber, Tenant
from daemon.sync.check import Checked
from daemon.sync.load import unrenderable
from daemon.sync.normalise import IGNORED, SPELLINGS
from daemon.sync.records import KINDS
from daemon.sync.schema import schema
from daemon.sync.wire import BODIES
from radius.grant import Rate

ROOT = Path(__file__).parents[3]
EXAMPLE = (ROOT / "config/examples/provider.yaml").read_text()
DOCUMENT = (ROOT / "docs/data.md").read_text()
Check = Callable[..., Checked]


@pytest.fixture
def example(checked: Check) -> Checked:
    return checked(EXAMPLE, unrenderable=unrenderable)


def test_the_example_is_right_and_every_nas_can_be_told_its_plans(example: Checked) -> None:
    assert example.problems == ()
    assert [each.slug for each in example.warnings] == []


def test_the_example_has_the_people_everybody_tries_first(example: Checked) -> None:
    people = {record.id: record for record in example.records if isinstance(record, Subscriber)}
    modes = {name: record.access_mode for name, record in people.items()}
    assert modes == {
        "alice": AccessMode.ACTIVE,
        "bob": AccessMode.REJECT,
        "carol": AccessMode.CAPTIVE,
        "dave": AccessMode.ACTIVE,
        "erin": AccessMode.ACTIVE,
        "frank": AccessMode.ACTIVE,
    }
    secret = people["alice"].secret
    assert secret is not None
    assert secret.value == b"wonderland"
    assert str(people["dave"].ipv4_address) == "203.0.113.10"
    assert people["erin"].valid_until == 1767225599
    assert people["frank"].macs == ("00:53:00:aa:bb:cc",)
    assert {record.id for record in example.records if isinstance(record, (Nas, Plan))} == {
        "lab",
        "lab-cisco",
        "home-100",
        "business-500",
        "ipoe-50",
        "saver-30",
        "office-20",
    }


def test_the_example_shows_the_rules(example: Checked) -> None:
    plans = {record.id: record for record in example.records if isinstance(record, Plan)}
    saver = plans["saver-30"].rules
    assert [(each.name, each.most, each.then.rate) for each in saver.allowances] == [
        ("monthly", 500_000_000_000, Rate(download_bps=2_000_000, upload_bps=1_000_000))
    ]
    assert [each.rate.download_bps for each in saver.rate_hours] == [100_000_000]
    assert [each.days for each in plans["office-20"].rules.login_hours] == [(0, 1, 2, 3, 4), (5,)]
    (tenant,) = (record for record in example.records if isinstance(record, Tenant))
    assert tenant.garden is not None
    assert [record.username for record in example.records if isinstance(record, Staff)] == ["nora"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_of_each_kind_has_every_field_and_is_json(kind: str) -> None:
    made = schema(kind)
    json.dumps(made)
    assert set(made["properties"]["body"]["properties"]) == set(BODIES[kind].model_fields)
    assert made["properties"]["kind"] == {"const": kind}
    references = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(made)))
    assert references == set(made.get("$defs", {})) & references
    assert made["description"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_example_of_each_schema_is_valid(checked: Check, kind: str) -> None:
    (example,) = schema(kind)["examples"]
    others: list[dict[str, Any]] = [{"kind": "tenant", "id": "demo"}] if kind != "tenant" else []
    if kind == "subscriber":
        others.append({"kind": "plan", "id": "home-100", "body": {}})
    if kind == "selector":
        others.append({"kind": "plan", "id": "home-100", "body": {}})
        others.append(schema("pool")["examples"][0])
    assert checked(json.dumps([*others, example]), "a.json").problems == ()


def test_every_yaml_snippet_of_the_documentation_is_valid(checked: Check) -> None:
    snippets = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(snippets) >= 2
    for snippet in snippets:
        text = snippet if "kind: tenant" in snippet else "kind: tenant\nid: demo\n---\n" + snippet
        assert checked(text).problems == ()


def test_the_documentation_names_every_field_and_every_spelling() -> None:
    words = set(re.findall(r"\w+", DOCUMENT))
    for kind in KINDS:
        assert set(BODIES[kind].model_fields) <= words
        assert set(SPELLINGS[kind]) | set(IGNORED.get(kind, ())) <= words
