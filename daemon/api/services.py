"""What the API asks: the owners of the facts, handed in by `daemon.app`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.nas import Clients
from daemon.aaa.sessions import SessionTable
from daemon.aaa.trace import Trace
from daemon.api.models import ReloadView, StatusView
from daemon.replica.index import Index
from daemon.sync.load import Changed, LoadRequest
from radius.dictionary import Dictionary


@dataclass(frozen=True, slots=True)
class Services:
    """The owners of the facts; `load` raises DataInvalid, `reload` raises ConfigInvalid."""

    engine: AsyncEngine
    index: Index
    clients: Clients
    sessions: SessionTable
    trace: Trace
    dictionary: Dictionary
    metrics: CollectorRegistry
    load: Callable[[LoadRequest], Awaitable[Changed]]
    reload: Callable[[], Awaitable[ReloadView]]
    status: Callable[[], StatusView]
    export: Callable[[bool], Awaitable[list[dict[str, object]]]]
    journal_records: Callable[[], int]
