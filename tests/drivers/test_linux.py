"""Linux with real nft and tc in network namespaces: pushes, the device's own timer, cuts over SSH, services."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Session
from drivers.conformance import Subject, Verdict, verify
from drivers.emulator.commands import CommandEmulator, in_shell
from drivers.emulator.faults import Faults
from drivers.errors import CommandRefused
from drivers.linux import DRIVER
from drivers.linux_text import BadChange, parse, recorded, restoring, steady, tables
from drivers.model import Change, ConfigKind, Mode, ServiceIntent, ServiceVerb, Severity
from drivers.outcomes import CommitState, ConfirmState, Settled
from drivers.settle import settle
from drivers.target import Credentials, Deadlines, Target
from tests.drivers.beds import PASSWORD, USER, Cutter, run, target_of

MISSING = [tool for tool in ("nft", "tc", "ip", "unshare") if shutil.which(tool) is None]
real = pytest.mark.skipif(bool(MISSING) or os.geteuid() != 0, reason="needs root, nft, tc, ip and unshare")
RULES = """
table inet edge {
  set suspended { type ipv4_addr; }
  set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
  chain forward { type filter hook forward priority 0; ip saddr @suspended counter drop; }
}
table ip other { chain c { counter; }; }
"""
ADD = Change(
    Mode.MERGE,
    """%% nft
add element inet edge suspended { 192.0.2.7 comment "edge:k7" }
%% tc
qdisc replace dev veth0 root handle 1: htb default 1
class replace dev veth0 parent 1: classid 1:100 htb rate 10000000bit
%% networkd 20-edge.network
[Match]
Name=veth0
""",
)
BACK = Change(
    Mode.MERGE,
    """%% nft
