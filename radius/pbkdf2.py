"""PBKDF2 hashes (RFC 8018) in the text forms of the software that providers move away from.

passlib        `$pbkdf2$29000$SALT$HASH`, `$pbkdf2-sha256$...`, `$pbkdf2-sha512$...`; base64 with `.` for `+`
Django         `pbkdf2_sha256$600000$salt$HASH`, `pbkdf2_sha1$...`; the salt is text
OpenLDAP       `{PBKDF2}60000$SALT$HASH`, `{PBKDF2-SHA1}`, `{PBKDF2-SHA256}`, `{PBKDF2-SHA512}`; as passlib
FreeRADIUS     `HMACSHA2+256:AAAnEA:SALT:HASH`, rounds in base64; with `{X-PBKDF2}` before it as Perl's
               Crypt::PBKDF2 writes it
Crypt::PBKDF2  `$PBKDF2$HMACSHA2+256:10000:SALT$HASH`, its other form
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac
from hmac import compare_digest

# Above this one check takes seconds, and a stored value could keep every thread busy.
MOST_ROUNDS = 10_000_000

_PASSLIB = re.compile(rb"\$pbkdf2(?:-(?P<hash>sha\d+))?\$(?P<rounds>\d+)\$(?P<salt>[^$]*)\$(?P<digest>[^$]+)")
_OPENLDAP = re.compile(
    rb"(?i:\{PBKDF2(?:-(?P<hash>sha\d+))?\})(?P<rounds>\d+)\$(?P<salt>[^$]*)\$(?P<digest>[^$]+)"
)
_DJANGO = re.compile(rb"pbkdf2_(?P<hash>sha\d+)\$(?P<rounds>\d+)\$(?P<salt>[^$]+)\$(?P<digest>[^$]+)")
_PERL = re.compile(
    rb"(?:\{X-PBKDF2\})?HMAC(?P<hash>SHA1|SHA2\+\d+):(?P<rounds>[^:]+):(?P<salt>[^:]*):(?P<digest>[^:]+)"
)
_PERL_CRYPT = re.compile(
    rb"\$PBKDF2\$HMAC(?P<hash>SHA1|SHA2\+\d+):(?P<rounds>\d+):(?P<salt>[^$:]*)\$(?P<digest>[^$]+)"
)
_HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True)
class Derived:
    """One stored hash, taken apart."""

    algorithm: str  # as hashlib names it
    rounds: int
    salt: bytes
    digest: bytes = field(repr=False)

    def matches(self, password: bytes) -> bool:
        """Tell whether `password` derives the digest; takes milliseconds."""
        derived = pbkdf2_hmac(self.algorithm, password, self.salt, self.rounds, len(self.digest))
        return compare_digest(derived, self.digest)


def parse(stored: bytes) -> Derived | None:
    """Return the parts of `stored` in any of the forms, or None where it is none of them or out of range."""
    try:
        derived = _parse(stored)
    except Base64Error:
        return None
    if derived is None or derived.algorithm not in _HASHES:
        return None
    if not 1 <= derived.rounds <= MOST_ROUNDS or len(derived.digest) < 16:
        return None
    return derived


def _parse(stored: bytes) -> Derived | None:
    if found := _PASSLIB.fullmatch(stored) or _OPENLDAP.fullmatch(stored):
        salt, digest = (_base64(part.replace(b".", b"+")) for part in (found["salt"], found["digest"]))
        return Derived((found["hash"] or b"sha1").decode().lower(), int(found["rounds"]), salt, digest)
    if found := _DJANGO.fullmatch(stored):
        return Derived(found["hash"].decode(), int(found["rounds"]), found["salt"], _base64(found["digest"]))
    if found := _PERL.fullmatch(stored):
        rounds = int.from_bytes(_base64(found["rounds"]), "big")
    elif found := _PERL_CRYPT.fullmatch(stored):
        rounds = int(found["rounds"])
    else:
        return None
    algorithm = found["hash"].decode().lower().replace("sha2+", "sha")
    return Derived(algorithm, rounds, _base64(found["salt"]), _base64(found["digest"]))


def _base64(text: bytes) -> bytes:
    """Decode base64 with or without its padding; raises binascii.Error for anything else."""
    bare = text.rstrip(b"=")
    return b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
