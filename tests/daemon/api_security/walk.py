"""Every operation of the OpenAPI document as a request, with the names of one tenant in all its places."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

OPEN = frozenset({"/livez", "/health", "/readyz", "/api/v1/oauth/token", "/api/v1/oauth/jwks"})

# Whose things are named: `gamma` is nobody.
WORDS: dict[str, dict[str, str]] = {
    "alpha": {"t": "alpha", "net": "100.64", "inside": "10.64", "outside": "203.0.113", "key": "kalpha"},
    "beta": {"t": "beta", "net": "100.65", "inside": "10.65", "outside": "198.51.100", "key": "kbeta"},
    "gamma": {"t": "gamma", "net": "100.99", "inside": "10.99", "outside": "192.0.2", "key": "kgamma"},
}

_PATHS = {
    "subscribers/{name}": "{t}-line",
    "subscriber-usages/{name}": "{t}-line",
    "subscriber-bindings/{name}": "{t}-line",
    "nas/{name}": "{t}-nas",
    "sessions/{name}": "{t}-s1",
    "plans/{name}": "{t}-plan",
    "ipam/pools/{name}": "{t}-v4",
    "ipam/pools/{pool}": "{t}-v4",
    "ipam/prefixes/{prefix}": "{net}.0.0/16",
    "ipam/vrfs/{name}": "{t}-vrf",
    "ipam/selectors/{name}": "{t}-own",
    "ipam/reservations/{unit}": "{net}.0.200",
    "ipam/leases/{name}": "{net}.0.0",
    "ipam/cgnat/plans/{name}": "{t}-nat",
    "api-keys/{key}": "{key}",
    "sync/feeds/{feed}": "{t}-feed",
}
_QUERIES = {
    "name": "{t}-s1",
    "subscriber": "{t}-line",
    "subject": "{t}-user",
    "nas": "{t}-nas",
    "plan": "{t}-plan",
    "pool": "{t}-v4",
    "address": "{net}.0.0",
    "inside": "{inside}.0.5",
    "outside": "{outside}.1",
    "interface": "lo",
    "reason": "case 1",
    "at": "1795291000",
    "since": "1",
}
_OF_PATH = {
    ("/api/v1/ipam/next-vlans", "pool"): "{t}-vlans",
    ("/api/v1/ipam/who-had", "at"): "now",
    ("/api/v1/ipam/who-had-exports", "at"): "now",
}
_ALWAYS = {("/api/v1/ipam/history", "subscriber"), ("/api/v1/ipam/vlans", "pool")}
_BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("post", "/api/v1/ipam/pools"): {"tenant": "{t}", "name": "x", "kind": "v4", "ranges": ["10.9.0.0/24"]},
    ("patch", "/api/v1/ipam/pools/{name}"): {"sticky": False},
    ("post", "/api/v1/ipam/pools/{name}/resize"): {"add": ["10.9.0.0/24"]},
    ("post", "/api/v1/ipam/pools/{name}/drain"): {},
    ("post", "/api/v1/ipam/pools/{name}/undrain"): {},
    ("post", "/api/v1/ipam/pools/{name}/exclusions"): {"add": ["{net}.0.7"]},
    ("post", "/api/v1/ipam/pools/{pool}/next-available"): {"owner": "x"},
    ("post", "/api/v1/ipam/prefixes"): {"tenant": "{t}", "prefix": "10.9.0.0/16"},
    ("post", "/api/v1/ipam/prefixes/{prefix}/next-available"): {"length": 24},
    ("put", "/api/v1/ipam/vrfs"): {"tenant": "{t}", "name": "x"},
    ("post", "/api/v1/ipam/selectors"): {"tenant": "{t}", "name": "x", "match": {}, "pools": {"v4": ["x"]}},
    ("post", "/api/v1/ipam/reservations"): {"pool": "{t}-v4", "unit": "{net}.0.201", "owner": "x"},
    ("post", "/api/v1/ipam/next-vlans"): {"pool": "{t}-vlans", "owner": "x"},
    ("post", "/api/v1/api-keys"): {"tenant": "{t}", "name": "x", "scopes": ["viewer"]},
    ("post", "/api/v1/ipam/cgnat/plans"): {
        "tenant": "{t}",
        "name": "x",
        "inside": ["10.9.0.0/24"],
        "outside": ["192.0.2.0/28"],
        "block_size": 2016,
        "sharing": 16,
    },
    ("post", "/api/v1/ipam/cgnat/plan-proposals"): {
        "subscribers": 10,
        "inside": ["10.9.0.0/24"],
        "outside": ["192.0.2.0/28"],
    },
}


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    queries: tuple[tuple[str, bool], ...]
    guarded: bool
    body: dict[str, Any] | None = field(default=None)

    @property
    def reads(self) -> bool:
        return self.method == "get"

    def request(self, whose: str, now: float) -> tuple[str, dict[str, Any]]:
        """Return path and arguments of a request about a tenant's things."""
        words = WORDS[whose]
        path = self.path
        for known, value in sorted(_PATHS.items(), key=lambda pair: -len(pair[0])):
            if f"/api/v1/{known}" in path and path.startswith(f"/api/v1/{known}"):
                name = re.search(r"\{(\w+)\}", known)
                assert name is not None
                path = path.replace(f"{{{name[1]}}}", value.format(**words).replace("/", "%2F"))
        path = re.sub(r"\{\w+\}", f"{words['t']}-thing", path)
        query = {}
        for name, required in self.queries:
            if required or (self.path, name) in _ALWAYS:
                given = _OF_PATH.get((self.path, name), _QUERIES.get(name, "1")).format(**words)
                query[name] = str(int(now)) if given == "now" else given
        more: dict[str, Any] = {"params": query}
        if self.body is not None:
            more["json"] = json.loads(_filled(json.dumps(self.body), words))
        if self.path.endswith("next-available"):
            more["headers"] = {"Idempotency-Key": f"walk-{self.path[-30:]}-{whose}".replace("/", "-")}
        return path, more


def _filled(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    """Yield every operation of a document."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            queries = tuple(
                (each["name"], each.get("required", False))
                for each in operation.get("parameters", ())
                if each["in"] == "query"
            )
            yield Operation(
                method, path, queries, bool(operation.get("security")), _BODIES.get((method, path))
            )


def anonymised(text: str, whose: str) -> str:
    """Return an answer as it would be, had it been asked about nobody."""
    for name, value in WORDS[whose].items():
        text = text.replace(value, WORDS["gamma"][name])
    text = re.sub(r'"(request_id|value)":\s*"[^"]*"', "", text)  # new each time, as signatures are
    return re.sub(r"\d{10}\.\d+|(?<=\"uses\":)\d+|\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", text)
