"""The chain of events: what is hashed is said in one way only, and anybody can compute it again."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from ipam.history import GENESIS, Chain, Change, HistoryEvent, broken, canonical

LOGIN = Change(
    at=1_800_000_000.25,
    boot=1,
    clock_quality="synchronised",
    tenant="acme",
    vrf="",
    pool="home",
    kind="v4",
    address="10.0.0.1",
    length=32,
    lease_id=4_294_967_297,
    owner="ann",
    subscriber="s-1",
    session="",
    nas="bng-1",
    circuit="olt-1 pon 3",
    mac="02:00:00:00:00:01",
    old="free",
    new="tentative",
    cause="login",
    seen="",
    slot=1,
    fence=0,
)
LINE = (
    "edge\t7\t1800000000.25\t1\tsynchronised\tacme\t\thome\tv4\t10.0.0.1\t32\t4294967297\tann\ts-1\t\tbng-1"
    "\tolt-1 pon 3\t02:00:00:00:00:01\tfree\ttentative\tlogin\t\t1\t0"
)
TEXT = st.text(st.sampled_from("ab\\\t\nné"), max_size=4)


def test_an_event_is_hashed_as_a_line_of_its_fields() -> None:
    assert canonical("edge", 7, LOGIN) == LINE.encode()
    assert Chain("edge", 6, GENESIS).append(LOGIN).hash == sha256(GENESIS + LINE.encode()).digest()


def test_a_tab_a_line_feed_or_a_backslash_in_a_field_cannot_be_taken_for_the_end_of_it() -> None:
    line = canonical("edge", 7, LOGIN._replace(owner="a\tb\\t\nc")).decode()
    assert line == LINE.replace("\tann\t", "\ta\\tb\\\\t\\nc\t")


@given(owner=TEXT, subscriber=TEXT, session=TEXT)
def test_every_line_reads_back_in_one_way(owner: str, subscriber: str, session: str) -> None:
    change = LOGIN._replace(owner=owner, subscriber=subscriber, session=session)
    fields = canonical("edge", 7, change).decode().split("\t")
    assert len(fields) == 2 + len(Change._fields)
    assert [_read(field) for field in fields[12:15]] == [owner, subscriber, session]


def _read(field: str) -> str:
    after = {"\\": "\\", "t": "\t", "n": "\n"}
    parts = iter(field)
    return "".join(after[next(parts)] if each == "\\" else each for each in parts)


def test_what_is_altered_left_out_or_put_in_between_is_found() -> None:
    events = list(Chain("edge").extend([LOGIN._replace(slot=slot) for slot in range(5)]))
    assert broken(events, Chain("edge")) is None
    for name, value in events[2].change._asdict().items():
        other = value + 1 if isinstance(value, int | float) else value + "x"
        altered = events[2]._replace(change=events[2].change._replace(**{name: other}))
        assert broken([*events[:2], altered, *events[3:]], Chain("edge")) == 3
    assert broken([*events[:2], *events[3:]], Chain("edge")) == 4
    forged = HistoryEvent("edge", 3, LOGIN, events[1].hash, bytes(32))
    assert broken([*events[:2], forged, *events[2:]], Chain("edge")) == 3
    assert broken(events[1:], Chain("edge", 1, events[0].hash)) is None
