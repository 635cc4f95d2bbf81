"""Check the password of a PAP login against what is stored, in the kinds that providers bring along.

cleartext  the password itself
nt-hash    16 octets, or 32 hex digits
crypt      crypt(3), see `radius.libcrypt`
ldap       {SHA}, {SSHA}, {MD5}, {SMD5}, {SHA256}, {SSHA512} and so on, in base64 or hex; also
           {CRYPT}, {CLEARTEXT} and OpenLDAP's {PBKDF2} family
pbkdf2     see `radius.pbkdf2`

Only `cleartext` serves CHAP too, and only `cleartext` and `nt-hash` serve MS-CHAP.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import new as new_hash
from hmac import compare_digest
from types import MappingProxyType

from radius import libcrypt, pbkdf2
from radius.errors import RadiusError
from radius.mschap import nt_hash

_NT_SIZE = 16
_LDAP = re.compile(rb"\{(?P<scheme>[A-Za-z0-9-]+)\}(?P<rest>.*)", re.DOTALL)
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
# Scheme of an LDAP value: (hash, salted).
_LDAP_HASHES = MappingProxyType(
    {
        name: (algorithm, salted)
        for names, algorithm, salted in (
            (("MD5",), "md5", False),
            (("SMD5",), "md5", True),
            (("SHA", "SHA1"), "sha1", False),
            (("SSHA", "SSHA1"), "sha1", True),
            (("SHA224",), "sha224", False),
            (("SSHA224",), "sha224", True),
            (("SHA256",), "sha256", False),
            (("SSHA256",), "sha256", True),
            (("SHA384",), "sha384", False),
            (("SSHA384",), "sha384", True),
            (("SHA512",), "sha512", False),
            (("SSHA512",), "sha512", True),
        )
        for name in names
    }
)


class UnusableSecret(RadiusError):
    """A stored password value is of a form that cannot be checked; `why` does not show the value."""

    slug = "unusable-secret"

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind
        self.why = why


@dataclass(frozen=True, slots=True)
class _Hashed:
    """An LDAP value taken apart."""

    algorithm: str
    digest: bytes
    salt: bytes


def check_pap(kind: str, stored: bytes, password: bytes) -> bool:
    """Tell whether `password` is the one that `stored` stands for; compares in constant time.

    Raises UnusableSecret where `problem` would find one: that is not a wrong password, and must not be
    answered like one. Raises libcrypt.LibcryptMissing for `crypt` on a system without it.
    """
    if kind == "cleartext":
        return compare_digest(stored, password)
    return _kind(kind).matches(stored, password)


def slow(kind: str, stored: bytes) -> bool:
    """Tell whether the check takes so long (0.1 ms and up) that it must not run on an event loop."""
    return _kind(kind).slow(stored)


def problem(kind: str, stored: bytes) -> str | None:
    """Say why `stored` is of no use as a password of that kind, or None; the text does not show the value."""
    try:
        return _kind(kind).problem(stored)
    except UnusableSecret as error:
        return str(error)


def kinds() -> tuple[str, ...]:
    """Return the names of all kinds."""
    return tuple(_KINDS)


def nt_hash_of(kind: str, stored: bytes) -> bytes | None:
    """Return the NT hash (16 octets) that MS-CHAP needs, or None for a kind that cannot give it."""
    if kind == "cleartext":
        return nt_hash(_text(stored))
    return _nt_octets(stored) if kind == "nt-hash" else None


def _kind(name: str) -> _Kind:
    try:
        return _KINDS[name]
    except KeyError:
        raise UnusableSecret(name, f"unknown kind, expected one of {', '.join(_KINDS)}") from None


def _text(password: bytes) -> str:
    """Decode a password as UTF-8, or as Latin-1 where it is not UTF-8, as old clients send it."""
    try:
        return password.decode()
    except UnicodeDecodeError:
        return password.decode("latin-1")


def _never_slow(_stored: bytes) -> bool:
    return False


def _always_slow(_stored: bytes) -> bool:
    return True


def _cleartext_problem(stored: bytes) -> str | None:
    return None if stored else "the password is empty"


def _nt_octets(stored: bytes) -> bytes | None:
    if len(stored) == _NT_SIZE:
        return stored
    if len(stored) == 2 * _NT_SIZE and _HEX.fullmatch(stored):
        return bytes.fromhex(stored.decode())
    return None


def _nt_problem(stored: bytes) -> str | None:
    return None if _nt_octets(stored) else f"{len(stored)} octets, 16 or 32 hex digits expected"


def _nt_matches(stored: bytes, password: bytes) -> bool:
    expected = _nt_octets(stored)
    if expected is None:
        raise UnusableSecret("nt-hash", "16 octets or 32 hex digits expected")
    return compare_digest(nt_hash(_text(password)), expected)


def _crypt_matches(stored: bytes, password: bytes) -> bool:
    if why := libcrypt.problem(stored):
        raise UnusableSecret("crypt", why)
    return libcrypt.matches(stored, password)


def _pbkdf2_problem(stored: bytes) -> str | None:
    if pbkdf2.parse(stored) is not None:
        return None
    return f"no known PBKDF2 form, or a hash other than SHA, or not 1 to {pbkdf2.MOST_ROUNDS} rounds"


def _pbkdf2_matches(stored: bytes, password: bytes) -> bool:
    derived = pbkdf2.parse(stored)
    if derived is None:
        raise UnusableSecret("pbkdf2", "no known PBKDF2 form")
    return derived.matches(password)


def _inner(stored: bytes) -> tuple[str, bytes] | None:
    """Return (kind, value) where an LDAP value only wraps one of another kind."""
    found = _LDAP.fullmatch(stored)
    if found is None:
        return None
    scheme = found["scheme"].upper()
    if scheme == b"CRYPT":
        return "crypt", found["rest"]
    if scheme in (b"CLEARTEXT", b"CLEAR"):
        return "cleartext", found["rest"]
    if scheme.startswith((b"PBKDF2", b"X-PBKDF2")):
        return "pbkdf2", stored
    return None


def _hashed(stored: bytes) -> _Hashed | None:
    """Take `{SCHEME}` and base64 or hex of digest and salt apart; None where they do not fit each other."""
    found = _LDAP.fullmatch(stored)
    scheme = _LDAP_HASHES.get(found["scheme"].decode().upper()) if found else None
    if found is None or scheme is None:
        return None
    algorithm, salted = scheme
    size = new_hash(algorithm, usedforsecurity=False).digest_size
    rest = found["rest"]
    if _HEX.fullmatch(rest) and len(rest) >= 2 * size:
        octets = bytes.fromhex(rest.decode())
    else:
        try:
            octets = b64decode(rest, validate=True)
        except Base64Error:
            return None
    if len(octets) < size or salted != (len(octets) > size):
        return None
    return _Hashed(algorithm, octets[:size], octets[size:])


def _ldap_problem(stored: bytes) -> str | None:
    if inner := _inner(stored):
        return problem(*inner)
    if _hashed(stored):
        return None
    schemes = ", ".join((*_LDAP_HASHES, "CRYPT", "PBKDF2", "CLEARTEXT"))
    return f"expected {{SCHEME}} and base64 or hex of the right length; schemes: {schemes}"


def _ldap_slow(stored: bytes) -> bool:
    inner = _inner(stored)
    return inner is not None and slow(*inner)


def _ldap_matches(stored: bytes, password: bytes) -> bool:
    if inner := _inner(stored):
        return check_pap(*inner, password)
    hashed = _hashed(stored)
    if hashed is None:
        raise UnusableSecret("ldap", "unknown scheme, or octets that do not fit it")
    digest = new_hash(hashed.algorithm, password + hashed.salt, usedforsecurity=False).digest()
    return compare_digest(digest, hashed.digest)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is to be known of one kind of stored password."""

    problem: Callable[[bytes], str | None]
    matches: Callable[[bytes, bytes], bool]
    slow: Callable[[bytes], bool]


_KINDS: Mapping[str, _Kind] = MappingProxyType(
    {
        "cleartext": _Kind(_cleartext_problem, compare_digest, _never_slow),
        "nt-hash": _Kind(_nt_problem, _nt_matches, _never_slow),
        "crypt": _Kind(libcrypt.problem, _crypt_matches, libcrypt.slow),
        "ldap": _Kind(_ldap_problem, _ldap_matches, _ldap_slow),
        "pbkdf2": _Kind(_pbkdf2_problem, _pbkdf2_matches, _always_slow),
    }
)
