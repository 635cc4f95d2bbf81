"""Finding out who asks: keys, tokens, clients and certificates of one daemon in one place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon import logs
from daemon.api.security.buckets import Sources
from daemon.api.security.issuer import TokenIssuer
from daemon.api.security.key_set import Algorithm, KeySetFile, VerifyKey
from daemon.api.security.keys import Fault, KeyRing, Known, Purpose
from daemon.api.security.names import Name, read_name
from daemon.api.security.options import CertificatePrincipal, SecurityOptions
from daemon.api.security.principals import Kind, Principal
from daemon.api.security.refusals import NOBODY, NOT_GOOD, SEVERAL, Refusal, too_often
from daemon.api.security.scopes import expand
from daemon.api.security.tokens import Issuer, Rejected, verify
from daemon.clock import Clock
from daemon.store.writer import Writer

_LEAST_SECRET = 32
_TOO_MANY_FAILURES = "too many attempts from here have failed"


class Security:
    """Who may ask what over the network. Raises ValueError for options that are none, KeyUnusable."""

    def __init__(self, options: SecurityOptions, engine: AsyncEngine, writer: Writer, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self.keys = KeyRing(engine, writer, clock, options.flush_s)
        self.issuer = TokenIssuer(options.name, options.signing_key, options.token_s)
        self.sources = Sources(options.failures, options.failure_every_s)
        self.counts: Counter[str] = Counter()
        """What came of attempts to say who asks, by slug."""
        self._certificates: Mapping[Name, Principal] = {}
        self._log = logs.logger("api")
        self._limiter = logs.Limiter(1.0)
        self._key_set = None if options.tokens.key_set is None else KeySetFile(options.tokens.key_set)
        self._issuers = (self.issuer.issuer, *self._foreign())

    def _foreign(self) -> tuple[Issuer, ...]:
        """Return whose tokens are taken beside our own."""
        given, key_set = self.options.tokens, self._key_set
        if given.secret is None and key_set is None:
            return ()
        if not given.issuer or not given.audience:
            raise ValueError("tokens of others need an issuer and an audience")
        if given.issuer == self.issuer.name:
            raise ValueError(f"{given.issuer} is the name of this edge as an issuer of tokens")
        fixed: tuple[VerifyKey, ...] = ()
        if given.secret is not None:
            if len(given.secret) < _LEAST_SECRET:
                raise ValueError(
                    f"the secret of tokens has {len(given.secret)} octets; {_LEAST_SECRET} expected"
                )
            fixed = (VerifyKey("", Algorithm.HS256, given.secret),)

        def keys(now: float) -> Sequence[VerifyKey]:
            return fixed if key_set is None else (*fixed, *key_set.keys(now))

        return (Issuer(given.issuer, given.audience, keys, given.leeway_s),)

    def know(self, certificates: Mapping[str, CertificatePrincipal]) -> None:
        """Take certificates of clients, by what `read_name` takes. Raises ValueError for what is no scope."""
        self._certificates = {
            read_name(named): Principal(
                kind=Kind.CERTIFICATE,
                name=f"certificate {each.name}",
                scopes=expand(each.scopes),
                tenant=each.tenant,
            )
            for named, each in certificates.items()
        }

    async def load(self) -> None:
        """Read the keys from the store; to be called before the first request."""
        await self.keys.load()

    def tasks(self) -> tuple[tuple[str, Callable[[], Awaitable[object]]], ...]:
        """Return what runs for ever, by name."""
        return (("api-keys", self.keys.run),)

    def degraded(self) -> list[str]:
        """Return what is not well, a sentence each."""
        problem = "" if self._key_set is None else self._key_set.problem
        return [f"the keys of tokens are those of before: {problem}"] if problem else []

    def authenticate(
        self, api_keys: Sequence[str], authorizations: Sequence[str], source: str, names: Sequence[Name] = ()
    ) -> Principal | Refusal:
        """Return who asks: by the headers X-Api-Key and Authorization, else by the names in its certificate."""
        if len(api_keys) + len(authorizations) > 1:
            return SEVERAL
        if not api_keys and not authorizations:
            return self._by_certificate(names)
        now = self.clock.monotonic()
        if authorizations and (wait_s := self.sources.wait_s(source, now)):
            return self._too_many(wait_s)  # signatures are work, so they are not even checked
        found = self._by_key(api_keys[0]) if api_keys else self._by_token(authorizations[0], now)
        if isinstance(found, str):
            return self._failed(source, found, now)
        principal, known = found
        return principal if known is None else self._within_rate(principal, known, now)

    def _failed(self, source: str, why: str, now: float) -> Refusal:
        """Note a failed attempt. A good key from the same address is not held up by the failures of others."""
        wait_s = self.sources.wait_s(source, now)
        if wait_s:
            return self._too_many(wait_s)
        self.failed(source, why)
        return NOT_GOOD

    def _too_many(self, wait_s: float) -> Refusal:
        self._count("source-limited")
        return too_often(wait_s, _TOO_MANY_FAILURES)

    def _by_certificate(self, names: Sequence[Name]) -> Principal | Refusal:
        for name in names:
            if name in self._certificates:
                self._count("certificate")
                return self._certificates[name]
        return NOBODY

    def _by_key(self, presented: str) -> tuple[Principal, Known] | str:
        key, _, secret = presented.strip().partition(".")
        known = self.keys.check(key, secret)
        return known.value if isinstance(known, Fault) else (known.principal, known)

    def _by_token(self, authorization: str, now: float) -> tuple[Principal, Known | None] | str:
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer":
            return "scheme-unknown"
        found = verify(token.strip(), self._issuers, now, self.clock.wall())
        if isinstance(found, Rejected):
            return found.why
        if not found.client:
            return found.principal, None
        known = self.keys.find(found.client)
        fault = Fault.UNKNOWN if known is None else known.fault(self.clock.wall())
        if known is None or fault is not None:
            return str(fault)
        scopes = found.principal.scopes & known.principal.scopes
        return replace(found.principal, scopes=scopes, name=known.principal.name), known

    def _within_rate(self, principal: Principal, known: Known, now: float) -> Principal | Refusal:
        wait_s = self.keys.use(known, now)
        if wait_s:
            self._count("key-limited")
            return too_often(wait_s, f"this key may ask {known.row.rate_per_s:g} times a second")
        self._count(principal.kind.value)
        return principal

    def is_good(self, principal: Principal) -> bool:
        """Tell whether somebody who was let in may hold on: neither key nor token has ended since."""
        at = self.clock.wall()
        if principal.expires_at is not None and at >= principal.expires_at:
            return False
        if not principal.key:
            return True
        known = self.keys.find(principal.key)
        return known is not None and known.fault(at) is None

    def client(self, key: str, secret: str, source: str) -> Known | Refusal:
        """Return the client that asks for a token."""
        now = self.clock.monotonic()
        known = self.keys.check(key, secret.removeprefix(f"{key}."), Purpose.CLIENT)
        if isinstance(known, Fault):
            return self._failed(source, known.value, now)
        refused = self._within_rate(known.principal, known, now)
        return refused if isinstance(refused, Refusal) else known

    def failed(self, source: str, why: str) -> None:
        """Note an attempt that has failed; logged once a second at the most, without what was presented."""
        now = self.clock.monotonic()
        self._count(why)
        self.sources.failed(source, now)
        passed = self._limiter.allow("api-refused", now)
        if passed is not None:
            self._log.warning("api-refused", source=source, why=why, suppressed=passed)

    def _count(self, slug: str) -> None:
        self.counts[slug] += 1

    async def close(self) -> None:
        """Write down how keys were used, if the store takes it."""
        with suppress(Exception):
            await self.keys.flush()
