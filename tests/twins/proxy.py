"""A network between a daemon and its database: it can be cut, can swallow everything, and comes back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Proxy:
    """Carries TCP on 127.0.0.1 to a Unix socket; an async context manager. `port` stays the same.

    `cut`: connections are reset, new ones refused. `swallow`: what is sent is not delivered, and nobody is told.
    """

    def __init__(self, to: str) -> None:
        self._to = to
        self.port = 0
        self.swallow = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lose_answers = False  # what the database says is lost, once, and the connection with it

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Let connections through again."""
        self.swallow = False
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Reset all connections, and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Reset the connections that there are."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_unix_connection(self._to)
            self._writers |= {writer, back}
            for each in (self._carry(reader, back, False), self._carry(there, writer, True)):
                task = asyncio.create_task(each)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(65_536):
                while self.swallow:
                    await asyncio.sleep(0.01)
                if answers and self.lose_answers:
                    self.lose_answers = False
                    self.drop()
                    return
                writer.write(octets)
                await writer.drain()
        self._writers.discard(writer)
        writer.close()
