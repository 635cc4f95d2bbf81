"""The routes of the outbox: how far sinks are, events by cursor, long-poll or as they come, and replay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from daemon.api.actor import actor_of
from daemon.api.models import Failure, Page
from daemon.api.outbox_models import ReplayRequest, ReplayView, SinkView, StreamedEvents, StreamView
from daemon.api.outbox_places import MOST, Followed, Places
from daemon.api.outbox_reading import BadCursor, Gone, Reader, Slice, Wanted, seq_since
from daemon.api.security import Reach, holds_on, principal_of, scope, whose
from daemon.clock import Clock
from daemon.sync.outbox.model import Stream
from daemon.sync.outbox.outbox import Outbox

SSE = "text/event-stream"
KEEP_ALIVE_S = 15.0
MOST_FOLLOWERS = MOST
_PAGE = 100
_LOOK_S = 1.0  # how often it is seen whether the asker is still there, and let in
_READ = scope("events:read", Reach.OWN)
_ANSWERS: dict[int | str, dict[str, object]] = {
    200: {"model": StreamedEvents, "content": {SSE: {}}},
    410: {
        "model": Failure,
        "description": "what follows the cursor is not kept; `details` has cursors that work",
    },
}

_Cursor = Annotated[
    str, Query(max_length=300, description="from `next_cursor`; none: from the first that is kept")
]
_FromSeq = Annotated[int | None, Query(ge=1, le=2**63 - 1, description="instead of a cursor: a number")]
_Last = Annotated[
    int | None, Query(ge=0, le=10_000, description="instead of a cursor: so many of the newest")
]
_Type = Annotated[str, Query(max_length=100, description="only of this type")]
_Tenant = Annotated[str | None, Query(max_length=255)]
_Limit = Annotated[int, Query(ge=1, le=1000)]
_Wait = Annotated[float, Query(ge=0, le=60, description="seconds to wait where there is nothing")]
_LastEventId = Annotated[str, Header(max_length=300)]


def add_outbox(router: APIRouter, outbox: Outbox, clock: Clock) -> None:
    """Add the routes under `/outbox`, and `/events`."""
    _add_status(router, outbox)
    _add_events(router, _Following(outbox, clock))
    _add_replay(router, outbox)


def _add_status(router: APIRouter, outbox: Outbox) -> None:
    @router.get("/outbox", dependencies=[scope("events:read", Reach.EDGE)])
    async def streams() -> Page[StreamView]:
        items = [_stream_view(outbox, stream) for stream in outbox.logs]
        return Page(items=items, count=len(items), limit=len(items), offset=0)


def _stream_view(outbox: Outbox, stream: Stream) -> StreamView:
    incarnation = outbox.incarnation(stream)
    waiting = {each.sink: each for each in outbox.backlog() if each.stream == stream}
    sinks = []
    for mark in outbox.marks():
        if mark.stream == stream:
            left = waiting.get(mark.sink)
            sinks.append(
                SinkView(
                    sink=mark.sink,
                    incarnation=mark.incarnation,
                    acked_seq=mark.acked_seq - mark.base_seq,
                    acked_at=mark.acked_at or None,
                    backlog=left.events if left else 0,
                    backlog_octets=left.octets if left else 0,
                    oldest_at=left.oldest_at if left else None,
                    failing=left.failing if left else "",
                )
            )
    last = outbox.head(stream) - incarnation.base_seq
    return StreamView(stream=stream.value, incarnation=incarnation.name, last_seq=last, sinks=sinks)


class _Following:
    """Answers whoever reads streams; counts those that hold on."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self.outbox = outbox
        self._clock = clock
        self._places = Places(MOST_FOLLOWERS)

    async def answer(
        self, request: Request, reader: Reader, after: int, wanted: Wanted, limit: int, wait_s: float
    ) -> Response:
        """Return a page, or the events as they come, as the request wants it."""
        try:
            if SSE not in request.headers.get("accept", ""):
                return _page(reader, await self._poll(request, reader, after, wanted, limit, wait_s))
            await reader.read(after, wanted, 1)  # a cursor that leads nowhere is told as a status
        except Gone as gone:
            return _gone(request, gone)
        who = principal_of(request)
        refused = self._places.refused(who)
        if refused:
            raise HTTPException(503, refused, {"Retry-After": "30"})
        told = self._told(request, reader, after, wanted)
        return Followed(told, self._places, who, SSE)

    async def _poll(
        self, request: Request, reader: Reader, after: int, wanted: Wanted, limit: int, wait_s: float
    ) -> Slice:
        """Read, and where there is nothing wait for it, as long as the asker does."""
        until = self._clock.monotonic() + wait_s
        found = await reader.read(after, wanted, limit)
        while not (found.items or found.more) and await self._more(request, reader, found.seen, until):
            found = await reader.read(found.seen, wanted, limit)
        if not holds_on(request):
            raise HTTPException(401, "what was presented is no longer good")
        return found

    async def _more(self, request: Request, reader: Reader, seen: int, until: float) -> bool:
        """Return True as soon as there is more; False where time is over, or the asker or the numbering has gone."""
        left = asyncio.Event()
        more = False
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_see_leave(request, left))
            while not (more or left.is_set() or reader.is_over()) and holds_on(request):
                left_s = until - self._clock.monotonic()
                if left_s <= 0:
                    break
                more = await reader.wait(seen, min(_LOOK_S, left_s))
            watching.cancel()
        return more

    async def _told(self, request: Request, reader: Reader, after: int, wanted: Wanted) -> AsyncIterator[str]:
        """Yield events, a page in memory, for as long as the asker is let in.

        What goes on behind them is told as an id without data.
        """
        try:
            yield "retry: 2000\n\n"
            told_at = self._clock.monotonic()
            while not reader.is_over():
                found = await reader.read(after, wanted, _PAGE)
                if not holds_on(request):
                    return  # also when nothing is told it is seen within a second
                for each in found.items:
                    yield f"id: {each.cursor}\nevent: {each.type}\ndata: {each.text}\n\n"
                after = found.seen
                now = self._clock.monotonic()
                if found.items:
                    told_at = now
                if now - told_at >= KEEP_ALIVE_S:  # also where only others' events came
                    told_at = now
                    yield f"id: {reader.cursor(after)}\n\n"
                if not found.more:
                    await reader.wait(after, min(_LOOK_S, told_at + KEEP_ALIVE_S - now))
        except Gone:
            pass  # too slow for what is kept: who comes again is told


