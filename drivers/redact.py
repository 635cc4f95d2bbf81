"""Secrets: a value that does not print itself, and the redactor that every transcript passes."""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from collections.abc import Iterable
from xml.sax.saxutils import escape

MARK = "<redacted>"
_SHORTEST = 4  # a shorter literal is only taken out where it stands alone, or it would eat whole transcripts

# Words that a secret follows, in the languages of the vendors. Group 1 stays, the rest of the value goes.
PATTERNS: tuple[str, ...] = (
    r"(\b(?:enable|username \S+(?: privilege \d+)?)\b.*?\b(?:secret|password)\s+(?:\d{1,3}\s+)?)\S+",
    (
        r"(\b(?:pass(?:word|wd|phrase)|secret|md5-key|key-string|pre-shared-key|psk|auth(?:entication)?-key)"
        r"(?:\s+(?:cipher|simple|irreversible-cipher|encrypted|hash2?|sha\d*|\d{1,3}))?[\s=:]+)(?!is\b)(?:\"[^\"]*\"|\S+)"
    ),
    (
        r"(\b(?:encrypted-password|plain-text-password|secret-key|wpa2?-pre-shared-key|ipsec-secret)[\s=]+)"
        r"(?:\"[^\"]*\"|\S+)"
    ),
    r"(\bsnmp-(?:server|agent)\s+community\s+(?:(?:read|write)\s+)?(?:cipher\s+|simple\s+|\d\s+)?)\S+",
    r"(\b(?:radius|tacacs|hwtacacs|pre-shared-key|isakmp)\b[^\n]*?\b(?:shared-)?key\s+(?:[0-9]\s+)?)\S+",
    r"((?m:^)\s*key [0-9] )\S{4,}",
    r"(\bset snmp community\s+)\S+",
    r"(\b(?:cipher|irreversible-cipher)\s+)\S+",
    r"(<(?:password|secret|encrypted-password|community|key)>)[^<]+",
    r"(\"(?:password|secret|token|key|community)\"\s*:\s*\")[^\"]*",
    r"(\b[Aa]uthorization:\s*(?:Basic|Bearer|Token)?\s*)\S+",
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]*?(?=-----END)",
)


class Secret:
    """A secret value. Its text is only given by `reveal`; printing, formatting and pickling show nothing."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the secret itself, for the wire only."""
        return self.__value

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self.__value

    def __hash__(self) -> int:
        return hash(("Secret", self.__value))

    def __repr__(self) -> str:
        return f"Secret({MARK})"

    def __str__(self) -> str:
        return MARK

    def __format__(self, form: str) -> str:
        return format(MARK, form)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")


def _forms(value: str) -> Iterable[str]:
    """Return the value as it may stand in a transcript: plain, escaped for XML, JSON and URLs, in base64."""
    yield value
    yield escape(value)
    yield escape(value, {'"': "&quot;", "'": "&apos;"})
    yield json.dumps(value)[1:-1]
    yield urllib.parse.quote(value, safe="")
    yield base64.b64encode(value.encode()).decode()


class Redactor:
    """Takes literal secrets and vendor patterns out of text. Shared by one session; secrets may be added."""

    __slots__ = ("_literals", "_patterns", "_short")

    def __init__(self, secrets: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        self._literals: set[str] = set()
        self._short: set[str] = set()
        self._patterns = tuple(re.compile(each) for each in (*PATTERNS, *patterns))
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str) -> None:
        """Take this value out of all text from now on, in every form it is written in."""
        if not secret.strip():
            return
        for line in {secret, *secret.splitlines()}:
            if len(line.strip()) >= _SHORTEST:
                self._literals.update(_forms(line))
            elif line.strip():
                self._short.add(line.strip())

    def literals(self, text: str) -> str:
        """Return the text without the known secret values."""
        for literal in sorted(self._literals, key=len, reverse=True):
            if literal in text:
                text = text.replace(literal, MARK)
        for short in self._short:
            text = re.sub(rf"(?<![\w]){re.escape(short)}(?![\w])", MARK, text)
        return text

    def redact(self, text: str) -> str:
        """Return the text without known values and without what follows the words that secrets follow."""
        text = self.literals(text)
        for pattern in self._patterns:
            text = pattern.sub(lambda match: match.group(1) + MARK, text)
        return text

    def __repr__(self) -> str:
        return f"Redactor({len(self._literals) + len(self._short)} values)"
