"""Secrets of the feed: what cannot be one is refused here, without ever showing it."""

from __future__ import annotations

import re

from daemon.replica.records import Secret, SecretKind
from daemon.sync.faults import Faults
from daemon.sync.problems import Path
from daemon.sync.wire import SecretBody
from radius import passwords

LONGEST_PASSWORD = 128  # RFC 2865 section 5.2: what User-Password can carry
# What platforms store instead of a password. Taken for clear text, nobody could ever log in with it.
_REFERENCE = re.compile(r"(?:enc|plain|cleartext|env|file|credential|bao|vault):")
_HASH = (
    (re.compile(r"\$(?:1|2[abxy]?|5|6|7|y)\$.{8,}"), SecretKind.CRYPT),
    (re.compile(r"\$pbkdf2|pbkdf2_sha"), SecretKind.PBKDF2),
    (re.compile(r"\{[A-Za-z0-9-]{3,20}\}.{8,}"), SecretKind.LDAP),
)
_EXPLICIT = "if it really is the text itself, write it as {kind: cleartext, value: ...} under `secret`"


def shorthand(path: Path, text: str, faults: Faults) -> Secret:
    """Return the secret of a `password` field: clear text, and nothing that looks like something else."""
    if _REFERENCE.match(text):
        faults.add_hidden(
            path, "not-a-password", "the password itself, not a reference or sealed form", _EXPLICIT
        )
    for pattern, kind in _HASH:
        if pattern.match(text):
            hint = f"write it under `secret` as {{kind: {kind.value}, value: ...}}; {_EXPLICIT}"
            faults.add_hidden(path, "not-a-password", "the password itself, not a hash", hint)
    return subscriber_secret(path, SecretBody(kind="cleartext", value=text), faults)


def subscriber_secret(path: Path, body: SecretBody, faults: Faults) -> Secret:
    """Return what a subscriber's password is checked against."""
    kind, value = SecretKind(body.kind), body.value.encode()
    if kind is SecretKind.CLEARTEXT:
        if len(value) > LONGEST_PASSWORD:
            faults.add_hidden(path, "bad-length", f"a password of at most {LONGEST_PASSWORD} octets")
        return Secret(kind, value)
    if kind is SecretKind.NT_HASH:
        try:
            return Secret(kind, _nt_octets(body.value))
        except ValueError:
            faults.add_hidden(path, "bad-secret", "an NT hash of 32 hex digits")
            return Secret(kind, value)
    why = passwords.problem(kind.value, value)
    if why is not None:
        faults.add_hidden(path, "bad-secret", f"a usable secret of kind {kind.value}", why)
    return Secret(kind, value)


def shared_secret(path: Path, body: SecretBody, short: bool, faults: Faults) -> Secret:
    """Return the secret of a NAS; `short` tells that it came as a bare text."""
    if body.kind != SecretKind.CLEARTEXT.value:
        faults.add_hidden(path, "bad-secret", "a secret of kind cleartext: packets are signed with it")
    if short and _REFERENCE.match(body.value):
        hint = "if it really is the text itself, write it as {kind: cleartext, value: ...}"
        faults.add_hidden(path, "not-a-password", "the secret itself; references are not resolved here", hint)
    return Secret(SecretKind.CLEARTEXT, body.value.encode())


def _nt_octets(text: str) -> bytes:
    octets = bytes.fromhex(text.removeprefix("0x"))
    if len(octets) != 16:
        raise ValueError
    return octets
