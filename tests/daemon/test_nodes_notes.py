"""What a node remembers of sessions at addresses of other nodes, and tells the store."""

from __future__ import annotations

from daemon.leases.nodes_notes import Notes
from ipam.history import NOBODY

_SLOT = ("demo", "home", 7)


def test_a_session_is_told_once_and_again_when_it_is_over() -> None:
    notes = Notes()
    notes.add(_SLOT, "1", "ann", NOBODY, "session")
    told = notes.unsaid(10)
    assert [(key, note and note.session) for key, note in told] == [(_SLOT, "1")]
    notes.said(told)
    assert not notes.unsaid(10)
    notes.drop("1")
    assert notes.unsaid(10) == [(_SLOT, None)]
    assert not notes.by_session


def test_what_changes_while_the_store_is_told_is_told_again() -> None:
    notes = Notes()
    notes.add(_SLOT, "1", "ann", NOBODY, "session")
    told = notes.unsaid(10)
    notes.drop("1")
    notes.add(_SLOT, "2", "ann", NOBODY, "session")
    notes.said(told)
    assert [note and note.session for _, note in notes.unsaid(10)] == ["2"]


def test_the_later_session_at_a_slot_is_the_one_that_counts() -> None:
    notes = Notes()
    notes.add(_SLOT, "1", "ann", NOBODY, "session")
    notes.add(_SLOT, "2", "ann", NOBODY, "session")
    notes.drop("1")
    assert len(notes) == 1
    found = notes.find(_SLOT)
    assert found is not None
    assert found.session == "2"


def test_they_are_bounded_and_what_is_left_out_is_counted() -> None:
    notes = Notes(most=1)
    notes.add(_SLOT, "1", "ann", NOBODY, "session")
    notes.add(("demo", "home", 8), "2", "ben", NOBODY, "session")
    assert (len(notes), notes.left_out) == (1, 1)


def test_a_store_that_knows_otherwise_is_told_the_difference() -> None:
    notes = Notes()
    for slot in (1, 2, 3):
        notes.add(("demo", "home", slot), str(slot), "ann", NOBODY, "session")
    notes.said(notes.unsaid(10))
    notes.differ({("demo", "home", 1): "1", ("demo", "home", 2): "9", ("demo", "home", 4): "4"})
    assert {key[2]: note and note.session for key, note in notes.unsaid(10)} == {2: "2", 3: "3", 4: None}


def test_sessions_of_a_block_that_is_ones_own_now_are_compared_with_the_book() -> None:
    notes = Notes()
    regained: list[str] = []
    notes.serve(regained.append, lambda _context, _key: None)
    for slot in (1, 5, 9):
        notes.add(("demo", "home", slot), str(slot), "ann", NOBODY, f"session {slot}")
    notes.regained("demo", "home", 4, 7)
    assert regained == ["session 5"]
    assert len(notes) == 2


def test_a_refused_session_ends_only_where_it_was_there_when_the_node_began() -> None:
    notes = Notes()
    told: list[str] = []
    notes.serve(lambda _context: None, lambda context, _key: told.append(context))
    notes.add(_SLOT, "1", "ann", NOBODY, "session")
    notes.beginning = True
    notes.add(("demo", "home", 8), "2", "ben", NOBODY, "earlier session")
    assert notes.refuse(_SLOT, "1") is None
    assert told == ["session"]
    assert notes.refuse(("demo", "home", 8), "2") == "2"
    assert notes.refuse(("demo", "home", 8), "2") is None  # once
    assert notes.refuse(_SLOT, "9") is None  # the owner speaks of a session that is over
    assert told == ["session"]
