"""Events are kept in order, bounded, counted, and logged without flooding."""

from __future__ import annotations

import asyncio

import pytest

from daemon.events import KINDS, Events
from daemon.logs import HIDDEN
from tests.twins.clock import ClockTwin


class Scene:
    """Events on a clock twin, and what was logged."""

    def __init__(self, most: int = 100) -> None:
        self.clock = ClockTwin()
        self.logged: list[tuple[str, dict[str, object]]] = []
        self.events = Events(most, self.clock.wall, self._log, self.clock.monotonic)

    def _log(self, event: str, /, **fields: object) -> None:
        self.logged.append((event, fields))


def test_an_event_says_when_what_whom_and_why() -> None:
    scene = Scene()
    event = scene.events.add(
        "coa-outcome",
        tenant="demo",
        subscriber="S1",
        session=7,
        nas="lab",
        reason="naked",
        cause=503,
        age_s=1.5,
        detail=None,
    )
    assert (event.kind, event.tenant, event.subscriber) == ("coa-outcome", "demo", "S1")
    assert (event.session, event.nas, event.reason) == (7, "lab", "naked")
    assert event.at == scene.clock.wall()
    assert event.fields == (("cause", 503), ("age_s", 1.5))
    line = {"tenant": "demo", "subscriber": "S1", "session": 7, "nas": "lab", "reason": "naked"}
    assert scene.logged == [("coa-outcome", line | {"cause": 503, "age_s": 1.5})]


def test_a_field_may_be_called_kind() -> None:
    assert Scene().events.add("coa-outcome", kind="change").fields == (("kind", "change"),)


def test_numbers_rise_by_one_and_over_a_restart() -> None:
    scene = Scene()
    first, second = scene.events.add("nas-silent"), scene.events.add("nas-back")
    assert second.seq == first.seq + 1 == scene.events.last_seq
    asyncio.run(scene.clock.advance(1.0))
    again = Events(10, scene.clock.wall, scene._log, scene.clock.monotonic)
    assert again.add("nas-silent").seq > second.seq


def test_the_oldest_are_forgotten_but_all_are_counted() -> None:
    scene = Scene(most=3)
    events = [scene.events.add("nas-silent", nas=f"n{i}") for i in range(5)]
    assert scene.events.newest_first(10) == events[:1:-1]
    assert scene.events.counts["nas-silent"] == 5
    assert scene.events.counts["nas-back"] == 0
    assert set(scene.events.counts) == {kind for kind, _ in KINDS}


def test_a_reader_gets_what_came_since() -> None:
    scene = Scene(most=3)
    before = scene.events.last_seq
    assert scene.events.since(before) == []
    events = [scene.events.add("nas-silent") for _ in range(5)]
    assert scene.events.since(events[3].seq) == events[4:]
    assert scene.events.since(events[4].seq) == []
    assert scene.events.since(before) == events[2:]  # the ring has lost the first two
    assert scene.events.since(events[4].seq + 9) == []


def test_events_are_found_by_whom_and_what_they_are_about() -> None:
    scene = Scene()
    mine = scene.events.add("session-deviates", tenant="demo", subscriber="S1", session=1, nas="a")
    asyncio.run(scene.clock.advance(10.0))
    other = scene.events.add("session-matches", tenant="demo", subscriber="S2", session=2, nas="b")
    theirs = scene.events.add("session-matches", tenant="other", subscriber="S1", session=3, nas="b")
    find = scene.events.newest_first
    assert find(10) == [theirs, other, mine]
    assert find(1) == [theirs]
    assert find(10, kind="session-deviates") == [mine]
    assert find(10, tenant="demo") == [other, mine]
    assert find(10, tenant="demo", subscriber="S1") == [mine]
    assert find(10, session=2) == [other]
    assert find(10, nas="b") == [theirs, other]
    assert find(10, since_at=scene.clock.wall()) == [theirs, other]
    assert find(10, nas="c") == []


def test_a_storm_of_events_does_not_flood_the_log() -> None:
    scene = Scene(most=2000)
    for _ in range(1000):
        scene.events.add("session-suspect")
    scene.events.add("nas-silent")  # another kind is not held back by it
    assert [kind for kind, _ in scene.logged] == ["session-suspect", "nas-silent"]
    asyncio.run(scene.clock.advance(1.0))
    scene.events.add("session-suspect")
    assert scene.logged[-1] == ("session-suspect", {"suppressed": 999})
    assert len(scene.events.newest_first(2000)) == 1002


def test_secrets_do_not_get_in() -> None:
    scene = Scene()
    event = scene.events.add("staff-login", password="hunter2", octets=b"hunter2", who=object())
    assert "hunter2" not in repr(event) + repr(scene.logged)
    assert event.fields == (("password", HIDDEN), ("octets", "<7 octets>"), ("who", "<object>"))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no-such-kind"):
        Scene().events.add("no-such-kind")


def test_every_kind_is_explained_once() -> None:
    assert len({kind for kind, _ in KINDS}) == len(KINDS)
    assert all(meaning and not meaning.endswith(".") for _, meaning in KINDS)
