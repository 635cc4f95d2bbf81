"""One item of a feed into a row to store, or into why not. Pure, so that it can run in another process.

An object that is wrong is refused alone. Fields that only a newer version knows are kept aside, sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from daemon.replica.codec import dump
from daemon.replica.records import Record
from daemon.store.seal import Sealer, context
from daemon.sync.faults import Fault
from daemon.sync.feed.canonical import canonical
from daemon.sync.feed.digest import SIZE, bucket_of, object_digest
from daemon.sync.feed.model import Item, Json
from daemon.sync.normalise import IGNORED, SPELLINGS
from daemon.sync.problems import path_text, printable
from daemon.sync.records import KINDS, BodyInvalid, to_record
from daemon.sync.wire import BODIES
from daemon.sync.wire_types import ID_FORM, read_id
from radius.dictionary import Dictionary

SCHEMA = 1
"""The version of the objects' form that is written down in docs/data.md; an item may ask for a newer reader."""

TOO_NEW = "unsupported-schema"
"""Why an object is refused that needs a newer version of us."""

_DETAIL_MOST = 500
_NAME_MOST = 200
_KNOWN = {kind: frozenset(body.model_fields) | SPELLINGS[kind].keys() | IGNORED.get(kind, frozenset())
          for kind, body in BODIES.items()}  # fmt: skip


class Refuse(NamedTuple):
    """Why an object is refused: a slug, and what an operator needs to know; never a secret."""

    code: str
    detail: str


class Made(NamedTuple):
    """An item, read. `record` and `body` are there exactly if it is not refused; `body` and `extra` hold no secret
    in clear. `kind` and `id` are as they came, but for what no table can hold."""

    kind: str
    id: str
    rev: int
    bucket: int
    digest: bytes
    record: Record | None
    body: bytes | None
    extra: bytes | None
    refuse: Refuse | None


class Intake:
    """Reads the items of one feed."""

    def __init__(self, tenant: str, kinds: frozenset[str], seal: Sealer, dictionary: Dictionary) -> None:
        self._tenant = tenant
        self._kinds = kinds
        self._seal = seal
        self._dictionary = dictionary

    def read(self, item: Item) -> Made:
        """Return what becomes of one item that puts an object. Never raises."""
        kind, key = storable(item.kind), storable(item.id)
        try:
            digest = object_digest(item.kind, item.id, item.schema, item.body)
        except (TypeError, ValueError, RecursionError):
            digest = bytes(SIZE)
        bucket = bucket_of(item.kind, item.id)
        try:
            made = self._record(item)
        except BodyInvalid as error:
            made = refusal(error.faults[0], len(error.faults) - 1)
        except Exception as error:  # noqa: BLE001 - whatever one object does to us, the others are not concerned
            made = Refuse("unreadable", f"this object cannot be read here ({type(error).__name__})")
        if isinstance(made, Refuse):
            return Made(kind, key, item.rev, bucket, digest, None, None, None, made)
        record, unknown = made
        extra = None
        if unknown:
            extra = self._seal.seal(canonical(unknown), context(kind, self._tenant, key))
        return Made(kind, key, item.rev, bucket, digest, record, dump(record, self._seal), extra, None)

    def _record(self, item: Item) -> tuple[Record, dict[str, Json]] | Refuse:
        """Return the record of an item and the fields that are not known here. Raises BodyInvalid."""
        if item.kind not in KINDS:
            return Refuse(
                "unsupported-kind", f"kind: got {_shown(item.kind)}; expected one of {', '.join(KINDS)}"
            )
        if item.kind not in self._kinds:
            expected = ", ".join(sorted(self._kinds))
            return Refuse("kind-not-of-feed", f"kind: got {item.kind}; this feed brings {expected}")
        if item.min_reader > SCHEMA:
            detail = f"it needs a reader of schema {item.min_reader}; this version reads {SCHEMA}: upgrade this edge"
            return Refuse(TOO_NEW, detail)
        if read_id(item.id) is None:
            return Refuse("bad-id", f"id: got {_shown(item.id)}; expected {ID_FORM}")
        if item.kind == "tenant" and item.id != self._tenant:
            return Refuse("other-tenant", f"id: got {item.id}; this feed is of tenant {self._tenant}")
        body = {} if item.body is None and item.kind == "tenant" else item.body
        if not isinstance(body, Mapping):
            return Refuse("missing", "body: got nothing; expected an object")
        unknown: dict[str, Json] = {}
        if item.schema > SCHEMA:
            unknown = {name: value for name, value in body.items() if name not in _KNOWN[item.kind]}
        known = {name: value for name, value in body.items() if name not in unknown}
        return to_record(item.kind, self._tenant, item.id, known, self._dictionary), unknown


def refusal(fault: Fault, more: int = 0) -> Refuse:
    """Return the refusal that says a fault of a body, and how many more there are."""
    place = path_text(("body", *fault.path))
    text = f"{place}: got {fault.got}; expected {fault.expected}"
    text += f"; {fault.hint}" if fault.hint else ""
    text += f" (and {more} more)" if more else ""
    return Refuse(fault.slug, printable(text)[:_DETAIL_MOST])


def storable(name: str) -> str:
    """Return a kind or id as a table and a log can hold it: a name that is none is refused, and has to be named."""
    return name.encode("utf-8", "backslashreplace").decode()[:_NAME_MOST] if not _is_plain(name) else name


def _is_plain(name: str) -> bool:
    return len(name) <= _NAME_MOST and (name.isascii() or name.isprintable())


def _shown(name: str) -> str:
    return printable(storable(name))[:60]
