"""What a log line holds, and what it never does."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
import structlog

from daemon import logs

CANARY = "canary-7f3a"


@dataclass
class Hidden:
    """Has the shape of a secret of the replica."""

    kind: str
    value: bytes


@dataclass
class Other:
    """Some object whose text form would tell."""

    inner: str


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(each) for each in out.getvalue().splitlines()]


def test_a_json_line_holds_event_fields_time_level_and_logger() -> None:
    out = io.StringIO()
    logs.setup("info", "json", out)
    logs.logger("daemon").info("ready", sessions=3, address=ip_address("::1"), file=Path("/a"), none=None)
    (line,) = lines(out)
    stamp = str(line.pop("timestamp"))
    assert stamp.endswith("Z")
    assert len(stamp) == len("2026-01-02T03:04:05.678Z")
    assert line == {
        "event": "ready",
        "level": "info",
        "logger": "daemon",
        "sessions": 3,
        "address": "::1",
        "file": "/a",
        "none": None,
    }


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize(
    "fields",
    [
        {"password": CANARY},
        {"User-Password": CANARY},
        {"shared_secret": CANARY.encode()},
        {"api_token": [CANARY]},
        {"sealing_key": {"a": CANARY}},
        {"octets": CANARY.encode()},
        {"deep": [{"x": {"new_password": CANARY}}]},
        {"nas": {"secret": Hidden("cleartext", CANARY.encode())}},
        {"proof": Hidden("cleartext", CANARY.encode())},
        {"thing": Other(CANARY)},
        {"things": (Other(CANARY), bytearray(CANARY.encode()))},
    ],
)
def test_a_secret_never_gets_into_a_line(form: str, fields: dict[str, object]) -> None:
    out = io.StringIO()
    logs.setup("debug", form, out)
    logs.logger("daemon").warning("event", **fields)
    assert "event" in out.getvalue()
    assert CANARY not in out.getvalue()


def test_octets_are_counted_and_hidden_names_say_so() -> None:
    event = {"event": "x", "octets": b"abc", "password": "p", "password_sent": True, "key": None, "n": 1.5}
    assert logs.redact(None, "", event) == {
        "event": "x",
        "octets": "<3 octets>",
        "password": "<hidden>",
        "password_sent": True,
        "key": None,
        "n": 1.5,
    }


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(form: str) -> None:
    out = io.StringIO()
    logs.setup("info", form, out)

    def fails(password: str) -> None:
        if password:
            raise OSError("the disk refuses")

    try:
        fails(CANARY)
    except OSError as error:
        logs.logger("daemon").error("task-failed", exc_info=error)
    assert "Traceback" in out.getvalue()
    assert "OSError: the disk refuses" in out.getvalue()
    assert CANARY not in out.getvalue()


def test_lines_of_libraries_take_the_same_way() -> None:
    out = io.StringIO()
    logging.getLogger("uvicorn.error").addHandler(logging.NullHandler())
    logs.setup("info", "json", out)
    logging.getLogger("uvicorn.error").warning("cannot bind %s", "::1")
    (line,) = lines(out)
    assert (line["event"], line["level"], line["logger"]) == ("cannot bind ::1", "warning", "uvicorn.error")


@pytest.mark.parametrize("library", ["sqlalchemy.engine.Engine", "aiosqlite", "asyncio", "httpx"])
def test_debug_does_not_make_libraries_print_what_they_handle(library: str) -> None:
    out = io.StringIO()
    logs.setup("debug", "json", out)
    logging.getLogger(library).info("parameters: %s", CANARY)
    logs.logger("daemon").debug("mine")
    assert [each["event"] for each in lines(out)] == ["mine"]


def test_a_second_setup_changes_level_and_form_of_loggers_that_exist() -> None:
    out = io.StringIO()
    logs.setup("warning", "json", out)
    log = logs.logger("daemon")
    log.info("unheard")
    logs.setup("info", "console", out)
    log.info("heard", n=1)
    (line,) = out.getvalue().splitlines()
    assert "heard" in line
    assert "n=1" in line


def test_the_console_is_not_steered_by_strangers() -> None:
    out = io.StringIO()
    logs.setup("info", "console", out)
    logs.logger("daemon").info("login", user="a\x1b[2Jb\nforged line", more=["\x1b[2J"])
    assert out.getvalue().count("\n") == 1
    assert "\x1b" not in out.getvalue()


def test_a_limiter_counts_what_it_holds_back() -> None:
    limiter = logs.Limiter(1.0)
    asked = [limiter.allow("10.0.0.1", now) for now in (0.0, 0.1, 0.2, 0.9, 1.05, 2.5)]
    assert asked == [0, None, None, None, 3, 0]


def test_a_limiter_looks_at_each_key_apart() -> None:
    limiter = logs.Limiter(0.1)
    assert [limiter.allow(key, 5.0) for key in ("a", "b", "a", "c")] == [0, 0, None, 0]
    assert limiter.allow("a", 14.9) is None
    assert limiter.allow("a", 15.1) == 2


def test_a_limiter_forgets_the_quietest_of_too_many_keys() -> None:
    limiter = logs.Limiter(1.0)
    limiter.allow("first", 0.0)
    limiter.allow("loud", 0.0)
    for i in range(9_998):
        limiter.allow(str(i), 0.0)
    limiter.allow("loud", 0.0)
    limiter.allow("one more", 0.0)
    assert limiter.allow("loud", 0.0) is None
    assert limiter.allow("first", 0.0) == 0