delete element inet edge suspended { 192.0.2.7 }
%% tc
qdisc del dev veth0 root
%% networkd 20-edge.network absent
""",
)
BAD = Change(Mode.MERGE, "%% nft\nadd rule inet nosuch c accept\n")
HALF = Change(Mode.MERGE, f"{ADD.text}%% tc\nclass replace dev veth0 parent 9: classid 9:1 htb rate 1bit\n")
WAIT = Deadlines(connect_s=3, login_s=3, command_s=10, commit_s=15, close_s=1)


class Router:
    """A namespace with two veths and a ruleset."""

    def __init__(self, home: Path) -> None:
        self.name = f"dmlin{os.getpid()}"
        self.home = home
        self.networks, self.state = home / "network", home / "state"
        for each in (self.networks, self.state):
            each.mkdir()
        self.networks.joinpath("10-lo.network").write_text("[Match]\nName=lo\n")
        self.options = {
            "state_dir": str(self.state),
            "network_dir": str(self.networks),
            "networkd_reload": f"touch {home}/reloaded",
            "nft_file": str(home / "nftables.conf"),
            "tc_file": str(home / "saved" / "tc.batch"),
            "uplink": "veth1",
        }
        self.sh(f"ip netns add {self.name}", inside=False)
        self.sh("ip link add veth0 type veth peer name veth1; ip link set veth0 up; ip link set veth1 up")
        subprocess.run(
            ["ip", "netns", "exec", self.name, "nft", "-f", "-"], input=RULES, text=True, check=True
        )

    def sh(self, script: str, *, inside: bool = True) -> str:
        """Run a script on the router, past every driver."""
        prefix = ["ip", "netns", "exec", self.name] if inside else []
        done = subprocess.run([*prefix, "sh", "-c", script], check=True, capture_output=True, text=True)
        return done.stdout

    def local(self, **more: Any) -> Target:
        """Return how to reach it without SSH."""
        options = {**self.options, "local": "yes", "namespace": self.name}
        login = Credentials("root")
        told: dict[str, Any] = {"deadlines": WAIT, "may_write": True, "options": options}
        return Target("lin", "localhost", login, **{**told, **more})

    @asynccontextmanager
    async def over_ssh(self) -> AsyncGenerator[tuple[CommandEmulator, Target]]:
        """Serve it over SSH, each command in a shell inside the namespace."""
        inside = in_shell({"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "NS": self.name})

        async def execute(line: str, stdin: Any) -> Any:
            quoted = line.replace("'", "'\\''")
            return await inside(f"ip netns exec $NS sh -c '{quoted}'", stdin)

        async with CommandEmulator(execute, {USER: PASSWORD}, Faults()) as emulator:
            yield emulator, target_of(emulator, options=self.options, deadlines=WAIT)


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    box = Router(tmp_path)
    yield box
    subprocess.run(["ip", "netns", "del", box.name], check=False)


async def _until_reverted(router: Router, target: Target, before: str) -> None:
    for _ in range(60):
        await asyncio.sleep(0.25)
        async with DRIVER.session(target) as session:
            if (await session.get_config()).digest == before:
                return
    raise AssertionError(router.sh("nft list ruleset; tc qdisc show"))


@real
def test_linux_passes_the_conformance_kit_in_a_namespace(router: Router) -> None:
    async def work() -> None:
        subject = Subject(DRIVER, router.local(), ADD, BACK, "nft list tables", bad=BAD, confirm_within_s=5)
        report = await verify(subject)
        assert {c.name: c.detail for c in report.failed} == {}
        assert report.may_write
        skipped = {c.name for c in report.checks if c.verdict is Verdict.SKIPPED}
        assert skipped <= {"wrong-password", "wrong-host-key", "lock-refused"}

    run(work, limit_s=110)


@real
def test_linux_passes_the_conformance_kit_over_ssh(router: Router) -> None:
    async def work() -> None:
        async with router.over_ssh() as (emulator, target):
            cut = Cutter(emulator.faults, r"(?s).*nft -f nft.change.*")
            more: dict[str, Any] = {"cut": cut, "attempts": lambda: emulator.attempts}
            report = await verify(
                Subject(DRIVER, target, ADD, BACK, "nft list tables", bad=BAD, confirm_within_s=5, **more)
            )
        assert {c.name: c.detail for c in report.failed} == {}
        assert [c.name for c in report.checks if c.verdict is Verdict.SKIPPED] == ["lock-refused"]

    run(work, limit_s=110)


@real
@pytest.mark.parametrize("ssh", [False, True])
def test_a_push_cut_in_the_middle_is_taken_back_by_the_router(router: Router, *, ssh: bool) -> None:
    async def work() -> None:
        router.options["networkd_reload"] = "sleep 2"  # time to be cut in
        async with router.over_ssh() as (_, remote):
            target = remote if ssh else router.local()
            async with DRIVER.session(target) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 5)
                async with asyncio.TaskGroup() as group:
                    group.create_task(_cut(session))
                    result = await session.commit(staged, ref)
            assert result.state is CommitState.UNVERIFIED
            async with DRIVER.session(target) as session:
                assert ref.id in (await session.pending()).ids
                assert "192.0.2.7" in (await session.get_config()).text
            await _until_reverted(router, target, ref.before)

    async def _cut(session: Session) -> None:
        while "192.0.2.7" not in await asyncio.to_thread(router.sh, "nft list ruleset"):
            await asyncio.sleep(0.01)
        session.abort()

    run(work)


@real
def test_only_what_was_touched_is_taken_back(router: Router) -> None:
    async def work() -> None:
        router.sh("nft add element inet edge seen { 198.51.100.9 }")
        async with DRIVER.session(router.local()) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 60)
            assert (await session.commit(staged, ref)).state is CommitState.PENDING
            router.sh("nft add table ip stranger; tc qdisc replace dev veth1 root handle 7: htb")
            assert (router.home / "reloaded").exists()
            await session.rollback(ref)
        after = router.sh("nft list ruleset; tc qdisc show")
        assert "192.0.2.7" not in after
        assert "table ip stranger" in after
        assert "htb 7: dev veth1" in after
        assert "dev veth0 root" not in after.replace("noqueue 0: dev veth0 root", "")
        assert "198.51.100.9" in after  # what packets taught a dynamic set is kept
        assert sorted(each.name for each in router.networks.iterdir()) == ["10-lo.network"]

    run(work)


@real
def test_a_change_that_fails_half_way_is_taken_back_at_once(router: Router) -> None:
    async def work() -> None:
        async with DRIVER.session(router.local()) as session:
            before = (await session.get_config()).digest
            staged = await session.stage(HALF)
            result = await session.commit(staged, session.reference(staged, 60))
            assert result.state is CommitState.REJECTED
            assert (await session.get_config()).digest == before
            assert (await session.pending()).ids == ()

    run(work)


@real
def test_shaping_that_is_not_ours_is_left_alone(router: Router) -> None:
    async def work() -> None:
        router.sh("tc qdisc replace dev veth0 root handle 5: htb")
        async with DRIVER.session(router.local()) as session:
            with pytest.raises(CommandRefused, match=r"veth0.*tc qdisc del dev veth0 root"):
                await session.stage(ADD)
            router.sh("tc qdisc del dev veth0 root")
            staged = await session.stage(ADD)
            await session.commit(staged, session.reference(staged))
            router.sh("tc class replace dev veth0 parent 1: classid 1:100 htb rate 1mbit")  # behind our back
            with pytest.raises(CommandRefused, match="not as this driver left them"):
                await session.stage(BACK)

    run(work)


@real
def test_a_bad_rule_does_not_validate_and_an_include_is_not_staged(router: Router) -> None:
    async def work() -> None:
        async with DRIVER.session(router.local()) as session:
            staged = await session.stage(BAD)
            found = await session.validate(staged)
            assert [each.severity for each in found] == [Severity.ERROR]
            assert "No such file" in found[0].message
            with pytest.raises(CommandRefused, match="taken back"):
                await session.stage(Change(Mode.MERGE, '%% nft\ninclude "/etc/passwd"\n'))

    run(work)


@real
@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        (fault, pattern)
        for fault in ("cut_before", "cut_after", "hang_at", "lie_at")
        for pattern in (".*armed.*", ".*nft -f nft.change.*", "nft -s list ruleset")
    ],
)
def test_no_fault_in_a_commit_looks_like_success(router: Router, fault: str, pattern: str) -> None:
    async def work() -> None:
        async with router.over_ssh() as (emulator, target):
            target = replace(target, deadlines=replace(WAIT, command_s=2, commit_s=4))
            async with DRIVER.session(target) as session:
                staged = await session.stage(ADD)
                ref = session.reference(staged, 60)
                setattr(emulator.faults, fault, f"(?s){pattern}")
                result = await session.commit(staged, ref)
                emulator.faults.lie_at = ""
            if (fault, pattern) != ("lie_at", ".*armed.*"):
                assert result.state is CommitState.UNVERIFIED
            async with DRIVER.session(target) as session:
                assert await settle(session, ref, ADD) in set(Settled) - {Settled.UNVERIFIED}
                await session.rollback(ref)
                assert (await session.get_config()).digest == ref.before

    run(work)


@real
def test_shaping_without_a_receipt_is_unverified(router: Router) -> None:
    async def work() -> None:
        async with router.over_ssh() as (emulator, target), DRIVER.session(target) as session:
            staged = await session.stage(Change(Mode.MERGE, ADD.text[ADD.text.index("%% tc") :]))
            emulator.faults.lie_at = "(?s).*nft -f nft.change.*"
            result = await session.commit(staged, session.reference(staged, 60))
            assert (result.state, result.slug) == (CommitState.UNVERIFIED, "no-receipt")

    run(work)


@real
def test_an_unconfirmed_push_reverts_and_a_saved_one_is_for_the_next_boot(router: Router) -> None:
    async def work() -> None:
        target = router.local()
        async with DRIVER.session(target) as session:
            staged = await session.stage(ADD)
            ref = session.reference(staged, 5)
            assert (await session.commit(staged, ref)).state is CommitState.PENDING
        await _until_reverted(router, target, ref.before)
        async with DRIVER.session(target) as session:
            assert (await session.confirm(ref)).state is ConfirmState.LAPSED
            staged = await session.stage(ADD)
            ref = session.reference(staged, 30)
            await session.commit(staged, ref)
            assert (await session.confirm(ref)).state is ConfirmState.CONFIRMED
            await session.save()
            startup = (await session.get_config(ConfigKind.STARTUP)).text
        assert "192.0.2.7" in startup
        assert "classid 1:100" in startup

    run(work)


@real
def test_services_shape_suspend_and_go_again(router: Router) -> None:
    async def work() -> None:
        router.sh("nft add element inet edge suspended { 192.0.2.99 }")
        intent = ServiceIntent(
            ServiceVerb.ADD,
            "s-1",
            port="veth0",
            address="192.0.2.8",
            download_bps=20_000_000,
            upload_bps=5_000_000,
        )
        roots = "qdisc replace dev {0} root handle 1: htb default 1"
        first = f"%% tc\n{roots.format('veth0')}\n{roots.format('veth1')}\n"
        async with DRIVER.session(router.local()) as session:
            before = await _pushed(session, Change(Mode.MERGE, first))
            await _pushed(session, await session.apply_service(intent))
            told = router.sh("tc class show dev veth0; tc class show dev veth1; tc filter show dev veth1")
            assert "rate 20Mbit" in told
            assert "rate 5Mbit" in told
            assert "match c0000208/ffffffff at 12" in told  # the source address
            assert (await session.apply_service(intent)).text == ""
            await _pushed(session, await session.apply_service(replace(intent, verb=ServiceVerb.SUSPEND)))
            assert '192.0.2.8 comment "edge:s-1"' in router.sh("nft list ruleset")
            foreign = replace(intent, verb=ServiceVerb.RESUME, address="192.0.2.99")
            assert (await session.apply_service(foreign)).text == ""  # carries no mark of ours
            await _pushed(session, await session.apply_service(replace(intent, verb=ServiceVerb.REMOVE)))
            assert (await session.get_config()).digest == before

    async def _pushed(session: Session, change: Change) -> str:
        staged = await session.stage(change)
        result = await session.commit(staged, session.reference(staged))
        assert result.state is CommitState.COMMITTED, result
        return (await session.get_config()).digest

    run(work)


@real
def test_facts_and_identity_are_those_of_the_machine(router: Router) -> None:
    async def work() -> None:
        async with DRIVER.session(router.local()) as session:
            facts = await session.facts()
            assert {"veth0", "veth1", "lo"} == {each.name for each in facts.interfaces}
            assert session.capabilities.writes
            old = replace(session.identity, version="nftables 0.9.0")
            assert not session._capabilities(old).writes
            assert "veth0" in (await session.exec("ip -j link show dev veth0")).text

    run(work)


def test_parts_are_told_apart_and_strangers_refused() -> None:
    parts = parse(ADD.text)
    assert parts.nft.startswith("add element")
    assert len(parts.tc) == 2
    assert parts.files == {"20-edge.network": "[Match]\nName=veth0\n"}
    assert parse(BACK.text).files == {"20-edge.network": None}
    for wrong in ("stray\n", "%% tc\nqdisc show\n", "%% networkd ../../etc/passwd\nx\n", "%% what\n"):
        with pytest.raises(BadChange):
            parse(wrong)


def test_what_an_nft_script_touches_is_known_before_it_is_sent() -> None:
    assert tables("add rule inet a c accept\nflush chain b c\ntable ip6 d {\n chain x { }\n}\n") == (
        ("inet", "a"),
        ("ip", "b"),
        ("ip6", "d"),
    )
    assert tables("flush ruleset\nadd table ip x\n") is None
    for wrong in ("define x = 1\n", 'include "x"\n', "add table ip x; add table ip y\n"):
        with pytest.raises(BadChange):
            tables(wrong)


def test_the_way_back_names_a_table_that_was_not_there() -> None:
    listed = "table ip a {\n\tchain c {\n\t}\n}\ntable ip b {\n}\n"
    back = restoring(listed, (("ip", "a"), ("ip", "new")))
    assert back.count("delete table") == 2
    assert "table ip b" not in back


def test_a_record_of_tc_lines_forgets_what_hangs_on_what_is_deleted() -> None:
    add = [
        "qdisc replace dev e root handle 1: htb",
        "class replace dev e parent 1: classid 1:a htb rate 1mbit",
        "qdisc replace dev e parent 1:a handle 10: pfifo",
        "filter replace dev e parent 1: protocol ip prio 1 handle 800::a u32 match ip dst 192.0.2.1 flowid 1:a",
    ]
    faster = "class replace dev e parent 1: classid 1:a htb rate 2mbit"
    assert recorded(add, [faster]) == [add[0], faster, *add[2:]]
    assert recorded(add, ["class del dev e classid 1:a"]) == add[:1]
    assert recorded([*add, "qdisc add dev f root handle 1: htb"], ["qdisc del dev e root"]) == [
        "qdisc add dev f root handle 1: htb"
    ]


def test_the_order_in_which_tables_were_made_is_no_configuration() -> None:
    one, two = "table ip a {\n\tset s {\n\t}\n}\n", "table inet b {\n}\n"
    assert steady(f"%% nft\n{one}{two}%% tc\n") == steady(f"%% nft\n{two}{one}%% tc\n")


def test_what_packets_put_into_dynamic_sets_is_no_configuration() -> None:
    listed = (
        "table ip t {\n\tset d {\n\t\tflags dynamic,timeout\n\t\telements = { 1.2.3.4 }\n\t}\n\tset s {\n"
    )
    rest = "\t\telements = { 192.0.2.1 }\n\t}\n}\n"
    assert steady(listed + rest).count("elements") == 1
