"""Log lines on standard error: JSON for collectors or a console form for people, with secrets taken out.

An event is a name and fields. Lines of libraries (uvicorn, SQLAlchemy, alembic) take the same way as ours.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "<hidden>"
_DENIED = ("password", "secret", "token", "key")
_PLAIN = (str, int, float, type(None))
_AS_TEXT = (PurePath, IPv4Address, IPv4Network, IPv6Address, IPv6Network, BaseException)
_DEEPEST = 6
_MOST_KEYS = 10_000  # a Limiter's memory, whatever strangers send

# Below these levels libraries print the values they handle, secrets among them, or every HTTP request.
_FLOORS = {
    "sqlalchemy": logging.WARNING,
    "aiosqlite": logging.WARNING,
    "asyncio": logging.WARNING,
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "alembic": logging.WARNING,
    "uvicorn": logging.WARNING,
}
_OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "sqlalchemy", "alembic")


class _EdgeHandler(logging.StreamHandler[TextIO]):
    """Our handler; the type tells it from those of others, so that a second `setup` replaces it."""


def setup(level: str, format: str, stream: TextIO | None = None) -> None:  # noqa: A002 - the setting's name
    """Send everything from `level` (debug, info, warning, error) on to `stream`, standard error without one.

    `format` is json or console. May be called again, at a reload; loggers that exist follow.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    out = sys.stderr if stream is None else stream
    handler = _EdgeHandler(out)
    handler.setFormatter(_formatter(console=format == "console", colors=out.isatty()))
    root = logging.getLogger()
    for each in list(root.handlers):
        if isinstance(each, _EdgeHandler):
            root.removeHandler(each)
    root.addHandler(handler)
    number = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(number)
    for name, floor in _FLOORS.items():
        logging.getLogger(name).setLevel(max(floor, number))
    for name in _OWN_HANDLERS:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.captureWarnings(capture=True)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one part of the daemon; `log.info("event-name", field=value)`."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return the event with nothing in it that may be a secret.

    What a denied name (`password`, `secret`, `token`, `key` within it) holds is hidden, octets become their
    count, an object with `kind` and `value` is taken for a secret, of other objects only the type is named.
    """
    return {name: _shown(str(name), value, 0) for name, value in event.items()}


class Limiter:
    """Lets so many events a second through for each key, and counts those it holds back.

    Memory is bounded: beyond 10,000 keys the one that was quiet longest is forgotten, with its count.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._burst = max(1.0, per_s)
        self._buckets: dict[str, _Bucket] = {}

    def allow(self, key: str, now: float) -> int | None:
        """Return how many were held back since the last that went through; None to hold this one back.

        `now` is in monotonic seconds.
        """
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = _Bucket(self._burst, now)
            if len(self._buckets) >= _MOST_KEYS:
                self._buckets.pop(next(iter(self._buckets)))
        self._buckets[key] = bucket  # last in order: most recently heard of
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_s)
        bucket.at = now
        if bucket.tokens < 1.0:
            bucket.held += 1
            return None
        bucket.tokens -= 1.0
        held, bucket.held = bucket.held, 0
        return held


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    held: int = 0


def _formatter(*, console: bool, colors: bool) -> logging.Formatter:
    renderer: list[Processor] = (
        [
            _printable,
            # The plain form: the pretty one prints the variables of every frame, secrets too.
            structlog.dev.ConsoleRenderer(
                colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
            ),
        ]
        if console
        else [structlog.processors.JSONRenderer()]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, structlog.stdlib.add_log_level],
        processors=[
            _timestamp,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            *renderer,
        ],
    )


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put in the time at which the record was made, which the logging module has taken already."""
    record: logging.LogRecord = event["_record"]
    at = datetime.fromtimestamp(record.created, UTC)
    return {"timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), **event}


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape what could steer a terminal: user names come from strangers. Tracebacks keep their lines."""
    return {
        name: _escaped(value, keep="\n" if name == "exception" else "") if isinstance(value, str) else value
        for name, value in event.items()
    }


def _escaped(text: str, keep: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in keep else each.encode("unicode_escape").decode()
        for each in text
    )


def _shown(name: str, value: object, depth: int) -> object:
    lower = name.lower()
    if value is not None and not isinstance(value, bool) and any(each in lower for each in _DENIED):
        return HIDDEN
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} octets>"
    if isinstance(value, Enum):
        return _shown(name, value.value, depth)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _AS_TEXT):
        return str(value)
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {str(key): _shown(str(key), each, depth + 1) for key, each in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_shown("", each, depth + 1) for each in value]
    if hasattr(value, "kind") and hasattr(value, "value"):
        return HIDDEN
    return f"<{type(value).__name__}>"
