"""Batches and snapshots on the wire: JSON to the model and back. What came wrong is a value, never an exception.

A batch is one JSON object. A page of a snapshot is lines: first its head, then an item each, on the last page a
trailer. Unknown fields of these frames are passed over, so that a newer platform can speak to us.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from daemon.sync.feed.canonical import canonical
from daemon.sync.feed.model import BUCKETS, Batch, Item, Json, Op, Trailer
from daemon.sync.feed.signing import signed_octets
from daemon.sync.feed.wire_json import (
    Malformed,
    Wrong,
    a_list,
    an_object,
    decode,
    decode_at,
    moment,
    number,
    skip,
    text,
    text_of,
)
from daemon.sync.problems import Path, got

MOST_ITEMS = 1000
MOST_OCTETS = 1_048_576
"""Of a batch, and of a line."""

DIGEST_OCTETS = 16
_SLICE = 16_384  # characters read before others have a turn
_OPS = {op.value: op for op in Op}
_UNSIGNED = ("key", "sig")  # what the signature cannot be about


@dataclass(frozen=True, slots=True)
class PageHead:
    """The first line of a page. `next` is the cursor of the page behind it, empty on the last one.

    `items` says how many follow, where the platform tells: then a page that was cut between lines is seen at once.
    """

    epoch: str
    start_rev: int
    page: int
    next: str
    items: int | None = None


@dataclass(frozen=True, slots=True)
class PageEnd:
    """The last line of a snapshot."""

    trailer: Trailer


def read_batch(octets: bytes) -> Batch | Malformed:
    """Return a batch."""
    reading = reading_batch(octets)
    while True:
        try:
            next(reading)
        except StopIteration as end:
            found: Batch | Malformed = end.value
            return found


def reading_batch(octets: bytes) -> Generator[None, None, Batch | Malformed]:
    """Read a batch in slices of well under a millisecond; its return value is the batch."""
    try:
        return (yield from _batch(octets))
    except Wrong as wrong:
        return wrong.malformed


def _batch(octets: bytes) -> Generator[None, None, Batch]:
    if len(octets) > MOST_OCTETS:
        raise Wrong((), f"{len(octets)} octets", f"at most {MOST_OCTETS} a batch")
    frame, raw = yield from _frame(text_of(octets))
    items: list[Item] = []
    for index, each in enumerate(raw):
        items.append(_item(each, ("items", index), None))
        if index % 100 == 99:
            yield
    after, to = number(frame, "from", ()), number(frame, "to", ())
    if to < after:
        raise Wrong(("to",), str(to), f"not less than `from`, which is {after}")
    head = number(frame, "head", ())
    if head < to:
        raise Wrong(("head",), str(head), f"not less than `to`, which is {to}")
    for index, item in enumerate(items):
        if not after < item.rev <= to:
            raise Wrong(("items", index, "rev"), str(item.rev), f"more than {after} and at most {to}")
    key, signature = read_signature(frame)
    signed = (yield from _signed(frame, raw)) if signature else b""
    return Batch(
        feed=text(frame, "feed", ()),
        epoch=text(frame, "epoch", ()),
        after=after,
        to=to,
        head=head,
        items=tuple(items),
        server_time=moment(frame, "server_time", ()),
        key=key,
        signature=signature,
        signed=signed,
    )


def _frame(source: str) -> Generator[None, None, tuple[dict[str, Json], list[Json]]]:
    """Read an object member by member, and its list `items` one by one."""
    frame: dict[str, Json] = {}
    items: list[Json] = []
    spot = _expect(source, skip(source, 0), "{")
    while source[spot : spot + 1] != "}":
        name, spot = decode_at(source, spot)
        if not isinstance(name, str) or name in frame:
            raise Wrong((), "a key twice, or one that is no text", "an object, each key once")
        spot = _expect(source, skip(source, spot), ":")
        if name == "items" and source[spot : spot + 1] == "[":
            spot = yield from _items(source, spot, items)
            frame[name] = items
        else:
            frame[name], spot = decode_at(source, spot, (name,))
        spot = _separated(source, spot, "}")
    if skip(source, spot + 1) != len(source):
        raise Wrong((), "more behind the end of the object", "one batch")
    if frame.get("items") is not items:
        raise Wrong(("items",), got(frame.get("items"), hidden=True), f"a list of at most {MOST_ITEMS}")
    return frame, items


def _items(source: str, spot: int, items: list[Json]) -> Generator[None, None, int]:
    spot = skip(source, spot + 1)
    begun = spot
    while source[spot : spot + 1] != "]":
        if len(items) == MOST_ITEMS:
            raise Wrong(("items",), f"more than {MOST_ITEMS}", f"a list of at most {MOST_ITEMS}")
        value, spot = decode_at(source, spot, ("items", len(items)))
        items.append(value)
        spot = _separated(source, spot, "]")
        if spot - begun > _SLICE:
            begun = spot
            yield
    return spot + 1


def _separated(source: str, spot: int, end: str) -> int:
    """Return where the next member begins behind a comma, or the end stands."""
    spot = skip(source, spot)
    if source[spot : spot + 1] == end:
        return spot
    spot = _expect(source, spot, ",")
    if source[spot : spot + 1] == end:
        raise Wrong((), f"a comma before {end}", "JSON")
    return spot


def _expect(source: str, spot: int, sign: str) -> int:
    if source[spot : spot + 1] != sign:
        raise Wrong((), "something else" if spot < len(source) else "its end", f"JSON, here {sign}")
    return skip(source, spot + 1)


def _item(value: Json, path: Path, default_rev: int | None) -> Item:
    raw = an_object(value, path)
    said = raw.get("op")
    op = _OPS.get(said) if isinstance(said, str) else None
    if op is None:
        raise Wrong((*path, "op"), got(said), "put or del")
    # A body that is no object is for the feed to refuse: one bad object must not hold up the others.
    body = None if op is Op.DELETE else raw.get("body")
    return Item(
        kind=text(raw, "k", path, most=64),
        id=text(raw, "id", path),
        rev=number(raw, "rev", path, default_rev),
        op=op,
        body=body,
        schema=number(raw, "schema", path, 1),
        min_reader=number(raw, "min_reader", path, 1),
    )


def read_signature(frame: Mapping[str, Json]) -> tuple[str, bytes]:
    """Return the name of a key and a signature, both empty where there is none. Raises Wrong."""
    if frame.get("sig") is None:
        return "", b""
    said = text(frame, "sig", (), most=200)
    try:
        signature = base64.b64decode(said, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(("sig",), f"a text of {len(said)} characters", "base64") from None
    return text(frame, "key", (), most=200), signature


def _signed(frame: Mapping[str, Json], items: list[Json]) -> Generator[None, None, bytes]:
    """Return the canonical form of a batch without `key` and `sig`, which is what is signed."""
    parts: list[bytes] = []
    for name in sorted(frame):
        if name in _UNSIGNED:
            continue
        if name == "items":
            rows = []
            for index, each in enumerate(items):
                rows.append(canonical(each))
                if index % 50 == 49:
                    yield
            value = b"[" + b",".join(rows) + b"]"
        else:
            value = canonical(frame[name])
        parts.append(canonical(name) + b":" + value)
    return b"{" + b",".join(parts) + b"}"


def read_page_head(line: bytes) -> PageHead | Malformed:
    """Return the first line of a page."""
    try:
        raw = an_object(decode(line), ())
        return PageHead(
            epoch=text(raw, "epoch", ()),
            start_rev=number(raw, "start_rev", ()),
            page=number(raw, "page", (), 0),
            next="" if raw.get("next") is None else text(raw, "next", (), most=4000, empty=True),
            items=None if raw.get("items") is None else number(raw, "items", ()),
        )
    except Wrong as wrong:
        return wrong.malformed


def read_page_line(line: bytes, line_number: int, start_rev: int) -> Item | PageEnd | Malformed:
    """Return what another line of a page has; `line_number` counts from 1 for the head."""
    path: Path = (f"line {line_number}",)
    try:
        raw = an_object(decode(line, path), path)
        if "trailer" in raw:
            return _trailer(an_object(raw["trailer"], ("trailer",)))
        item = _item(raw, path, start_rev)
    except Wrong as wrong:
        return wrong.malformed
    if item.op is Op.DELETE:
        return Malformed(f"line {line_number}.op", '"del"', "put: a snapshot says what there is")
    return item


def read_trailer(octets: bytes) -> PageEnd | Malformed:
    """Return a trailer that came by itself, without the line around it."""
    try:
        return _trailer(an_object(decode(octets), ()))
    except Wrong as wrong:
        return wrong.malformed


def _trailer(raw: dict[str, Json]) -> PageEnd:
    counts = an_object(raw.get("counts"), ("counts",))
    key, signature = read_signature(raw)
    trailer = Trailer(
        counts={kind: number(counts, kind, ("counts",)) for kind in counts},
        digests=read_digests(raw.get("digests"), ("digests",)),
        feed=None if raw.get("feed") is None else text(raw, "feed", ("trailer",)),
        epoch=None if raw.get("epoch") is None else text(raw, "epoch", ("trailer",)),
        start_rev=None if raw.get("start_rev") is None else number(raw, "start_rev", ("trailer",)),
        key=key,
        signature=signature,
        signed=signed_octets(raw) if signature else b"",
    )
    return PageEnd(trailer)


def read_digests(value: Json, path: Path) -> tuple[bytes, ...]:
    """Return the digests of all buckets from their hex. Raises Wrong."""
    found = []
    for index, each in enumerate(a_list(value, path, BUCKETS)):
        try:
            digest = bytes.fromhex(each) if isinstance(each, str) else b""
        except ValueError:
            digest = b""
        if len(digest) != DIGEST_OCTETS:
            raise Wrong((*path, index), got(each), f"{DIGEST_OCTETS} octets in hex")
        found.append(digest)
    if len(found) != BUCKETS:
        raise Wrong(path, f"a list of {len(found)}", f"{BUCKETS} digests")
    return tuple(found)


def read_items(value: Json, path: Path, most: int, rev: int) -> tuple[Item, ...]:
    """Return a list of objects as they are at `rev`. Raises Wrong."""
    items = tuple(_item(each, (*path, index), rev) for index, each in enumerate(a_list(value, path, most)))
    for index, item in enumerate(items):
        if item.op is Op.DELETE or item.rev > rev:
            raise Wrong((*path, index), f"{item.op} of revision {item.rev}", f"put, at most of {rev}")
    return items


def item_json(item: Item) -> dict[str, Json]:
    """Return an item as it is on the wire."""
    said: dict[str, Json] = {"k": item.kind, "id": item.id, "rev": item.rev, "op": item.op.value}
    if item.op is Op.PUT:
        said |= {"schema": item.schema, "min_reader": item.min_reader, "body": item.body}
    return said


def batch_json(batch: Batch) -> dict[str, Json]:
    """Return a batch as it is on the wire, with its signature where it has one."""
    said: dict[str, Json] = {
        "feed": batch.feed,
        "epoch": batch.epoch,
        "from": batch.after,
        "to": batch.to,
        "head": batch.head,
        "items": [item_json(each) for each in batch.items],
    }
    if batch.server_time is not None:
        said["server_time"] = batch.server_time
    if batch.signature:
        said |= {"key": batch.key, "sig": base64.b64encode(batch.signature).decode()}
    return said


def trailer_json(trailer: Trailer) -> dict[str, Json]:
    """Return a trailer as it is on the wire."""
    said: dict[str, Json] = {
        "counts": dict(trailer.counts),
        "digests": [each.hex() for each in trailer.digests],
    }
    names = {"feed": trailer.feed, "epoch": trailer.epoch, "start_rev": trailer.start_rev}
    said |= {name: value for name, value in names.items() if value is not None}
    if trailer.signature:
        said |= {"key": trailer.key, "sig": base64.b64encode(trailer.signature).decode()}
    return said


def page_lines(head: PageHead, items: Iterator[Item], trailer: Trailer | None = None) -> Iterator[bytes]:
    """Yield the lines of a page, each with its end."""
    first: dict[str, Json] = {
        "epoch": head.epoch,
        "start_rev": head.start_rev,
        "page": head.page,
        "schema": 1,
    }
    first["next"] = head.next or None
    if head.items is not None:
        first["items"] = head.items
    yield canonical(first) + b"\n"
    for item in items:
        yield canonical(item_json(item)) + b"\n"
    if trailer is not None:
        yield canonical({"trailer": trailer_json(trailer)}) + b"\n"
