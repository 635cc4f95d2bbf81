"""Evidence that somebody has yet to be told of stays, however old it is."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.test_retention import DAY, DAYS, HOUR, Keeping, play
from tests.daemon.who_had_stage import Stage

_LIVED_S = 6.5 * HOUR  # with an hour until the clock is believed: time for four or five days of evidence


def test_audit_and_leases_that_a_sink_has_not_acknowledged_are_kept(tmp_path: Path) -> None:
    async def scene(made: Stage) -> None:
        keeping = Keeping(made)
        await keeping.fill()
        keeping.retention.audit_through = lambda: 2
        keeping.retention.leases_through = lambda: 0
        keeping.clock.jump(103.5 * DAY)
        await keeping.live(_LIVED_S)
        reports, audit, leases = await keeping.days()
        assert reports < DAYS - 2, "nobody is told of these"
        assert (audit, leases) == (DAYS - 2, DAYS)
        keeping.retention.audit_through = keeping.retention.leases_through = lambda: 1 << 40
        await keeping.live(HOUR)
        assert await keeping.days() == [reports] * 3, "what was acknowledged goes"

    play(tmp_path, scene)
