"""HTTP to a platform: each request has a deadline, each answer a least pace, and no error tells a secret."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Self

import httpx
from cryptography import x509

from daemon.clock import Clock
from daemon.sync.feed.canonical import canonical
from daemon.sync.feed.lines import Broken, Gunzip, Lines, Plain, TooLong
from daemon.sync.feed.model import Json
from daemon.sync.feed.pace import Pace
from daemon.sync.feed.pull_options import LinkOptions
from daemon.sync.problems import printable

MOST_ANSWER_OCTETS = 64 * 1024 * 1024
_SHOWN = 200  # characters of what others say
_SAYS = (200, 409, 410, 412)  # answers that mean something to us


class LinkFailed(Exception):
    """A request came to nothing; the text is for people. `after_s`: what the platform asks to wait."""

    def __init__(self, detail: str, after_s: float | None = None) -> None:
        super().__init__(detail)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `asked_at` and `at` are epoch seconds of the request and of the head of the answer."""

    status: int
    body: bytes
    asked_at: float
    at: float


class Answering:
    """An answer whose lines come as the platform sends them."""

    def __init__(
        self, answer: httpx.Response, clock: Clock, pace: Pace, hide: Hide, most: int, at: float
    ) -> None:
        self.status = answer.status_code
        self.at = at
        self._answer = answer
        self._clock = clock
        self._pace = pace
        self._hide = hide
        self._lines = Lines(most)

    async def lines(self, idle_s: float | None = None) -> AsyncGenerator[bytes, None]:
        """Yield each line without its end. Raises LinkFailed.

        Without `idle_s` the whole answer has to keep the pace, from its head on. With it nothing need come for that
        long; but a line that has begun has to keep the pace.
        """
        async with aclosing(self._pieces(idle_s)) as pieces:
            async for piece in pieces:
                try:
                    for line in self._lines.cut(piece):
                        yield line
                except TooLong as error:
                    raise LinkFailed(str(error)) from None
        if self._lines.held:
            yield self._lines.rest()

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield whole lines as they came, several at a time; the last one need not have an end. Raises LinkFailed."""
        async with aclosing(self._pieces(None)) as pieces:
            async for piece in pieces:
                try:
                    block = self._lines.block(piece)
                except TooLong as error:
                    raise LinkFailed(str(error)) from None
                if block:
                    yield block
        if self._lines.held:
            yield self._lines.rest()

    async def _pieces(self, idle_s: float | None) -> AsyncGenerator[bytes, None]:
        """Yield what comes, unpacked. Raises LinkFailed where it does not keep the pace or breaks off."""
        waited_s, octets = 0.0, 0
        unpack = self._unpacking()
        chunks = self._answer.aiter_raw()
        while True:
            between = idle_s is not None and not self._lines.held
            if between:
                waited_s, octets = 0.0, 0
            left = idle_s if between else self._pace.left_s(waited_s, octets)
            asked = self._clock.monotonic()
            try:
                async with asyncio.timeout(left):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise LinkFailed(self._slow(between, octets)) from None
            except (httpx.HTTPError, ValueError) as error:
                raise LinkFailed(self._hide(f"the answer broke off: {_said(error)}")) from None
            if chunk is None:
                break
            octets += len(chunk)
            waited_s += self._clock.monotonic() - asked
            try:
                for piece in unpack.pieces(chunk):
                    yield piece
            except Broken as error:
                raise LinkFailed(str(error)) from None
        if not unpack.whole:
            raise LinkFailed("the answer broke off: the end of what was packed is missing")

    def _unpacking(self) -> Plain | Gunzip:
        packed = self._answer.headers.get("content-encoding", "identity").lower()
        if packed not in ("gzip", "identity", ""):
            raise LinkFailed(f"the platform packs with {printable(packed)[:40]}; gzip was asked for")
        return Gunzip() if packed == "gzip" else Plain()

    def _slow(self, between: bool, octets: int) -> str:
        if between:
            return "nothing came on the held answer for too long"
        return f"the answer came too slowly: {octets} octets, less than {self._pace.least_octets_per_s:g} a second"

    async def whole(self, most: int = MOST_ANSWER_OCTETS) -> bytes:
        """Return all of the answer. Raises LinkFailed."""
        self._lines = Lines(most)
        parts, held = [], 0
        async with aclosing(self.lines()) as lines:
            async for line in lines:
                parts.append(line)
                held += len(line)
                if held > most:
                    raise LinkFailed(f"the answer has more than {most} octets")
        return b"\n".join(parts)


class Hide:
    """Takes the token out of whatever is told."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, said: str) -> str:
        """Return a text for people, on one line and of a bearable length."""
        if self._token:
            said = said.replace(self._token, "<hidden>")
        return printable(said.replace("\n", " "))[:500]


