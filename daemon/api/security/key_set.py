"""Keys that tokens are checked with, each bound to one algorithm; from a JWKS file (RFC 7517) that may change."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError

_LEAST_RSA_BITS = 2048
_LOOK_EVERY_S = 2.0
_MOST_CHARACTERS = 1024 * 1024


class Algorithm(StrEnum):
    """The algorithms that are taken; `none` and all others never are."""

    HS256 = "HS256"
    RS256 = "RS256"
    EDDSA = "EdDSA"


_FORMS = {("RSA", ""): Algorithm.RS256, ("OKP", "Ed25519"): Algorithm.EDDSA}  # by kty and crv


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A key and the only algorithm that it is used with; an empty `kid` is of a key without a name."""

    kid: str
    algorithm: Algorithm
    key: Any


class KeySetInvalid(ValueError):
    """A key set cannot be used; says why."""


def read_key_set(text: str) -> tuple[VerifyKey, ...]:
    """Return the keys of a JWKS. Raises KeySetInvalid; keys for other purposes than signatures are passed over."""
    try:
        given = json.loads(text)["keys"]
        assert isinstance(given, list)
    except (ValueError, KeyError, TypeError, AssertionError):
        raise KeySetInvalid("a JSON object with a list `keys` expected") from None
    keys = tuple(_read(each, place) for place, each in enumerate(given) if _signs(each))
    names = [each.kid for each in keys]
    if len(set(names)) != len(names):
        raise KeySetInvalid("each key needs a `kid` of its own")
    return keys


def _signs(given: object) -> bool:
    return not isinstance(given, dict) or given.get("use", "sig") == "sig"


def _read(given: object, place: int) -> VerifyKey:
    where = f"keys[{place}]"
    if not isinstance(given, dict):
        raise KeySetInvalid(f"{where}: an object expected")
    algorithm = _FORMS.get((str(given.get("kty")), str(given.get("crv", ""))))
    if algorithm is None:
        raise KeySetInvalid(
            f"{where}: an RSA or Ed25519 key expected; a shared secret is a setting, no key set"
        )
    if given.get("alg", algorithm.value) != algorithm.value:
        raise KeySetInvalid(f"{where}: alg {given['alg']!r}; {algorithm.value} expected of such a key")
    if "d" in given:
        raise KeySetInvalid(f"{where}: this is a private key; only public ones belong here")
    try:
        key = PyJWK(given, algorithm=algorithm.value).key
    except (PyJWTError, ValueError, TypeError):
        raise KeySetInvalid(f"{where}: it cannot be read") from None
    if not isinstance(key, (RSAPublicKey, Ed25519PublicKey)):
        raise KeySetInvalid(f"{where}: a public key expected")
    if isinstance(key, RSAPublicKey) and key.key_size < _LEAST_RSA_BITS:
        raise KeySetInvalid(f"{where}: RSA of {key.key_size} bits; at least {_LEAST_RSA_BITS} expected")
    return VerifyKey(str(given.get("kid", "")), algorithm, key)


class KeySetFile:
    """The keys of a file, read again when it has changed; a file that is no key set leaves the last good keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        """Why the file as it is now is not in force; empty: it is."""
        self._keys: tuple[VerifyKey, ...] = ()
        self._mark: tuple[int, int, int] | None = None
        self._looked_at: float | None = None

    def keys(self, now: float) -> tuple[VerifyKey, ...]:
        """Return the keys; looks at the file at most every other second of monotonic time."""
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._look()
        return self._keys

    def _look(self) -> None:
        try:
            state = self.path.stat()
            mark = state.st_mtime_ns, state.st_size, state.st_ino
            if mark == self._mark:
                return
            with self.path.open() as file:
                self._keys = read_key_set(file.read(_MOST_CHARACTERS))
        except (OSError, UnicodeDecodeError, KeySetInvalid) as error:
            self.problem = f"{self.path}: {getattr(error, 'strerror', None) or error}"
            return
        self._mark, self.problem = mark, ""
