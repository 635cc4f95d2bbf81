"""Candidate data beside those in force: read and checked like a load, put into a copy of the index, never applied."""

from __future__ import annotations

import asyncio

from daemon.api.services import Services
from daemon.replica.codec import kind_of, tenant_of
from daemon.replica.index import Index
from daemon.replica.pools import SelectorSpec
from daemon.replica.records import Record, Tenant
from daemon.sync.check import Checked, check
from daemon.sync.document import read
from daemon.sync.load import LoadRequest, unrenderable
from daemon.sync.problems import DataInvalid
from radius.dictionary import Dictionary

_TRIES = 3
_TABLES = ("subscribers", "usernames", "macs", "circuits", "remotes")


async def candidate(services: Services, request: LoadRequest) -> tuple[Index, Checked]:
    """Return an index as it would be with a file applied, and the records of the file. Raises DataInvalid."""
    checked = await asyncio.to_thread(_read, services.index, services.dictionary, request)
    if checked.problems:
        raise DataInvalid(checked.problems)
    return await asyncio.to_thread(_shadow, services.index, checked.records, request.replace), checked


def _read(index: Index, dictionary: Dictionary, request: LoadRequest) -> Checked:
    document = read(request.octets, request.name)
    return check(
        document,
        index,
        dictionary,
        tenant=request.tenant,
        replace=request.replace,
        unrenderable=unrenderable,
    )


def _shadow(index: Index, records: tuple[Record, ...], replace: bool) -> Index:
    """Return a copy of `index` with the records put in; with `replace`, without the rest of their tenants.

    Runs in a thread: a table is copied at one go, and all of it again where the data changed meanwhile.
    """
    for _ in range(_TRIES):
        generation = index.generation
        try:
            copy = _copy(index)
        except RuntimeError:  # a table changed its size under us
            continue
        if index.generation == generation:
            break
    else:
        raise DataChanging
    if replace:
        _remove_others(copy, records)
    for record in sorted(records, key=lambda each: not isinstance(each, Tenant)):
        copy.put(record)
    return copy


class DataChanging(Exception):
    """The data in force change all the time; nothing can be compared with them now."""


def _copy(index: Index) -> Index:
    """Return a copy; tables of subscribers are copied whole, the few other records one by one."""
    copy = Index()
    for tenant in list(index.tenants.values()):
        copy.put(tenant.tenant)
        few: list[Record] = [*tenant.nases.values(), *tenant.plans.values(), *tenant.staff_by_id.values()]
        few += tenant.pools.values()
        few += [SelectorSpec(selector=each) for each in tenant.selectors.values()]
        for record in few:
            copy.put(record)
        mine = copy.tenants[tenant.tenant.id]
        for table in _TABLES:
            getattr(mine, table).update(getattr(tenant, table))
    return copy


def _remove_others(copy: Index, records: tuple[Record, ...]) -> None:
    named = {(tenant_of(each), kind_of(each), each.id) for each in records}
    tenants = {tenant for tenant, _, _ in named}
    for record in list(copy.records()):
        key = (tenant_of(record), kind_of(record), record.id)
        if key[0] in tenants and not isinstance(record, Tenant) and key not in named:
            copy.remove(type(record), key[0], record.id)
