"""How fast addresses are asked, who is believed, and where each is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from daemon.leases.probe import (
    REMEDIES,
    InUse,
    Method,
    NotAsked,
    Outcome,
    Query,
    Silent,
    Why,
    fault,
    outcome_line,
    query_line,
    read_outcome,
    read_query,
)
from daemon.leases.prober import Answerers, Prober, Reach, Turns, address_of
from ipam.address import read_unit
from tests.daemon.probe_stage import STRANGER, WireTwin, options
from tests.twins.clock import ClockTwin, settle

QUERY = Query(address=ip_address("192.0.2.9"), interface="edge0")


def run(scenario: Callable[[Prober, WireTwin, ClockTwin], Awaitable[None]], **settings: Any) -> None:
    async def everything() -> None:
        clock = ClockTwin()
        wire = WireTwin(clock)
        wire.takes_s = 0.0
        await scenario(Prober(options(**settings), wire, clock), wire, clock)

    asyncio.run(everything())


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    turns = Turns(10.0, 3)
    assert [round(turns.take(100.0), 3) for _ in range(6)] == [0, 0, 0, 0.1, 0.2, 0.3]
    assert turns.take(101.0) == 0.0
    assert [round(turns.take(200.0), 3) for _ in range(4)] == [0, 0, 0, 0.1]


def test_switched_off_nothing_is_sent() -> None:
    async def scenario(prober: Prober, wire: WireTwin, _clock: ClockTwin) -> None:
        off = NotAsked(Why.SWITCHED_OFF)
        assert await prober.ask(QUERY) == off
        assert await prober.check("acme", "", read_unit("192.0.2.9")) == off
        assert wire.asked == []
        assert "`probe.reaches`" in off.remedy

    run(scenario, enabled=False)


def test_when_too_many_wait_the_next_is_not_asked_and_nobody_is_forgotten() -> None:
    async def scenario(prober: Prober, _wire: WireTwin, clock: ClockTwin) -> None:
        unit = read_unit("192.0.2.9")
        checks = [asyncio.create_task(prober.check("acme", "", unit)) for _ in range(30)]
        await settle()
        refused = [each.result() for each in checks if each.done() and isinstance(each.result(), NotAsked)]
        assert refused == [NotAsked(Why.BUSY)] * 20
        assert prober.counts.waiting == 9  # one had its turn
        await clock.advance(2.0)
        await settle()
        assert all(each.done() for each in checks)
        assert (prober.counts.silent, prober.counts.waiting) == (10, 0)
        assert prober.counts.not_asked == {Why.BUSY: 20}

    run(scenario, queue=10)


def test_a_check_that_is_cancelled_makes_room() -> None:
    async def scenario(prober: Prober, _wire: WireTwin, _clock: ClockTwin) -> None:
        checks = [asyncio.create_task(prober.check("acme", "", read_unit("192.0.2.9"))) for _ in range(5)]
        await settle()
        for each in checks:
            each.cancel()
        await asyncio.gather(*checks, return_exceptions=True)
        assert prober.counts.waiting == 0

    run(scenario)


def test_somebody_who_waits_is_not_behind_what_the_daemon_asks() -> None:
    async def scenario(prober: Prober, wire: WireTwin, clock: ClockTwin) -> None:
        unit = read_unit("192.0.2.77")
        checks = [asyncio.create_task(prober.check("acme", "", unit)) for _ in range(100)]
        await settle()
        assert await prober.ask(QUERY) == Silent((Method.ARP,))
        assert wire.asked[-1] == (clock.monotonic(), "192.0.2.9")
        for each in checks:
            each.cancel()
        await asyncio.gather(*checks, return_exceptions=True)

    run(scenario)


def test_people_cannot_send_without_bound_either() -> None:
    async def scenario(prober: Prober, wire: WireTwin, clock: ClockTwin) -> None:
        asking = [asyncio.create_task(prober.ask(QUERY)) for _ in range(100)]
        await settle()
        assert len(wire.asked) == 5
        refused = [each for each in asking if each.done() and each.result() == NotAsked(Why.BUSY)]
        assert len(refused) == 50
        await clock.advance(1.0)
        assert 9 <= len(wire.asked) <= 10
        await clock.advance(60.0)
        await asyncio.gather(*asking)

    run(scenario)


def test_the_first_interface_that_fits_tenant_vrf_and_prefix_is_asked() -> None:
    near = Reach(interface="near0", prefixes=(ip_network("192.0.2.0/25"),), tenant="acme")
    wide = Reach(interface="wide0", prefixes=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))
    other = replace(wide, interface="vrf0", vrf="business")

    async def scenario(prober: Prober, _wire: WireTwin, _clock: ClockTwin) -> None:
        def where(tenant: str, vrf: str, address: str) -> str | None:
            reach = prober.reach(tenant, vrf, ip_address(address))
            return None if reach is None else reach.interface

        assert where("acme", "", "192.0.2.9") == "near0"
        assert where("other", "", "192.0.2.9") == "wide0"
        assert where("acme", "", "192.0.2.200") == "wide0"
        assert where("acme", "", "2001:db8::1") == "wide0"
        assert where("acme", "business", "192.0.2.9") == "vrf0"
        assert where("acme", "", "203.0.113.9") is None
        assert where("acme", "voice", "192.0.2.9") is None

    run(scenario, reaches=(near, wide, other))


def test_prefixes_are_no_addresses() -> None:
    assert address_of(read_unit("2001:db8:0:100::/56")) is None
    assert address_of(read_unit("2001:db8::1")) == ip_address("2001:db8::1")


def test_a_mac_is_believed_again_an_hour_after_it_answered_for_many() -> None:
    answerers = Answerers(2)
    addresses = [ip_address(f"192.0.2.{host}") for host in range(4)]
    assert [answerers.believe(STRANGER, each, 0.0) for each in addresses] == [True, True, False, False]
    assert not answerers.believe(STRANGER, addresses[0], 3599.0)
    assert answerers.believe(STRANGER, addresses[0], 3600.0)
    assert [answerers.believe(STRANGER, addresses[0], 3601.0) for _ in range(9)] == [True] * 9


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"address": ip_address("224.0.0.1")}, "224.0.0.1"),
        ({"address": ip_address("127.0.0.1")}, "127.0.0.1"),
        ({"address": ip_address("255.255.255.255")}, "255.255.255.255"),
        ({"address": ip_address("::")}, "::"),
        ({"interface": ""}, "interface"),
        ({"interface": "../eth0"}, "interface"),
        ({"interface": "sixteen-octets00"}, "interface"),
        ({"method": Method.ND}, "arp"),
        ({"address": ip_address("2001:db8::9"), "method": Method.ARP}, "nd"),
        ({"count": 0}, "1 to 10"),
        ({"wait_s": 11.0}, "0.01 to 10"),
        ({"wait_s": float("nan")}, "0.01 to 10"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_sent(changed: dict[str, Any], says: str) -> None:
    said = fault(replace(QUERY, **changed))
    assert said is not None
    assert says in said


def test_lines_to_and_from_the_helper_say_everything() -> None:
    wanted = replace(QUERY, method=Method.ICMP, count=3, wait_s=0.25)
    assert fault(wanted) is None
    assert read_query(query_line(7, wanted)) == (7, wanted)
    outcomes: tuple[Outcome, ...] = (
        Silent((Method.ND, Method.ICMP)),
        InUse(STRANGER, Method.ARP, 0.0013),
        InUse("", Method.ICMP, 0.0),
        NotAsked(Why.NO_SOURCE, "edge0\nhas none"),
    )
    for outcome in outcomes:
        line = outcome_line(8, outcome)
        assert line.count(b"\n") == 1
        assert read_outcome(line) == (8, outcome)


def test_each_reason_has_a_remedy() -> None:
    assert set(REMEDIES) == set(Why)
