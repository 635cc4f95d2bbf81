"""HTTP clients to one peer, made when they are needed: anew when its PEM files change, or TLS has failed.

What a daemon needs to start does not hang on these files: a certificate may come later, or be renewed every hour.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx


class FileUnusable(Exception):
    """A PEM file cannot be used; the text is for people, and says what to do."""


@dataclass(frozen=True, slots=True)
class PemFiles:
    """Whom to trust, and who we are; each may be empty: then the authorities of the system, and no certificate."""

    ca: str = ""
    certificate: str = ""
    key: str = ""  # empty where it is in the file of the certificate


_Signs = tuple[tuple[int, int, int] | None, ...]


class _Client:
    """A client, what its files were when it was made, and how many requests are under way with it."""

    __slots__ = ("http", "signs", "stale", "users")

    def __init__(self, http: httpx.AsyncClient, signs: _Signs) -> None:
        self.http = http
        self.signs = signs
        self.stale = False
        self.users = 0


class SecureClient:
    """Gives out a client for each request. One that gave way to a newer ends its requests first."""

    def __init__(self, make: Callable[[ssl.SSLContext], httpx.AsyncClient], files: PemFiles) -> None:
        """`make` returns a client that uses a context."""
        self._make = make
        self._files = files
        self._current: _Client | None = None
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """Give a client that uses the files as they are now. Raises FileUnusable."""
        held = await self._fresh()
        held.users += 1
        try:
            yield held.http
        except (httpx.HTTPError, OSError) as error:
            held.stale = held.stale or _of_tls(error)
            raise
        finally:
            held.users -= 1
            if held is not self._current and not held.users:
                await held.http.aclose()

    async def close(self) -> None:
        """Close all connections; those of requests that are under way with them."""
        held, self._current = self._current, None
        if held is not None:
            await held.http.aclose()

    async def _fresh(self) -> _Client:
        async with self._making:
            held, signs = self._current, _signs(self._files)
            if held is not None and not held.stale and held.signs == signs:
                return held
            # Read beside the loop: the authorities of a system are a quarter of a megabyte.
            made = _Client(self._make(await asyncio.to_thread(trust, self._files)), signs)
            old, self._current = self._current, made
            if old is not None and not old.users:
                await old.http.aclose()
            return made


def trust(files: PemFiles) -> ssl.SSLContext:
    """Return whom to trust and who we are. Raises FileUnusable."""
    named = files.ca
    try:
        context = ssl.create_default_context(cafile=files.ca or None)
        if files.certificate:
            named = " with ".join(each for each in (files.certificate, files.key) if each)
            # A key with a passphrase fails, instead of asking on a terminal that is not there.
            context.load_cert_chain(files.certificate, files.key or None, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise FileUnusable(f"{named} cannot be used: {_why(error, files)}") from None
    return context


def _why(error: Exception, files: PemFiles) -> str:
    missing = [each for each in (files.ca, files.certificate, files.key) if each and not Path(each).exists()]
    if missing:
        return f"there is no {missing[0]}; put it there, it is read with the next try"
    if isinstance(error, PermissionError):
        return "this daemon may not read it; give its user the right to"
    return "expected is PEM, and a key that belongs to the certificate and has no passphrase"


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _signs(files: PemFiles) -> _Signs:
    """Return what shows that a file is another one: which it is, its size and when it was changed."""
    return tuple(_sign(each) for each in (files.ca, files.certificate, files.key) if each)


def _sign(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _of_tls(error: BaseException | None) -> bool:
    """Tell whether an exception comes of TLS: a certificate that has run out, or an authority that has changed."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False
