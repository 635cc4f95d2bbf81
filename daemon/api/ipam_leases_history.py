"""The history of leases for people and programs: by address, subscriber or pool, latest first, by cursor."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Self

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field, model_validator

from daemon.api.ipam_lease_models import DEFAULT_VRF, HistoryPage, LeaseEventView
from daemon.leases.addresses import Addresses
from daemon.leases.places import find_places, read_place
from daemon.store import history_pages
from daemon.store.history_pages import At, HistorySearch
from ipam.address import Malformed, text
from ipam.history import HistoryEvent
from ipam.history_rows import kept_books

_LATEST_AT = 2.0**53


class HistoryFilter(BaseModel):
    """Which events are asked for: of an address, a subscriber or a pool."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str | None = Field(
        None, description="address or prefix, or an address inside of a leased prefix"
    )
    subscriber: str | None = None
    pool: str | None = None
    tenant: str | None = None
    vrf: str | None = None
    since: float | None = Field(default=None, allow_inf_nan=False, description="epoch seconds")
    until: float | None = Field(default=None, allow_inf_nan=False, description="epoch seconds")
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=1000)

    @model_validator(mode="after")
    def about_something(self) -> Self:
        """Refuse a question about everything."""
        if self.address is None and self.subscriber is None and self.pool is None:
            raise ValueError("give an address, a subscriber or a pool")
        return self

    def asked(self) -> str:
        """Return what is asked, for the audit."""
        said = [
            f"{name} {value}" for name, value in self if value is not None and name not in ("limit", "cursor")
        ]
        return f"history of {', '.join(said)}"


async def read_history(addresses: Addresses[Any], wanted: HistoryFilter) -> HistoryPage:
    """Return a page of events. Raises HTTPException 422 for what is no address or no cursor."""
    search = HistorySearch(
        tenant=wanted.tenant,
        vrf="" if wanted.vrf == DEFAULT_VRF else wanted.vrf,
        pool=wanted.pool,
        subscriber=wanted.subscriber,
        since=wanted.since,
        until=wanted.until,
        limit=wanted.limit,
    )
    position = _position(wanted.cursor)
    if wanted.address is not None:
        return await _of_address(addresses, wanted.address, search, position)
    return await _of_books(addresses, search, position)


async def _of_address(
    addresses: Addresses[Any], given: str, search: HistorySearch, position: list[Any]
) -> HistoryPage:
    try:
        unit = read_place(given)
    except Malformed as reason:
        raise HTTPException(422, f"address: {reason}") from reason
    names = {text(unit.space, unit.value)}
    for place in find_places(addresses.register, unit, search.tenant, search.vrf):
        names.add(text(place.unit.space, place.unit.value))
    after = None
    if position:
        try:
            after = At(_time(position[0]), str(position[1]), _number(position[2]))
        except (ValueError, TypeError, IndexError) as reason:
            raise _no_cursor() from reason
    async with addresses.engine.connect() as connection:
        events = await history_pages.of_address(connection, sorted(names), search, after)
    last = events[-1] if len(events) == search.limit else None
    following = None if last is None else _cursor([last.change.at, last.book, last.seq])
    return HistoryPage(items=[event_view(each) for each in events], next=following)


async def _of_books(addresses: Addresses[Any], search: HistorySearch, position: list[Any]) -> HistoryPage:
    """Read this node's book backwards, then those of the nodes that share its store."""
    own = addresses.options.node
    async with addresses.engine.connect() as connection:
        known = sorted(
            (each.book for each in await kept_books(connection)), key=lambda book: (book != own, book)
        )
        try:
            book, below = (str(position[0]), position[1]) if position else (known[0] if known else own, None)
            below = None if below is None else _number(below)
        except (ValueError, TypeError, IndexError) as reason:
            raise _no_cursor() from reason
        found = await history_pages.of_book(connection, book, search, below)
    items = [event_view(each) for each in found.events]
    if found.reached is not None:
        return HistoryPage(items=items, next=_cursor([book, found.reached]))
    later = known[known.index(book) + 1 :] if book in known else []
    return HistoryPage(items=items, next=_cursor([later[0], None]) if later else None)


def _cursor(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _position(cursor: str | None) -> list[Any]:
    if cursor is None:
        return []
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor))
    except (ValueError, binascii.Error) as reason:
        raise _no_cursor() from reason
    if not isinstance(position, list):
        raise _no_cursor()
    return position


def _number(given: Any) -> int:
    """Return a number of an event. Raises ValueError, TypeError."""
    if not 0 <= given < 2**63 or int(given) != given:
        raise ValueError("no number of an event")
    return int(given)


def _time(given: Any) -> float:
    """Return a time, epoch seconds. Raises ValueError, TypeError."""
    if not abs(given) < _LATEST_AT:
        raise ValueError("no time")
    return float(given)


def _no_cursor() -> HTTPException:
    return HTTPException(
        422, "cursor: it must be `next` of the page before, unchanged, for the same question"
    )


def event_view(event: HistoryEvent) -> LeaseEventView:
    """Return an event for people and programs."""
    change = event.change
    named = {name: value for name, value in change._asdict().items() if name in LeaseEventView.model_fields}
    return LeaseEventView.model_validate(
        named
        | {
            "book": event.book,
            "seq": event.seq,
            "vrf": change.vrf or DEFAULT_VRF,
            "lease_id": str(change.lease_id),
            "hash": event.hash.hex(),
        }
    )
