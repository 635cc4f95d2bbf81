"""What the security of the API can be told; `daemon.options` translates the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """Whose tokens are taken beside our own. Without secret and key set nobody's are."""

    issuer: str = ""
    audience: str = ""
    secret: bytes | None = field(default=None, repr=False)
    """Of HS256, at least 32 octets."""
    key_set: Path | None = None
    """A JWKS file: RSA keys for RS256, Ed25519 keys for EdDSA."""
    leeway_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePrincipal:
    """What the holder of a client certificate may do; see `names.names_of` for how it is named."""

    name: str
    scopes: tuple[str, ...]
    tenant: str = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """TLS of the API port. With `client_ca` certificates of clients are asked for and checked."""

    certificate: Path
    key: Path
    client_ca: Path | None = None
    require_client: bool = False
    """Nobody without a certificate gets as far as a request."""
    principals: Mapping[str, CertificatePrincipal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortOptions:
    """How long a connection may take, and how many there may be."""

    header_s: float = 10.0
    body_grace_s: float = 15.0
    body_least_octets_per_s: float = 4096.0
    connections: int = 1000
    strangers: int = 64
    """How many connections of one source there may be that have not shown who they are; an IPv6 source is a /64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityOptions:
    """Everything but TLS and the port. `signing_key` is the file of the key that tokens of ours are signed with."""

    name: str
    signing_key: Path
    tokens: TokenOptions = field(default_factory=TokenOptions)
    token_s: float = 600.0
    """How long a token of ours is good."""
    open_metrics: bool = True
    """`/metrics` is told to anybody on this machine."""
    open_docs: bool = False
    failures: int = 10
    """Failed attempts of one source at one go; one more is let through each `failure_every_s`."""
    failure_every_s: float = 6.0
    flush_s: float = 5.0