async def _see_leave(request: Request, left: asyncio.Event) -> None:
    """Set `left` when the asker has closed the connection (`is_disconnected` cannot tell within a middleware)."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    left.set()


def _add_events(router: APIRouter, following: _Following) -> None:
    async def answer(
        request: Request,
        stream: Stream,
        cursor: _Cursor = "",
        from_seq: _FromSeq = None,
        last: _Last = None,
        type: _Type = "",  # noqa: A002 - the name in the query
        tenant: _Tenant = None,
        limit: _Limit = 100,
        wait: _Wait = 0,
        last_event_id: _LastEventId = "",
    ) -> Response:
        if stream is Stream.AUDIT and "audit:read" not in principal_of(request).scopes:
            raise HTTPException(403, f"{principal_of(request).name} lacks the scope audit:read")
        if stream not in following.outbox.logs:
            raise HTTPException(404, f"this edge has no stream {stream}")
        wanted = Wanted(tenant=whose(request, tenant), type=type)
        reader = Reader(following.outbox, stream)
        after = await _place(reader, last_event_id or cursor, from_seq, last)
        return await following.answer(request, reader, after, wanted, limit, wait)

    for path in ("/events", "/outbox/{stream}/events"):
        name = "events" if path == "/events" else "stream_events"
        router.add_api_route(
            path,
            answer,
            methods=["GET"],
            name=name,
            responses=_ANSWERS,
            response_model=None,
            dependencies=[_READ],
        )


async def _place(reader: Reader, cursor: str, from_seq: int | None, last: int | None) -> int:
    """Return the number on the wire behind which to read; below 0 for a cursor of another numbering."""
    if sum((bool(cursor), from_seq is not None, last is not None)) > 1:
        raise HTTPException(422, "give one of cursor, from_seq and last")
    if cursor:
        try:
            return reader.seq_of(cursor)
        except BadCursor as bad:
            raise HTTPException(422, str(bad)) from None
    if from_seq is not None:
        return from_seq - 1
    first = await reader.first()
    return first if last is None else max(first, reader.last - last)


def _page(reader: Reader, found: Slice) -> Response:
    items = ",".join(each.text for each in found.items)
    tail = f'"next_cursor":"{reader.cursor(found.seen)}","last_seq":{reader.last}'
    body = f'{{"items":[{items}],{tail},"more":{"true" if found.more else "false"}}}'
    return Response(body, media_type="application/json")


def _gone(request: Request, gone: Gone) -> Response:
    failure = Failure(
        code="gone",
        message=str(gone),
        details=[{"oldest_cursor": gone.oldest, "latest_cursor": gone.latest}],
        request_id=getattr(request.state, "request_id", ""),
    )
    return JSONResponse(failure.model_dump(), 410)


def _add_replay(router: APIRouter, outbox: Outbox) -> None:
    @router.post("/outbox/{sink}/{stream}/replay", dependencies=[scope("events:write", Reach.EDGE)])
    async def replay(sink: str, stream: Stream, wanted: ReplayRequest, request: Request) -> ReplayView:
        found = [each for each in outbox.marks() if (each.sink, each.stream) == (sink, stream)]
        if not found:
            known = ", ".join(sorted({f"{each.sink}/{each.stream}" for each in outbox.marks()}))
            raise HTTPException(404, f"no sink {sink} carries {stream}; there are {known or 'none'}")
        from_seq = wanted.from_seq
        if from_seq is None:
            assert wanted.since is not None, "the model has seen to it"
            base = found[0].base_seq
            seq = await seq_since(outbox.logs[stream], base + 1, found[0].acked_seq, wanted.since)
            if seq is None:
                raise HTTPException(
                    409, f"{sink} has acknowledged nothing of {stream} since then that is kept"
                )
            from_seq = seq - base
        try:
            first = await outbox.replay(sink, stream, from_seq, actor_of(request))
        except ValueError as refused:
            raise HTTPException(409, str(refused)) from None
        return ReplayView(sink=sink, stream=stream.value, from_seq=first)
