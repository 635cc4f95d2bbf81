"""How many blocks a node claims and gives back, by how fast its free slots go."""

from __future__ import annotations

from daemon.leases.nodes_plan import Demand


def demand(free: int) -> Demand:
    made = Demand(block_slots=256, ahead_s=10.0)
    made.look(free, 100.0)
    return made


def test_half_a_block_is_kept_free_where_nothing_happens() -> None:
    assert demand(0).claim() == 1
    assert demand(127).claim() == 1
    assert demand(128).claim() == 0


def test_a_storm_is_claimed_for_ahead_of_time() -> None:
    made = demand(10_256)
    made.look(256, 101.0)  # 10,000 logins a second
    assert made.rate_per_s == 10_000
    assert made.claim() == 256  # as many as go into one transaction
    made.moved(256 * 256)
    made.look(55_792, 102.0)
    assert made.claim() == 173  # 100,000 slots, for ten seconds


def test_blocks_that_came_are_no_leases_that_ended() -> None:
    made = demand(200)
    made.moved(256)
    made.look(356, 101.0)
    assert made.rate_per_s == 100


def test_a_rate_is_forgotten_when_the_storm_is_over() -> None:
    made = demand(10_256)
    made.look(256, 101.0)
    for second in range(60):
        made.look(256, 102.0 + second)
    assert made.claim() == 0


def test_claims_double_while_logins_are_refused() -> None:
    made = demand(0)
    claims = []
    for turn in range(5):
        claims.append(made.claim())
        made.look(0, 101.0 + turn)  # all gone at once, at a rate that nobody saw
    assert claims == [1, 2, 4, 8, 16]


def test_what_is_spare_is_given_back_only_after_a_while() -> None:
    made = demand(2000)
    assert made.spare(101.0, 60.0) == 0
    assert made.spare(160.0, 60.0) == 0
    assert made.spare(161.0, 60.0) == 6  # two half blocks and what is left of a block stay
    made.look(100, 162.0)
    assert made.spare(163.0, 60.0) == 0
    made.look(2000, 200.0)
    assert made.spare(201.0, 60.0) == 0
