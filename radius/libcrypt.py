"""crypt(3) from the system's libcrypt: the forms of hash that /etc/shadow holds.

Called through ctypes because the standard library's `crypt` module is gone from Python 3.13. ctypes lets go
of the interpreter lock, so slow hashes run in threads side by side.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache
from hmac import compare_digest

from radius.errors import RadiusError

# struct crypt_data: 32 KiB in libxcrypt, 131,232 octets in glibc's own libcrypt.
_DATA_SIZE = 131_232
_NAMES = ("libcrypt.so.1", "libcrypt.so.2", "libcrypt.so", "libcrypt.dylib")

_OLD_DES = re.compile(rb"[./0-9A-Za-z]{13}")
_SHAPES = re.compile(
    rb"""(?x)
    [./0-9A-Za-z]{13}
    | \$1\$ [^$:\n]{0,8} \$ [./0-9A-Za-z]{22}
    | \$5\$ (?:rounds=(?P<rounds5>[1-9]\d*)\$)? [^$:\n]{0,16} \$ [./0-9A-Za-z]{43}
    | \$6\$ (?:rounds=(?P<rounds6>[1-9]\d*)\$)? [^$:\n]{0,16} \$ [./0-9A-Za-z]{86}
    | \$2[abxy]\$ (?P<cost>\d\d) \$ [./0-9A-Za-z]{53}
    | \$g?y\$ [./0-9A-Za-z]+ \$ [./0-9A-Za-z]{0,86} \$ [./0-9A-Za-z]{43}
    | \$7\$ [./0-9A-Za-z]{11,97} \$ [./0-9A-Za-z]{43}
    """
)
# Above these one check takes seconds, and a stored value could keep every thread busy.
_MOST_ROUNDS = 1_000_000
_MOST_COST = 15


class LibcryptMissing(RadiusError):
    """The system has no libcrypt, so `crypt` hashes cannot be checked."""

    slug = "no-libcrypt"

    def __init__(self) -> None:
        super().__init__("no libcrypt on this system; on Debian it is the package libcrypt1")


def problem(stored: bytes) -> str | None:
    """Say why `stored` cannot be checked here, or None where it can; the text does not show the value."""
    found = _SHAPES.fullmatch(stored)
    if found is None:
        return "not a crypt(3) hash: expected $1$, $5$, $6$, $2b$, $y$, $7$ or 13 characters of DES, complete"
    if int(found["rounds5"] or found["rounds6"] or 0) > _MOST_ROUNDS:
        return f"more than {_MOST_ROUNDS} rounds"
    if int(found["cost"] or 0) > _MOST_COST:
        return f"a bcrypt cost above {_MOST_COST}"
    try:
        _library()
    except LibcryptMissing as error:
        return str(error)
    return None


def slow(stored: bytes) -> bool:
    """Tell whether a check takes long enough to hold up an event loop: all but old DES (some 5 us) do."""
    return _OLD_DES.fullmatch(stored) is None


def matches(stored: bytes, password: bytes) -> bool:
    """Tell whether `password` has the crypt(3) hash `stored`; raises LibcryptMissing.

    A password with a NUL inside never does, since crypt(3) would look no further.
    """
    if b"\0" in password:
        return False
    data = ctypes.create_string_buffer(_DATA_SIZE)
    result: bytes | None = _library().crypt_r(password, stored, data)
    return result is not None and not result.startswith(b"*") and compare_digest(result, stored)


@cache
def _library() -> ctypes.CDLL:
    """Load the library by its usual names; ctypes.util would start a compiler to find it."""
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)
        library.crypt_r.restype = ctypes.c_char_p
        return library
    raise LibcryptMissing
