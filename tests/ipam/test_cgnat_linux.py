"""The nftables snippet in a real kernel: connections leave with the address and ports that the plan says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from ipam.cgnat import Algorithm, DeterministicPlan
from ipam.cgnat_devices import Device, Snippet, snippet

SERVER = "192.0.2.1"
PORT = 4_711

# Listens, says so, then prints each peer it has seen until it has seen all.
_OUTSIDE = f"""
import socket, sys, json
wanted = int(sys.argv[1])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
tcp = socket.socket()
tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
for each in udp, tcp:
    each.bind(("{SERVER}", {PORT}))
    each.settimeout(20)
tcp.listen(256)
print("ready", flush=True)
seen = []
for _ in range(wanted):
    told, peer = udp.recvfrom(64)
    seen.append([told.decode(), *peer])
for _ in range(wanted):
    connection, peer = tcp.accept()
    connection.settimeout(20)
    seen.append([connection.recv(64).decode(), *peer])
print(json.dumps(seen))
"""
_INSIDE = f"""
import socket, sys
for kind in socket.SOCK_DGRAM, socket.SOCK_STREAM:
    for address in sys.argv[2:]:
        for _ in range(int(sys.argv[1])):
            each = socket.socket(socket.AF_INET, kind)
            each.settimeout(20)
            each.bind((address, 0))
            each.connect(("{SERVER}", {PORT}))
            each.send(address.encode())
"""


def run(*call: str) -> None:
    subprocess.run(call, check=True, timeout=20, capture_output=True)


@contextmanager
def nat_between(plan: DeterministicPlan, rules: Path) -> Iterator[tuple[str, str]]:
    """Yield the namespaces inside and outside of a NAT with these rules."""
    names = [f"cgn{os.getpid()}{end}" for end in "ino"]
    inner, nat, outer = names
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        for name, device in ((inner, "in0"), (outer, "out0")):
            run(
                "ip",
                "link",
                "add",
                device,
                "netns",
                nat,
                "type",
                "veth",
                "peer",
                "name",
                "up0",
                "netns",
                name,
            )
            run("ip", "-n", nat, "link", "set", device, "up")
            run("ip", "-n", name, "link", "set", "up0", "up")
        run("ip", "-n", nat, "address", "add", "100.64.255.1/32", "dev", "in0")
        run("ip", "-n", nat, "address", "add", "192.0.2.2/24", "dev", "out0")
        run("ip", "-n", outer, "address", "add", f"{SERVER}/24", "dev", "up0")
        for prefix in plan.inside:
            run("ip", "-n", nat, "route", "add", str(prefix), "dev", "in0")
            for address in prefix:
                run("ip", "-n", inner, "address", "add", f"{address}/32", "dev", "up0")
        run("ip", "-n", inner, "route", "add", "default", "via", "100.64.255.1", "dev", "up0", "onlink")
        for prefix in plan.outside:
            run("ip", "-n", outer, "route", "add", str(prefix), "via", "192.0.2.2")
        run("ip", "netns", "exec", nat, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        run("ip", "netns", "exec", nat, "nft", "-f", str(rules))
        yield inner, outer
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.parametrize("algorithm", [Algorithm.SEQUENTIAL, Algorithm.STRIPED])
def test_connections_leave_with_the_ports_of_the_plan(algorithm: Algorithm, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("nft") is None or shutil.which("ip") is None:
        pytest.skip("needs root, iproute2 and nftables")
    plan = DeterministicPlan(
        id="pop1",
        version=1,
        inside=(IPv4Network("100.64.0.0/29"),),
        outside=(IPv4Network("203.0.113.0/31"),),
        sharing=4,
        block_size=16,  # so small that a wrong block shows
        algorithm=algorithm,
    )
    made = snippet(plan, Device.NFTABLES)
    assert isinstance(made, Snippet)
    rules = tmp_path / "rules.nft"
    rules.write_text(made.text)
    addresses = [str(address) for address in plan.inside[0]]
    with (
        nat_between(plan, rules) as (inner, outer),
        subprocess.Popen(
            ["ip", "netns", "exec", outer, sys.executable, "-c", _OUTSIDE, str(5 * len(addresses))],
            stdout=subprocess.PIPE,
            text=True,
        ) as server,
    ):
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        run("ip", "netns", "exec", inner, sys.executable, "-c", _INSIDE, "5", *addresses)
        seen = json.loads(server.stdout.read())
    assert len(seen) == 2 * 5 * 8
    for told, outside, port in seen:
        assert plan.reverse(IPv4Address(outside), port) == IPv4Address(told)
