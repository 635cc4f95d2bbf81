"""The error tree of the RADIUS package.

RadiusError
  Malformed         the peer's fault: the octets are no RADIUS packet or attribute; drop and count
  NotAuthentic      the peer's fault: an authenticator does not verify; drop and count
  Unencodable       our fault, or the plan's: a value does not fit its attribute
  DictionaryError   a dictionary file cannot be read; names file and line
"""

from __future__ import annotations


class RadiusError(Exception):
    """Base of everything that this package raises; `slug` is stable, for metrics and traces."""

    slug = "radius-error"


class Malformed(RadiusError):
    """The octets break the format; `slug` says how, `detail` says where."""

    def __init__(self, slug: str, detail: str = "") -> None:
        super().__init__(f"{slug}: {detail}" if detail else slug)
        self.slug = slug
        self.detail = detail


class NotAuthentic(RadiusError):
    """An authenticator is missing or wrong; `slug` says which."""

    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug


class Unencodable(RadiusError):
    """A value does not fit the attribute that shall carry it; says why and what would."""

    slug = "unencodable"

    def __init__(self, attribute: str, why: str, remedy: str = "") -> None:
        super().__init__(f"{attribute}: {why}" + (f"; {remedy}" if remedy else ""))
        self.attribute = attribute
        self.why = why
        self.remedy = remedy


class DictionaryError(RadiusError):
    """A dictionary file is wrong at `line` of `file`."""

    slug = "dictionary-error"

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}")
        self.file = file
        self.line = line
        self.message = message
