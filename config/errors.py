"""What can be wrong with settings.

ConfigError
  ConfigInvalid       the operator's fault: all problems of the settings at once
  SecretUnavailable   a secret reference cannot be resolved; never holds the secret
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong. `file` may be the name of an environment variable; `line` and `column` count from 1.

    `got` never shows what may be a secret.
    """

    file: str
    line: int | None
    key: str  # such as radius.reject_delay_s; empty where the file as a whole is meant
    got: str
    expected: str
    hint: str = ""
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(each) for each in (self.file, self.line, self.column) if each is not None)
        key = f" {self.key}:" if self.key else ""
        text = f"{place}:{key} got {self.got}; expected {self.expected}"
        return _printable(f"{text}; {self.hint}" if self.hint else text)


class ConfigError(Exception):
    """Base of everything that this package raises; `slug` is stable."""

    slug = "config-error"


class ConfigInvalid(ConfigError):
    """The settings cannot be used; `problems` is all that is wrong, in the order of the file."""

    slug = "config-invalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(each) for each in problems))
        self.problems = problems


class SecretUnavailable(ConfigError):
    """The secret behind `reference` cannot be had; `why` says what to look at."""

    slug = "secret-unavailable"

    def __init__(self, reference: str, why: str) -> None:
        super().__init__(f"{reference}: {why}")
        self.reference = reference
        self.why = why


def _printable(text: str) -> str:
    """Return `text` with escapes for what could steer a terminal; TOML allows such characters in keys."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
