"""The two ASGI applications: health for the network, everything for the admin socket; and how they fail."""

from __future__ import annotations

import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response

from config.errors import ConfigInvalid
from daemon import logs
from daemon.api.admin import admin_router
from daemon.api.body_limit import BodyLimit
from daemon.api.health import add_health
from daemon.api.models import Failure
from daemon.api.services import Services
from daemon.errors import StoreUnavailable
from daemon.sync.problems import DataInvalid

_CODES = {
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "too-large",
    422: "invalid-request",
}
_FAULT = "the daemon has failed at this request; its log says how"


def health_app(services: Services, version: str) -> FastAPI:
    """Return the application of the API port: health and metrics only, no anonymous access to data."""
    app = FastAPI(title="DotMac Edge", version=version, openapi_url=None, docs_url=None, redoc_url=None)
    _add_failures(app)
    add_health(app, services)
    return app


def admin_app(services: Services, version: str) -> FastAPI:
    """Return the application of the admin socket, where the kernel says who asks."""
    app = FastAPI(title="DotMac Edge", version=version)
    _add_failures(app)
    add_health(app, services)
    app.include_router(admin_router(services))
    return app


def _add_failures(app: FastAPI) -> None:
    """Answer every failure in one shape, with the request's id echoed; a fault is logged once."""
    log = logs.logger("api")
    app.add_middleware(BodyLimit)  # within the one that names the request

    def answer(request: Request, status: int, failure: Failure) -> JSONResponse:
        named = failure.model_copy(update={"request_id": request.state.request_id})
        return JSONResponse(named.model_dump(), status_code=status)

    @app.middleware("http")
    async def name_request(request: Request, call_next: RequestResponseEndpoint) -> Response:
        request.state.request_id = request.headers.get("X-Request-ID") or secrets.token_hex(8)
        try:
            response = await call_next(request)
        except Exception:  # a fault of ours: told to the log, not to the asker
            log.exception(
                "api-fault", method=request.method, path=request.url.path, request=request.state.request_id
            )
            response = answer(request, 500, Failure(code="internal-error", message=_FAULT))
        response.headers["X-Request-ID"] = request.state.request_id
        return response

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, "failed")
        return answer(request, error.status_code, Failure(code=code, message=str(error.detail)))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        details = [
            {"path": ".".join(map(str, each["loc"])), "message": each["msg"]} for each in error.errors()
        ]
        message = "; ".join(f"{each['path']}: {each['message']}" for each in details)
        return answer(request, 422, Failure(code="invalid-request", message=message, details=details))

    @app.exception_handler(DataInvalid)
    async def data_invalid(request: Request, error: DataInvalid) -> JSONResponse:
        details = [problem.as_dict() for problem in error.problems]
        return answer(request, 422, Failure(code="invalid-data", message=str(error), details=details))

    @app.exception_handler(ConfigInvalid)
    async def config_invalid(request: Request, error: ConfigInvalid) -> JSONResponse:
        details: list[dict[str, object]] = [{"problem": str(problem)} for problem in error.problems]
        return answer(request, 422, Failure(code="invalid-config", message=str(error), details=details))

    async def store_away(request: Request, error: Exception) -> JSONResponse:
        """Say that a store, usually the one that edges share, cannot be asked now."""
        said = str(getattr(error, "orig", None) or error).splitlines()
        why = said[0] if said else type(error).__name__
        message = (
            f"a store cannot be asked now: {why}; `dotmac-edge status` says which, and it may be tried again"
        )
        return answer(request, 503, Failure(code=StoreUnavailable.slug, message=message, retryable=True))

    for away in (ConnectionError, InterfaceError, OperationalError):
        app.add_exception_handler(away, store_away)

    @app.exception_handler(StoreUnavailable)
    async def unavailable(request: Request, error: StoreUnavailable) -> JSONResponse:
        return answer(request, 503, Failure(code=error.slug, message=str(error), retryable=True))
