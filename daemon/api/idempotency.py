"""Requests that may be repeated: the same `Idempotency-Key` brings the same answer, and nothing is done twice.

A key is on disk before anything is done under it, with a name that was made for it. What the request makes carries
that name. So there are three cases for a repeat: the answer is stored, and it is given again; the first is still at
work, and the repeat waits for it; the daemon has died in between, and the repeat finds by its name what the first
had made. Only an answer is final: after a failure of ours (5xx) the request may be repeated under its key.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Annotated

from fastapi import Header, HTTPException, Request, Response
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from daemon.api.models import Model
from daemon.clock import Clock
from daemon.store import idempotency_rows
from daemon.store.idempotency_rows import KeyRow
from daemon.store.writer import Writer

KEPT_S = 86_400.0
"""How long an answer is kept."""

IdempotencyKey = Annotated[
    str,
    Header(
        min_length=8,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="made anew for each request, the same for its repeats; a UUID, for example",
    ),
]
"""The header, for a route's signature; its parameter must be called `idempotency_key`."""


class Once:
    """One request under a key. Give what it makes the `name`: a repeat after a crash has the same one.

    `again`: the key was begun before and never answered, so something of that name may be there already.
    """

    def __init__(self, row: KeyRow, engine: AsyncEngine, *, again: bool) -> None:
        self.name = row.name
        self.again = again
        self.kept = False
        self._key = row.key
        self._engine = engine

    async def keep(self, connection: AsyncConnection, answer: Model, status: int = 200) -> None:
        """Store the answer in the transaction of the fact; does nothing where that is of another database."""
        if connection.engine is self._engine:
            await idempotency_rows.answer(connection, self._key, status, _body(answer))
            self.kept = True


Act = Callable[[Once], Awaitable[Model]]
"""Does the work, or raises HTTPException with why it is not done."""


class Idempotency:
    """The keys of one daemon, in the edge's own store."""

    def __init__(self, engine: AsyncEngine, writer: Writer, clock: Clock) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._at_work: dict[str, tuple[str, asyncio.Event]] = {}  # by key: digest, and whether it is over

    async def once(self, request: Request, key: str, what: str, act: Act, status: int = 200) -> Response:
        """Return the answer of `act`, with `status`, or that of the first request under this key.

        `what` names the kind of request. Raises HTTPException 422 where the key was used for another request,
        StoreUnavailable where key or answer cannot be stored; then the same may be asked again.
        """
        own: str | None = getattr(request.state, "tenant", None)  # as the door has found out
        key = key if own is None else f"{own} {key}"  # a tenant's keys are its own; none has a blank
        digest = await _digest(request)
        while (busy := self._at_work.get(key)) is not None:
            _see_same(key, busy[0], digest)
            await busy[1].wait()
        over = asyncio.Event()
        self._at_work[key] = digest, over
        try:
            return await self._answer(KeyRow(key, what, digest, secrets.token_hex(8), 0.0), act, status)
        finally:
            del self._at_work[key]
            over.set()

    async def _answer(self, row: KeyRow, act: Act, status: int) -> Response:
        at = self._clock.wall()
        async with self._engine.connect() as connection:
            known = await idempotency_rows.find(connection, row.key)
        if known is not None and known.begun_at < at - KEPT_S:
            known = None
        if known is None:
            row = row._replace(begun_at=at)
            await self._writer.commit(lambda each: idempotency_rows.begin(each, row, at - KEPT_S))
        else:
            _see_same(row.key, known.digest, row.digest)
            if known.status is not None:
                return _again(known.status, known.body or b"")
        once = Once(known or row, self._engine, again=known is not None)
        try:
            answer = await act(once)
        except HTTPException as refused:
            if refused.status_code < 500:
                await self._store(row.key, refused.status_code, str(refused.detail).encode())
            raise
        if not once.kept:
            await self._store(row.key, status, _body(answer))
        return _again(status, _body(answer))

    async def _store(self, key: str, status: int, body: bytes) -> None:
        await self._writer.commit(lambda each: idempotency_rows.answer(each, key, status, body))


def _body(answer: Model) -> bytes:
    return answer.model_dump_json(by_alias=True).encode()


def _again(status: int, body: bytes) -> Response:
    """Return a stored answer; a refusal takes the shape that all failures have."""
    if status >= 400:
        raise HTTPException(status, body.decode())
    return Response(body, status, media_type="application/json")


def _see_same(key: str, before: str, now: str) -> None:
    if before != now:
        raise HTTPException(
            422,
            f"the Idempotency-Key {key} was used for another request; take a new key for each request, and the same "
            "one only to repeat it unchanged",
        )


async def _digest(request: Request) -> str:
    """Return what tells one request from another: method, path, query and body, however its JSON is written."""
    octets = await request.body()
    try:
        body = json.dumps(json.loads(octets), sort_keys=True) if octets else ""
    except ValueError:
        body = octets.hex()
    query = sorted(request.query_params.multi_items())
    return sha256(json.dumps([request.method, request.url.path, query, body]).encode()).hexdigest()
