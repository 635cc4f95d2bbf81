"""The edge's own tokens: short-lived, signed with Ed25519, for clients that have shown their secret."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from daemon.api.security.key_set import Algorithm, VerifyKey
from daemon.api.security.tokens import Issuer
from daemon.store.seal import load_or_create_key


class TokenIssuer:
    """Signs tokens with the key in a file, which is made where there is none. Raises KeyUnusable."""

    def __init__(self, name: str, path: Path, valid_s: float) -> None:
        self.name = f"dotmac-edge:{name}"
        self.valid_s = valid_s
        self._key = Ed25519PrivateKey.from_private_bytes(load_or_create_key(path))
        self._public = self._key.public_key().public_bytes_raw()
        self.kid = sha256(self._public).hexdigest()[:16]
        known = VerifyKey(self.kid, Algorithm.EDDSA, self._key.public_key())
        self.issuer = Issuer(self.name, self.name, lambda _: (known,), ours=True)

    def issue(self, client: str, tenant: str, scopes: Iterable[str], at: float) -> str:
        """Return a token for a client, good from an epoch second on."""
        claims = {
            "iss": self.name,
            "aud": self.name,
            "sub": client,
            "client_id": client,
            "tenant": tenant,
            "scopes": sorted(scopes),
            "iat": int(at),
            "nbf": int(at),
            "exp": int(at + self.valid_s),
            "jti": secrets.token_hex(8),
        }
        return jwt.encode(claims, self._key, algorithm=Algorithm.EDDSA.value, headers={"kid": self.kid})

    def key_set(self) -> dict[str, list[dict[str, str]]]:
        """Return the public key as a JWKS, RFC 8037."""
        x = base64.urlsafe_b64encode(self._public).rstrip(b"=").decode()
        key = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "sig", "alg": "EdDSA"}
        return {"keys": [key]}
