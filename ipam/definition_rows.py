"""What operators define, in the database: VRFs, prefixes, pools with their ranges, selectors, reservations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ipam.address import Unit, read_number, text
from ipam.kinds import Kind, Order, PoolState, Space
from ipam.model import Match, Pool, Range, Reservation, Selector, Vrf
from ipam.schema import BLOCK, LEASE, POOL, PREFIX, RANGE, RESERVATION, SELECTOR, VRF
from ipam.tree import Prefix

_POOL_COLUMNS = ("tenant", "name", "vrf", "kind", "state")
_AS_THEY_ARE = (
    "unit_length",
    "site",
    "sticky",
    "hold_s",
    "quarantine_s",
    "min_reuse_s",
    "decline_s",
    "lease_s",
    "tentative_s",
    "low_percent",
    "critical_percent",
    "first_port",
    "last_port",
    "any_length",
)

_DEFINITIONS = 0x1FA_0001  # an advisory lock of ours
_USED = ("tentative", "bound", "held", "quarantined", "declined")


class DefinedBy(StrEnum):
    """Whose word a definition is: only that party changes it."""

    OPERATOR = "operator"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A pool as it is stored. `leaving` are the first slots of ranges that go as soon as nothing of them is used."""

    pool: Pool
    by: DefinedBy = DefinedBy.OPERATOR
    leaving: frozenset[int] = frozenset()


async def _replace(
    connection: AsyncConnection, table: Table, key: dict[str, Any], rest: dict[str, Any]
) -> None:
    await _delete(connection, table, key)
    await connection.execute(insert(table).values(**key, **rest))


async def _change(
    connection: AsyncConnection, table: Table, key: dict[str, Any], rest: dict[str, Any]
) -> None:
    """Insert a row, or change it in place: who waits for a lock on it then finds it."""
    conditions = [table.c[name] == value for name, value in key.items()]
    if not int((await connection.execute(update(table).where(*conditions).values(**rest))).rowcount):
        await connection.execute(insert(table).values(**key, **rest))


async def _delete(connection: AsyncConnection, table: Table, key: dict[str, Any]) -> bool:
    conditions = [table.c[name] == value for name, value in key.items()]
    return int((await connection.execute(delete(table).where(*conditions))).rowcount) > 0


# --- pools -----------------------------------------------------------------------------------------


async def save_pool(connection: AsyncConnection, pool: Pool) -> None:
    """Insert an operator's pool and its ranges, or replace them."""
    await save_definition(connection, Definition(pool=pool))


async def save_definition(connection: AsyncConnection, definition: Definition) -> None:
    """Insert a pool and its ranges, or replace them."""
    pool = definition.pool
    detail: dict[str, Any] = {name: getattr(pool, name) for name in _AS_THEY_ARE}
    detail["by"] = definition.by.value
    detail["leaving"] = sorted(definition.leaving)
    detail["order"] = pool.order.value
    detail["key"] = pool.key.hex()
    detail["fallbacks"] = pool.fallbacks
    detail["exclusions"] = [[str(first), str(last)] for first, last in pool.exclusions]
    key = {"tenant": pool.tenant, "name": pool.name}
    rest = {"vrf": pool.vrf, "kind": pool.kind.value, "state": pool.state.value, "detail": json.dumps(detail)}
    await _change(connection, POOL, key, rest)
    await _delete(connection, RANGE, {"tenant": pool.tenant, "pool": pool.name})
    ranges = [
        {
            "tenant": pool.tenant,
            "pool": pool.name,
            "first_slot": part.first_slot,
            "first": str(part.first),
            "slots": part.slots,
            "draining": part.draining,
        }
        for part in pool.ranges
    ]
    if ranges:
        await connection.execute(insert(RANGE), ranges)


async def delete_pool(connection: AsyncConnection, tenant: str, name: str) -> bool:
    """Delete a pool's definition; what is stored of its slots stays (see `forget_slots`). False: there is none."""
    await _delete(connection, RANGE, {"tenant": tenant, "pool": name})
    return await _delete(connection, POOL, {"tenant": tenant, "name": name})


