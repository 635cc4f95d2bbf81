"""The JSON Schema of each kind of object, from the same models that validate it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daemon.sync.normalise import IGNORED, SPELLINGS
from daemon.sync.wire import ADAPTERS

Json = Any  # a JSON Schema, or a part of one

_EXAMPLES: Mapping[str, Mapping[str, Json]] = {
    "tenant": {"kind": "tenant", "id": "demo", "body": {"name": "Demo Fibre"}},
    "nas": {
        "kind": "nas",
        "id": "bng-1",
        "body": {"address": "192.0.2.1", "secret": "a-long-random-text", "vendor": "mikrotik"},
    },
    "plan": {
        "kind": "plan",
        "id": "home-100",
        "body": {"name": "Home 100", "access": "ppp", "download": "100M", "upload": "20M"},
    },
    "subscriber": {
        "kind": "subscriber",
        "id": "alice",
        "body": {"username": "alice", "password": "wonderland", "access_mode": "active", "plan": "home-100"},
    },
    "staff": {
        "kind": "staff",
        "id": "noc-1",
        "body": {"username": "nora", "password": "a-long-password", "privilege": "write"},
    },
    "pool": {"kind": "pool", "id": "home-v4", "body": {"kind": "v4", "ranges": ["198.51.100.0/24"]}},
    "selector": {
        "kind": "selector",
        "id": "home",
        "body": {"match": {"plan": "home-100"}, "pools": {"v4": ["home-v4"]}},
    },
}


def schema(kind: str) -> dict[str, Json]:
    """Return the JSON Schema (draft 2020-12) of a whole object of that kind; KeyError for an unknown kind.

    Other spellings that are accepted are not part of it; `x-spellings` has them, with what they stand for.
    What needs two objects, or a dictionary, to be seen is not in it either.
    """
    body = ADAPTERS[kind].json_schema()
    definitions = body.pop("$defs", {})
    title = kind.capitalize() if kind != "nas" else "NAS"
    identifier = {"type": ["string", "integer"], "description": "unique for its kind and tenant"}
    made: dict[str, Json] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": body.get("description", ""),
        "type": "object",
        "required": ["kind", "id"] if kind == "tenant" else ["kind", "id", "body"],
        "additionalProperties": False,
        "properties": {
            "kind": {"const": kind},
            "tenant": {"type": ["string", "integer"], "description": "absent: the only tenant of the file"},
            "id": identifier,
            "body": body,
        },
        "examples": [dict(_EXAMPLES[kind])],
        "x-spellings": {spelled: ".".join(steps) for spelled, steps in SPELLINGS[kind].items()},
        "x-ignored": sorted(IGNORED.get(kind, ())),
    }
    if definitions:
        made["$defs"] = definitions
    return made
