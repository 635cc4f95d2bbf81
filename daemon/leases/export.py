"""Signed answers: the edge's key, and the document that it signs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.errors import DaemonError
from daemon.leases import who_had
from daemon.leases.export_form import event_json, public_text, sign
from daemon.leases.who_had_model import Answer
from ipam import history_rows

KEY_FILE = "who-had.key"
_OCTETS = 32


class SigningKeyUnusable(DaemonError):
    """There is a signing key, but it must not or cannot be used; `why` never holds the key."""

    slug = "signing-key-unusable"

    def __init__(self, path: Path, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path}: {why}")


def load_or_create_key(state_dir: Path) -> Ed25519PrivateKey:
    """Return the edge's signing key from the state directory; it is made, mode 0600 and durable, where there is none.

    Raises SigningKeyUnusable where others may read it, it is no key, or it can neither be read nor made.
    """
    path = state_dir / KEY_FILE
    try:
        try:
            return _load(path)
        except FileNotFoundError:
            _create(path)
            return _load(path)
    except OSError as error:
        raise SigningKeyUnusable(path, error.strerror or type(error).__name__) from None


def _load(path: Path) -> Ed25519PrivateKey:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise SigningKeyUnusable(
                path, f"mode {stat.S_IMODE(mode):04o}: a regular file of 0600 is expected"
            )
        octets = file.read(4096)
    if len(octets) != _OCTETS:
        raise SigningKeyUnusable(path, f"{len(octets)} octets, {_OCTETS} expected; restore it from a backup")
    return Ed25519PrivateKey.from_private_bytes(octets)


def _create(path: Path) -> None:
    """Write a new key beside `path` and link it there: nobody sees half a key, nobody's key is overwritten."""
    octets = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            os.write(descriptor, octets)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was quicker; its key counts
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Exporter:
    """Makes signed documents. The key is read, or made, when it is first needed."""

    def __init__(self, leases: AsyncEngine, state_dir: Path, name: str, version: str) -> None:
        """`name` is that of this edge, `version` that of the program."""
        self._leases = leases
        self._state_dir = state_dir
        self._name = name
        self._version = version
        self._key: Ed25519PrivateKey | None = None

    @property
    def key(self) -> Ed25519PrivateKey:
        """The edge's signing key. Raises SigningKeyUnusable."""
        if self._key is None:
            self._key = load_or_create_key(self._state_dir)
        return self._key

    @property
    def public_key(self) -> str:
        """The public key, base64. Raises SigningKeyUnusable."""
        return public_text(self.key.public_key())

    async def sign(
        self, answer: Answer, shown: dict[str, object], *, at: float, actor: str, reason: str
    ) -> dict[str, object]:
        """Return the content of a file. `shown` is the answer as the API gives it. Raises SigningKeyUnusable."""
        key = self.key
        async with self._leases.connect() as connection:
            events = await who_had.events_of(connection, answer.holders)
            chains = await history_rows.kept_books(connection)
        document: dict[str, object] = {
            "made_at": at,
            "made_by": f"dotmac-edge {self._version}",
            "edge": self._name,
            "actor": actor,
            "reason": reason,
            "question": shown["question"],
            "answer": {name: value for name, value in shown.items() if name != "question"},
            "events": [event_json(each) for each in events],
            "chains": [{**each._asdict(), "last_hash": each.last_hash.hex()} for each in chains],
        }
        return sign(document, key)
