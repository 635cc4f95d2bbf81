"""TLS of the API port: certificates that are read again when their files change."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography import x509

from daemon import logs
from daemon.api.security.options import TlsOptions
from daemon.clock import Clock

_LOOK_EVERY_S = 5.0
_DAY_S = 86_400.0


class TlsUnusable(ValueError):
    """Certificate, key or CA cannot be used; says which and why."""


class _Current(ssl.SSLContext):
    """The context that a server keeps; each new connection is wrapped by the one that is in force then."""

    inner: ssl.SSLContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Wrap a new connection."""
        return self.inner.wrap_bio(*args, **kwargs)


class Tls:
    """TLS with the files as they are now. Raises TlsUnusable at the start; later the last good ones stay."""

    def __init__(self, options: TlsOptions, clock: Clock) -> None:
        self.options = options
        self.problem = ""
        """Why the files as they are now are not in force; empty: they are."""
        self.expires_at = 0.0
        """When the certificate in force expires, epoch seconds."""
        self._clock = clock
        self._log = logs.logger("api")
        self.context = _Current(ssl.PROTOCOL_TLS_SERVER)
        self._mark = self._marks()
        self._load()

    def expires_in_days(self, at: float) -> float:
        """Return how long the certificate in force is still good, negative when it is over."""
        return (self.expires_at - at) / _DAY_S

    def degraded(self, at: float) -> list[str]:
        """Return what is not well, a sentence each."""
        said = [f"TLS goes on with the certificate of before: {self.problem}"] if self.problem else []
        days = self.expires_in_days(at)
        if days < 0:
            said.append(f"the TLS certificate {self.options.certificate} has expired {-days:.0f} days ago")
        elif days < 30:
            said.append(f"the TLS certificate {self.options.certificate} expires in {days:.0f} days")
        return said

    async def run(self) -> None:
        """Look for ever whether the files have changed."""
        while True:
            await self._clock.sleep(_LOOK_EVERY_S)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Read the files again where they have changed; what cannot be used is told once and changes nothing."""
        marks = self._marks()
        if marks == self._mark:
            return
        self._mark = marks
        try:
            self._load()
        except TlsUnusable as error:
            self.problem = str(error)
            self._log.error("tls-certificate-refused", why=self.problem)
        else:
            self.problem = ""
            self._log.info("tls-certificate-loaded", expires_at=self.expires_at)

    def _files(self) -> list[Path]:
        given = self.options
        return [each for each in (given.certificate, given.key, given.client_ca) if each is not None]

    def _marks(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in self._files():
            with suppress(OSError):
                state = path.stat()
                found.append((state.st_mtime_ns, state.st_size, state.st_ino))
        return tuple(found)

    def _load(self) -> None:
        given = self.options
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        where = given.certificate
        try:
            first = x509.load_pem_x509_certificates(given.certificate.read_bytes())[0]
            where = given.key
            context.load_cert_chain(given.certificate, given.key, password=_no_password)
            if given.client_ca is not None:
                where = given.client_ca
                context.load_verify_locations(given.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED if given.require_client else ssl.CERT_OPTIONAL
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TlsUnusable(f"{where}: {said}") from None
        self.context.inner = context
        self.expires_at = first.not_valid_after_utc.timestamp()


def _no_password() -> str:
    raise ValueError("the key is encrypted; a key without a password expected")
