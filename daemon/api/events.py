"""The routes about what happened lately: events, and the storm."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from daemon.api.live_models import EventPage, EventView, StormView
from daemon.api.security import Reach, scope
from daemon.api.services import Services
from daemon.events import KINDS, Event

_MEANINGS = dict(KINDS)


def add_events(router: APIRouter, services: Services) -> None:
    """Add the routes `/recent-events` and `/storm`."""

    @router.get("/recent-events", dependencies=[scope("events:read")])
    async def events(
        kind: str = "",
        subscriber: str = "",
        nas: str = "",
        since: float = 0.0,
        after_seq: int | None = None,
        tenant: str = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    ) -> EventPage:
        if kind and kind not in _MEANINGS:
            raise HTTPException(422, f"no kind of event {kind}; known are {', '.join(_MEANINGS)}")
        last_seq = services.events.last_seq
        if after_seq is None:
            found = services.events.newest_first(
                limit, kind=kind, tenant=tenant, subscriber=subscriber, nas=nas, since_at=since
            )
        else:
            found = [
                each
                for each in services.events.since(after_seq)
                if each.kind == (kind or each.kind)
                and each.tenant == (tenant or each.tenant)
                and each.subscriber == (subscriber or each.subscriber)
                and each.nas == (nas or each.nas)
            ]
        return EventPage(items=[_view(each) for each in found], last_seq=last_seq)

    @router.get("/storm", dependencies=[scope("status:read", Reach.EDGE)])
    async def storm() -> StormView:
        clock, interims = services.clock, services.aaa.accounting.interims
        snapshot = services.aaa.storm.snapshot(clock.monotonic(), clock.wall())
        return StormView(
            **asdict(snapshot),
            deaf=list(services.aaa.storm.deaf),
            interims_held=len(interims),
            interims_coalesced=interims.coalesced,
        )


def _view(event: Event) -> EventView:
    return EventView(
        seq=event.seq,
        at=event.at,
        kind=event.kind,
        meaning=_MEANINGS[event.kind],
        tenant=event.tenant,
        subscriber=event.subscriber,
        session=None if event.session is None else str(event.session),
        nas=event.nas,
        reason=event.reason,
        fields=dict(event.fields),
    )
