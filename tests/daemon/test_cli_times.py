"""Times as people give them, and as tables show them."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import pytest

from daemon.cli.times import duration, moment

CONTEXT = click.Context(click.Command("list"))
OPTION = click.Option(["--since"])


def test_a_time_with_a_zone_is_that_moment() -> None:
    assert moment(CONTEXT, OPTION, "2026-07-01T20:00:00Z") == 1_782_936_000.0
    assert moment(CONTEXT, OPTION, "2026-07-01T22:00:00+02:00") == 1_782_936_000.0
    assert moment(CONTEXT, OPTION, None) is None


@pytest.mark.parametrize(("span", "seconds"), [("45s", 45), ("15m", 900), ("2h", 7200), ("7d", 604_800)])
def test_a_span_is_so_long_ago(span: str, seconds: int) -> None:
    before = datetime.now(UTC).timestamp()
    found = moment(CONTEXT, OPTION, span)
    assert found is not None
    assert before <= found + seconds <= datetime.now(UTC).timestamp()


@pytest.mark.parametrize("text", ["", "soon", "15", "m", "-5m", "999999999d", "2026-13-01", "١٥m"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        moment(CONTEXT, OPTION, text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min"), (3725, "1 h 2 min"), (90_061, "1 d 1 h"), (86_400, "1 d")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
