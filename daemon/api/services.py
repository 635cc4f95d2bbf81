"""What the API asks: the owners of the facts, handed in by `daemon.app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.assembly import RequestPath
from daemon.aaa.leasing import Held
from daemon.api.models import ReloadView, StatusView
from daemon.clock import Clock
from daemon.events import Events
from daemon.leases.assembly import AddressWork
from daemon.replica.index import Index
from daemon.store.writer import Writer
from daemon.sync.assembly import Exchange
from daemon.sync.load import Changed, LoadRequest
from radius.dictionary import Dictionary


@dataclass(frozen=True, slots=True)
class Services:
    """The owners of the facts; `load` raises DataInvalid, `reload` raises ConfigInvalid."""

    engine: AsyncEngine
    index: Index
    aaa: RequestPath
    events: Events
    clock: Clock
    dictionary: Dictionary
    metrics: CollectorRegistry
    load: Callable[[LoadRequest], Awaitable[Changed]]
    reload: Callable[[], Awaitable[ReloadView]]
    status: Callable[[], StatusView]
    work: AddressWork[Held]
    writer: Writer
    export: Callable[[bool], Awaitable[list[dict[str, object]]]]
    exchange: Exchange
