"""The routes about how full pools were, and when they run out. Times are epoch seconds, days are UTC."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from pydantic import Field

from daemon.api.lookup import of_one_tenant, tenants
from daemon.api.models import Model, Page
from daemon.api.security import scope
from daemon.api.services import Services
from daemon.leases.addresses import Addresses
from daemon.leases.samples_outlook import HISTORY_DAYS, Outlook, Outlooks, Wish
from daemon.store import sample_rows
from daemon.store.sample_rows import DAY_S, HOUR_S, MINUTES_S
from ipam.address import Malformed
from ipam.forecast import FEWEST_DAYS, MAX_DAYS, Forecast, TooLittleData
from ipam.kinds import HELD, QUARANTINED, Kind, PoolState
from ipam.model import Pool

TOO_LITTLE = "too-little-data"
_MOST_POINTS = 10_000
_WIDTHS: dict[str, int] = {"5m": MINUTES_S, "1h": HOUR_S, "1d": DAY_S}


class PointView(Model):
    """The peak of one day."""

    day: int = Field(description="days since the epoch")
    used: int
    held: int = Field(description="part of that, kept after a lease had ended")


class TrendView(Model):
    """used = level + slope x day + season[day % 7]; slopes in slots a day, with their interval of 90 %."""

    level: float
    slope: float
    slope_low: float
    slope_high: float
    season: list[float]
    spread: float = Field(description="standard deviation of single days")
    first_day: int
    last_day: int
    days: int = Field(description="with a peak")


class WhenView(Model):
    """When nothing is free any more. The interval is of 90 %; a time of null: not as far as can be seen."""

    size: int = Field(description="slots that can be used")
    outlook: str = Field(
        description="critical (full already), growing, far, stable, shrinking, too-little-data"
    )
    seconds: float | None
    earliest_s: float | None
    latest_s: float | None
    confidence: str | None = Field(description="low, medium, high")
    driver: str | None = Field(description="what fills it: subscribers, holds, none")
    days: int = Field(description="with a peak, today not counted")
    needed_days: int = Field(description="fewer than these are too little")


class ForecastView(WhenView):
    """The outlook of a pool, seen from `at`."""

    tenant: str
    pool: str
    kind: str
    at: float
    used: int = Field(description="slots that no new owner can get now")
    held: int = Field(description="part of that, kept after a lease has ended")
    hold_s: float
    draining: Literal["no", "partly", "wholly"] = Field(
        description="what drains is taken until its leases end, and is no part of the size"
    )
    year_size: int | None = Field(
        description="slots with which it would stay above its critical share for a year"
    )
    trend: TrendView | None
    points: list[PointView]
    changed: WhenView | None = Field(description="how it would be with what was asked")


class SampleView(Model):
    """The peaks of one stretch of time."""

    at: int
    used_peak: int
    held: int
    bound_peak: int
    size: int


def add_forecasts(
    router: APIRouter, services: Services, addresses: Addresses[Any], outlooks: Outlooks
) -> None:
    """Add the routes `/ipam/forecasts`, `/ipam/pools/NAME/forecast` and `/samples`.

    To be added before those of `/ipam/pools/NAME`, for a name may have slashes.
    """
    _add_list(router, services, addresses, outlooks)
    _add_forecast(router, services, addresses, outlooks)
    _add_samples(router, services, addresses)


def _add_list(router: APIRouter, services: Services, addresses: Addresses[Any], outlooks: Outlooks) -> None:
    @router.get("/ipam/forecasts", dependencies=[scope("ipam:read")])
    async def forecasts(
        tenant: str | None = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
        offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
    ) -> Page[ForecastView]:
        """The outlooks as they were last looked at, within the hour; what runs out first comes first."""
        tenants(services, tenant)
        known = [each for each in outlooks.known.values() if tenant in (None, each.tenant)]
        known.sort(key=_urgency)
        items = [forecast_view(addresses, each) for each in known[offset : offset + limit]]
        return Page(items=items, count=len(known), limit=limit, offset=offset)


def _urgency(known: Outlook) -> tuple[bool, bool, float, str, str]:
    """Sort by when it runs out, then those that do not, then those of which too little is known."""
    unknown = isinstance(known.forecast, TooLittleData)
    seconds = None if isinstance(known.forecast, TooLittleData) else known.forecast.seconds
    return unknown, seconds is None, seconds or 0.0, known.tenant, known.pool


def _add_forecast(
    router: APIRouter, services: Services, addresses: Addresses[Any], outlooks: Outlooks
) -> None:
    @router.get("/ipam/pools/{name:path}/forecast", dependencies=[scope("ipam:read")])
    async def forecast(
        name: str,
        tenant: str | None = None,
        history_days: Annotated[int, Query(ge=FEWEST_DAYS, le=MAX_DAYS)] = HISTORY_DAYS,
        hold_s: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
        add: Annotated[list[str] | None, Query(description="192.0.2.0/24; a list, or commas between")] = None,
    ) -> ForecastView:
        pool = _find(services, addresses, name, tenant)
        ranges = tuple(part for each in add or () for part in each.split(",") if part)
        wish = Wish(hold_s=hold_s, add=ranges) if hold_s is not None or ranges else None
        try:
            made = await outlooks.look(pool.tenant, pool.name, wish, history_days)
        except Malformed as error:
            raise HTTPException(422, f"add: {error}") from None
        except ValueError as error:
            raise HTTPException(422, f"hold_s: {error}") from None
        if made is None:
            raise HTTPException(404, f"no pool has the name {name}")
        return forecast_view(addresses, made)


def _add_samples(router: APIRouter, services: Services, addresses: Addresses[Any]) -> None:
    @router.get("/ipam/pools/{name:path}/samples", dependencies=[scope("ipam:read")])
    async def samples(
        name: str,
        since: Annotated[float, Query(allow_inf_nan=False)],
        until: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        width: Literal["5m", "1h", "1d"] = "1h",
        tenant: str | None = None,
    ) -> Page[SampleView]:
        """Peaks are kept for 30 days by five minutes, for 2 years by hours, for 10 by days."""
        pool = _find(services, addresses, name, tenant)
        end = addresses.clock.wall() if until is None else until
        if (end - since) / _WIDTHS[width] > _MOST_POINTS:
            raise HTTPException(422, f"since, until: more than {_MOST_POINTS} peaks; ask for a larger width")
        async with addresses.engine.connect() as connection:
            found = await sample_rows.load(connection, pool.tenant, pool.name, _WIDTHS[width], since, end)
        items = [SampleView(**each._asdict()) for each in found]
        return Page(items=items, count=len(items), limit=len(items), offset=0)


def _find(services: Services, addresses: Addresses[Any], name: str, tenant: str | None) -> Pool:
    """Return a pool by name. Raises HTTPException: 404 for none, 409 where tenants share the name."""
    tenants(services, tenant)
    found = [
        shelf.pool
        for (owner, known), shelf in addresses.register.shelves.items()
        if known == name and tenant in (None, owner) and shelf.pool.kind is not Kind.FIXED
    ]
    return of_one_tenant(found, lambda each: each.tenant, name, f"no pool has the name {name}")[0]


def forecast_view(addresses: Addresses[Any], made: Outlook) -> ForecastView:
    """Return an outlook as the API shows it, with how full the pool is now."""
    shelf = addresses.register.find(made.tenant, made.pool)
    use = addresses.register.utilisation(made.tenant, made.pool)
    trend = made.forecast.trend if isinstance(made.forecast, Forecast) else None
    return ForecastView(
        **_when(made.size, made.forecast),
        tenant=made.tenant,
        pool=made.pool,
        kind="" if shelf is None else shelf.pool.kind.value,
        at=made.at,
        used=0 if use is None else use.size - use.disabled - use.free,
        held=0 if shelf is None else shelf.allocator.counts[HELD] + shelf.allocator.counts[QUARANTINED],
        hold_s=0.0 if shelf is None else shelf.pool.hold_s,
        draining="no" if shelf is None else _draining(shelf.pool),
        year_size=made.year_size,
        trend=None if trend is None else TrendView(**asdict(trend) | {"season": list(trend.season)}),
        points=[PointView(day=each.day, used=each.used, held=each.held) for each in made.peaks],
        changed=None if made.changed is None else WhenView(**_when(made.changed.size, made.changed.forecast)),
    )


def _draining(pool: Pool) -> Literal["no", "partly", "wholly"]:
    parting = [pool.state is not PoolState.ACTIVE or part.draining for part in pool.ranges]
    return "no" if not any(parting) else "wholly" if all(parting) else "partly"


def _when(size: int, made: Forecast | TooLittleData) -> dict[str, Any]:
    if isinstance(made, TooLittleData):
        nothing = dict.fromkeys(("seconds", "earliest_s", "latest_s", "confidence", "driver"))
        return {
            "size": size,
            "outlook": TOO_LITTLE,
            "days": made.days,
            "needed_days": made.needed,
            **nothing,
        }
    return {
        "size": size,
        "outlook": made.outlook.value,
        "seconds": made.seconds,
        "earliest_s": made.earliest_s,
        "latest_s": made.latest_s,
        "confidence": made.confidence.value,
        "driver": made.driver.value,
        "days": made.trend.days,
        "needed_days": FEWEST_DAYS,
    }
