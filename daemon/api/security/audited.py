"""Every request that may change something is in the audit before its answer leaves: who, what, what came of it.

Bodies are never written down. A route that writes an entry of its own, in the transaction of the fact, says so with
`noted`, and there is no second one.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon import logs
from daemon.api.actor import actor_name
from daemon.api.security.principals import Principal
from daemon.api.security.refusals import Refusal, refuse
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store import audit_rows
from daemon.store.audit_rows import Entry
from daemon.store.writer import Writer

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST = 500  # characters of a path and its query
_NOTED = "audit_noted"
_SUBJECT = "audit_subject"


def noted(request: Request) -> None:
    """Say that the audit has, or needs, no other entry about this request."""
    setattr(request.state, _NOTED, True)


def note_about(request: Request, subject: str) -> None:
    """Name what a request was about, where its path does not tell; also makes an entry of a read."""
    setattr(request.state, _SUBJECT, subject)


class Audited:
    """Writes an entry for each request but reads. Where it cannot be stored the asker is told 503."""

    def __init__(self, app: ASGIApp, writer: Writer, clock: Clock) -> None:
        self._app = app
        self._writer = writer
        self._clock = clock
        self._log = logs.logger("api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on; hold its answer until the entry is durable."""
        principal = scope.get("state", {}).get("principal")
        if scope["type"] != "http" or not isinstance(principal, Principal):
            await self._app(scope, receive, send)
            return
        lost = False

        async def held(message: Message) -> None:
            nonlocal lost
            if message["type"] == "http.response.start" and _wanted(scope):
                lost = not await self._write(scope, principal, str(message["status"]))
                if lost:
                    text = "the request was carried out, but the audit could not be written; see `status`"
                    await refuse(scope, send, Refusal(503, StoreUnavailable.slug, text))
            if not lost:
                await send(message)

        try:
            await self._app(scope, receive, held)
        except Exception:
            if _wanted(scope):
                await self._write(scope, principal, "500")
            raise

    async def _write(self, scope: Scope, principal: Principal, result: str) -> bool:
        path = scope["path"]
        query = scope.get("query_string", b"").decode("latin-1")
        subject = scope["state"].get(_SUBJECT) or unquote(f"{path}?{query}" if query else path)
        entry = Entry(
            at=self._clock.wall(),
            actor=actor_name(principal),
            action=f"{scope['method']} {_template(scope)}",
            tenant=_tenant(scope, principal),
            subject=_plain(subject),
            reason=_plain(scope["state"].get("request_id", "")),
            result=result,
        )

        async def write(connection: AsyncConnection) -> None:
            await audit_rows.save(connection, entry)

        try:
            await self._writer.commit(write)
        except StoreUnavailable as error:
            self._log.error("audit-lost", why=str(error), **entry._asdict())
            return False
        return True


def _wanted(scope: Scope) -> bool:
    state = scope.get("state", {})
    return not state.get(_NOTED) and (scope["method"] not in _READS or _SUBJECT in state)


def _template(scope: Scope) -> str:
    """Return the path with names of parameters in the place of their values, where a route has been found."""
    path: str = scope["path"]
    template = getattr(scope.get("route"), "path_format", None)
    if isinstance(template, str):
        # A route knows its path within its own router only: what stands before it is the same in both.
        own = template.format_map({name: str(value) for name, value in scope.get("path_params", {}).items()})
        path = path.removesuffix(own) + template
    return _plain(path)


def _tenant(scope: Scope, principal: Principal) -> str:
    """Return the tenant that a request was about, empty for none in particular."""
    if principal.bound is not None:
        return principal.bound
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), errors="replace")
    return _plain(next((value for name, value in query if name == "tenant"), ""))


def _plain(text: str) -> str:
    shown = "".join(each if each.isprintable() else "?" for each in text)
    return shown if len(shown) <= _MOST else f"{shown[:_MOST]}..."
