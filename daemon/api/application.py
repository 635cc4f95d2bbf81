"""The ASGI applications: everything for the admin socket and the API port, each with its door; and how they fail."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import Response

from config.errors import ConfigInvalid
from daemon import logs
from daemon.api.admin import admin_router
from daemon.api.body_limit import BodyLimit
from daemon.api.failures import FAILURES, say_once
from daemon.api.health import add_health
from daemon.api.models import Failure
from daemon.api.security.audited import Audited
from daemon.api.security.desk import Security
from daemon.api.security.door import LocalDoor, NetworkDoor
from daemon.api.security.guard import declared
from daemon.api.security.key_routes import add_keys
from daemon.api.security.oauth import add_oauth
from daemon.api.security.options import PortOptions
from daemon.api.security.slow import SlowBody
from daemon.api.services import Services
from daemon.errors import StoreUnavailable
from daemon.sync.problems import DataInvalid

_TITLE = "DotMac Edge"
_ABOUT = "Show an API key (`X-Api-Key: id.secret`), a Bearer token or a client certificate; see docs/api.md."
_CODES = {
    400: "invalid-request",
    401: "unauthenticated",
    403: "denied",
    404: "not-found",
    405: "method-not-allowed",
    408: "too-slow",
    409: "conflict",
    413: "too-large",
    422: "invalid-request",
    429: "too-many-requests",
}
_FAULT = "the daemon has failed at this request; its log says how"


def admin_app(services: Services, version: str, security: Security | None = None) -> FastAPI:
    """Return the application of the admin socket, where the kernel says who asks."""
    app = FastAPI(title=_TITLE, version=version, redoc_url=None, responses=FAILURES)
    app.add_middleware(BodyLimit)
    app.add_middleware(Audited, writer=services.writer, clock=services.clock)
    _add_answers(app, Middleware(LocalDoor))
    _add_routes(app, services, security)
    return app


def api_app(
    services: Services,
    version: str,
    security: Security,
    port: PortOptions = PortOptions(),  # noqa: B008 - frozen
) -> FastAPI:
    """Return the application of the API port: everything, for who has shown a key, a token or a certificate."""
    app = FastAPI(title=_TITLE, version=version, redoc_url=None, responses=FAILURES, description=_ABOUT)
    app.add_middleware(BodyLimit)
    app.add_middleware(SlowBody, options=port)
    app.add_middleware(Audited, writer=services.writer, clock=services.clock)
    _add_answers(app, Middleware(NetworkDoor, security=security))
    _add_routes(app, services, security)
    say_once(app)
    return app


def _add_routes(app: FastAPI, services: Services, security: Security | None) -> None:
    add_health(app, services)
    guarded = APIRouter(dependencies=[Depends(declared)])
    guarded.include_router(admin_router(services))
    app.include_router(guarded)
    if security is not None:
        own = APIRouter(prefix="/api/v1")
        add_keys(own, security, lambda: frozenset(services.index.tenants))
        add_oauth(own, security)
        app.include_router(own)


def _add_failures(app: FastAPI) -> None:
    """Answer every failure in one shape, to whom the admin socket has let in; limit what bodies bring."""
    app.add_middleware(BodyLimit)
    _add_answers(app, Middleware(LocalDoor))


def _add_answers(app: FastAPI, door: Middleware) -> None:
    """Answer every failure in one shape, with the request's id echoed; a fault is logged once."""
    log = logs.logger("api")
    app.add_middleware(door.cls, *door.args, **door.kwargs)  # within the one that names the request

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
        shown = answer(request, error.status_code, Failure(code=code, message=str(error.detail)))
        shown.headers.update(error.headers or {})
        return shown

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
