"""What anybody on the API port may ask: alive, ready. Metrics tell more, and so does what is not well."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from daemon.api.models import Model
from daemon.api.security import Reach, scope
from daemon.api.security.door import is_loopback
from daemon.api.services import Services


class AliveView(Model):
    """That the event loop turns."""

    status: str


class ReadyView(Model):
    """Whether RADIUS is served."""

    status: str = Field(description="ready, or starting")
    degraded: list[str] = Field(description="what is not well; empty for strangers")


_NOT_READY: dict[int | str, dict[str, Any]] = {503: {"model": ReadyView, "description": "not yet"}}
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


def add_health(app: FastAPI, services: Services) -> None:
    """Add `/health`, `/livez`, `/readyz` and `/metrics`."""

    @app.get("/health", summary="The event loop turns")
    @app.get("/livez", summary="The event loop turns")
    async def livez() -> AliveView:
        return AliveView(status="alive")

    @app.get("/readyz", summary="RADIUS is served; `degraded` says what is not well", responses=_NOT_READY)
    async def readyz(request: Request, response: Response) -> ReadyView:
        status = services.status()
        response.status_code = 200 if status.ready else 503
        known = hasattr(request.state, "principal")
        here = request.client is None or is_loopback(request.client.host)
        told = status.degraded if known or here else []
        return ReadyView(status="ready" if status.ready else "starting", degraded=told)

    @app.get(
        "/metrics",
        summary="Prometheus metrics",
        dependencies=[scope("metrics:read", Reach.EDGE)],
        response_class=Response,
        responses=_TEXT,
    )
    async def metrics() -> Response:
        await services.exchange.look()
        return Response(generate_latest(services.metrics), media_type=CONTENT_TYPE_LATEST)
