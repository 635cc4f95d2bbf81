"""Lists of leases by cursor: a page costs what is on it and what was passed over, in slices, never a copy of all."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from daemon.api.ipam_lease_models import DEFAULT_VRF, LeasePage, LeaseView
from daemon.leases.addresses import Addresses
from daemon.leases.places import read_place
from ipam.address import Malformed, Unit, text
from ipam.history import NOBODY
from ipam.kinds import FREE, STATES, LeaseState, Space
from ipam.lease import Standing
from ipam.shelf import Shelf

_SLICE = 500
_VIEWS = 50  # that are made at a time: each takes as long as passing over 30
_FIRST_CELL = 5  # below are the heads of the allocator's lists


class LeaseFilter(BaseModel):
    """Which leases are asked for; None leaves a field open. Without a state all that are not free."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tenant: str | None = None
    vrf: str | None = None
    pool: str | None = None
    state: LeaseState | None = None
    subscriber: str | None = None
    owner: str | None = None
    nas: str | None = None
    session: str | None = Field(default=None, description="the session's number on this edge")
    prefix: str | None = Field(default=None, description="only inside this prefix, or this address")
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=1000)


async def list_leases(addresses: Addresses[Any], wanted: LeaseFilter) -> LeasePage:
    """Return a page of leases. What changes meanwhile may or may not be on it. Raises HTTPException 422."""
    items: list[LeaseView] = []
    where = _position(wanted.cursor)
    async for shelf, cell in _walk(addresses, wanted, where):
        if len(items) == wanted.limit:
            return LeasePage(items=items, next=_cursor(shelf, cell))
        now, at = addresses.clock.monotonic(), addresses.clock.wall()
        items.append(lease_view(addresses.book.standing(shelf, cell, now, at), shelf.pool.vrf))
        if len(items) % _VIEWS == 0:
            await asyncio.sleep(0)
    return LeasePage(items=items, next=None)


async def _walk(
    addresses: Addresses[Any], wanted: LeaseFilter, where: tuple[str, str, int]
) -> AsyncIterator[tuple[Shelf, int]]:
    """Yield the cells that fit, from a position on, letting requests in between."""
    inside = _span(wanted.prefix)
    for key in sorted(addresses.register.shelves):
        shelf = addresses.register.shelves.get(key)
        if shelf is None or key < where[:2] or not _fits(shelf, wanted, inside):
            continue
        cell = max(where[2] if key == where[:2] else 0, _FIRST_CELL)
        while cell < len(shelf.allocator.slots):
            after = min(cell + _SLICE, len(shelf.allocator.slots))
            for each in range(cell, after):
                if _matches(shelf, each, wanted, inside):
                    yield shelf, each
            cell = after
            await asyncio.sleep(0)


def _fits(shelf: Shelf, wanted: LeaseFilter, inside: Unit | None) -> bool:
    """Tell whether a pool can have what is asked for."""
    pool = shelf.pool
    return (
        wanted.tenant in (None, pool.tenant)
        and wanted.pool in (None, pool.name)
        and _vrf(wanted.vrf) in (None, pool.vrf)
        and (inside is None or shelf.space in ("", inside.space.value))
    )


def _matches(shelf: Shelf, cell: int, wanted: LeaseFilter, inside: Unit | None) -> bool:
    allocator = shelf.allocator
    state = allocator.states[cell]
    if allocator.slots[cell] < 0:
        return False
    if state == FREE if wanted.state is None else STATES[state] is not wanted.state:
        return False
    if wanted.subscriber or wanted.nas or wanted.session:
        tenure = shelf.tenures.get(cell)
        party = NOBODY if tenure is None else tenure.party
        if wanted.subscriber not in (None, party.subscriber) or wanted.nas not in (None, party.nas):
            return False
        if wanted.session not in (None, "" if tenure is None else tenure.session):
            return False
    if wanted.owner is not None and shelf.owner_of(cell) != wanted.owner:
        return False
    if inside is None:
        return True
    unit = shelf.unit(cell)
    return unit.space is inside.space and inside.value <= unit.value and unit.last <= inside.last


def _vrf(given: str | None) -> str | None:
    return "" if given == DEFAULT_VRF else given


def _span(prefix: str | None) -> Unit | None:
    try:
        return None if prefix is None else read_place(prefix)
    except Malformed as reason:
        raise HTTPException(422, f"prefix: {reason}") from reason


def _cursor(shelf: Shelf, cell: int) -> str:
    place = json.dumps([shelf.pool.tenant, shelf.pool.name, cell])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _position(cursor: str | None) -> tuple[str, str, int]:
    """Return tenant, pool and cell to go on with. Raises HTTPException 422."""
    if cursor is None:
        return "", "", 0
    try:
        tenant, pool, cell = json.loads(base64.urlsafe_b64decode(cursor))
        return str(tenant), str(pool), int(cell)
    except (ValueError, TypeError, binascii.Error) as reason:
        raise HTTPException(422, "cursor: it must be `next` of the page before, unchanged") from reason


def lease_view(found: Standing, vrf: str) -> LeaseView:
    """Return a lease for people and programs."""
    unit = found.unit
    prefix = unit.space in (Space.IPV4, Space.IPV6)
    return LeaseView(
        tenant=found.tenant,
        vrf=vrf or DEFAULT_VRF,
        pool=found.pool,
        kind=found.kind.value,
        address=str(unit) if prefix else text(unit.space, unit.value),
        state=found.state,
        lease_id=str(found.lease_id),
        bundle_id=str(found.bundle_id),
        owner=found.owner,
        subscriber=found.party.subscriber,
        session=found.session,
        nas=found.party.nas,
        circuit=found.party.circuit,
        mac=found.party.mac,
        since_at=found.since_at or None,
        expires_at=found.expires_at,
    )
