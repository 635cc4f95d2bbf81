"""Data grow old while the platform is silent: what is told, and what each provider has chosen for such days."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from daemon.aaa.reasons import Deny
from daemon.replica.contact import IN_TOUCH, Age, AgePolicy
from daemon.replica.index import Key
from daemon.replica.records import Tenant
from daemon.replica.rules import GARDEN, REJECTED, Rules, Treatment
from daemon.sync.feed.staleness import Staleness
from tests.daemon.policy_stage import ACCEPT, REJECT, PolicyStage
from tests.daemon.policy_stage import GARDEN as WALLS
from tests.twins.clock import ClockTwin

HOUR, DAY = 3600.0, 86_400.0


@dataclass
class Line:
    """A feed of the tenant `demo` as far as its contact goes."""

    contact_at: float | None = None
    tenant: str = "demo"


class Days:
    """A provider whose platform falls silent."""

    def __init__(self, **policy: Treatment | None) -> None:
        self.stage = PolicyStage(Rules(), Tenant(id="demo", garden=WALLS))
        self.clock = ClockTwin()
        self.line = Line(self.clock.wall())
        self.told: list[tuple[str, str]] = []
        self.changed: list[Key] = []
        feeds = {"demo": (self.line, AgePolicy(**policy))}  # type: ignore[arg-type]
        self.staleness = Staleness(feeds, self.stage.index, self.clock, self._tell, self.changed.extend)
        self.staleness.look()

    def _tell(self, kind: str, /, *, tenant: str, reason: str, **fields: object) -> None:
        assert tenant == "demo"
        self.told.append((kind, str(reason)))

    def pass_s(self, seconds: float) -> Age:
        self.clock._now += seconds
        self.staleness.look()
        return self.stage.index.tenants["demo"].contact.age


def test_data_age_in_steps_that_are_told_once_and_are_fresh_again_with_the_first_contact() -> None:
    days = Days()
    assert [days.pass_s(each) for each in (60, 60, HOUR, 23 * HOUR, DAY, 5 * DAY)] == [
        Age.FRESH,
        Age.STALE,
        Age.STALE,
        Age.DEGRADED,
        Age.DEGRADED,
        Age.ISOLATED,
    ]
    days.line.contact_at = days.clock.wall()
    assert days.pass_s(1) is Age.FRESH
    assert days.told == [
        ("data-older", "stale"),
        ("data-older", "degraded"),
        ("data-older", "isolated"),
        ("data-fresh", "fresh"),
    ]
    assert days.stage.index.tenants["demo"].contact is IN_TOUCH
    assert days.changed == [], "nobody's service changes by the defaults"


def test_a_wall_clock_that_is_set_makes_no_data_old() -> None:
    days = Days()
    days.clock._wall_ahead += 30 * DAY
    assert days.pass_s(1) is Age.FRESH
    days.clock._wall_ahead -= 60 * DAY
    assert days.pass_s(HOUR) is Age.STALE


def test_the_silence_before_a_start_counts() -> None:
    days = Days()
    days.staleness._seen.clear()
    days.clock._wall_ahead += 3 * DAY  # the machine was off
    assert days.pass_s(1) is Age.DEGRADED


def test_every_decision_on_stale_data_says_so_and_is_the_same() -> None:
    days = Days()
    days.stage.at = days.clock.wall() + HOUR
    assert days.stage.login().code == ACCEPT
    assert "data" not in days.stage.steps()
    days.pass_s(HOUR)
    assert days.stage.login().code == ACCEPT
    assert days.stage.steps()["data"] == ("passed", "stale: the platform was last heard of 1.0 h before")
    assert days.stage.login(name="nobody").code == REJECT


@pytest.mark.parametrize(
    ("wanted", "code", "reason"),
    [(None, ACCEPT, ""), (GARDEN, ACCEPT, "isolated"), (REJECTED, REJECT, "isolated")],
)
def test_what_becomes_of_active_subscribers_of_an_isolated_edge_is_the_providers_choice(
    wanted: Treatment | None, code: int, reason: str
) -> None:
    days = Days(isolated_known=wanted)
    days.pass_s(6 * DAY)
    assert days.stage.login().code == ACCEPT
    days.pass_s(2 * DAY)
    assert days.stage.login().code == code
    assert days.stage.reasons().get(Deny.ISOLATED, 0) == (1 if reason else 0)
    if wanted is not None:
        assert days.stage.steps()["contact"][0] == "failed"
        assert days.changed == [("demo", "tenant", "demo")], "live sessions are looked at, too"


def test_unknown_logins_may_be_walled_in_while_data_are_degraded_and_only_then() -> None:
    days = Days(degraded_unknown=GARDEN)
    days.pass_s(HOUR)
    assert days.stage.login(name="new").code == REJECT
    days.pass_s(DAY)
    assert days.stage.login(name="new").code == ACCEPT
    days.pass_s(7 * DAY)
    assert days.stage.login(name="new").code == REJECT
