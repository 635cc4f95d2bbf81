"""What a key or token may do: one word for each part of the API and way to use it, and roles that gather them."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

SCOPES = MappingProxyType(
    {
        "status:read": "how the daemon is: status, storm, number of the last journal record",
        "metrics:read": "Prometheus metrics, where they are not open",
        "config:write": "reload the settings",
        "data:read": "the provider's data as they were loaded, and what candidate data would change",
        "data:write": "load and replace the provider's data",
        "subscribers:read": "subscribers, what they have used, what they are tied to",
        "subscribers:write": "untie subscribers",
        "plans:read": "plans and what they say to a NAS",
        "sessions:read": "sessions and the decisions on logins",
        "sessions:write": "compare sessions with the data, end them",
        "nas:read": "NASes, unknown sources, CoA jobs",
        "nas:write": "test the CoA of a NAS",
        "staff:read": "who may log in to devices, and who did",
        "events:read": "what happened: events and streams",
        "events:write": "acknowledge and replay streams",
        "ipam:read": "pools, prefixes, leases, reservations, CGNAT plans, forecasts, nodes",
        "ipam:write": "change those, take over a node, probe addresses",
        "devices:read": "devices, their jobs and backups",
        "devices:write": "change devices",
        "sync:read": "feeds and how far they are",
        "sync:write": "push feeds, release the brake",
        "who-had:read": "who had an address at a time; each look-up is in the audit",
        "audit:read": "the audit",
        "keys:read": "keys and clients of the API, without secrets",
        "keys:write": "create and revoke keys and clients of the API",
    }
)
"""Every scope, and what it opens."""

_READS = frozenset(each for each in SCOPES if each.endswith(":read"))
_DELICATE = frozenset({"who-had:read", "audit:read", "keys:read", "data:read", "staff:read"})

ROLES = MappingProxyType(
    {
        "viewer": _READS - _DELICATE,
        "operator": (_READS - {"audit:read", "keys:read"})
        | {"subscribers:write", "sessions:write", "nas:write", "ipam:write", "devices:write"},
        "provisioner": frozenset(
            {
                *("data:read", "data:write", "sync:read", "sync:write", "events:read", "events:write"),
                *(
                    "subscribers:read",
                    "sessions:read",
                    "plans:read",
                    "ipam:read",
                    "ipam:write",
                    "status:read",
                ),
                *("devices:read", "devices:write", "nas:read"),
            }
        ),
        "auditor": frozenset(
            {"audit:read", "who-had:read", "events:read", "status:read", "staff:read", "keys:read"}
        ),
        "admin": frozenset(SCOPES),
    }
)
"""Named sets of scopes."""


def expand(given: Iterable[str]) -> frozenset[str]:
    """Return the scopes that scopes and roles stand for. Raises ValueError that names the first unknown one."""
    found: set[str] = set()
    for each in given:
        if each in ROLES:
            found |= ROLES[each]
        elif each in SCOPES:
            found.add(each)
        else:
            raise ValueError(
                f"no scope or role {each}; roles are {', '.join(ROLES)}; scopes are {', '.join(SCOPES)}"
            )
    return frozenset(found)


def known_scopes(given: Iterable[str]) -> frozenset[str]:
    """Return the scopes that the known words among those of a foreign token stand for; the others open nothing."""
    return expand(each for each in given if each in ROLES or each in SCOPES)
