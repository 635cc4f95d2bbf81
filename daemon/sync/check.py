"""A whole document: every object on its own, then what objects say about each other and about the replica."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from daemon.replica.index import Index
from daemon.replica.records import AccessMode, Record, Subscriber
from daemon.sync.document import Document
from daemon.sync.faults import Fault
from daemon.sync.identities import SHARED, taken_identities, taken_prefixes
from daemon.sync.normalise import SPELLINGS
from daemon.sync.outlook import Key as _Key
from daemon.sync.outlook import Outlook
from daemon.sync.overlaps import overlaps
from daemon.sync.problems import Path, Problem, got, path_text
from daemon.sync.records import KINDS, BodyInvalid, to_record
from daemon.sync.references import NO_GARDEN, lacks_garden, odd_references, unknown_references
from daemon.sync.renderable import Unrenderable, unrenderable_plans
from daemon.sync.wire_types import ID_FORM, read_id
from radius.dictionary import Dictionary

Json = Any  # a value as `json.loads` gives it
OwnerOf = Callable[[str, str], str | None]
"""(tenant, kind): the feed that brings these objects, None where operators load them."""

_ENVELOPE = ("kind", "tenant", "id", "body")
_PLURALS = {"username": ("usernames",), "mac": ("macs",), "address": ("prefixes",)}
# What is told of the first object only: a file of subscribers may come before that of its NASes.
_ONCE = frozenset({"unknown-nas", "unknown-site"})
_NO_TENANT = "`tenant`, or a file with exactly one tenant object"


@dataclass(frozen=True, slots=True)
class Checked:
    """What came out of a document: the records that are right, what is wrong, and what is allowed but odd."""

    records: tuple[Record, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Object:
    """An object whose envelope is right."""

    index: int
    kind: str
    tenant: str
    key: str
    body: dict[str, Json]


def check(
    document: Document,
    index: Index,
    dictionary: Dictionary,
    *,
    tenant: str | None = None,
    replace: bool = False,
    unrenderable: Unrenderable | None = None,
    owner_of: OwnerOf = lambda _tenant, _kind: None,
) -> Checked:
    """Return the records of `document` and everything that is wrong with it, at once.

    An object without a tenant belongs to `tenant`, else to the only tenant of the document. `index` is what
    the replica holds now; with `replace`, what the document's tenants hold there is about to go.
    `unrenderable` says why a plan, or a walled garden, cannot be said to a NAS, `owner_of` which feed brings objects
    of a tenant and kind: those cannot be loaded. The records are those of objects without a problem; whether they are
    applied although others have one is for the caller to decide. CPU-bound: run it in a thread, it only reads the
    index.
    """
    return _Check(document, index, dictionary, tenant, replace, unrenderable, owner_of).run()


class _Check:
    """One check; its problems grow as it goes."""

    def __init__(
        self,
        document: Document,
        index: Index,
        dictionary: Dictionary,
        tenant: str | None,
        replace: bool,
        unrenderable: Unrenderable | None,
        owner_of: OwnerOf,
    ) -> None:
        self._document = document
        self._index = index
        self._dictionary = dictionary
        self._unrenderable = unrenderable
        self._owner_of = owner_of
        self._owned: set[tuple[str, str]] = set()  # of which it has been told
        self._problems = list(document.problems)
        self._warnings: list[Problem] = []
        self._objects: dict[_Key, _Object] = {}
        self._records: dict[_Key, Record] = {}
        self._outlook = Outlook(index, self._objects.keys(), self._records, replace)
        self._bad: set[_Key] = set()
        self._without_tenant = False
        own = {
            str(key) for item in document.items if item.get("kind") == "tenant" and (key := item.get("id"))
        }
        self._default = tenant if tenant is not None else own.pop() if len(own) == 1 else None

    def run(self) -> Checked:
        for index, item in enumerate(self._document.items):
            self._envelope(index, item)
        for key, each in self._objects.items():
            try:
                self._records[key] = to_record(each.kind, each.tenant, each.key, each.body, self._dictionary)
            except BodyInvalid as error:
                for fault in error.faults:
                    self._fault(key, fault)
        self._references()
        self._identities()
        for key, fault in overlaps(self._index, self._outlook, self._records, self._bad):
            self._wrong(key, *self._told(key, fault))
        self._nas_prefixes()
        if self._unrenderable is not None:
            self._renderability(self._unrenderable)
            self._gardens(self._unrenderable)
        records = tuple(record for key, record in self._records.items() if key not in self._bad)
        return Checked(records, tuple(self._problems), tuple(self._warnings))

    # -- one object

    def _envelope(self, index: int, item: dict[str, Json]) -> None:
        kind, key, body, tenant = (item.get(name) for name in ("kind", "id", "body", "tenant"))
        clear = len(self._problems)
        for name in item:
            if name not in _ENVELOPE:
                near = get_close_matches(name, _ENVELOPE, n=1)
                hint = f"did you mean {near[0]}?" if near else "what describes the object goes into its body"
                came = f"the key {path_text((name,))}"
                self._add(index, (name,), "unknown-key", came, f"one of {', '.join(_ENVELOPE)}", hint)
        if not isinstance(kind, str) or kind not in KINDS:
            slug = "missing" if kind is None else "unknown-kind"
            self._add(index, ("kind",), slug, got(kind), f"one of {', '.join(KINDS)}")
        identifier = read_id(key)
        if identifier is None:
            self._add(index, ("id",), "missing" if key is None else "bad-id", got(key), ID_FORM)
        if body is None and kind == "tenant":
            body = {}  # all that a tenant can say is optional
        if not isinstance(body, dict):
            self._add(index, ("body",), "missing" if body is None else "wrong-shape", got(body), "an object")
        owner = identifier if kind == "tenant" else self._owner(index, tenant)
        if len(self._problems) == clear and identifier is not None and owner is not None:
            self._keep(_Object(index, str(kind), owner, identifier, body if isinstance(body, dict) else {}))

    def _owner(self, index: int, given: Json) -> str | None:
        if given is None:
            if self._default is None and not self._without_tenant:
                self._without_tenant = True  # once: a whole file may be without
                self._add(index, ("tenant",), "missing", got(None), _NO_TENANT)
            return self._default
        tenant = read_id(given)
        if tenant is None:
            self._add(index, ("tenant",), "bad-id", got(given), ID_FORM)
        return tenant

    def _keep(self, made: _Object) -> None:
        key = (made.kind, made.tenant, made.key)
        first = self._objects.setdefault(key, made)
        if first is not made:
            line = self._document.line_of(first.index)
            where = path_text(("items", first.index)) if line is None else f"line {line}"
            came = f"{made.kind} {made.key} a second time"
            self._add(
                made.index, ("id",), "repeated-object", came, "each object once", f"the first is at {where}"
            )

    # -- objects together

    def _ownership(self, key: _Key, each: _Object) -> None:
        """Refuse what a feed brings; told once for each kind, a file may be full of it."""
        feed = self._owner_of(each.tenant, each.kind)
        if feed is None:
            return
        self._bad.add(key)
        if (each.tenant, each.kind) not in self._owned:
            self._owned.add((each.tenant, each.kind))
            came = f"a {each.kind} of tenant {each.tenant}, which feed {feed} brings"
            expected = "objects of kinds that no feed brings"
            self._wrong(key, ("kind",), "owned-by-feed", came, expected, "change it on the platform")

    def _references(self) -> None:
        unknown: set[str] = set()
        told: set[Hashable] = set()
        captive: dict[str, list[_Key]] = {}
        for key, each in self._objects.items():
            self._ownership(key, each)
            if not self._outlook.exists(("tenant", each.tenant, each.tenant)):
                self._bad.add(key)
                if each.tenant not in unknown:  # once: all that follows may be of that tenant
                    unknown.add(each.tenant)
                    hint = (
                        f"add an object of kind tenant; known are {', '.join(self._index.tenants) or 'none'}"
                    )
                    came = got(each.tenant)
                    self._wrong(key, ("tenant",), "unknown-tenant", came, "a tenant that exists", hint)
            record = self._records.get(key)
            if record is None:
                continue
            for fault in unknown_references(record, self._outlook):
                self._wrong(key, *self._told(key, fault))
            for fault in odd_references(record, self._outlook):
                mark = (each.tenant, fault.slug, fault.got if fault.slug in _ONCE else (key, fault.path))
                if mark not in told:
                    told.add(mark)
                    self._warn(key, *self._told(key, fault))
            if isinstance(record, Subscriber) and record.access_mode is AccessMode.CAPTIVE:
                captive.setdefault(each.tenant, []).append(key)
        for tenant, keys in captive.items():  # once: there may be many, and one thing is to be done
            if lacks_garden(tenant, self._outlook):
                hint = f"{len(keys)} subscribers here are captive" if len(keys) > 1 else ""
                self._warn(
                    keys[0], self._place(keys[0], "access_mode"), "no-garden", got("captive"), NO_GARDEN, hint
                )

    def _identities(self) -> None:
        for found in taken_identities(self._index, self._outlook, self._records):
            if found is not None:
                key, fault = found
                # Where a remote id names the node of many lines, its NAS must not look up by it.
                told = self._warn if fault.path[0] in SHARED else self._wrong
                told(key, *self._told(key, fault))

    def _nas_prefixes(self) -> None:
        for key, fault in taken_prefixes(self._index, self._outlook, self._records):
            self._wrong(key, *self._told(key, fault))

    def _renderability(self, unrenderable: Unrenderable) -> None:
        for key, fault, by_all in unrenderable_plans(self._records, self._outlook, unrenderable):
            told = self._wrong if by_all else self._warn
            told(key, *self._told(key, fault))

    def _gardens(self, unrenderable: Unrenderable) -> None:
        """Warn of walled gardens that a vendor cannot build, at the tenant if it is here, else at the NAS."""
        for name in sorted(self._outlook.tenants):
            tenant = self._outlook.tenant(name)
            if tenant is None or tenant.garden is None:
                continue
            for vendor, nas in self._outlook.vendors(name).items():
                why = unrenderable(tenant.garden, nas)
                owner = ("tenant", name, name)
                key, path = (owner, "garden") if owner in self._objects else (("nas", name, nas.id), "vendor")
                if why is not None and key in self._objects:
                    came = f"captive cannot be rendered on vendor {vendor}"
                    expected = (
                        "a walled garden that its NASes can build: those subscribers are rejected there"
                    )
                    self._warn(key, ("body", path), "garden-unrenderable", came, expected, why)

    # -- telling

    def _place(self, key: _Key, field: str) -> Path:
        """Return the path of a field in the spelling that its object uses."""
        body = self._objects[key].body
        names = [field, *_PLURALS.get(field, ())]
        names += [name for name, steps in SPELLINGS[key[0]].items() if steps == (field,)]
        return ("body", next((name for name in names if name in body), field))

    def _told(self, key: _Key, fault: Fault) -> tuple[Path, str, str, str, str]:
        """Return where a fault is in the spelling of its object, and what it says."""
        place = (*self._place(key, str(fault.path[0])), *fault.path[1:]) if fault.path else ("body",)
        return place, fault.slug, fault.got, fault.expected, fault.hint

    def _fault(self, key: _Key, fault: Fault) -> None:
        path = ("body", *fault.path)
        self._wrong(key, path, fault.slug, fault.got, fault.expected, fault.hint)

    def _wrong(self, key: _Key, path: Path, slug: str, came: str, expected: str, hint: str = "") -> None:
        self._bad.add(key)
        self._add(self._objects[key].index, path, slug, came, expected, hint)

    def _warn(self, key: _Key, path: Path, slug: str, came: str, expected: str, hint: str = "") -> None:
        self._warnings.append(self._problem(self._objects[key].index, path, slug, came, expected, hint))

    def _add(self, index: int, path: Path, slug: str, came: str, expected: str, hint: str = "") -> None:
        self._problems.append(self._problem(index, path, slug, came, expected, hint))

    def _problem(self, index: int, path: Path, slug: str, came: str, expected: str, hint: str) -> Problem:
        item = self._document.items[index]
        return Problem(
            slug=slug,
            file=self._document.name,
            line=self._document.line_of(index, path),
            path=path_text(("items", index, *path)),
            got=came,
            expected=expected,
            hint=hint,
            kind=item["kind"] if item.get("kind") in KINDS else "",
            tenant=read_id(item.get("tenant")) or self._default or "",
            id=read_id(item.get("id")) or "",
        )
