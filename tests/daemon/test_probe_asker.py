"""Many questions at a time on one cable: each is asked as often as it says, and ended by its own answer."""

from __future__ import annotations

from ipaddress import ip_address

from daemon.leases.probe import Address, InUse, Method, NotAsked, Outcome, Query, Silent, Why
from daemon.leases.probe_asker import Asker, Line

NINE, TEN = ip_address("192.0.2.9"), ip_address("192.0.2.10")
MAC = "02:00:00:00:00:09"


class LineTwin:
    """A cable with nobody on it."""

    def __init__(self) -> None:
        self.mac = "02:00:00:00:00:01"
        self.own = frozenset({"192.0.2.1"})
        self.sent: list[tuple[Address, int]] = []
        self.broken: NotAsked | None = None

    def ask(self, address: Address, method: Method, number: int) -> tuple[Method, ...] | NotAsked:
        self.sent.append((address, number))
        return self.broken or ((Method.ARP, Method.ICMP) if method is Method.AUTO else (method,))

    def trouble(self) -> NotAsked | None:
        return self.broken


class Stage:
    def __init__(self) -> None:
        self.line = LineTwin()
        self.told: dict[int, Outcome] = {}
        self.asker = Asker(self.line_of, self.tell)

    def line_of(self, name: str, _now: float) -> Line | NotAsked:
        return self.line if name == "edge0" else NotAsked(Why.NO_INTERFACE, name)

    def tell(self, number: int, outcome: Outcome) -> None:
        assert number not in self.told, "told twice"
        self.told[number] = outcome

    def ask(self, number: int, address: Address = NINE, now: float = 0.0, **more: object) -> None:
        fields: dict[str, object] = {"interface": "edge0", "method": Method.ARP} | more
        self.asker.ask(number, Query(address=address, **fields), now)  # type: ignore[arg-type]


def test_silence_is_told_after_the_last_wait_and_not_before() -> None:
    stage = Stage()
    stage.ask(10, count=2, wait_s=1.0)
    assert stage.asker.turn(0.0) == 1.0
    assert stage.asker.turn(0.99) == 1.0
    assert stage.asker.turn(1.0) == 2.0
    assert stage.told == {}
    assert stage.asker.turn(2.0) is None
    assert stage.told == {10: Silent((Method.ARP,))}
    assert stage.line.sent == [(NINE, 10), (NINE, 11)]
    assert (stage.asker.open, stage.asker.interfaces()) == (0, frozenset())


def test_an_answer_ends_the_question_at_once_with_the_time_since_it_was_last_asked() -> None:
    stage = Stage()
    stage.ask(10)
    stage.asker.turn(1.0)
    stage.asker.seen("edge0", NINE, MAC, Method.ARP, 1.25)
    assert stage.told == {10: InUse(MAC, Method.ARP, 0.25)}
    assert stage.asker.turn(9.0) is None
    assert len(stage.line.sent) == 2


def test_an_answer_for_another_address_interface_or_method_ends_nothing() -> None:
    stage = Stage()
    stage.ask(10)
    stage.ask(20, TEN)
    stage.asker.seen("edge0", ip_address("192.0.2.11"), MAC, Method.ARP, 0.1)
    stage.asker.seen("edge1", NINE, MAC, Method.ARP, 0.1)
    stage.asker.seen("edge0", NINE, "", Method.ICMP, 0.1)
    assert stage.told == {}
    stage.asker.seen("edge0", TEN, MAC, Method.ARP, 0.1)
    assert list(stage.told) == [20]


def test_all_who_ask_about_one_address_are_told() -> None:
    stage = Stage()
    stage.ask(10)
    stage.ask(20, method=Method.AUTO)
    stage.asker.seen("edge0", NINE, MAC, Method.ARP, 0.1)
    assert sorted(stage.told) == [10, 20]


def test_an_interface_that_breaks_is_told_and_not_taken_for_silence() -> None:
    stage = Stage()
    stage.ask(10, count=1)
    stage.ask(20, count=3)
    stage.line.broken = NotAsked(Why.INTERFACE_DOWN, "edge0")
    stage.asker.turn(1.0)
    assert stage.told == {10: stage.line.broken, 20: stage.line.broken}


def test_our_own_address_and_an_interface_that_is_not_there_are_answered_without_a_frame() -> None:
    stage = Stage()
    stage.ask(10, ip_address("192.0.2.1"))
    stage.ask(20, interface="none0")
    assert stage.told == {10: InUse(stage.line.mac, Method.ARP, 0.0), 20: NotAsked(Why.NO_INTERFACE, "none0")}
    assert stage.line.sent == []


def test_a_thousand_questions_are_ended_each_at_its_time() -> None:
    stage = Stage()
    for number in range(1000):
        stage.ask(10 * number, ip_address(int(NINE) + number), number / 100, count=1, wait_s=1.0)
        stage.asker.turn(number / 100)
        assert stage.asker.open <= 101
    stage.asker.turn(20.0)
    assert len(stage.told) == 1000
