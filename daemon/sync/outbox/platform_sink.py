"""The platform as a sink: runs of events are posted, signed, and acknowledged by a watermark.

Nothing is ever given up: whatever is not a clear answer means to try again, for the platform counts each number once.
"""

from __future__ import annotations

import asyncio
import gzip
import hmac
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx

from daemon.sync.outbox.model import Acked, Delivery, Diverged, Expected, Later, Receipt, Stream
from daemon.sync.outbox.run import Run, run_of
from daemon.sync.outbox.secure_client import FileUnusable, PemFiles, SecureClient

_MOST_ANSWER = 64 * 1024
_PORTIONS = 8  # of events in a delivery: the next request is made ready while the platform works on the last
_SMALL = 1024  # octets: packing them saves no packet on the wire
_MOST_SAID = 200  # characters of the platform's own words
_AGAIN = frozenset({408, 425, 429})
_TOO_LARGE = 413
_REMEDIES = {
    401: "check the token and the signing key on both sides, and the clocks",
    403: "check what the token or certificate of this edge may do there",
    404: "check the platform's URL",
    413: "one event is larger than the platform takes: raise its limit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformOptions:
    """How the platform is reached. `signing_key` and `token` may be empty; files are PEM."""

    base_url: str = field(repr=False)  # somebody may have put a password in it
    signing_key: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    connect_timeout_s: float = 5.0
    timeout_s: float = 30.0  # for all of a request and its answer
    most_octets: int = 1 << 20  # of JSON in a request
    most_events: int = (
        1_000  # in a request: what a transaction costs over there, it costs once for all of them
    )
    streams: frozenset[Stream] = frozenset(Stream)
    name: str = "platform"


class _Request(NamedTuple):
    """A run of events made ready to be posted; `body` is empty behind the last event."""

    run: Run
    body: bytes
    headers: Mapping[str, str]


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class PlatformSink:
    """Posts runs of events. Raises ValueError where the options can never be right; files are read in `deliver`."""

    def __init__(self, options: PlatformOptions, wall: Callable[[], float]) -> None:
        """`wall` tells epoch seconds, for the time that is signed."""
        self.name = options.name
        self.streams = options.streams
        self.portions = _PORTIONS
        self._options = options
        self._wall = wall
        self._most_events = options.most_events
        self._secrets = tuple(each for each in (options.signing_key, options.token) if each)
        if any(not each.isascii() or not each.isprintable() for each in self._secrets):
            raise ValueError(
                f"{self.name}: token and signing key must be printable ASCII, without a line feed"
            )
        try:
            url = httpx.URL(options.base_url)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"{self.name}: no URL such as https://platform.example, given for the platform")
        if url.userinfo:
            raise ValueError(
                f"{self.name}: the URL of the platform may hold no password; set the token instead"
            )
        self._where = f"{url.scheme}://{url.netloc.decode()}"
        self._url = url
        files = PemFiles(options.ca_file, options.certificate_file, options.key_file)
        self._clients = SecureClient(self._client, files)

    def _client(self, context: ssl.SSLContext) -> httpx.AsyncClient:
        options = self._options
        return httpx.AsyncClient(
            base_url=self._url,
            verify=context,
            timeout=httpx.Timeout(options.timeout_s, connect=options.connect_timeout_s),
            limits=httpx.Limits(max_connections=len(Stream)),
            headers={"User-Agent": "dotmac-edge"} | _bearer(options.token),
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"PlatformSink({self._where})"

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Post a run of events, in several requests if it is long: one after the other, the next made ready meanwhile.

        Where one of them is not acknowledged, those before it are; the next delivery meets the reason again.
        """
        done: Receipt | None = None
        request = await self._made(delivery, delivery.first, delivery.before_hash)
        while request.body:
            run = request.run
            receipt, following = await asyncio.gather(
                self._exchange(delivery, request), self._made(delivery, run.last + 1, run.hashes[-1])
            )
            if receipt is None:
                self._most_events = len(run.texts) // 2
                request = await self._made(delivery, run.first, run.before_hash)
                continue
            if receipt != Acked(run.last):
                return receipt if isinstance(receipt, Acked) else done or receipt
            done, request = receipt, following
            self._most_events = min(2 * self._most_events, self._options.most_events)  # these may be shorter
        return done or Later("there was nothing to deliver")

    async def close(self) -> None:
        """Close the connections."""
        await self._clients.close()

    async def _made(self, delivery: Delivery, first: int, before_hash: bytes) -> _Request:
        limits = self._options.most_octets, self._most_events
        run = await run_of(delivery, first, before_hash, most_octets=limits[0], most_events=limits[1])
        if not run.texts:
            return _Request(run, b"", {})
        body, headers = await asyncio.to_thread(_packed, delivery, run)  # packing lets go of the interpreter
        return _Request(run, body, headers)

    async def _exchange(self, delivery: Delivery, request: _Request) -> Receipt | None:
        """Post a run and return what becomes of it; None where it is too large and can be made smaller."""
        run = request.run
        try:
            async with asyncio.timeout(self._options.timeout_s):
                answer = await self._post(delivery, request)
        except TimeoutError:
            silent_s = self._options.timeout_s
            return Later(f"{self._where} has not answered within {silent_s:g} s; what it did is not known")
        except FileUnusable as error:
            return Later(f"{self._where} cannot be asked: {error}; nothing is dropped, all of it waits")
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            why = self._cleared(str(error)) or type(error).__name__
            return Later(f"{self._where} cannot be asked: {why}")
        if answer.status in (200, 409):
            return self._read(run, answer)
        if answer.status == _TOO_LARGE and len(run.texts) > 1:
            return None
        return Later(self._refusal(answer), _after_s(answer.headers))

    async def _post(self, delivery: Delivery, request: _Request) -> _Answer:
        path, body, headers = (
            f"v1/edge/streams/{delivery.stream}/events",
            request.body,
            self._headers(request),
        )
        async with (
            self._clients.client() as client,
            client.stream("POST", path, content=body, headers=headers) as response,
        ):
            parts = bytearray()
            async for part in response.aiter_bytes():
                parts += part
                if len(parts) > _MOST_ANSWER:
                    break
            return _Answer(response.status_code, response.headers, bytes(parts))

    def _headers(self, request: _Request) -> dict[str, str]:
        """Return the headers of a request, signed now."""
        key = self._options.signing_key
        return {**request.headers, **_signatures(key, request.body, int(self._wall()))}

    def _read(self, run: Run, answer: _Answer) -> Receipt:
        """Return what a clear answer means; one that is not clear is for later."""
        try:
            said: Any = json.loads(answer.body)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            said = {}
        if answer.status == 200:
            acked, there = said.get("acked_seq"), said.get("hash")
            if type(acked) is int and isinstance(there, str):
                return self._acknowledged(run, acked, there.lower())
        elif type(said.get("expected")) is int and said["expected"] > 0:
            return Expected(said["expected"])
        elif said.get("diverged"):
            return Diverged(self._cleared(str(said["diverged"]))[:_MOST_SAID])
        return Later(self._refusal(answer))

    def _acknowledged(self, run: Run, acked: int, there: str) -> Receipt:
        """Believe a watermark where the hash shows that it is about these events."""
        if not run.first - 1 <= acked <= run.last:
            return Expected(acked + 1)  # the next run shows by its hash whether we speak of the same events
        if there != run.hash_at(acked).hex():
            return Diverged(f"{self._where} has another event under {acked}")
        if acked < run.first:
            return Later(f"{self._where} has taken none of {run.first} to {run.last}, and does not say why")
        return Acked(acked)

    def _refusal(self, answer: _Answer) -> str:
        said = "".join(each if each.isprintable() else " " for each in answer.body.decode(errors="replace"))
        text = f"{self._where} answers {answer.status}: {self._cleared(said)[:_MOST_SAID] or 'nothing'}"
        if answer.status in _AGAIN or answer.status >= 500:
            return text
        remedy = _REMEDIES.get(answer.status, "it does not speak this protocol, or not at this URL")
        return f"{text}; nothing is dropped, all of it waits: {remedy}"

    def _cleared(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _packed(delivery: Delivery, run: Run) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a run. The same events make the same body, octet for octet."""
    head = {
        "edge": delivery.edge,
        "stream": delivery.stream.value,
        "incarnation": delivery.incarnation,
        "first_seq": run.first,
        "last_seq": run.last,
        "prev_hash": run.before_hash.hex(),
        "hash": run.hashes[-1].hex(),
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    body = text[:-1] + b',"events":[' + b",".join(run.texts) + b"]}"
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": f"{delivery.incarnation}:{delivery.stream}:{run.first}-{run.last}",
        "X-Dotmac-Edge": delivery.edge,
    }
    if len(body) > _SMALL:
        body = gzip.compress(body, 1, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return body, headers


def _signatures(key: str, body: bytes, at: int) -> dict[str, str]:
    """Return the headers that prove the octets of the body, and with them when they were sent, in epoch seconds."""
    if not key:
        return {"X-Dotmac-Timestamp": str(at)}
    signed = "sha256=" + hmac.digest(key.encode(), body, "sha256").hex()
    when = "sha256=" + hmac.digest(key.encode(), f"{at}.{signed}".encode(), "sha256").hex()
    return {
        "X-Dotmac-Signature-256": signed,
        "X-Dotmac-Timestamp": str(at),
        "X-Dotmac-Timestamp-Signature-256": when,
    }


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _after_s(headers: Mapping[str, str]) -> float | None:
    """Return what Retry-After says, in seconds: RFC 9110 section 10.2.3; a date is compared with their own."""
    said = headers.get("retry-after", "")
    if said.isdecimal():
        return float(said[:9])
    try:
        wait = parsedate_to_datetime(said) - parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, wait.total_seconds())
    except (ValueError, TypeError):
        return None