class Link:
    """The connections to one platform, for one run of a source; an async context manager.

    Raises LinkFailed where our certificate or key cannot be read.
    """

    def __init__(
        self, options: LinkOptions, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._options = options
        self._clock = clock
        self._hide = Hide(options.token)
        headers = {"Accept-Encoding": "gzip", "User-Agent": "dotmac-edge"}
        if options.token:
            headers["Authorization"] = f"Bearer {options.token}"
        self._client = httpx.AsyncClient(
            base_url=options.url.rstrip("/") + "/",
            headers=headers,
            transport=transport,
            verify=_trust(options) if transport is None and options.url.startswith("https") else True,
            timeout=httpx.Timeout(None, connect=options.connect_s),
            limits=httpx.Limits(max_connections=4, max_keepalive_connections=2),
            http2=False,
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Json = None,
        held_s: float = 0.0,
        most: int = MOST_ANSWER_OCTETS,
    ) -> Answer:
        """Return a whole answer of 200, 409, 410 or 412. Raises LinkFailed for all others.

        `held_s` is how long the platform may take by what we asked for.
        """
        asked_at = self._clock.wall()
        async with self.answering(
            method, path, params=params, body=body, held_s=held_s, most=most
        ) as answering:
            return Answer(answering.status, await answering.whole(most), asked_at, answering.at)

    @asynccontextmanager
    async def answering(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: Json = None,
        held_s: float = 0.0,
        most: int = MOST_ANSWER_OCTETS,
        accept: str = "application/json",
    ) -> AsyncIterator[Answering]:
        """Give an answer of 200, 409, 410 or 412 once its head is here; `most` octets a line. Raises LinkFailed."""
        headers = {"Accept": accept}
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", canonical(body)
        answer = await self._send(
            self._client.build_request(
                method, path.lstrip("/"), params=params, content=content, headers=headers
            ),
            self._options.answer_s + held_s,
        )
        try:
            await self._see_status(answer, path)
            yield Answering(answer, self._clock, self._options.pace, self._hide, most, self._clock.wall())
        finally:
            await answer.aclose()

    async def _send(self, request: httpx.Request, within_s: float) -> httpx.Response:
        try:
            async with asyncio.timeout(within_s):
                return await self._client.send(request, stream=True)
        except TimeoutError:
            raise LinkFailed(f"no answer came within {within_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError, ValueError) as error:
            raise LinkFailed(self._hide(_said(error))) from None

    async def _see_status(self, answer: httpx.Response, path: str) -> None:
        status = answer.status_code
        if status in _SAYS:
            return
        after_s = _retry_after_s(answer.headers.get("retry-after"), self._clock.wall())
        if status in (401, 403):
            remedy = "check the token or certificate of this edge, and whether the platform knows it"
            raise LinkFailed(f"the platform refuses this edge ({status}); {remedy}", after_s)
        if status in (429, 503):
            raise LinkFailed(f"the platform is busy ({status})", after_s)
        hint = "; check the url" if status == 404 or 300 <= status < 400 else ""
        raise LinkFailed(self._hide(f"the platform answered {status} to {path}{hint}"), after_s)


def _said(error: Exception) -> str:
    """Return what an exception says, and where it says nothing, what it is."""
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection came about in time"
    if isinstance(error, httpx.LocalProtocolError):
        return "the request cannot be sent as it is"  # the library quotes headers here
    return (str(error) or type(error).__name__)[:_SHOWN]


def _retry_after_s(value: str | None, at: float) -> float | None:
    """Return what a Retry-After asks for: seconds, or a date (RFC 9110 section 10.2.3)."""
    if value is None:
        return None
    if value.isascii() and value.strip().isdigit():
        return float(value.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - at)
    except (ValueError, TypeError, OverflowError):
        return None


def _trust(options: LinkOptions) -> ssl.SSLContext:
    """Return whom to trust and who we are. Raises LinkFailed where a file cannot be used."""
    file = options.ca_file
    try:
        context = ssl.create_default_context(cafile=None if file is None else str(file))
        file = options.certificate_file
        if file is not None:
            # A key with a passphrase fails, instead of asking on a terminal that is not there.
            context.load_cert_chain(file, options.key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise LinkFailed(
            f"{file} cannot be used: {why}; PEM is expected, its key without a passphrase"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def certificate_until(options: LinkOptions) -> float | None:
    """Return until when our certificate is good, epoch seconds; None where there is none that can be read."""
    if options.certificate_file is None:
        return None
    try:
        found = x509.load_pem_x509_certificate(options.certificate_file.read_bytes())
    except (OSError, ValueError):
        return None
    return found.not_valid_after_utc.timestamp()
