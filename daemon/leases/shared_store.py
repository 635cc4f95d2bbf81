"""What is written to a PostgreSQL that nodes share: one connection that comes back, and a name that is ours alone.

A lost connection may have lost the answer to a COMMIT. So nothing is tried again here: everybody who waited is told
that nothing is known to be stored, and asks the store before the next try (`Lessor.write`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from config.errors import SecretUnavailable
from config.secrets import resolve
from daemon.errors import StoreUnavailable
from daemon.leases.lessor import Context, Lessor
from daemon.store.engine import StoreUnusable, open_shared_engine
from daemon.store.writer import Work, Writer
from ipam.node_rows import has_name

_NOT_JOINED = "this node has not joined the shared store yet"
_FRESH_S = 1.0  # a connection that was used this lately is not tried out first
_STUCK_S = (
    90.0  # for a whole transaction of the writer, which may have all that waited for a store that was away
)
_SHORT_S = 8.0  # for one of a few rows


class NameTaken(StoreUnavailable):
    """Another daemon runs under the name of this node."""

    slug = "node-name-taken"


def read_url(reference: str, environ: Mapping[str, str]) -> str:
    """Return the URL behind the setting `ipam.shared_store`. Raises StoreUnusable, which never shows it."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    try:
        return resolve(reference, environ, Path(directory) if directory else None).decode().strip()
    except SecretUnavailable as error:
        raise StoreUnusable(f"ipam.shared_store: {error}") from None
    except UnicodeDecodeError:
        raise StoreUnusable(f"ipam.shared_store: {reference} holds no text, expected a URL") from None


def check_url(reference: str, environ: Mapping[str, str]) -> None:
    """See whether a start could use that setting; nothing is connected. Raises StoreUnusable.

    A credential of systemd is there only for the unit, so without it nothing is said.
    """
    if not reference.startswith("credential:") or "CREDENTIALS_DIRECTORY" in environ:
        open_shared_engine(read_url(reference, environ), name="check")


def open_shared(
    url: str, node: str, monotonic: Callable[[], float], observe: Callable[[float, bool], None]
) -> tuple[AsyncEngine, SharedWriter]:
    """Return engine and writer of the database at a URL; nothing is connected. Raises StoreUnusable."""
    engine = open_shared_engine(url, name=f"dotmac-edge {node}")
    return engine, SharedWriter(engine, node, monotonic, observe)


def reason_of(error: BaseException) -> str:
    """Return one line about what went wrong with a database; never its parameters."""
    if isinstance(error, TimeoutError):
        return "the shared store does not answer"
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines and lines[0] else type(error).__name__


class SharedWriter(Writer):
    """The writer on a shared store. It stores nothing before `join`, and nothing for a name that is another's."""

    def __init__(
        self,
        engine: AsyncEngine,
        node: str,
        monotonic: Callable[[], float],
        observe: Callable[[float, bool], None],
    ) -> None:
        super().__init__(engine, monotonic, observe)
        self.node = node
        self.boot = 0
        self.on_failed: Callable[[], None] = _nothing
        self._connection: AsyncConnection | None = None
        self._used_at = 0.0

    def join(self, boot: int) -> None:
        """Store from now on, as long as the node's name is that boot's; 0: store nothing."""
        self.boot = boot

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction of its own, beside those of the writer.

        Raises NameTaken, StoreUnavailable; then it is unknown whether the commit took place.
        """
        try:
            async with asyncio.timeout(_SHORT_S), self._engine.begin() as connection:
                await self._guard(connection)
                yield connection
        except StoreUnavailable:
            raise
        except Exception as error:  # of several libraries, and all of them mean the same
            raise StoreUnavailable(reason_of(error)) from error

    async def run(self) -> None:
        """Write for ever; to be started once. A database that is away makes works fail, not this."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                works, self._works = self._works, []
                if works:
                    await self._store(works)
                if not self._works:
                    self._idle.set()
        finally:
            await self._disconnect()

    async def _store(self, works: list[Work]) -> None:
        """Write works together; should one of them be bad, each alone, but not where the database is at fault."""
        error = await self._try(works)
        if error is None:
            for work in works:
                work.committed()
        elif len(works) == 1 or self._connection is None:
            for work in works:
                work.failed(error)
            self.on_failed()
        else:
            for work in works:
                await self._store([work])

    async def _try(self, works: list[Work]) -> StoreUnavailable | None:
        began = self._monotonic()
        try:
            async with asyncio.timeout(_STUCK_S):
                connection = await self._connected()
                async with connection.begin():
                    await self._guard(connection)
                    for work in works:
                        await work.write(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end all writing
            self.last_error = reason_of(error)
            self._observe(self._monotonic() - began, False)
            await self._settle(error)
            return error if isinstance(error, StoreUnavailable) else StoreUnavailable(self.last_error)
        self.last_error = None
        self._observe(self._monotonic() - began, True)
        return None

    async def _connected(self) -> AsyncConnection:
        """Return the connection, tried out: one that died while nothing was written costs nobody an answer."""
        if self._connection is not None and self._monotonic() - self._used_at < _FRESH_S:
            self._used_at = self._monotonic()
            return self._connection
        if self._connection is not None:
            try:
                async with self._connection.begin():
                    await self._guard(self._connection)
            except NameTaken:
                raise
            except Exception:  # noqa: BLE001 - then a new one
                await self._disconnect()
        if self._connection is None:
            self._connection = await self._engine.connect()
        self._used_at = self._monotonic()
        return self._connection

    async def _settle(self, error: Exception) -> None:
        """Let go of a connection that is not known to be well."""
        connection = self._connection
        if connection is not None and (
            connection.closed
            or connection.invalidated
            or isinstance(error, TimeoutError | OSError)
            or getattr(error, "connection_invalidated", False)
        ):
            await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.invalidate()
            with contextlib.suppress(Exception):
                await connection.close()

    async def _guard(self, connection: AsyncConnection) -> None:
        if not self.boot:
            raise StoreUnavailable(_NOT_JOINED)
        if not await has_name(connection, self.node, self.boot):
            raise NameTaken(
                f"another daemon runs as node {self.node} on the shared store: give each its own ipam.node"
            )


class SharedLessor(Lessor[Context]):
    """The lessor of a book that may have to be given up: then it stores nothing more and answers nobody."""

    given_up: str | None = None

    def give_up(self, why: str) -> None:
        """Store nothing from now on: who waits is not answered, now or when what is under way has failed."""
        self.given_up = why
        if not self._queued:
            self.failed(StoreUnavailable(why))

    def wake(self) -> None:
        """Have stored what has changed, unless the book is given up."""
        if self.given_up is None:
            super().wake()
        else:
            self.turn()

    def turn(self) -> None:
        """Have stored what has changed, unless the book is given up."""
        if self.given_up is None:
            super().turn()
        elif not self._queued and (self._waiting or self._changes):
            self.failed(StoreUnavailable(self.given_up))

    async def stored(self, serial: int) -> None:
        """Return once the change with that serial is on disk. Raises StoreUnavailable."""
        if self.given_up is not None:
            raise StoreUnavailable(self.given_up)
        await super().stored(serial)

    async def write(self, connection: AsyncConnection) -> None:
        """Write the batch under way, or the next one. Raises StoreUnavailable for a book that is given up."""
        if self.given_up is not None:
            raise StoreUnavailable(self.given_up)
        await super().write(connection)


def _nothing() -> None:
    return None
