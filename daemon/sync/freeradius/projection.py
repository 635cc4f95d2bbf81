"""What the tables amount to as our objects, by digests only: to tell differences, and to compare with the feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from daemon.sync.feed.digest import SIZE, Buckets, bucket_of, object_digest, root_of
from daemon.sync.feed.model import Trailer
from daemon.sync.freeradius.logins import RAW
from daemon.sync.freeradius.semantics import Made, object_id

SCHEMA = 1
_NUMBER = 4  # octets of the number of a plan


@dataclass(slots=True)
class Projection:
    """One pass over the tables. A login costs 28 octets beside its name: this is kept for all of them.

    They are the digest of its rows, the digest of its object, and the number of its plan.
    """

    logins: dict[str, bytes] = field(default_factory=dict)
    others: dict[tuple[str, str], bytes] = field(default_factory=dict)  # plans, NASes, staff: by kind and id
    plans: list[str] = field(default_factory=list)  # ids by number
    counts: Counter[str] = field(default_factory=Counter)
    vendors: frozenset[int] = frozenset()
    rows: int = 0
    _numbers: dict[str, int] = field(default_factory=dict)
    _buckets: Buckets = field(default_factory=Buckets)

    def add(self, made: Made) -> bytes:
        """Take an object that is no login's; return its digest."""
        digest = object_digest(made.kind, made.id, SCHEMA, made.body)
        self._count(made.kind, made.id, digest)
        self.others[made.kind, made.id] = digest
        return digest

    def add_login(self, name: str, raw: bytes, made: Made) -> bytes:
        """Take the subscriber of a login; return its digest."""
        digest = object_digest(made.kind, made.id, SCHEMA, made.body)
        self._count(made.kind, made.id, digest)
        self.logins[name] = raw + digest + self._number(made.body["plan"]).to_bytes(_NUMBER, "big")
        return digest

    def same_login(self, name: str, entry: bytes, earlier: Projection) -> None:
        """Take a login whose rows are those of an earlier pass, and its plan with it."""
        plan = earlier.plans[int.from_bytes(entry[RAW + SIZE :], "big")]
        key = ("plan", plan)
        if key not in self.others and key in earlier.others:
            self._count("plan", plan, earlier.others[key])
            self.others[key] = earlier.others[key]
        self._count("subscriber", object_id(name), digest_of(entry))
        self.logins[name] = entry[: RAW + SIZE] + self._number(plan).to_bytes(_NUMBER, "big")

    def same_other(self, key: tuple[str, str], earlier: Projection) -> bool:
        """Take what is no login's as an earlier pass had it; tell whether it was there."""
        digest = earlier.others.get(key)
        if digest is None:
            return False
        if key not in self.others:
            self._count(*key, digest)
            self.others[key] = digest
        return True

    def gone(self, earlier: Projection) -> Iterator[tuple[str, str]]:
        """Yield kind and id of what an earlier pass had and this one has not; subscribers before their plans."""
        for name in earlier.logins:
            if name not in self.logins:
                yield "subscriber", object_id(name)
        for key in earlier.others:
            if key not in self.others:
                yield key

    def trailer(self) -> Trailer:
        """Return counts and digests as a snapshot of this ends."""
        return Trailer(counts=dict(self.counts), digests=self._buckets.digests())

    def root(self) -> bytes:
        """Return the digest of everything."""
        return root_of(self._buckets.digests())

    def known(self) -> Mapping[tuple[str, str], bytes]:
        """Return the digests of what is no login's."""
        return self.others

    def _count(self, kind: str, key: str, digest: bytes) -> None:
        self.counts[kind] += 1
        self._buckets.toggle(bucket_of(kind, key), digest)

    def _number(self, plan: str) -> int:
        number = self._numbers.get(plan)
        if number is None:
            number = self._numbers[plan] = len(self.plans)
            self.plans.append(plan)
        return number


def raw_of(entry: bytes) -> bytes:
    """Return the digest of the rows of a login."""
    return entry[:RAW]


def digest_of(entry: bytes) -> bytes:
    """Return the digest of the object of a login."""
    return entry[RAW : RAW + SIZE]
