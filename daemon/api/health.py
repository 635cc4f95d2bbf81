"""What anybody on the API port may ask: alive, ready, metrics. Nothing about subscribers."""

from __future__ import annotations

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from daemon.api.services import Services


def add_health(app: FastAPI, services: Services) -> None:
    """Add `/livez`, `/readyz` and `/metrics`."""

    @app.get("/livez", summary="The event loop turns")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz", summary="RADIUS is served; `degraded` says what is not well")
    async def readyz(response: Response) -> dict[str, object]:
        status = services.status()
        response.status_code = 200 if status.ready else 503
        return {"status": "ready" if status.ready else "starting", "degraded": status.degraded}

    @app.get("/metrics", summary="Prometheus metrics")
    async def metrics() -> Response:
        return Response(generate_latest(services.metrics), media_type=CONTENT_TYPE_LATEST)
