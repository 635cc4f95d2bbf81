"""API keys: made once, known by a hash, looked up in memory, counted, revoked at once.

What is presented is `id.secret`. The secret has 256 random bits, so its SHA-256 needs no salt and no slowness.
"""

from __future__ import annotations

import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.api.security.buckets import Bucket, of_key
from daemon.api.security.principals import ALL_TENANTS, Kind, Principal
from daemon.api.security.scopes import expand, known_scopes
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.store import key_rows
from daemon.store.key_rows import KeyRow, Use
from daemon.store.writer import Writer

_SECRET_OCTETS = 32
_NOBODY = sha256(b"").digest()  # compared with where there is no such key, so that both take as long


class Purpose(StrEnum):
    """What a key is for."""

    KEY = "key"  # to be presented with each request
    CLIENT = "client"  # to ask for tokens with


class Fault(StrEnum):
    """Why a key is not taken."""

    UNKNOWN = "key-unknown"
    REVOKED = "key-revoked"
    EXPIRED = "key-expired"
    KIND = "key-of-other-kind"


@dataclass(slots=True)
class Known:
    """A key as it is held in memory; the counts are those since the last flush."""

    row: KeyRow
    principal: Principal
    bucket: Bucket | None
    uses: int = 0
    refusals: int = 0
    last_used_at: float | None = None

    def fault(self, at: float) -> Fault | None:
        """Return why it is not good at an epoch second; None where it is."""
        if self.row.revoked_at is not None:
            return Fault.REVOKED
        if self.row.expires_at is not None and at >= self.row.expires_at:
            return Fault.EXPIRED
        return None

    def shown(self) -> KeyRow:
        """Return the row with the counts of now."""
        return self.row._replace(
            uses=self.row.uses + self.uses,
            refusals=self.row.refusals + self.refusals,
            last_used_at=self.last_used_at or self.row.last_used_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that is wanted. `scopes` are scopes and roles; `expires_at` is epoch seconds."""

    name: str
    scopes: tuple[str, ...]
    tenant: str = ALL_TENANTS
    purpose: Purpose = Purpose.KEY
    expires_at: float | None = None
    rate_per_s: float | None = None
    parent: str = ""
    """Id of the key that asks for it: it ends with that, and asks no more often."""


class KeyRing:
    """All keys of one daemon."""

    def __init__(self, engine: AsyncEngine, writer: Writer, clock: Clock, flush_s: float) -> None:
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._flush_s = flush_s
        self._known: dict[str, Known] = {}

    async def load(self) -> None:
        """Read the keys; to be called before the first request."""
        self._known = {row.id: _known(row) for row in await key_rows.load(self._engine)}

    async def run(self) -> None:
        """Write down for ever how keys are used."""
        while True:
            await self._clock.sleep(self._flush_s)
            with suppress(StoreUnavailable):  # the counts wait for a better time
                await self.flush()

    async def flush(self) -> None:
        """Write down how keys were used since the last time. Raises StoreUnavailable, then nothing is lost."""
        used = [each for each in self._known.values() if each.uses or each.refusals]
        if not used:
            return
        rows = [Use(each.row.id, each.uses, each.refusals, each.shown().last_used_at) for each in used]
        await self._writer.commit(lambda connection: key_rows.add_uses(connection, rows))
        for each, told in zip(used, rows, strict=True):
            row = each.row
            each.row = row._replace(
                uses=row.uses + told.uses,
                refusals=row.refusals + told.refusals,
                last_used_at=told.last_used_at,
            )
            each.uses -= told.uses
            each.refusals -= told.refusals

    def listed(self) -> list[KeyRow]:
        """Return all keys with their counts of now, the oldest first."""
        return [each.shown() for each in self._known.values()]

    def find(self, key: str) -> Known | None:
        """Return a key by its public part."""
        return self._known.get(key)

    def check(self, key: str, secret: str, purpose: Purpose = Purpose.KEY) -> Known | Fault:
        """Return the key that the secret belongs to, or why it is none. A wrong secret is an unknown key."""
        known = self._known.get(key)
        digest = sha256(secret.encode("utf-8", "surrogateescape")).digest()
        same = hmac.compare_digest(digest, _NOBODY if known is None else known.row.hash)
        if known is None or not same:
            if known is not None:
                known.refusals += 1
            return Fault.UNKNOWN
        fault = known.fault(self._clock.wall())
        if fault is None and known.row.kind != purpose.value:
            fault = Fault.KIND
        if fault is not None:
            known.refusals += 1
            return fault
        return known

    def use(self, known: Known, now: float) -> float:
        """Count a request; return 0, or how many seconds it has come too soon."""
        wait_s = 0.0 if known.bucket is None else known.bucket.take(now)
        if wait_s:
            known.refusals += 1
        else:
            known.uses += 1
            known.last_used_at = self._clock.wall()
        return wait_s

    async def create(self, wanted: NewKey, by: str) -> tuple[KeyRow, str]:
        """Make a key; return it and what is to be presented, which nobody can tell again.

        Raises ValueError for what is no scope, StoreUnavailable where it could not be stored.
        """
        expand(wanted.scopes)
        parent = self._known.get(wanted.parent)
        secret = secrets.token_urlsafe(_SECRET_OCTETS)
        row = KeyRow(
            id=f"{'c' if wanted.purpose is Purpose.CLIENT else 'k'}{secrets.token_hex(6)}",
            name=wanted.name,
            kind=wanted.purpose.value,
            hash=sha256(secret.encode()).digest(),
            scopes=" ".join(sorted(set(wanted.scopes))),
            tenant="" if wanted.tenant == ALL_TENANTS else wanted.tenant,
            rate_per_s=_least(wanted.rate_per_s, None if parent is None else parent.row.rate_per_s),
            created_at=self._clock.wall(),
            created_by=by,
            expires_at=_least(wanted.expires_at, None if parent is None else parent.row.expires_at),
            parent="" if parent is None else parent.row.id,
        )
        await self._writer.commit(lambda connection: key_rows.save(connection, row))
        self._known[row.id] = _known(row)
        if parent is not None and parent.row.revoked_at is not None:  # meanwhile
            await self.revoke(parent.row.id)
        return row, f"{row.id}.{secret}"

    async def revoke(self, key: str) -> KeyRow | None:
        """Make a key useless from now on, and all that it has made; None where there is no such.

        Raises StoreUnavailable; then they are useless all the same until the next start.
        """
        known = self._known.get(key)
        if known is None:
            return None
        at = self._clock.wall()
        gone = self._made_by(known)
        for each in gone:  # first, so that it holds whatever the store says
            if each.row.revoked_at is None:
                each.row = each.row._replace(revoked_at=at)
        names = [each.row.id for each in gone]
        await self._writer.commit(lambda connection: key_rows.revoke(connection, names, at))
        return known.shown()

    def _made_by(self, first: Known) -> list[Known]:
        """Return a key, what it has made, what those have made, and so on."""
        found = [first]
        for parent in found:
            found += (each for each in self._known.values() if each.row.parent == parent.row.id)
        return found


def _least(wanted: float | None, most: float | None) -> float | None:
    """Return a limit that is no wider than another; None is no limit."""
    return min((each for each in (wanted, most) if each is not None), default=None)


def _known(row: KeyRow) -> Known:
    """Return a key ready for use; words that no longer are scopes open nothing."""
    principal = Principal(
        kind=Kind.KEY,
        name=f"{row.kind} {row.name} ({row.id})",
        scopes=known_scopes(row.scopes.split()),
        tenant=row.tenant or ALL_TENANTS,
        key=row.id,
    )
    return Known(row, principal, None if row.rate_per_s is None else of_key(row.rate_per_s))
