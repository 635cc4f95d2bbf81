"""What a login is leased: by whom it is, in what standing, from where, and what becomes of it if it is not answered."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from daemon.aaa.endpoint import Port
from daemon.replica.records import Plan, Service, Tenant
from daemon.replica.rules import Act, Rules, SimultaneousMode, Treatment
from ipam.kinds import Kind
from ipam.lease import Bundle, Request, Wanted
from ipam.model import Match, Pool, Selector, range_of
from ipam.selection import Selectors
from radius.codes import Attr, Code
from radius.exchange import Request as Asked
from radius.exchange import check_reply
from radius.packet import Packet, attribute
from tests.daemon.policy_stage import GARDEN
from tests.daemon.stack import Stack, nas
from tests.twins.nas import NasTwin

_PPP = attribute(Attr.FRAMED_PROTOCOL, (1).to_bytes(4, "big"))


def stage_with_pools(*more: object, selectors: tuple[Selector, ...] = ()) -> Stack:
    """Return a provider with the pools one and two; everybody is served from one."""
    stage = Stack(*more)  # type: ignore[arg-type]
    for name, given in (("one", "203.0.113.0/29"), ("two", "198.51.100.0/29")):
        pool = Pool(tenant="demo", vrf="", name=name, kind=Kind.V4, unit_length=32, ranges=())
        stage.addresses.register.add_pool(replace(pool, ranges=(range_of(given, pool),)))
    chosen = selectors or (selector("everybody", "one"),)
    stage.addresses.choose_by({"demo": Selectors(list(chosen))})
    return stage


def selector(name: str, pool: str, **match: Any) -> Selector:
    return Selector(name=name, priority=10, match=Match(tenant="demo", **match), pools=((Kind.V4, (pool,)),))


def ask(stage: Stack, twin: NasTwin, request: Asked) -> Packet:
    """Return the answer to a login, after the disk has said yes."""
    got = twin.send(request)
    wire = stage.wires[Port.AUTH]
    addresses = stage.addresses
    if addresses.register.batch() is not None:
        addresses.register.ledger.confirm()
        addresses.lessor.committed()
    got = got or [octets for octets, _ in wire.sent]
    wire.sent.clear()
    return check_reply(request, got[-1], twin.key)


def login(stage: Stack, name: str, password: str, *, port: int = 0, mac: int = 0) -> Packet:
    twin = stage.nas()
    more = _PPP
    if port:
        more += attribute(Attr.NAS_PORT, port.to_bytes(4, "big"))
    if mac:
        more += attribute(Attr.CALLING_STATION_ID, b"02-00-00-00-00-%02d" % mac)
    return ask(stage, twin, twin.login(name, password, more))


def address(reply: Packet) -> str:
    octets = reply.find(Attr.FRAMED_IP_ADDRESS)
    return "" if octets is None else str(IPv4Address(octets))


def _lets_strangers_in() -> Tenant:
    into_the_garden = (("unknown-user", Treatment(act=Act.CAPTIVE)),)
    return Tenant(id="demo", garden=replace(GARDEN, ipv4_pool=None), treatments=into_the_garden)


def _limited(mode: SimultaneousMode, *treatments: tuple[str, Treatment]) -> Plan:
    rules = Rules(simultaneous_use=1, simultaneous_mode=mode, treatments=treatments)
    return Plan(tenant="demo", id="home-100", service=Service(), rules=rules)


def test_strangers_whose_nas_does_not_tell_who_calls_have_an_address_each() -> None:
    stage = stage_with_pools(_lets_strangers_in())
    first = address(login(stage, "who", "x", port=1))
    assert first
    assert address(login(stage, "else", "x", port=2)) not in ("", first)
    assert address(login(stage, "who", "x", port=1)) == first


def test_a_stranger_whom_nothing_tells_from_others_is_leased_nothing() -> None:
    stage = stage_with_pools(_lets_strangers_in())
    reply = login(stage, "who", "x")
    assert reply.code == Code.ACCESS_ACCEPT
    assert address(reply) == ""


def test_sessions_of_a_subscriber_on_two_ports_have_an_address_each() -> None:
    stage = stage_with_pools()
    first = address(login(stage, "alice", "wonderland", port=1))
    assert address(login(stage, "alice", "wonderland", port=2)) != first
    assert address(login(stage, "alice", "wonderland", port=1)) == first


@pytest.mark.parametrize(
    "mode", [SimultaneousMode.REPORT, SimultaneousMode.SHADOW, SimultaneousMode.KICK_OLD]
)
def test_a_second_device_that_is_let_in_has_an_address_of_its_own(mode: SimultaneousMode) -> None:
    stage = stage_with_pools(_limited(mode))
    first = address(login(stage, "alice", "wonderland", mac=1))
    assert address(login(stage, "alice", "wonderland", mac=2)) not in ("", first)


def test_a_device_too_many_in_the_garden_has_an_address_of_its_own() -> None:
    too_many = ("too-many-sessions", Treatment(act=Act.CAPTIVE))
    tenant = Tenant(id="demo", garden=replace(GARDEN, ipv4_pool=None))
    stage = stage_with_pools(tenant, _limited(SimultaneousMode.REJECT_NEW, too_many))
    first = address(login(stage, "alice", "wonderland", mac=1))
    assert address(login(stage, "alice", "wonderland", mac=2)) not in ("", first)


def test_who_may_be_online_once_only_has_one_address_with_any_equipment() -> None:
    stage = stage_with_pools(_limited(SimultaneousMode.REJECT_NEW))
    first = address(login(stage, "alice", "wonderland", mac=1))
    stage.at += 3600
    stage.now += 3600
    assert address(login(stage, "alice", "wonderland", mac=2)) == first


def test_a_garden_with_a_pool_of_the_nas_leaves_the_address_to_that() -> None:
    stage = stage_with_pools(Tenant(id="demo", garden=replace(GARDEN, ipv4_pool="walled")))
    reply = login(stage, "carol", "christmas", mac=1)
    assert reply.find(Attr.FRAMED_POOL) == b"walled"
    assert address(reply) == ""
    assert address(login(stage, "alice", "wonderland", mac=2))


def test_who_is_on_a_restricted_plan_is_served_from_the_pools_of_that() -> None:
    thin = ("expired", Treatment(act=Act.PLAN, plan="thin"))
    stage = stage_with_pools(
        Plan(tenant="demo", id="home-100", service=Service(), rules=Rules(treatments=(thin,))),
        Plan(tenant="demo", id="thin", service=Service()),
        selectors=(selector("a", "one", plan="home-100"), selector("b", "two", plan="thin")),
    )
    assert address(login(stage, "expired", "milk", mac=1)).startswith("198.51.100.")
    assert address(login(stage, "alice", "wonderland", mac=2)).startswith("203.0.113.")


def test_a_nas_that_moves_to_another_site_serves_from_the_pools_of_that() -> None:
    sites = selector("n", "one", site="north"), selector("s", "two", site="south")
    stage = stage_with_pools(nas(site="north"), selectors=sites)
    assert address(login(stage, "alice", "wonderland", mac=1)).startswith("203.0.113.")
    stage.index.put(nas(site="south"))
    stage.clients.turn()
    assert address(login(stage, "alice", "wonderland", mac=2)).startswith("198.51.100.")


def test_what_is_given_back_stays_where_an_earlier_login_was_told_it() -> None:
    stage = stage_with_pools()
    book = stage.addresses.book
    asked = Request(tenant="demo", wanted=(Wanted(Kind.V4, ("one",)),))
    first = book.take("A1", asked, stage.now, stage.at)
    again = book.take("A1", asked, stage.now, stage.at)
    assert isinstance(first, Bundle)
    assert isinstance(again, Bundle)
    stage.leasing.give_back(again, stage.at)
    assert book.stands(first.id)
    stage.leasing.give_back(first, stage.at)
    assert not book.stands(first.id)
