"""Who asks: a user of this machine, an API key, the subject of a token, or a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ALL_TENANTS = "*"


class Kind(StrEnum):
    """How somebody has shown who it is."""

    LOCAL = "local"  # by the kernel, on the admin socket
    KEY = "key"
    TOKEN = "token"  # noqa: S105 - a kind, no secret
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who may ask. `name` is what the audit shows; `tenant` is an id, or `*` for all of them."""

    kind: Kind
    name: str
    scopes: frozenset[str]
    tenant: str = ALL_TENANTS
    key: str = ""
    """Id of its API key, also behind a token that a client of ours was given."""
    expires_at: float | None = None
    """When its token ends, epoch seconds; a key knows by itself."""

    @property
    def bound(self) -> str | None:
        """The one tenant that it may see; None: all of them."""
        return None if self.tenant == ALL_TENANTS else self.tenant
