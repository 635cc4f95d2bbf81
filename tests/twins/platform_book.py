"""What a central platform keeps of one feed: objects, revisions in commit order, the log of changes, digests.

Written apart from the daemon's own code, from the protocol: what both compute has to agree.
"""

from __future__ import annotations

import bisect
import copy
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = Any
MOST_OCTETS = 900_000  # of a batch, with room for its frame
_ORDER = {"tenant": 0, "plan": 1, "pool": 2, "selector": 3, "nas": 4}  # before those that name them
NOTHING = bytes(16)


def canonical(value: Json) -> bytes:
    """Return the one form of JSON that is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(kind: str, key: str, schema: int, body: Json) -> bytes:
    return hashlib.sha256(canonical([kind, key, schema, body])).digest()[:16]


def bucket_of(kind: str, key: str) -> int:
    return hashlib.sha256(f"{kind}/{key}".encode()).digest()[0]


def root_of(digests: Iterable[bytes]) -> bytes:
    return hashlib.sha256(b"".join(digests)).digest()


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


class Key(NamedTuple):
    """An object's place in the order of pages: what is named comes before what names it."""

    order: int
    kind: str
    id: str


class Object(NamedTuple):
    rev: int
    schema: int
    min_reader: int
    body: Json


class Change(NamedTuple):
    """One line of the log; `object` is None where it was deleted."""

    rev: int
    key: Key
    object: Object | None


def key_of(kind: str, name: str) -> Key:
    return Key(_ORDER.get(kind, 9), kind, name)


def item_json(key: Key, rev: int, found: Object | None) -> dict[str, Json]:
    said: dict[str, Json] = {"k": key.kind, "id": key.id, "rev": rev}
    if found is None:
        return said | {"op": "del"}
    return said | {
        "op": "put",
        "schema": found.schema,
        "min_reader": found.min_reader,
        "body": found.body,
    }


@dataclass
class Gone:
    """Changes from there cannot be had: 409 for another epoch, 410 for a log that was compacted."""

    status: int
    epoch: str
    min_rev: int


@dataclass
class Book:
    """One feed. Every change is committed at once, so that revisions rise in commit order."""

    feed: str
    epoch: str = field(default_factory=lambda: secrets.token_hex(8))
    rev: int = 0
    min_rev: int = 0  # changes after it are in the log
    objects: dict[Key, Object] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)  # in order
    log: list[Change] = field(default_factory=list)
    past: dict[Key, list[tuple[int, Object | None]]] = field(default_factory=dict)  # all of this epoch
    digests: list[bytes] = field(default_factory=lambda: [NOTHING] * 256)

    def put(self, kind: str, name: str, body: Json, *, schema: int = 1, min_reader: int = 1) -> int:
        """Commit an object; return its revision."""
        self.rev += 1
        self._change(key_of(kind, name), Object(self.rev, schema, min_reader, copy.deepcopy(body)))
        return self.rev

    def delete(self, kind: str, name: str) -> int:
        """Commit that an object is gone."""
        key = key_of(kind, name)
        if key in self.objects:
            self.rev += 1
            self._change(key, None)
        return self.rev

    def elsewhere(self, count: int = 1) -> None:
        """Commit changes that do not concern this feed: its revisions get holes."""
        self.rev += count

    def corrupt(self, kind: str, name: str, body: Json) -> None:
        """Change an object behind the back of the log: nobody is told."""
        key, rev = key_of(kind, name), self.rev
        before = self.objects[key]
        self._toggle(key, before)
        self.objects[key] = before._replace(body=body)
        self._toggle(key, self.objects[key])
        self.past[key].append((rev, self.objects[key]))

    def compact(self, rev: int | None = None) -> None:
        """Forget the log up to a revision, by default all of it."""
        self.min_rev = self.rev if rev is None else max(self.min_rev, min(rev, self.rev))
        self.log = [each for each in self.log if each.rev > self.min_rev]

    def backup(self) -> Book:
        """Return all as it is now."""
        return copy.deepcopy(self)

    def restore(self, backup: Book) -> None:
        """Be as in a backup, in another epoch, because numbers will be given again."""
        kept = copy.deepcopy(backup)
        for name in ("rev", "min_rev", "objects", "keys", "log", "past", "digests"):
            setattr(self, name, getattr(kept, name))
        self.epoch = secrets.token_hex(8)

    def _change(self, key: Key, now: Object | None) -> None:
        before = self.objects.get(key)
        if before is not None:
            self._toggle(key, before)
        if now is not None:
            self._toggle(key, now)
            if before is None:
                bisect.insort(self.keys, key)
            self.objects[key] = now
        elif before is not None:
            del self.objects[key]
            self.keys.pop(bisect.bisect_left(self.keys, key))
        self.log.append(Change(self.rev, key, now))
        self.past.setdefault(key, []).append((self.rev, now))

    def _toggle(self, key: Key, found: Object) -> None:
        bucket = bucket_of(key.kind, key.id)
        digest = digest_of(key.kind, key.id, found.schema, found.body)
        self.digests[bucket] = xor(self.digests[bucket], digest)

    def changes(self, epoch: str, after: int, limit: int) -> dict[str, Json] | Gone:
        """Return all changes in an interval that begins after `after`; the frame of a batch, not signed."""
        if epoch != self.epoch or after > self.rev:
            return Gone(409, self.epoch, self.min_rev)
        if after < self.min_rev:
            return Gone(410, self.epoch, self.min_rev)
        first = bisect.bisect_right(self.log, after, key=lambda each: each.rev)
        part, octets, to = [], 0, self.rev
        for index, each in enumerate(self.log[first : first + limit + 1]):
            item = item_json(each.key, each.rev, each.object)
            octets += len(canonical(item))
            if index == limit or (part and octets > MOST_OCTETS):
                to = part[-1]["rev"]
                break
            part.append(item)
        return {"feed": self.feed, "epoch": epoch, "from": after, "to": to, "head": self.rev, "items": part}

    def at(self, rev: int) -> dict[Key, Object]:
        """Return all objects as they were at a revision of this epoch."""
        if rev == self.rev:
            return self.objects
        found = {}
        for key, states in self.past.items():
            known = [state for number, state in states if number <= rev]
            if known and known[-1] is not None:
                found[key] = known[-1]
        return found

    def digests_at(self, rev: int) -> list[bytes]:
        """Return the digests of all buckets at a revision."""
        if rev == self.rev:
            return list(self.digests)
        return digests_of(self.at(rev).items())


def digests_of(objects: Iterable[tuple[Key, Object]]) -> list[bytes]:
    """Return the digests of all buckets of some objects."""
    found = [NOTHING] * 256
    for key, each in objects:
        bucket = bucket_of(key.kind, key.id)
        found[bucket] = xor(found[bucket], digest_of(key.kind, key.id, each.schema, each.body))
    return found
