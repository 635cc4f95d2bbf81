"""JSON of a feed: what is read is what was written; whatever else comes is a value with a path, never an exception."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.sync.feed.backoff import Backoff
from daemon.sync.feed.lines import Broken, Gunzip, Lines, TooLong
from daemon.sync.feed.model import Batch, Item, Op, Trailer
from daemon.sync.feed.pace import Pace
from daemon.sync.feed.signing import signed_octets
from daemon.sync.feed.wire import (
    MOST_ITEMS,
    PageEnd,
    PageHead,
    batch_json,
    page_lines,
    read_batch,
    read_page_head,
    read_page_line,
)
from daemon.sync.feed.wire_answers import (
    read_bucket,
    read_differing,
    read_gone,
    read_received,
    read_welcome,
)
from daemon.sync.feed.wire_json import DEEPEST, Malformed
from tests.effort import effort

ITEM: dict[str, Any] = {
    "k": "plan",
    "id": "p",
    "rev": 3,
    "op": "put",
    "schema": 2,
    "min_reader": 1,
    "body": {"a": 1},
}
GOOD: dict[str, Any] = {"feed": "t1/pop7", "epoch": "E", "from": 2, "to": 5, "head": 9, "items": [ITEM]}

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
bodies = st.dictionaries(st.text(max_size=8), values, max_size=4)
names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30)


@st.composite
def batches(draw: Any) -> Batch:
    after = draw(st.integers(0, 1000))
    to = after + draw(st.integers(1, 1000))
    put = st.builds(
        Item,
        kind=names,
        id=names,
        rev=st.integers(after + 1, to),
        op=st.just(Op.PUT),
        body=bodies,
        schema=st.integers(0, 9),
        min_reader=st.integers(0, 9),
    )
    gone = st.builds(
        Item,
        kind=names,
        id=names,
        rev=st.integers(after + 1, to),
        op=st.just(Op.DELETE),
        body=st.none(),
        schema=st.just(1),
        min_reader=st.just(1),
    )
    return Batch(
        feed=draw(names),
        epoch=draw(names),
        after=after,
        to=to,
        head=to + draw(st.integers(0, 5)),
        items=tuple(draw(st.lists(put | gone, max_size=8))),
        server_time=draw(st.none() | st.floats(0, 2e9)),
    )


def octets(value: Any) -> bytes:
    return json.dumps(value).encode()


@given(batches())
@settings(max_examples=effort(50, 500), deadline=None)
def test_a_batch_that_was_written_is_read_as_it_was(batch: Batch) -> None:
    for written in (
        octets(batch_json(batch)),
        json.dumps(batch_json(batch), indent=3, ensure_ascii=False).encode(),
    ):
        assert read_batch(written) == batch


@given(batches())
@settings(max_examples=effort(20, 200), deadline=None)
def test_a_page_that_was_written_is_read_as_it_was(batch: Batch) -> None:
    items = [item for item in batch.items if item.op is Op.PUT]
    head = PageHead("E", 7, 2, "next", len(items))
    trailer = Trailer(counts={"plan": 3}, digests=tuple(bytes((n,)) * 16 for n in range(256)))
    first, *rest, last = page_lines(head, iter(items), trailer)
    assert read_page_head(first) == head
    assert [read_page_line(line, n, 7) for n, line in enumerate(rest, 2)] == items
    end = read_page_line(last, 99, 7)
    assert isinstance(end, PageEnd)
    assert end.trailer == trailer


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"feed": 7}, "feed"),
        ({"feed": ""}, "feed"),
        ({"epoch": None}, "epoch"),
        ({"epoch": "\ud800"}, "epoch"),
        ({"from": -1}, "from"),
        ({"from": True}, "from"),
        ({"from": 2**63}, "from"),
        ({"to": 1}, "to"),
        ({"head": 4}, "head"),
        ({"server_time": "yesterday"}, "server_time"),
        ({"server_time": "2026-07-01T20:00:00"}, "server_time"),
        ({"items": None}, "items"),
        ({"items": {}}, "items"),
        ({"items": [ITEM] * (MOST_ITEMS + 1)}, "items"),
        ({"items": [7]}, "items[0]"),
        ({"items": [ITEM, ITEM | {"op": "replace"}]}, "items[1].op"),
        ({"items": [ITEM | {"op": ["put"]}]}, "items[0].op"),
        ({"items": [ITEM | {"rev": 2}]}, "items[0].rev"),
        ({"items": [ITEM | {"rev": 6}]}, "items[0].rev"),
        ({"items": [ITEM | {"rev": None}]}, "items[0].rev"),
        ({"items": [ITEM | {"k": None}]}, "items[0].k"),
        ({"items": [ITEM | {"id": 17}]}, "items[0].id"),
        ({"items": [ITEM | {"schema": "1"}]}, "items[0].schema"),
        ({"sig": "!", "key": "k"}, "sig"),
        ({"sig": "AAAA"}, "key"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(change: dict[str, Any], path: str) -> None:
    found = read_batch(octets(GOOD | change))
    assert isinstance(found, Malformed)
    assert found.path == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        '{"feed"',
        '{"feed":',
        '{"feed": "a",}',
        '{"items": [}',
        '{"items": [1,]}',
        '{"a": 1} x',
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "b": 2}}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": ' + "9" * 5000 + "}",
        '{"a": ' + "[" * 100_000,
        '{"a": ' + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1) + "}",
        "{7: 1}",
        " " * 2_000_000,
    ],
)
def test_no_text_is_an_exception(text: str) -> None:
    for read in (
        read_batch,
        read_page_head,
        lambda line: read_page_line(line, 1, 0),
        lambda line: read_welcome(line, "f"),
        read_differing,
        read_bucket,
        read_gone,
    ):
        assert isinstance(read(text.encode()), Malformed)


@given(
    st.binary(max_size=200)
    | values.map(octets)
    | st.dictionaries(st.sampled_from([*GOOD, "sig", "key"]), values).map(octets)
)
@settings(max_examples=effort(80, 1000), deadline=None)
def test_whatever_comes_is_a_value(came: bytes) -> None:
    read_batch(came)
    read_page_head(came)
    read_page_line(came, 1, 0)
    read_welcome(came, "f")
    read_received(came)
    read_differing(came)
    read_bucket(came)
    read_gone(came)


def test_what_is_signed_is_all_but_the_signature_however_it_was_written() -> None:
    signed = GOOD | {"key": "ed25519:k", "sig": "AAAA", "unknown": {"b": 1, "a": "ü"}, "items": [ITEM] * 120}
    for text in (
        json.dumps(signed, indent=1),
        json.dumps(dict(reversed(signed.items())), ensure_ascii=False),
    ):
        found = read_batch(text.encode())
        assert isinstance(found, Batch)
        assert found.signed == signed_octets(signed)


def test_an_object_that_is_none_reaches_the_feed_which_refuses_it_alone() -> None:
    found = read_batch(octets(GOOD | {"items": [ITEM | {"body": "text"}, ITEM]}))
    assert isinstance(found, Batch)
    assert [item.body for item in found.items] == ["text", {"a": 1}]


def test_errors_show_nothing_of_a_body() -> None:
    item = ITEM | {"body": {"password": "hunter2"}, "schema": {"x": "hunter2"}}
    for came in (octets(GOOD | {"items": [item]}), octets(GOOD | {"items": [item]})[:-30] + b"}"):
        found = read_batch(came)
        assert isinstance(found, Malformed)
        assert "hunter2" not in str(found)


def test_gzip_comes_in_small_pieces_however_much_is_in_it() -> None:
    packed = gzip.compress(bytes(50_000_000))
    unpack, count, most = Gunzip(), 0, 0
    for start in range(0, len(packed), 1000):
        for piece in unpack.pieces(packed[start : start + 1000]):
            count += len(piece)
            most = max(most, len(piece))
    assert (count, unpack.whole) == (50_000_000, True)
    assert most <= 65_536
    short = Gunzip()
    assert b"".join(short.pieces(packed[:-5])) is not None
    assert not short.whole
    with pytest.raises(Broken):
        list(Gunzip().pieces(b"no gzip"))


@given(st.lists(st.binary(max_size=9).filter(lambda each: b"\n" not in each)), st.integers(1, 7))
def test_lines_are_cut_wherever_the_pieces_end(lines: list[bytes], size: int) -> None:
    cutter = Lines(100)
    whole = b"".join(each + b"\n" for each in lines)
    found = [line for start in range(0, len(whole), size) for line in cutter.cut(whole[start : start + size])]
    assert found == lines
    assert cutter.held == 0
    with pytest.raises(TooLong):
        list(cutter.cut(bytes(101)))


def test_pauses_grow_up_to_a_limit_are_spread_and_never_less_than_asked() -> None:
    backoff = Backoff()
    assert [backoff.pause_s(n, 1.0) for n in (1, 2, 3, 7, 5000)] == [1.0, 2.0, 4.0, 60.0, 60.0]
    assert backoff.pause_s(9, 0.0) == 0.0
    assert backoff.pause_s(1, 0.5, 100.0) == 125.0
    assert backoff.pause_s(1, 0.0, 1e12) == 3600.0


def test_an_octet_a_second_is_too_slow_and_a_long_page_at_a_fair_pace_is_not() -> None:
    pace = Pace(20.0, 1000.0)
    waited = next(second for second in range(10_000) if pace.left_s(second, second) <= 0)
    assert waited == 21
    assert all(pace.left_s(second, second * 2000) > 0 for second in range(10_000))
