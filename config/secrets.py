"""Secret references: where a secret lies, and how to get it from there.

`file:PATH` is a file, `env:NAME` an environment variable, `credential:NAME` a file that systemd put into
$CREDENTIALS_DIRECTORY for us.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from config.errors import SecretUnavailable

LONGEST = 65_536
_FORMS = "file:PATH, env:NAME or credential:NAME"


def check_reference(text: str) -> str:
    """Return `text` if it has the form of a reference; raises ValueError that does not repeat it."""
    scheme, colon, rest = text.partition(":")
    if scheme not in ("file", "env", "credential") or not colon or not rest or "\0" in rest:
        raise ValueError(f"a reference is {_FORMS}; the secret itself does not belong here")
    if scheme == "credential" and ("/" in rest or rest in (".", "..")):
        raise ValueError("the name of a credential holds no slash")
    if scheme == "env" and "=" in rest:
        raise ValueError("the name of an environment variable holds no =")
    return text


def resolve(reference: str, environ: Mapping[str, str], credentials_dir: Path | None) -> bytes:
    """Return the octets of a secret, exactly as they are stored: a final newline belongs to them.

    Relative paths are relative to the current directory. Raises SecretUnavailable, which says why, not what.
    """
    try:
        check_reference(reference)
    except ValueError as error:
        raise SecretUnavailable("<no reference>", str(error)) from None
    scheme, _, rest = reference.partition(":")
    if scheme == "env":
        value = environ.get(rest)
        if value is None:
            raise SecretUnavailable(reference, "the variable is not set")
        octets = os.fsencode(value)
    elif scheme == "file":
        octets = _read(reference, Path(rest), guarded=True)
    elif credentials_dir is None:
        raise SecretUnavailable(reference, "CREDENTIALS_DIRECTORY is not set; the unit needs LoadCredential=")
    else:
        octets = _read(reference, credentials_dir / rest, guarded=False)
    if not octets:
        raise SecretUnavailable(reference, "it is empty")
    return octets


def _read(reference: str, path: Path, *, guarded: bool) -> bytes:
    """Read a small regular file; a `guarded` one must be closed to users outside its owner and group."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - checks below must see the very file that is read
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise SecretUnavailable(reference, "it is not a regular file")
            if guarded and about.st_mode & stat.S_IRWXO:
                raise SecretUnavailable(reference, "every user can open the file; chmod o= it")
            octets = file.read(LONGEST + 1)
    except OSError as error:
        raise SecretUnavailable(reference, error.strerror or type(error).__name__) from None
    if len(octets) > LONGEST:
        raise SecretUnavailable(reference, f"it is longer than {LONGEST} octets")
    return octets
