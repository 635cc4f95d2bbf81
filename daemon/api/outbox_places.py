"""Places of those that follow a stream: few, so that no key and no tenant takes all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from daemon.api.security.principals import Principal

MOST = 64
OF_ONE_KEY = 4
OF_ONE_TENANT = 16
OF_TENANTS = 48
"""Those that are bound to a tenant, all together: the others are for who may see all of them."""


class Places:
    """Who follows now."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._taken: Counter[tuple[str, str]] = Counter()

    def refused(self, who: Principal) -> str:
        """Return why there is no place for somebody, empty where there is one."""
        for what, most, named in self._limits(who):
            if self._taken[what] >= most:
                return f"{most} follow already{named}; poll with `wait`"
        return ""

    def take(self, who: Principal) -> None:
        """Note one more."""
        self._taken.update(what for what, _, _ in self._limits(who))

    def leave(self, who: Principal) -> None:
        """Note that one has gone."""
        self._taken.subtract(what for what, _, _ in self._limits(who))
        self._taken = +self._taken

    def _limits(self, who: Principal) -> list[tuple[tuple[str, str], int, str]]:
        tenant = who.bound
        found = [(("all", ""), self._most, "")]
        if who.key:
            found.append((("key", who.key), OF_ONE_KEY, " with this key"))
        if tenant is not None:
            found.append((("tenant", tenant), OF_ONE_TENANT, f" for {tenant}"))
            found.append((("tenants", ""), min(OF_TENANTS, self._most), " for tenants"))
        return found


class Followed(StreamingResponse):
    """A stream that gives its place back when it ends, however it ends."""

    def __init__(self, content: AsyncIterable[str], places: Places, who: Principal, media_type: str) -> None:
        super().__init__(content, media_type=media_type, headers={"Cache-Control": "no-store"})
        self._places = places
        self._who = who
        places.take(who)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.leave(self._who)
