"""What only one of a tenant may have: user names, MACs, lines; and prefixes, which belong to one NAS of all."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from daemon.replica.index import Index
from daemon.replica.records import Nas, Record, Staff, Subscriber
from daemon.sync.faults import Fault
from daemon.sync.outlook import Key, Outlook

SHARED = frozenset({"remote_id"})
"""Fields that several may have and should not: a remote id may name the node of many lines."""

Found = tuple[Key, Fault]


def identities(record: Subscriber | Staff) -> Iterator[tuple[str, str]]:
    """Yield what only one subscriber, or one member of staff, of a tenant can have, by the name of its field."""
    if isinstance(record, Staff):
        yield "username", record.username
        return
    for name in record.usernames:
        yield "username", name
    for mac in record.macs:
        yield "mac", mac
    if record.circuit_id is not None:
        yield "circuit_id", record.circuit_id
    if record.remote_id is not None:
        yield "remote_id", record.remote_id


def taken_identities(index: Index, outlook: Outlook, records: Mapping[Key, Record]) -> Iterator[Found | None]:
    """Yield the objects that claim what another one has, those first in `records` keep it; None is a pause."""
    claims: dict[Hashable, Key] = {}
    for key, record in records.items():
        if not isinstance(record, (Subscriber, Staff)):
            continue
        for field, value in identities(record):
            claim = (record.tenant, type(record), field, value)
            owner = claims.setdefault(claim, key)
            other = owner[2] if owner != key else _known_owner(index, outlook, key, record, field, value)
            if other is not None:
                yield key, taken(record, field, value, other)
        yield None


def taken(record: Subscriber | Staff, field: str, value: str, other: str) -> Fault:
    """Return the fault of a record with something that another one has."""
    who = "subscriber" if isinstance(record, Subscriber) else "member of staff"
    return Fault((field,), "taken", f"{value}, which {who} {other} has", f"a {field} that no other {who} has")


def _known_owner(
    index: Index, outlook: Outlook, key: Key, record: Subscriber | Staff, field: str, value: str
) -> str | None:
    """Return the id of the one in the replica that has the value and keeps it."""
    known = index.tenants.get(record.tenant)
    if known is None:
        return None
    staff = isinstance(record, Staff)
    tables: Mapping[str, Mapping[Any, Subscriber] | Mapping[Any, Staff]] = {
        "username": known.staff if staff else known.usernames,
        "mac": known.macs,
        "circuit_id": known.circuits,
        "remote_id": known.remotes,
    }
    other = tables[field].get(value if field == "mac" else value.encode())
    if other is None or other.id == record.id or not outlook.stays((key[0], key[1], other.id)):
        return None
    return other.id


def taken_prefixes(index: Index, outlook: Outlook, records: Mapping[Key, Record]) -> Iterator[Found]:
    """Yield the NASes that claim a prefix of another NAS, of whatever tenant."""
    if not any(isinstance(record, Nas) for record in records.values()):
        return
    owners: dict[Hashable, Key] = {
        prefix: ("nas", nas.tenant, nas.id)
        for nas in list(index.nases())
        if outlook.stays(("nas", nas.tenant, nas.id))
        for prefix in nas.prefixes
    }
    for key, record in records.items():
        for prefix in record.prefixes if isinstance(record, Nas) else ():
            owner = owners.setdefault(prefix, key)
            if owner != key:
                came = f"{prefix}, which NAS {owner[2]} has"
                yield key, Fault(("address",), "taken", came, "a prefix of no other NAS")
