"""Sealing of secrets at rest: AES-256-GCM under one key, bound to the object that holds the secret."""

from __future__ import annotations

import binascii
import os
import stat
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from daemon.errors import DaemonError

KEY_OCTETS = 32
_FORMAT = b"\x01"  # first octet of everything sealed, so that another cipher or key can follow one day
_NONCE = 12
_TAG = 16
_SMALLEST = len(_FORMAT) + _NONCE + _TAG


class SealBroken(DaemonError):
    """Octets are not what was sealed under this key for this object: another key, or changed on disk."""

    slug = "seal-broken"

    def __init__(self, context: bytes) -> None:
        self.context = context
        super().__init__(f"the secret of {context.decode(errors='backslashreplace')} cannot be opened")


class KeyUnusable(DaemonError):
    """There is a sealing key, but it must not or cannot be used; `why` never holds the key."""

    slug = "sealing-key-unusable"

    def __init__(self, where: str, why: str) -> None:
        self.where = where
        self.why = why
        super().__init__(f"{where}: {why}")


def context(kind: str, tenant: str, identifier: str) -> bytes:
    """Return the associated data of an object's secrets, `kind/tenant/id`; kind and tenant hold no slash."""
    return f"{kind}/{tenant}/{identifier}".encode()


class Sealer:
    """Seals and opens secrets. `key` has 32 octets; raises KeyUnusable for any other length."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_OCTETS:
            raise KeyUnusable("sealing key", f"{len(key)} octets, {KEY_OCTETS} expected")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return `plain` sealed for `context`: a format octet, a fresh 96-bit nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return what was sealed; raises SealBroken for another key, another context or changed octets."""
        if len(sealed) < _SMALLEST or sealed[:1] != _FORMAT:
            raise SealBroken(context)
        try:
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], context)
        except InvalidTag:
            raise SealBroken(context) from None


def parse_key(octets: bytes, where: str) -> bytes:
    """Return the 32 octets of a key that is given raw, as 64 hex digits or as base64.

    `where` names the source in the error. Raises KeyUnusable.
    """
    if len(octets) == KEY_OCTETS:
        return octets
    text = octets.strip()
    for decode in (binascii.unhexlify, binascii.a2b_base64):
        try:
            key = decode(text)
        except ValueError:
            continue
        if len(key) == KEY_OCTETS:
            return key
    raise KeyUnusable(where, f"{KEY_OCTETS} octets expected, raw, in hex or in base64")


def load_or_create_key(path: Path) -> bytes:
    """Return the sealing key in the file at `path`; a missing file is made, mode 0600, and durable.

    Raises KeyUnusable where the file may be read by group or others, holds no key or cannot be read or made.
    """
    try:
        try:
            return _load(path)
        except FileNotFoundError:
            return _create(path)
    except OSError as error:
        raise KeyUnusable(str(path), error.strerror or type(error).__name__) from None


def _load(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise KeyUnusable(str(path), "a regular file expected")
        if mode & 0o077:
            raise KeyUnusable(
                str(path), f"mode {stat.S_IMODE(mode):04o} lets others use the key; make it 0600"
            )
        return parse_key(file.read(4096), str(path))


def _create(path: Path) -> bytes:
    """Write a new key beside `path` and link it there: nobody ever sees half a key, nobody is overwritten."""
    key = os.urandom(KEY_OCTETS)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, key)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return _load(path)  # another process was quicker; its key counts
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return key
