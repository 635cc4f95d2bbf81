"""The short messages between edge and platform: hello, acknowledgement, digests, the objects of one bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.sync.feed.model import BUCKETS, Batch, Digests, Item, Json, Nack, Position
from daemon.sync.feed.signing import signed_octets
from daemon.sync.feed.wire import read_items, read_signature
from daemon.sync.feed.wire_json import Malformed, Wrong, a_list, an_object, decode, moment, number, text
from daemon.sync.problems import Path, got

MOST_BUCKET_ITEMS = 200_000
MOST_NACKS = 1000
"""Told with one acknowledgement; how many there are is told besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What a platform says of a feed to an edge that has called. `head` is its newest revision now."""

    epoch: str
    head: int
    server_time: float | None
    min_version: str


@dataclass(frozen=True, slots=True)
class Received:
    """An acknowledgement was taken; `check`: the platform wants the digests to be compared now."""

    server_time: float | None
    check: bool


@dataclass(frozen=True, slots=True)
class Differing:
    """Which buckets differ at revision `rev` of an epoch."""

    epoch: str
    rev: int
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BucketObjects:
    """All that there is in a bucket at a revision; `proof` carries the signature, where there is one."""

    bucket: int
    rev: int
    items: tuple[Item, ...]
    proof: Batch


@dataclass(frozen=True, slots=True)
class Gone:
    """Which epoch there is, and the first revision from which changes are still kept."""

    epoch: str
    min_rev: int | None


@dataclass(frozen=True, slots=True)
class Hello:
    """Who calls: the edge, its version, the run of the daemon, and the schemas that it reads, by kind."""

    edge: str
    version: str
    boot: str
    kinds: Mapping[str, tuple[int, int]]


def hello_json(hello: Hello, feed: str, position: Position | None, at: float) -> dict[str, Json]:
    """Return the first message of a connection; `at` is our clock, epoch seconds."""
    return {
        "edge": hello.edge,
        "version": hello.version,
        "boot": hello.boot,
        "kinds": {kind: list(span) for kind, span in sorted(hello.kinds.items())},
        "features": ["gzip", "stream"],
        "feeds": {feed: None if position is None else position_json(position)},
        "clock": at,
    }


def position_json(position: Position) -> dict[str, Json]:
    """Return a position as it is on the wire."""
    return {"epoch": position.epoch, "rev": position.rev}


def nack_json(nack: Nack) -> dict[str, Json]:
    """Return a refusal of one object as it is on the wire."""
    return {"kind": nack.kind, "id": nack.id, "rev": nack.rev, "code": nack.code, "detail": nack.detail}


def ack_json(digests: Digests, nacks: Sequence[Nack], at: float) -> dict[str, Json]:
    """Return what is applied here, and what of it was refused. `at`: epoch seconds."""
    return {
        "epoch": digests.position.epoch,
        "applied_rev": digests.position.rev,
        "nacks": [nack_json(each) for each in nacks[:MOST_NACKS]],
        "nack_count": len(nacks),
        "digest_root": digests.root.hex(),
        "applied_at": at,
    }


def digests_json(digests: Digests) -> dict[str, Json]:
    """Return the digests of all buckets at our position."""
    return {
        "epoch": digests.position.epoch,
        "rev": digests.position.rev,
        "root": digests.root.hex(),
        "digests": [each.hex() for each in digests.buckets],
    }


def read_welcome(octets: bytes, feed: str) -> Welcome | Malformed:
    """Return what a platform answered to hello about a feed."""
    try:
        raw = an_object(decode(octets), ())
        feeds = an_object(raw.get("feeds"), ("feeds",))
        ours = an_object(feeds.get(feed), ("feeds", feed))
        return Welcome(
            epoch=text(ours, "epoch", ("feeds", feed)),
            head=number(ours, "head", ("feeds", feed)),
            server_time=moment(raw, "server_time", ()),
            min_version="" if raw.get("min_version") is None else text(raw, "min_version", (), most=40),
        )
    except Wrong as wrong:
        return wrong.malformed


def read_received(octets: bytes) -> Received | Malformed:
    """Return the answer to an acknowledgement; an empty one serves as well."""
    try:
        raw: dict[str, Any] = an_object(decode(octets), ()) if octets.strip() else {}
        return Received(moment(raw, "server_time", ()), raw.get("check") is True)
    except Wrong as wrong:
        return wrong.malformed


def read_differing(octets: bytes) -> Differing | Malformed:
    """Return which buckets the platform has otherwise."""
    try:
        raw = an_object(decode(octets), ())
        said = a_list(raw.get("differ"), ("differ",), BUCKETS)
        buckets = {_bucket(each, ("differ", index)) for index, each in enumerate(said)}
        return Differing(text(raw, "epoch", ()), number(raw, "rev", ()), tuple(sorted(buckets)))
    except Wrong as wrong:
        return wrong.malformed


def read_bucket(octets: bytes) -> BucketObjects | Malformed:
    """Return the objects of a bucket."""
    try:
        raw = an_object(decode(octets), ())
        rev = number(raw, "rev", ())
        items = read_items(raw.get("items"), ("items",), MOST_BUCKET_ITEMS, rev)
        key, signature = read_signature(raw)
        proof = Batch(
            feed=text(raw, "feed", ()),
            epoch=text(raw, "epoch", ()),
            after=0,
            to=rev,
            head=rev,
            items=(),
            key=key,
            signature=signature,
            signed=signed_octets(raw) if signature else b"",
        )
        return BucketObjects(_bucket(raw.get("bucket"), ("bucket",)), rev, items, proof)
    except Wrong as wrong:
        return wrong.malformed


def read_gone(octets: bytes) -> Gone | Malformed:
    """Return why changes from our position cannot be had."""
    try:
        raw = an_object(decode(octets), ())
        least = None if raw.get("min_rev") is None else number(raw, "min_rev", ())
        return Gone(text(raw, "epoch", ()), least)
    except Wrong as wrong:
        return wrong.malformed


def _bucket(value: Json, path: Path) -> int:
    if type(value) is not int or not 0 <= value < BUCKETS:
        raise Wrong(path, got(value), f"a whole number from 0 to {BUCKETS - 1}")
    return value
