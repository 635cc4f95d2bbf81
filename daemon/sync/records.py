"""From the body of an object to its record, with everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from daemon.errors import DaemonError
from daemon.replica.records import Record
from daemon.sync import builders, pool_builders
from daemon.sync.faults import Fault, Faults
from daemon.sync.normalise import IGNORED, SPELLINGS, Normal, normalise
from daemon.sync.problems import Path, got, path_text
from daemon.sync.wire import ADAPTERS, BODIES, NasBody, PlanBody, StaffBody, SubscriberBody, TenantBody
from daemon.sync.wire_pools import PoolBody, SelectorBody
from radius.dictionary import Dictionary

Json = Any  # a value as `json.loads` gives it
KINDS = tuple(BODIES)
# A value is not shown where one of these is on its path: a secret, or an attribute that may hold one.
_HIDDEN = frozenset({"password", "secret", "previous_secret", "line_password", "coa_secret", "attributes"})
_SECRETS_OF_NAS = ("secret", "previous_secret", "line_password", "coa_secret")


class BodyInvalid(DaemonError):
    """A body cannot become a record; `faults` has everything that is wrong with it."""

    slug = "invalid-body"

    def __init__(self, kind: str, key: str, faults: Sequence[Fault]) -> None:
        self.kind = kind
        self.key = key
        self.faults = tuple(faults)
        said = "; ".join(
            f"{path_text(each.path) or 'body'}: got {each.got}; expected {each.expected}" for each in faults
        )
        super().__init__(f"{kind} {key}: {said}")


def to_record(kind: str, tenant: str, key: str, body: dict[str, Json], dictionary: Dictionary) -> Record:
    """Return the record of an object. `kind` is one of KINDS; of a tenant, `tenant` does not matter.

    `dictionary` gives raw attributes their octets. Raises BodyInvalid.
    """
    normal = normalise(kind, body)
    try:
        given = ADAPTERS[kind].validate_python(normal.body)
    except ValidationError as error:
        found = error.errors(include_url=False)
        raise BodyInvalid(
            kind, key, [_fault(kind, each, normal) for each in found] + _twice(normal)
        ) from None
    faults = Faults()
    record: Record
    if isinstance(given, SubscriberBody):
        record = builders.subscriber(tenant, key, given, dictionary, faults)
    elif isinstance(given, PlanBody):
        record = builders.plan(tenant, key, given, dictionary, faults)
    elif isinstance(given, NasBody):
        short = frozenset(
            name for name in _SECRETS_OF_NAS if not isinstance(normal.body.get(name), (dict, type(None)))
        )
        record = builders.nas(tenant, key, given, short, dictionary, faults)
    elif isinstance(given, StaffBody):
        record = builders.staff(tenant, key, given, faults)
    elif isinstance(given, PoolBody):
        record = pool_builders.pool(tenant, key, given, faults)
    elif isinstance(given, SelectorBody):
        record = pool_builders.selector(tenant, key, given, dictionary, faults)
    else:
        assert isinstance(given, TenantBody)
        record = builders.tenant(key, given, faults)
    if faults.found or normal.conflicts:
        told = [
            Fault(normal.spelled(each.path), each.slug, each.got, each.expected, each.hint)
            for each in faults.found
        ]
        raise BodyInvalid(kind, key, told + _twice(normal))
    return record


def _twice(normal: Normal) -> list[Fault]:
    return [
        Fault(
            (each.spelled,),
            "said-twice",
            f"another value than in `{each.ours}`",
            "the same value, or only one of them",
        )
        for each in normal.conflicts
    ]


def _fault(kind: str, error: ErrorDetails, normal: Normal) -> Fault:
    """Return what pydantic found, in our words and with the path as the object spelled it."""
    ours: Path = error["loc"]
    path = normal.spelled(ours)
    slug = error["type"]
    if slug == "extra_forbidden":
        name = str(ours[-1])
        hint = _nearest(kind, ours, name)
        return Fault(path, "unknown-key", f"the key {path_text((name,))}", f"a key of this {kind}", hint)
    if slug == "missing":
        return Fault(path[:-1], "missing", "nothing", f"`{ours[-1]}`")
    shown = got(error["input"], hidden=any(step in _HIDDEN for step in ours))
    context = error.get("ctx", {})
    if "expected" in context:
        return Fault(path, slug, shown, context["expected"], context.get("hint", ""))
    return Fault(
        path, "wrong-shape", shown, "an object" if "model" in slug or "dict" in slug else error["msg"]
    )


def _nearest(kind: str, path: Path, name: str) -> str:
    """Return a hint with the names that come near an unknown one, or all that there are."""
    fields = _fields_at(kind, tuple(step for step in path[:-1] if isinstance(step, str)))
    spelled = [*SPELLINGS[kind], *IGNORED.get(kind, ())] if len(path) == 1 else []
    near = get_close_matches(name, [*fields, *spelled], n=3, cutoff=0.6)
    return f"did you mean {', '.join(near)}?" if near else f"known are {', '.join(fields)}"


@cache  # a file may have the same mistake in every object, and the schema takes a millisecond
def _fields_at(kind: str, path: tuple[str, ...]) -> list[str]:
    """Return the names of the fields of the body, or of the object inside it, that lies at `path`."""
    schema = ADAPTERS[kind].json_schema()
    place: dict[str, Json] = schema
    for step in path:
        place = _resolved(schema, place["properties"].get(step, {}))
    return list(place.get("properties", ()))


def _resolved(schema: dict[str, Json], place: dict[str, Json]) -> dict[str, Json]:
    """Follow references, lists and alternatives with None to the object behind them."""
    for _ in range(8):
        if "$ref" in place:
            place = schema["$defs"][place["$ref"].rsplit("/", 1)[-1]]
        elif "items" in place:
            place = place["items"]
        elif "anyOf" in place:
            place = place["anyOf"][0]
        else:
            break
    return place