async def load_pools(connection: AsyncConnection) -> list[Pool]:
    """Return every pool, sorted by tenant and name."""
    return [each.pool for each in await load_definitions(connection)]


async def load_definitions(connection: AsyncConnection) -> list[Definition]:
    """Return every pool with whose it is, sorted by tenant and name."""
    ranges: dict[tuple[str, str], list[Range]] = {}
    for row in await connection.execute(select(RANGE).order_by(*RANGE.primary_key.columns)):
        ranges.setdefault((row.tenant, row.pool), []).append(_range(row))
    pools = await connection.execute(select(POOL).order_by(*POOL.primary_key.columns))
    return [_definition(row, tuple(ranges.get((row.tenant, row.name), ()))) for row in pools]


async def lock_definitions(connection: AsyncConnection) -> list[Definition]:
    """Return every pool; no other node defines any before this transaction ends.

    On SQLite, which one node has to itself, nothing needs to be locked.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(select(func.pg_advisory_xact_lock(_DEFINITIONS)))
    return await load_definitions(connection)


async def is_used(
    connection: AsyncConnection, tenant: str, name: str, first_slot: int, last_slot: int
) -> bool:
    """Tell whether a slot of some is leased, held, or waits after a lease, on whatever node."""
    found = (
        select(LEASE.c.slot)
        .where(*_slots(tenant, name, first_slot, last_slot), LEASE.c.state.in_(_USED))
        .limit(1)
    )
    return (await connection.execute(found)).first() is not None


async def forget_slots(
    connection: AsyncConnection, tenant: str, name: str, first_slot: int, last_slot: int
) -> None:
    """Delete what is stored of slots that a pool has no longer, and the blocks that lie in them.

    Their numbers may be another range's one day. What was in them stays in the history.
    """
    await connection.execute(delete(LEASE).where(*_slots(tenant, name, first_slot, last_slot)))
    inside = BLOCK.c.first_slot.between(first_slot, last_slot)
    await connection.execute(delete(BLOCK).where(BLOCK.c.tenant == tenant, BLOCK.c.pool == name, inside))


def _slots(tenant: str, name: str, first_slot: int, last_slot: int) -> Sequence[Any]:
    return LEASE.c.tenant == tenant, LEASE.c.pool == name, LEASE.c.slot.between(first_slot, last_slot)


def _range(row: Any) -> Range:
    return Range(
        first=int(row.first), slots=row.slots, first_slot=row.first_slot, draining=bool(row.draining)
    )


def _definition(row: Any, ranges: tuple[Range, ...]) -> Definition:
    detail = json.loads(row.detail)
    return Definition(
        pool=_pool(row, detail, ranges),
        by=DefinedBy(detail.get("by", DefinedBy.OPERATOR)),
        leaving=frozenset(detail.get("leaving", ())),
    )


def _pool(row: Any, detail: dict[str, Any], ranges: tuple[Range, ...]) -> Pool:
    return Pool(
        tenant=row.tenant,
        name=row.name,
        vrf=row.vrf,
        kind=Kind(row.kind),
        state=PoolState(row.state),
        ranges=ranges,
        order=Order(detail["order"]),
        key=bytes.fromhex(detail["key"]),
        fallbacks=tuple(detail["fallbacks"]),
        exclusions=tuple((int(first), int(last)) for first, last in detail["exclusions"]),
        **{name: detail[name] for name in _AS_THEY_ARE if name in detail},
    )


# --- selectors -------------------------------------------------------------------------------------


async def save_selector(connection: AsyncConnection, selector: Selector) -> None:
    """Insert a selector, or replace it."""
    match = selector.match
    detail = {
        "plan": match.plan,
        "nas": match.nas,
        "site": match.site,
        "attribute": match.attribute,
        "pools": [[kind.value, names] for kind, names in selector.pools],
    }
    key = {"tenant": match.tenant, "name": selector.name}
    await _replace(connection, SELECTOR, key, {"priority": selector.priority, "detail": json.dumps(detail)})


async def delete_selector(connection: AsyncConnection, tenant: str, name: str) -> bool:
    """Delete a selector; False where there is none."""
    return await _delete(connection, SELECTOR, {"tenant": tenant, "name": name})


async def load_selectors(connection: AsyncConnection) -> list[Selector]:
    """Return every selector."""
    return [_selector(row) for row in await connection.execute(select(SELECTOR))]


def _selector(row: Any) -> Selector:
    detail = json.loads(row.detail)
    attribute = detail["attribute"]
    match = Match(
        tenant=row.tenant,
        plan=detail["plan"],
        nas=detail["nas"],
        site=detail["site"],
        attribute=None if attribute is None else (attribute[0], attribute[1]),
    )
    pools = tuple((Kind(kind), tuple(names)) for kind, names in detail["pools"])
    return Selector(name=row.name, priority=row.priority, match=match, pools=pools)


# --- prefixes, VRFs, reservations ------------------------------------------------------------------


def _unit_key(tenant: str, vrf: str, unit: Unit) -> dict[str, Any]:
    address = text(unit.space, unit.value)
    return {
        "tenant": tenant,
        "vrf": vrf,
        "space": unit.space.value,
        "address": address,
        "length": unit.length,
    }


def _unit(row: Any) -> Unit:
    space = Space(row.space)
    return Unit(space, read_number(space, row.address), row.length)


async def save_prefix(connection: AsyncConnection, prefix: Prefix) -> None:
    """Insert a prefix, or replace it."""
    rest = {"role": prefix.role, "site": prefix.site, "state": prefix.state, "name": prefix.name}
    await _replace(connection, PREFIX, _unit_key(prefix.tenant, prefix.vrf, prefix.unit), rest)


async def delete_prefix(connection: AsyncConnection, tenant: str, vrf: str, unit: Unit) -> bool:
    """Delete a prefix; False where there is none."""
    return await _delete(connection, PREFIX, _unit_key(tenant, vrf, unit))


async def load_prefixes(connection: AsyncConnection) -> list[Prefix]:
    """Return every prefix."""
    return [
        Prefix(
            tenant=row.tenant,
            vrf=row.vrf,
            unit=_unit(row),
            role=row.role,
            site=row.site,
            state=row.state,
            name=row.name,
        )
        for row in await connection.execute(select(PREFIX))
    ]


async def save_vrf(connection: AsyncConnection, vrf: Vrf) -> None:
    """Insert a VRF, or replace it."""
    key = {"tenant": vrf.tenant, "name": vrf.name}
    await _replace(connection, VRF, key, {"distinguisher": vrf.distinguisher})


async def delete_vrf(connection: AsyncConnection, tenant: str, name: str) -> bool:
    """Delete what is known of a VRF; False where that is nothing."""
    return await _delete(connection, VRF, {"tenant": tenant, "name": name})


async def load_vrfs(connection: AsyncConnection) -> list[Vrf]:
    """Return every VRF."""
    rows = await connection.execute(select(VRF))
    return [Vrf(tenant=row.tenant, name=row.name, distinguisher=row.distinguisher) for row in rows]


async def save_reservation(connection: AsyncConnection, reservation: Reservation) -> None:
    """Insert a reservation, or replace that of the same unit."""
    key = _unit_key(reservation.tenant, reservation.vrf, reservation.unit)
    await _replace(connection, RESERVATION, key, {"owner": reservation.owner, "name": reservation.name})


async def delete_reservation(connection: AsyncConnection, tenant: str, vrf: str, unit: Unit) -> bool:
    """Delete a reservation; False where there is none."""
    return await _delete(connection, RESERVATION, _unit_key(tenant, vrf, unit))


async def load_reservations(connection: AsyncConnection) -> list[Reservation]:
    """Return every reservation."""
    rows = await connection.execute(select(RESERVATION))
    return [
        Reservation(tenant=row.tenant, vrf=row.vrf, unit=_unit(row), owner=row.owner, name=row.name)
        for row in rows
    ]
