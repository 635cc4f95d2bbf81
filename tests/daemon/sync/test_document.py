"""Files become objects, and every object knows its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.sync.document import of_objects, read

YAML = b"""# objects
- kind: tenant
  id: demo

- kind: plan
  id: home
  body:
    download: 100M
    dns:
      - 192.0.2.1
      - 192.0.2.2
---
kind: subscriber
id: alice
"""


def test_yaml_objects_of_all_documents_have_their_lines() -> None:
    document = read(YAML, "provider.yaml")
    assert [item["id"] for item in document.items] == ["demo", "home", "alice"]
    assert document.problems == ()
    assert document.line_of(0) == 2
    assert document.line_of(1, ("body", "download")) == 8
    assert document.line_of(1, ("body", "dns", 1)) == 11
    assert document.line_of(2, ("id",)) == 14


def test_what_is_absent_has_the_line_of_what_should_hold_it() -> None:
    assert read(YAML, "provider.yaml").line_of(1, ("body", "burst", "seconds")) == 7


@pytest.mark.parametrize(
    "text",
    [
        '[\n {"kind": "plan", "id": "a",\n  "body": {\n "x": [1,\n 2]}},\n {"kind": "nas"}]',
        '{"items": [\n {"kind": "plan", "id": "a",\n  "body": {\n "x": [1,\n 2]}},\n {"kind": "nas"}]}',
    ],
)
def test_json_values_have_their_lines(text: str) -> None:
    document = read(text.encode(), "feed.json")
    assert [item["kind"] for item in document.items] == ["plan", "nas"]
    assert document.line_of(0, ("body", "x", 1)) == 5
    assert document.line_of(0, ("body",)) == 3
    assert document.line_of(1, ("kind",)) == 6


def test_a_json_object_alone_is_one_object() -> None:
    assert read(b'{"kind": "tenant", "id": "demo"}', "a.json").items == ({"kind": "tenant", "id": "demo"},)


def test_ndjson_has_an_object_a_line_and_tells_all_broken_lines() -> None:
    document = read(b'{"kind":"a"}\n\n{"kind":\n{"kind":"b"}\r\n[1]\n', "feed.ndjson")
    assert [item["kind"] for item in document.items] == ["a", "b"]
    assert document.line_of(1, ("kind",)) == 4
    assert [(each.line, each.slug) for each in document.problems] == [(3, "syntax"), (5, "syntax")]


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        (b'{"kind":"a"}\n{"kind":"b"}\n', 2),
        (b'{\n"kind":"a"}\n', 1),
        (b'[{"kind":"a"}]', 1),
        (b"- kind: a\n- kind: b\n", 2),
        (b"", 0),
        (b"# nothing\n", 0),
        (b"\xef\xbb\xbf- kind: a\n", 1),
    ],
)
def test_the_content_tells_the_format_where_the_name_does_not(octets: bytes, count: int) -> None:
    document = read(octets, "data")
    assert document.problems == ()
    assert len(document.items) == count


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("10:20:30:40:50:60", "10:20:30:40:50:60"),
        ("007", "007"),
        ("1.10", "1.10"),
        ("yes", "yes"),
        ("2026-12-31", "2026-12-31"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("100000010", 100000010),
        ("-5", -5),
        ("true", True),
        ("null", None),
        ("~", None),
        ("'true'", "true"),
        ('"1"', "1"),
    ],
)
def test_yaml_scalars_stay_what_they_look_like(written: str, value: object) -> None:
    item = read(f"kind: x\nbody: {written}\n".encode(), "a.yaml").items[0]
    assert (item["body"], type(item["body"])) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "line", "column", "got"),
    [
        ("a: 1\nb: [1, 2\n", 3, 1, "a syntax error: did not find expected ',' or ']'"),
        ("a: 1\nb: *CANARY\n", 2, 4, "an alias"),
        ("a: &CANARY 1\nb: !CANARY x\n", 2, 4, "a tag"),
        ("a: !!python/object:os.system CANARY\n", 1, 4, "a tag"),
        ("a: 1\n? [CANARY]\n: 2\n", 2, 3, "a key that is no plain word"),
        ("a: 1\nb: " + "[" * 70 + "]" * 70, 2, 67, "more than 64 levels"),
        ("kind: a\nid: 1\nkind: b\n", 3, 1, "the key kind twice"),
    ],
)
def test_yaml_that_is_not_read_is_told_with_line_and_column(
    text: str, line: int, column: int, got: str
) -> None:
    (problem,) = read(text.encode(), "a.yaml").problems
    assert (problem.line, problem.column, problem.got) == (line, column, got)
    assert "CANARY" not in str(problem)


@pytest.mark.parametrize(
    ("octets", "name", "line"),
    [
        (b'[\n{"kind": "a",}\n]', "a.json", 2),
        (b'{"a": NaN}', "a.json", 1),
        (b'{"a": ' + b"9" * 5000 + b"}", "a.json", 1),
        (b"[" * 100_000, "a.json", 1),
        (b'{"kind":"a"}\n{"kind":"b"}', "a.json", 2),
        (b"a: 1\nb: \xff\n", "a.yaml", 2),
        (b"a: \x00", "a.yaml", None),
        (b"- a\n- kind: b\n", "a.yaml", 1),
        (b"words", "a.yaml", 1),
    ],
)
def test_broken_files_are_problems_never_exceptions(octets: bytes, name: str, line: int | None) -> None:
    (problem,) = read(octets, name).problems
    assert (problem.slug, problem.line) == ("syntax", line)


def test_two_objects_on_separate_lines_of_a_json_file_hint_at_ndjson() -> None:
    (problem,) = read(b'{"kind":"a"}\n{"kind":"b"}', "a.json").problems
    assert ".ndjson" in problem.hint


def test_a_key_that_comes_twice_in_json_is_told_with_its_line() -> None:
    (problem,) = read(b'[{"kind": "a",\n "body": {"x": 1,\n "x": 2}}]', "a.json").problems
    assert (problem.slug, problem.line, problem.path) == ("repeated-key", 3, "[0].body.x")
    (problem,) = read(b'{"kind":"a"}\n{"id":1,"id":2}\n', "a.ndjson").problems
    assert (problem.slug, problem.line) == ("repeated-key", 2)


def test_objects_that_came_otherwise_have_no_lines() -> None:
    document = of_objects("feed", [{"kind": "tenant", "id": "demo"}])
    assert document.line_of(0, ("id",)) is None


@given(st.binary(max_size=200), st.sampled_from(["a.yaml", "a.json", "a.ndjson", "a"]))
def test_no_octets_make_reading_fail(octets: bytes, name: str) -> None:
    document = read(octets, name)
    for index in range(len(document.items)):
        document.line_of(index, ("kind",))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=4), _values, max_size=4), max_size=4))
def test_json_keeps_every_value_and_finds_every_line(objects: list[dict[str, object]]) -> None:
    document = read(json.dumps(objects, indent=1).encode(), "a.json")
    assert list(document.items) == objects
    for index, item in enumerate(objects):
        lines = [document.line_of(index, (key,)) for key in item]
        assert lines == sorted(set(lines), key=lambda line: line or 0)
