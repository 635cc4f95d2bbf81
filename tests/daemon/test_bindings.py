"""What a first login has taught: in memory, on disk, and forgotten."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from daemon.aaa.attachment import Attachment
from daemon.aaa.bindings import Binding, Bindings, seen_as
from daemon.replica.rules import Bound
from daemon.store import binding_rows
from daemon.store.binding_rows import BindingRow
from tests.daemon.conftest import Store

ALL = tuple(Bound)
HOME = Attachment(mac="02:00:00:00:00:01", circuit=b"\xff\x00", remote=b"r", vlan="7", port="lab vlan7")
AWAY = Attachment(mac="02:00:00:00:00:02", vlan="8")


def test_only_what_the_plan_binds_and_the_login_shows_is_learned() -> None:
    bindings = Bindings()
    assert bindings.learn("t", "s", (Bound.MAC, Bound.CIRCUIT), AWAY, 5.0) == (Bound.MAC,)
    assert bindings.find("t", "s") == Binding(learned_at=5.0, mac="02:00:00:00:00:02")
    assert bindings.find("other", "s") is None


def test_what_is_known_stays_and_what_is_missing_is_added() -> None:
    bindings = Bindings()
    bindings.learn("t", "s", ALL, AWAY, 5.0)
    assert bindings.learn("t", "s", ALL, HOME, 9.0) == (Bound.CIRCUIT, Bound.PORT)
    assert bindings.find("t", "s") == Binding(
        learned_at=9.0, mac="02:00:00:00:00:02", circuit="ff00", vlan="8", port="lab vlan7"
    )
    assert bindings.learn("t", "s", ALL, HOME, 11.0) == ()


def test_a_login_that_shows_nothing_teaches_nothing() -> None:
    bindings = Bindings()
    assert bindings.learn("t", "s", ALL, Attachment(), 5.0) == ()
    assert bindings.rows() == []


def test_a_forgotten_binding_is_learned_anew() -> None:
    bindings = Bindings()
    bindings.learn("t", "s", ALL, HOME, 5.0)
    assert bindings.forget("t", "s")
    assert not bindings.forget("t", "s")
    bindings.learn("t", "s", (Bound.MAC,), AWAY, 6.0)
    assert bindings.find("t", "s") == Binding(learned_at=6.0, mac="02:00:00:00:00:02")


def test_bindings_come_back_from_the_disk_and_those_taken_away_do_not(store: Store) -> None:
    async def scenario() -> None:
        async with store.running():
            bindings = Bindings()
            for name in ("stays", "goes", "changes"):
                bindings.learn("t", name, (Bound.MAC,), HOME, 5.0)
            await save(bindings)
            bindings.forget("t", "goes")
            bindings.learn("t", "changes", ALL, HOME, 7.0)
            await save(bindings)
            assert bindings.rows() == []
            again = Bindings()
            assert again.restore(await binding_rows.read_all(store.engine)) == 0
            for name in ("stays", "goes", "changes"):
                assert again.find("t", name) == bindings.find("t", name)
            assert again.rows() == []

    async def save(bindings: Bindings) -> None:
        rows = bindings.rows()
        await store.writer.commit(lambda connection: binding_rows.save(connection, rows))

    asyncio.run(scenario())


def test_what_could_not_be_written_is_written_later_and_as_it_is_then() -> None:
    bindings = Bindings()
    bindings.learn("t", "a", (Bound.MAC,), HOME, 5.0)
    bindings.learn("t", "b", (Bound.MAC,), HOME, 5.0)
    lost = bindings.rows()
    bindings.forget("t", "a")
    bindings.put_back(lost)
    rows = {row.subscriber: row.detail for row in bindings.rows()}
    assert rows.keys() == {"a", "b"}
    assert rows["a"] is None
    assert rows["b"] is not None


def test_a_row_that_cannot_be_read_costs_only_itself() -> None:
    bindings = Bindings()
    bindings.learn("t", "good", ALL, HOME, 5.0)
    broken = [
        BindingRow(tenant="t", subscriber=f"bad{i}", learned_at=1.0, detail=detail)
        for i, detail in enumerate((b"{", b"[]", b'{"mac": "x"}', b'{"learned_at": 1, "shoe": 9}', b"\xff"))
    ]
    again = Bindings()
    assert again.restore([*broken, *bindings.rows()]) == 5
    assert again.find("t", "good") == bindings.find("t", "good")
    assert again.find("t", "bad0") is None


@given(
    st.builds(
        Attachment,
        mac=st.none() | st.text(min_size=1),
        circuit=st.none() | st.binary(min_size=1),
        remote=st.none() | st.binary(),
        vlan=st.none() | st.text(min_size=1),
        port=st.none() | st.text(min_size=1),
    )
)
def test_what_was_learned_is_what_the_same_login_shows_again(shown: Attachment) -> None:
    bindings = Bindings()
    learned = bindings.learn("t", "s", ALL, shown, 5.0)
    again = Bindings()
    again.restore(bindings.rows())
    found = again.find("t", "s")
    assert (found is not None) is bool(learned)
    for bound in learned:
        assert getattr(found, bound) == seen_as(shown, bound)
