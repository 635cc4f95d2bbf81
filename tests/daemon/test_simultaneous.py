"""How many sessions at the same time: places that are reserved, taken over, fought for and cleared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon.aaa import policy
from daemon.aaa.decision import Decision
from daemon.aaa.session import Closed, Session, State
from daemon.replica.rules import Rules, SimultaneousMode
from daemon.store.journal import Record
from radius.codes import Attr
from radius.packet import Packet, attribute, decode, header
from tests.daemon.policy_stage import ACCEPT, MAC, OTHER_MAC, REJECT, PolicyStage, shown
from tests.daemon.stack import T0
from tests.twins.nas import peer_of

THIRD_MAC = "02-00-00-00-00-03"
START, STOP, INTERIM = 1, 2, 3
KICK, REPORT, SHADOW = SimultaneousMode.KICK_OLD, SimultaneousMode.REPORT, SimultaneousMode.SHADOW


class Stage(PolicyStage):
    """A stage on which sessions begin and end, without a disk."""

    def __init__(
        self, limit: int = 1, mode: SimultaneousMode = SimultaneousMode.REJECT_NEW, **fields: Any
    ) -> None:
        super().__init__(Rules(simultaneous_use=limit, simultaneous_mode=mode), **fields)
        self._seq = 0
        self.names = iter(range(1, 10_000))

    def account(
        self, status: int, name: bytes, extra: bytes = b"", reply: Packet | None = None, address: int = 1
    ) -> Session:
        """Fold one accounting packet of session `name` in; `reply` is the Accept whose Class it echoes."""
        said = attribute(Attr.USER_NAME, b"sam") + attribute(Attr.ACCT_SESSION_ID, name) + extra
        said += attribute(Attr.ACCT_STATUS_TYPE, status.to_bytes(4, "big"))
        said += attribute(Attr.FRAMED_IP_ADDRESS, bytes((100, 64, 0, address)))
        if reply is not None:
            said += attribute(Attr.CLASS, reply.find(Attr.CLASS) or b"")
        packet = decode(header(4, 1, 20 + len(said), bytes(16)) + said)
        client = self.clients.find(bytes((127, 0, 0, 1)))
        assert client is not None
        self._seq += 1
        subscriber = self.accounting._subscriber(packet, client, self.at)
        record = Record(self.at, peer_of("127.0.0.1"), "demo", "lab", subscriber, packet.octets)
        self.accounting.fold(self._seq, record, packet, client.profile)
        assert self.faults == []
        return next(each for each in self.sessions if each.acct_session_id == name)

    def begin(self, extra: bytes, *, echo: bool = True) -> Session:
        """Log in, which must succeed, and start the session."""
        reply = self.login(extra)
        assert reply.code == ACCEPT
        return self.account(START, b"%08d" % next(self.names), extra, reply if echo else None)

    def live(self) -> list[bytes]:
        """Return the names of the sessions that live, in the order of their start."""
        found = [each for each in self.sessions if each.closed_at is None]
        return [each.acct_session_id for each in sorted(found, key=lambda each: each.started_at)]

    def kinds(self) -> list[str]:
        """Return what was told, in order."""
        return [kind for kind, _, _ in self.told]

    def kicked(self) -> list[bytes]:
        """Return the names of the sessions that were to end."""
        about = [about for kind, about, _ in self.told if kind == "simultaneous-kicked"]
        return [each.acct_session_id for each in about if isinstance(each, Session)]


# --- reservations --------------------------------------------------------------------------------------


def test_of_two_logins_in_one_batch_one_gets_the_last_place() -> None:
    stage = Stage()
    twin = stage.nas()
    batch = [(twin.login("sam", "secret", shown(mac)).octets, twin.peer) for mac in (MAC, OTHER_MAC)]
    replies = stage.conductor.handle(twin.auth, batch)
    assert [octets[0] for octets, _ in replies] == [ACCEPT, REJECT]
    assert stage.reasons() == {"pap": 1, "too-many-sessions": 1}


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_as_many_as_allowed_get_in_and_no_more(limit: int) -> None:
    stage = Stage(limit)
    codes = [stage.login(shown(f"02-00-00-00-00-{number:02d}")).code for number in range(8)]
    assert codes == [ACCEPT] * limit + [REJECT] * (8 - limit)


def test_a_repeat_of_a_request_reserves_nothing_more() -> None:
    stage = Stage(2)
    twin = stage.nas()
    request = twin.login("sam", "secret", shown(MAC))
    assert twin.send(request) == twin.send(request)
    assert len(stage.books.reservations.all_held(stage.at)) == 1


def test_a_reservation_expires_without_a_start() -> None:
    stage = Stage()
    stage.login(shown(MAC))
    stage.at += 59.9
    assert stage.login(shown(OTHER_MAC)).code == REJECT
    stage.at += 0.1
    assert stage.login(shown(OTHER_MAC)).code == ACCEPT


def test_a_clock_that_is_set_back_does_not_hold_a_place_for_ever() -> None:
    stage = Stage()
    stage.login(shown(MAC))
    stage.at -= 3600
    assert stage.login(shown(OTHER_MAC)).code == ACCEPT


def test_a_start_turns_the_reservation_into_a_session() -> None:
    stage = Stage()
    session = stage.begin(shown(MAC))
    assert stage.books.reservations.all_held(stage.at) == []
    stage.at += 3600
    assert stage.login(shown(OTHER_MAC)).code == REJECT
    stage.account(STOP, session.acct_session_id)
    assert stage.login(shown(OTHER_MAC)).code == ACCEPT


def test_a_start_without_our_class_finds_the_reservation_of_its_equipment() -> None:
    stage = Stage(2)
    for mac in (MAC, OTHER_MAC):
        stage.login(shown(mac))
    session = stage.account(START, b"x", shown(OTHER_MAC))
    assert session.applied is not None
    (left,) = stage.books.reservations.all_held(stage.at)
    assert left.attachment is not None
    assert left.attachment.mac == "02:00:00:00:00:01"


def test_equipment_that_tries_again_does_not_take_two_places() -> None:
    stage = Stage(2)
    stage.login(shown(MAC))  # and nothing came of it
    stage.at += 5
    stage.begin(shown(MAC))
    assert stage.login(shown(OTHER_MAC)).code == ACCEPT


def test_whoever_is_refused_for_something_else_reserves_nothing() -> None:
    stage = Stage(valid_until=T0)
    assert stage.login(shown(MAC)).code == REJECT
    assert stage.books.reservations.all_held(stage.at) == []


def test_the_subscribers_own_limit_wins_over_the_plans() -> None:
    stage = Stage(1, simultaneous_use=2)
    codes = [stage.login(shown(mac)).code for mac in (MAC, OTHER_MAC, THIRD_MAC)]
    assert codes == [ACCEPT, ACCEPT, REJECT]


def test_a_session_under_suspicion_keeps_nobody_out() -> None:
    stage = Stage()
    session = stage.begin(shown(MAC))
    stage.sessions.suspect(session, stage.at)
    assert stage.login(shown(OTHER_MAC)).code == ACCEPT


def test_a_question_about_a_live_session_counts_nothing() -> None:
    stage = Stage()
    session = stage.begin(shown(MAC))
    question = stage.question(session=session)
    assert (policy.simultaneous_use(question), question.limit) == (None, None)


# --- the same equipment --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "over"),
    [
        (shown(MAC, "vlan7"), shown(MAC, "vlan8"), True),
        (shown(None, "vlan7"), shown(None, "vlan7"), True),
        (shown(None, "vlan7"), shown(MAC, "vlan7"), True),
        (shown(None, "vlan7"), shown(None, "vlan8"), False),
        (shown(None, "ether1"), shown(None, "ether1"), False),
        (shown(MAC, "vlan7"), shown(OTHER_MAC, "vlan7"), False),
    ],
)
def test_equipment_takes_over_its_own_old_session(first: bytes, second: bytes, over: bool) -> None:
    stage = Stage()
    old = stage.begin(first)
    stage.at += 10
    if not over:
        assert stage.login(second).code == REJECT
        return
    new = stage.begin(second)
    assert (old.state, old.closed_by, old.terminate_cause) == (
        State.CLOSED,
        Closed.TAKEN_OVER,
        "port-preempted",
    )
    assert stage.live() == [new.acct_session_id]
    assert stage.kinds() == []


def test_a_reservation_of_the_same_circuit_is_of_the_same_equipment() -> None:
    stage = Stage()
    assert stage.login(shown(None, "a", b"olt-1")).code == ACCEPT
    assert stage.login(shown(None, "b", b"olt-1")).code == ACCEPT
    assert stage.login(shown(None, "b", b"olt-2")).code == REJECT


def test_below_the_limit_nothing_is_taken_over() -> None:
    stage = Stage(2)
    names = [stage.begin(shown(MAC)).acct_session_id for _ in range(2)]
    assert stage.live() == names
    stage.at += 1
    third = stage.begin(shown(MAC))
    assert stage.live() == [names[1], third.acct_session_id], "the oldest goes"


def test_nothing_is_taken_over_before_the_new_session_begins() -> None:
    stage = Stage()
    old = stage.begin(shown(MAC))
    assert stage.login(shown(MAC)).code == ACCEPT
    assert old.closed_at is None


def test_of_two_logins_of_one_equipment_at_once_one_session_stays() -> None:
    stage = Stage()
    replies = [stage.login(shown(MAC)) for _ in range(2)]
    for name, reply in zip((b"one", b"two"), replies, strict=True):
        stage.account(START, name, shown(MAC), reply)
    assert stage.live() == [b"two"]


def test_a_session_taken_over_that_is_heard_of_must_end_while_its_successor_lives() -> None:
    stage = Stage()
    old = stage.begin(shown(MAC))
    stage.at += 10
    stage.begin(shown(MAC))
    stage.at += 60
    stage.account(INTERIM, old.acct_session_id, shown(MAC))
    assert old.closed_at is None
    assert stage.kinds() == ["session-reopened", "simultaneous-kicked"]


def test_a_session_taken_over_by_a_port_alone_goes_on_when_it_is_heard_of() -> None:
    stage = Stage()
    old = stage.begin(shown(None, "vlan7"))
    stage.at += 10
    stage.begin(shown(None, "vlan7"))
    stage.at += 60
    stage.account(INTERIM, old.acct_session_id, shown(None, "vlan7"))
    assert stage.kinds() == ["session-reopened"]
    assert stage.login(shown(None, "vlan7")).code == REJECT, "two are there, and their port proves nothing"


def test_a_session_taken_over_goes_on_where_the_limit_has_been_raised() -> None:
    stage = Stage()
    old = stage.begin(shown(MAC))
    stage.at += 10
    stage.begin(shown(MAC))
    stage.rule(simultaneous_use=2)
    stage.at += 60
    stage.account(INTERIM, old.acct_session_id, shown(MAC))
    assert stage.kinds() == ["session-reopened"]


# --- modes ---------------------------------------------------------------------------------------------


def test_kick_old_ends_the_oldest_of_the_others_when_the_new_one_begins() -> None:
    stage = Stage(2, KICK)
    sessions = []
    for mac in (MAC, OTHER_MAC):
        sessions.append(stage.begin(shown(mac)))
        stage.at += 10
    # A new address later: it is looked up under another key then, and is the oldest still.
    stage.account(INTERIM, sessions[0].acct_session_id, shown(MAC), address=9)
    assert stage.kinds() == []
    stage.begin(shown(THIRD_MAC))
    assert stage.kinds() == ["simultaneous-kicked"], "of the session that goes, and not of the login"
    assert stage.kicked() == [sessions[0].acct_session_id]
    assert sessions[0].closed_at is None, "it ends when its NAS says so"


def test_kick_old_takes_over_its_own_before_it_kicks_others() -> None:
    stage = Stage(2, KICK)
    own, other = stage.begin(shown(MAC)), stage.begin(shown(OTHER_MAC))
    stage.begin(shown(MAC))
    assert (own.closed_by, other.closed_at, stage.kinds()) == (Closed.TAKEN_OVER, None, [])


def test_kick_old_kicks_no_more_than_its_own_old_session_does_not_make_room_for() -> None:
    stage = Stage(3, KICK)
    own, oldest, other = (stage.begin(shown(mac)) for mac in (MAC, OTHER_MAC, THIRD_MAC))
    stage.rule(simultaneous_use=2)
    stage.begin(shown(MAC))
    assert own.closed_by is Closed.TAKEN_OVER
    assert stage.kicked() == [oldest.acct_session_id]
    assert other.closed_at is None


def test_a_session_under_suspicion_is_left_to_the_reaper() -> None:
    stage = Stage(1, KICK)
    lost = stage.begin(shown(MAC))
    stage.sessions.suspect(lost, stage.at)
    old = stage.begin(shown(OTHER_MAC))
    assert stage.kinds() == []
    stage.begin(shown(THIRD_MAC))
    assert (stage.kicked(), lost.state) == ([old.acct_session_id], State.SUSPECT)


def test_kick_old_kicks_nobody_who_has_gone_meanwhile() -> None:
    stage = Stage(1, KICK)
    old = stage.begin(shown(MAC))
    reply = stage.login(shown(OTHER_MAC))
    stage.account(STOP, old.acct_session_id)
    stage.account(START, b"new", shown(OTHER_MAC), reply)
    assert stage.kicked() == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_kick_old_between_two_logins_at_once_leaves_the_session_that_begins_last(
    order: tuple[int, int],
) -> None:
    stage = Stage(1, KICK)
    macs = MAC, OTHER_MAC
    replies = [stage.login(shown(mac)) for mac in macs]
    assert [reply.code for reply in replies] == [ACCEPT, ACCEPT]
    for which in order:
        stage.account(START, b"of %d" % which, shown(macs[which]), replies[which])
    assert stage.kicked() == [b"of %d" % order[0]]


def test_kick_old_gives_up_where_equipment_throws_out_each_other() -> None:
    stage = Stage(1, KICK)
    macs = (MAC, OTHER_MAC)
    current = stage.begin(shown(MAC))
    for number in range(1, 4):
        stage.at += 60
        following = stage.begin(shown(macs[number % 2]))
        stage.account(STOP, current.acct_session_id)
        current = following
    stage.told.clear()
    assert stage.login(shown(MAC)).code == REJECT
    ((kind, _, text),) = stage.told
    assert (kind, text) == (
        "simultaneous-denied",
        "1 sessions of 1 allowed are online, and kicked too often",
    )
    stage.at += 481
    assert stage.login(shown(MAC)).code == ACCEPT, "the first of the three kicks is ten minutes ago"


@pytest.mark.parametrize("mode", [REPORT, SHADOW])
def test_report_and_shadow_end_nobody(mode: SimultaneousMode) -> None:
    stage = Stage(1, mode)
    sessions = [stage.begin(shown(mac)) for mac in (MAC, MAC, OTHER_MAC)]
    for session in sessions:
        stage.account(INTERIM, session.acct_session_id)
    assert [session.closed_at for session in sessions] == [None] * 3
    assert stage.kicked() == []


def test_a_session_taken_over_goes_on_where_the_limit_is_only_told_of_by_now() -> None:
    stage = Stage()
    old = stage.begin(shown(MAC))
    stage.at += 10
    stage.begin(shown(MAC))
    stage.rule(simultaneous_mode=SHADOW)
    stage.at += 60
    stage.account(INTERIM, old.acct_session_id, shown(MAC))
    assert stage.kicked() == []


@pytest.mark.parametrize(
    ("mode", "kind"), [(REPORT, "simultaneous-reported"), (SHADOW, "simultaneous-shadow")]
)
def test_report_and_shadow_let_in_and_tell(mode: SimultaneousMode, kind: str) -> None:
    stage = Stage(1, mode)
    stage.begin(shown(MAC))
    assert stage.kinds() == []
    stage.begin(shown(OTHER_MAC))
    ((told, about, text),) = stage.told
    assert isinstance(about, Decision)
    assert (told, about.reason, text) == (kind, "", "1 sessions of 1 allowed are online")
    assert len(stage.live()) == 2
    assert "simultaneous-use" in stage.steps()


def test_a_refusal_tells_how_many_are_online() -> None:
    stage = Stage(1)
    stage.begin(shown(MAC))
    assert stage.login(shown(OTHER_MAC)).code == REJECT
    ((kind, about, text),) = stage.told
    assert isinstance(about, Decision)
    assert (kind, about.reason, text) == (
        "simultaneous-denied",
        "too-many-sessions",
        "1 sessions of 1 allowed are online",
    )
    result, why = stage.steps()["simultaneous-use"]
    assert (result, why.endswith("(1 of 1 online from other equipment)")) == ("failed", True)


# --- any order of things -------------------------------------------------------------------------------


class Household(RuleBasedStateMachine):
    """Equipment of one subscriber logs in, starts and stops in any order, against a limit of two."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(2)
        self.waiting: list[tuple[str, Packet]] = []
        self.online: dict[bytes, str] = {}

    @rule(mac=st.sampled_from([MAC, OTHER_MAC, THIRD_MAC]))
    def log_in(self, mac: str) -> None:
        """Ask for a place."""
        reply = self.stage.login(shown(mac))
        if reply.code == ACCEPT:
            self.waiting.append((mac, reply))

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 9))
    def start(self, which: int) -> None:
        """Begin a session soon after its login."""
        mac, reply = self.waiting.pop(which % len(self.waiting))
        name = b"%08d" % next(self.stage.names)
        self.stage.account(START, name, shown(mac), reply)
        self.online[name] = mac

    @precondition(lambda self: self.online)
    @rule(which=st.integers(0, 9))
    def stop(self, which: int) -> None:
        """End a session; equipment that hangs up begins nothing from logins of before."""
        name = sorted(self.online)[which % len(self.online)]
        self.stage.account(STOP, name)
        gone = self.online.pop(name)
        self.waiting = [each for each in self.waiting if each[0] != gone]

    @rule()
    def wait(self) -> None:
        """Let reservations expire; whoever has not begun by then gives up."""
        self.stage.at += 61
        self.waiting.clear()

    @invariant()
    def no_more_equipment_is_online_than_allowed(self) -> None:
        """Several sessions of one equipment may be for a moment; whoever begins next takes them over."""
        assert len({self.online[name] for name in self.stage.live()}) <= 2


TestHousehold = Household.TestCase
TestHousehold.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
