"""Conflict probes on a cable between two Linux hosts, each in a network namespace: the kernel answers, not we."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from typing import TypeVar

import pytest

from daemon.clock import SystemClock
from daemon.leases.probe import InUse, Method, NotAsked, Outcome, Query, Silent, Why
from daemon.leases.probe_helper import COMMAND, Helper
from daemon.leases.prober import ProbeOptions, Prober, Reach
from ipam.address import Unit
from ipam.kinds import Space
from tests.e2e.netns import Lab, ip, needs, until

Result = TypeVar("Result")
MAC = "02:00:00:00:00:09"


class Cable:
    """Our host with `edge0`, the other with `home0` and three addresses, one of them behind it."""

    def __init__(self, lab: Lab) -> None:
        self.edge, self.home = lab.namespace("edge"), lab.namespace("home")
        lab.link(self.edge, "edge0", self.home, "home0")
        ip("-n", self.home, "link", "set", "home0", "address", MAC)
        self.address(self.edge, "edge0", "192.0.2.1/24", "2001:db8::1/64")
        self.address(self.home, "home0", "192.0.2.9/24", "2001:db8::9/64")
        self.address(self.home, "lo", "198.51.100.9/32", "2001:db8:1::9/128")
        ip("-n", self.edge, "route", "add", "198.51.100.0/24", "via", "192.0.2.9")
        ip("-n", self.edge, "-6", "route", "add", "2001:db8:1::/48", "via", "2001:db8::9")

    def address(self, namespace: str, device: str, *addresses: str) -> None:
        for each in addresses:
            more = ("nodad",) if ":" in each else ()
            ip("-n", namespace, "addr", "add", each, "dev", device, *more)

    def command(self, *before: str) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.edge, *before, *COMMAND)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    needs({"ip": "iproute2", "setpriv": "util-linux", "tcpdump": "tcpdump"})
    pytest.importorskip("scapy")
    with Lab(tmp_path_factory.mktemp("probe")) as made:
        yield made


@pytest.fixture(scope="module")
def cable(lab: Lab) -> Cable:
    return Cable(lab)


def query(address: str, method: Method = Method.AUTO, **more: object) -> Query:
    fields = {"interface": "edge0", "count": 2, "wait_s": 0.3} | more
    return Query(address=ip_address(address), method=method, **fields)  # type: ignore[arg-type]


def through(command: tuple[str, ...], scenario: Callable[[Helper], Awaitable[Result]]) -> Result:
    async def everything() -> Result:
        helper = Helper(SystemClock(), command)
        try:
            return await scenario(helper)
        finally:
            await helper.stop()

    return asyncio.run(everything())


def ask(cable: Cable, *queries: Query) -> list[Outcome]:
    async def scenario(helper: Helper) -> list[Outcome]:
        return list(await asyncio.gather(*map(helper.ask, queries)))

    return through(cable.command(), scenario)


def test_a_host_on_the_link_answers_arp_and_nd_with_its_mac(cable: Cable) -> None:
    arp, nd = ask(cable, query("192.0.2.9", Method.ARP), query("2001:db8::9", Method.ND))
    assert isinstance(arp, InUse)
    assert (arp.mac, arp.method) == (MAC, Method.ARP)
    assert 0 < arp.rtt_s < 0.3
    assert isinstance(nd, InUse)
    assert (nd.mac, nd.method) == (MAC, Method.ND)


def test_a_host_behind_a_router_answers_an_echo_though_not_on_the_link(cable: Cable) -> None:
    four, six = query("198.51.100.9", Method.ICMP), query("2001:db8:1::9", Method.ICMP)
    found = ask(cable, four, six, query("2001:db8:1::9", Method.ND))
    assert [type(each) for each in found] == [InUse, InUse, Silent]
    assert [(each.mac, each.method) for each in found[:2]] == [("", Method.ICMP)] * 2  # type: ignore[union-attr]


def test_auto_finds_who_is_on_the_link_and_who_is_behind_a_router(cable: Cable) -> None:
    wanted = ("192.0.2.9", "2001:db8::9", "198.51.100.9", "2001:db8:1::9")
    assert [type(each) for each in ask(cable, *map(query, wanted))] == [InUse] * 4


def test_an_address_that_nobody_has_is_silent_to_all_that_was_asked(cable: Cable) -> None:
    silent = ask(cable, query("192.0.2.77"), query("2001:db8::77"), query("192.0.2.77", Method.ARP))
    assert silent == [
        Silent((Method.ARP, Method.ICMP)),
        Silent((Method.ND, Method.ICMP)),
        Silent((Method.ARP,)),
    ]


def test_two_hosts_that_probe_for_the_same_address_see_each_other(cable: Cable) -> None:
    async def everything() -> list[list[Outcome]]:
        clock = SystemClock()
        helpers = [
            Helper(clock, ("ip", "netns", "exec", cable.edge, *COMMAND)),
            Helper(clock, ("ip", "netns", "exec", cable.home, *COMMAND)),
        ]
        both = [("edge0", helpers[0]), ("home0", helpers[1])]
        found: list[list[Outcome]] = []
        for address, method in (("192.0.2.78", Method.ARP), ("2001:db8::78", Method.ND)):
            # The first question loads scapy, and nobody has that address.
            for count in (1, 5):
                wanted = [query(address, method, interface=name, count=count) for name, _ in both]
                asking = zip(both, wanted, strict=True)
                found.append(list(await asyncio.gather(*(helper.ask(each) for (_, helper), each in asking))))
        for helper in helpers:
            await helper.stop()
        return found

    found = asyncio.run(everything())
    for both in (found[1], found[3]):
        assert [type(each) for each in both] == [InUse, InUse]
        assert both[0].mac == MAC  # type: ignore[union-attr]


def test_our_own_address_is_in_use(cable: Cable) -> None:
    found = ask(cable, query("192.0.2.1"), query("2001:db8::1"))
    assert [type(each) for each in found] == [InUse, InUse]


def test_an_interface_without_addresses_asks_on_the_link_alone(cable: Cable, lab: Lab) -> None:
    lab.link(cable.edge, "bare0", cable.home, "bare1")
    ip("-n", cable.edge, "addr", "flush", "dev", "bare0")
    cable.address(cable.home, "bare1", "203.0.113.9/24")
    found = ask(
        cable,
        query("203.0.113.9", interface="bare0"),
        query("203.0.113.10", interface="bare0"),
        query("203.0.113.9", Method.ICMP, interface="bare0"),
    )
    assert isinstance(found[0], InUse)
    assert found[1] == Silent((Method.ARP,))
    assert isinstance(found[2], NotAsked)
    assert found[2].why is Why.NO_SOURCE


def test_a_probe_changes_nobodys_neighbour_cache(cable: Cable) -> None:
    ip("-n", cable.home, "neigh", "flush", "dev", "home0")
    assert isinstance(ask(cable, query("192.0.2.9", Method.ARP))[0], InUse)
    assert "192.0.2.1" not in ip("-n", cable.home, "neigh", "show", "dev", "home0")


def test_no_interface_no_cable_and_no_ethernet_are_told_and_never_taken_for_silence(
    cable: Cable, lab: Lab
) -> None:
    lab.link(cable.edge, "down0", cable.home, "down1")
    ip("-n", cable.home, "link", "set", "down1", "down")
    until(lambda: "NO-CARRIER" in ip("-n", cable.edge, "link", "show", "down0") or None, "no carrier")
    found = ask(
        cable,
        query("192.0.2.9", interface="none0"),
        query("192.0.2.9", interface="down0"),
        query("192.0.2.9", Method.ARP, interface="lo"),
    )
    whys = [each.why for each in found if isinstance(each, NotAsked)]
    assert whys == [Why.NO_INTERFACE, Why.INTERFACE_DOWN, Why.NOT_ETHERNET]


def test_without_the_capability_the_remedy_is_named(cable: Cable) -> None:
    without = ("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw", "--")

    async def scenario(helper: Helper) -> Outcome:
        return await helper.ask(query("192.0.2.9"))

    found = through(cable.command(*without), scenario)
    assert isinstance(found, NotAsked)
    assert found.why is Why.NO_PERMISSION
    assert "CAP_NET_RAW" in found.remedy


def test_an_interface_that_goes_while_asked_is_told_and_one_that_comes_back_is_asked(
    cable: Cable, lab: Lab
) -> None:
    def lay() -> None:
        lab.link(cable.edge, "gone0", cable.home, "gone1")
        cable.address(cable.home, "gone1", "203.0.113.130/25")

    async def scenario(helper: Helper) -> None:
        gone = query("203.0.113.200", Method.ARP, interface="gone0", count=3)
        there = query("203.0.113.130", Method.ARP, interface="gone0")
        lay()
        assert isinstance(await helper.ask(there), InUse)
        asking = asyncio.gather(helper.ask(gone))
        await asyncio.sleep(0.1)
        ip("-n", cable.edge, "link", "delete", "gone0")
        (outcome,) = await asking
        assert outcome == NotAsked(Why.NO_INTERFACE, "gone0")
        lay()
        assert isinstance(await helper.ask(there), InUse)
        assert helper.starts == 1

    through(cable.command(), scenario)


def test_a_cable_pulled_while_asked_is_not_silence(cable: Cable, lab: Lab) -> None:
    lab.link(cable.edge, "cut0", cable.home, "cut1")

    async def scenario(helper: Helper) -> Outcome:
        # The kernel says within a second that there is no carrier.
        gone = query("203.0.113.250", Method.ARP, interface="cut0", count=1, wait_s=2.0)
        asking = asyncio.gather(helper.ask(gone))
        await asyncio.sleep(0.1)
        ip("-n", cable.home, "link", "set", "cut1", "down")
        return (await asking)[0]

    async def ready_first(helper: Helper) -> Outcome:
        await helper.ask(query("203.0.113.250", Method.ARP, interface="cut0", count=1, wait_s=0.01))
        return await scenario(helper)

    assert through(cable.command(), ready_first) == NotAsked(Why.INTERFACE_DOWN, "cut0")


def test_a_killed_helper_is_told_and_not_started_all_the_time(cable: Cable) -> None:
    async def scenario(helper: Helper) -> None:
        await helper.ask(query("192.0.2.9"))
        asking = asyncio.gather(helper.ask(query("192.0.2.77", wait_s=5.0)))
        await asyncio.sleep(0.1)
        assert helper._transport is not None
        os.kill(helper._transport.get_pid(), 9)
        (lost,) = await asking
        assert isinstance(lost, NotAsked)
        assert lost.why is Why.HELPER_ENDED
        again = await helper.ask(query("192.0.2.9"))
        assert isinstance(again, NotAsked)
        helper._not_before = 0.0  # ten seconds later
        assert isinstance(await helper.ask(query("192.0.2.9")), InUse)
        assert helper.starts == 2

    through(cable.command(), scenario)


def test_without_scapy_the_remedy_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "scapy.py"
    blocked.write_text("raise ImportError('not installed')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; "
    code += "runpy.run_module('daemon.leases.probe_worker', run_name='__main__')"

    async def scenario(helper: Helper) -> Outcome:
        return await helper.ask(query("192.0.2.9"))

    found = through((COMMAND[0], "-P", "-c", code), scenario)
    assert found == NotAsked(Why.NO_SCAPY)
    assert "dotmac-edge[capture]" in found.remedy


def test_a_helper_that_does_not_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.leases.probe_helper._GRACE_S", 0.1)

    async def scenario(helper: Helper) -> Outcome:
        return await helper.ask(query("192.0.2.9", count=1, wait_s=0.1))

    assert through(("sleep", "60"), scenario) == NotAsked(Why.HELPER_SILENT)


def test_200_probes_at_50_a_second_are_all_true_and_never_faster(cable: Cable, lab: Lab) -> None:
    capture = lab.directory / "probes.pcap"
    # Their arrival at the other host, where our process cannot prettify it.
    command = ("tcpdump", "-i", "home0", "-w", str(capture), "-U", "--immediate-mode", "arp and arp[7] = 1")
    dump = lab.start(cable.home, *command)
    dump.tells("listening")
    net = IPv4Network("192.0.2.0/24")
    reach = Reach(interface="edge0", prefixes=(net,), method=Method.ARP)
    options = ProbeOptions(enabled=True, reaches=(reach,), per_s=50.0, burst=5, count=1, wait_s=0.5)
    hosts = list(range(20, 220))
    cable.address(cable.home, "home0", *(f"192.0.2.{host}/32" for host in hosts[::40]))

    async def scenario(helper: Helper) -> tuple[list[Outcome], float]:
        prober = Prober(options, helper, SystemClock())
        await helper.ask(query("192.0.2.10", count=1, wait_s=0.05))
        began = time.monotonic()
        units = [Unit(Space.IPV4, int(net[host]), 32) for host in hosts]
        found = await asyncio.gather(*(prober.check("demo", "", unit) for unit in units))
        return list(found), time.monotonic() - began

    found, took_s = through(cable.command(), scenario)
    dump.stop()
    assert [isinstance(each, InUse) for each in found] == [host in hosts[::40] for host in hosts]
    assert 195 / 50 <= took_s < 195 / 50 + 2
    stamps = _stamps(capture)
    assert len(stamps) >= 200
    in_each_second = [sum(begin <= at < begin + 1 for at in stamps) for begin in stamps]
    assert max(in_each_second) <= 50 + 5 + 5  # the rate, the burst, and timers that are late


def _stamps(capture: Path) -> list[float]:
    """Return when each frame of a pcap file came, seconds."""
    octets = capture.read_bytes()
    position, stamps = 24, []
    while position + 16 <= len(octets):
        seconds, micro, length, _ = struct.unpack_from("<IIII", octets, position)
        stamps.append(seconds + micro / 1e6)
        position += 16 + length
    return stamps


def test_the_helper_ends_with_the_daemon(cable: Cable) -> None:
    process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
