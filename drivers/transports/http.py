"""REST over HTTPS with httpx: deadlines, pinned or verified certificates, basic or bearer login."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from drivers.errors import (
    CommandRefused,
    Dropped,
    Garbled,
    HostKeyMismatch,
    HostKeyUnknown,
    LoginRefused,
    NotAuthorized,
    Phase,
    TimedOut,
    Unreachable,
)
from drivers.target import HostKey, Opening

_LONGEST_BODY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A reply of status 2xx. `data` is its JSON, or its text where it is none."""

    status: int
    data: Any = field(repr=False)


class Http:
    """One device's REST interface. The certificate is looked at before a password is sent."""

    def __init__(self, opening: Opening, client: httpx.AsyncClient) -> None:
        self._opening = opening
        self._client = client

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        phase: Phase = Phase.COMMAND,
    ) -> HttpReply:
        """Return the reply. CommandRefused for 4xx and 5xx; Dropped or TimedOut where it is not known what happened.

        Nothing is ever sent twice.
        """
        target = self._opening.target
        limit = timeout_s if timeout_s is not None else target.deadlines.command_s
        sent = json.dumps(body) if body is not None else ""
        self._opening.transcript.sent(f"{method} {path}\n{sent}\n")
        try:
            async with asyncio.timeout(limit):
                reply = await self._client.request(method, path, json=body, params=query)
        except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout, httpx.PoolTimeout) as error:
            raise TimedOut(f"no reply within {limit:g} s", phase=phase, device=target.name) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"{target.host}: {error}", phase=Phase.DIAL, device=target.name) from error
        except httpx.HTTPError as error:
            raise Dropped(f"connection lost: {error}", phase=phase, device=target.name) from error
        self._opening.transcript.received(f"{reply.status_code}\n{reply.text[:_LONGEST_BODY]}\n")
        return self._judge(method, path, reply, phase)

    def _judge(self, method: str, path: str, reply: httpx.Response, phase: Phase) -> HttpReply:
        device = self._opening.target.name
        said = self._opening.redactor.redact(reply.text[:400])
        if reply.status_code == httpx.codes.UNAUTHORIZED:
            user = self._opening.target.credentials.user
            raise LoginRefused(f"user {user!r} was refused", phase=Phase.LOGIN, device=device)
        if reply.status_code == httpx.codes.FORBIDDEN:
            raise NotAuthorized(f"{method} {path}: {said}", phase=phase, device=device)
        if not reply.is_success:
            raise CommandRefused(
                f"{method} {path} was answered {reply.status_code}: {said}",
                phase=phase,
                device=device,
                command=f"{method} {path}",
                answer=f"{reply.status_code} {said}",
            )
        if "json" not in reply.headers.get("content-type", ""):
            return HttpReply(reply.status_code, reply.text)
        try:
            return HttpReply(reply.status_code, reply.json())
        except ValueError as error:
            raise Garbled(f"{method} {path}: no JSON", phase=phase, device=device, tail=said) from error

    async def close(self) -> None:
        """Close the connections."""
        with suppress(httpx.HTTPError, OSError):
            await self._client.aclose()

    def abort(self) -> None:
        """Nothing is under way between requests; each one has its own deadline."""


async def connect(opening: Opening, *, base: str = "", tls: bool = True) -> Http:
    """Return a client for `base` on the target. With TLS, the certificate is checked first: HostKeyUnknown, ..."""
    target = opening.target
    login = target.credentials
    headers: dict[str, str] = {"Accept": "application/json"}
    if login.token:
        headers["Authorization"] = f"Bearer {login.token.reveal()}"
    elif login.password:
        pair = f"{login.user}:{login.password.reveal()}"
        encoded = b64encode(pair.encode()).decode()
        opening.redactor.add(encoded)
        headers["Authorization"] = f"Basic {encoded}"
    context = await _context(opening) if tls else None
    host = f"[{target.host}]" if ":" in target.host else target.host
    client = httpx.AsyncClient(
        base_url=f"{'https' if tls else 'http'}://{host}:{target.port}{base}",
        headers=headers,
        verify=context or True,
        timeout=httpx.Timeout(target.deadlines.command_s, connect=target.deadlines.connect_s),
        trust_env=False,
        follow_redirects=False,  # a redirect would carry the password elsewhere
        limits=httpx.Limits(max_connections=1),
    )
    return Http(opening, client)


async def _context(opening: Opening) -> ssl.SSLContext:
    """Return a context that accepts what the target's trust accepts, and nothing else."""
    target = opening.target
    trust = target.trust
    if trust.authority or (trust.system and not trust.pinned):
        return ssl.create_default_context(cadata=trust.authority or None)
    certificate = await _shown(opening)
    fingerprint = "SHA256:" + hashlib.sha256(certificate).hexdigest()
    if trust.pinned and fingerprint not in trust.pinned:
        raise HostKeyMismatch(
            f"certificate is {fingerprint}, pinned is {' or '.join(trust.pinned)}",
            fingerprint=fingerprint,
            algorithm="x509",
            device=target.name,
        )
    if not trust.pinned and not await _approved(opening, fingerprint):
        raise HostKeyUnknown(
            f"certificate {fingerprint} was never approved; compare it on the device, then pin it",
            fingerprint=fingerprint,
            algorithm="x509",
            device=target.name,
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # this very certificate is trusted, whatever name it carries
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(certificate))
    return context


async def _approved(opening: Opening, fingerprint: str) -> bool:
    target = opening.target
    if target.trust.approve is None:
        return False
    try:
        async with asyncio.timeout(target.deadlines.approve_s):
            return await target.trust.approve(HostKey(target.host, target.port, "x509", fingerprint))
    except TimeoutError:
        return False


async def _shown(opening: Opening) -> bytes:
    """Return the certificate that the device shows, in DER; nothing is sent to it."""
    target = opening.target
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(target.deadlines.connect_s):
            _, writer = await asyncio.open_connection(target.host, target.port, ssl=context)
            try:
                shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            finally:
                writer.close()
    except TimeoutError as error:
        raise TimedOut(f"no answer from {target.host}", phase=Phase.DIAL, device=target.name) from error
    except OSError as error:
        raise Unreachable(f"{target.host}: {error}", phase=Phase.DIAL, device=target.name) from error
    assert isinstance(shown, bytes)
    return shown
