"""Leases over the API and the command line: lists, single ones, releases, history, use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from daemon.api.ipam_leases_listing import LeaseFilter, list_leases
from daemon.cli.ipam import _USE_COLUMNS, _use_row, bar
from daemon.cli.ipam import group as ipam_group
from daemon.cli.ipam_leases import group as lease_group
from daemon.cli.pages import show_page
from daemon.leases.addresses import Addresses
from daemon.store.audit_rows import AuditSearch, search
from ipam.history import Party
from ipam.kinds import Kind
from ipam.lease import Bundle, Request, Wanted
from ipam.model import Pool, range_of
from tests.daemon.ipam_leases_stage import Counter, counter
from tests.twins.bng import BngTwin, CpeTwin

Story = Callable[[Counter], Awaitable[None]]


def run(directory: Path, story: Story, **settings: Any) -> None:
    async def everything() -> None:
        async with counter(directory, **settings) as stage:
            await story(stage)

    asyncio.run(everything())


def take(stage: Counter, owner: str, *, nas: str = "bng-9", pool: str = "v4", kind: Kind = Kind.V4) -> Bundle:
    """Take a lease as a login does."""
    addresses, clock = stage.play.edge.addresses, stage.play.clock
    wanted = Request(tenant="demo", wanted=(Wanted(kind, (pool,)),), party=Party(owner, nas))
    taken = addresses.book.take(owner, wanted, clock.monotonic(), clock.wall())
    assert isinstance(taken, Bundle), taken
    return taken


async def online(stage: Counter) -> tuple[BngTwin, CpeTwin]:
    """Bring alice online."""
    bng = await stage.play.bng()
    cpe = bng.cpe("alice", "wonderland")
    await stage.play.connect(bng, cpe)
    return bng, cpe


def addresses_of(page: Any) -> list[str]:
    return [each["address"] for each in page["items"]]


# --- lists -----------------------------------------------------------------------------------------


def test_leases_are_listed_by_every_field(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        _, cpe = await online(stage)
        session = stage.play.find(cpe)
        assert session is not None
        take(stage, "S1")
        take(stage, "S2", nas="bng-8")
        every = await stage.get("/leases")
        assert addresses_of(every) == ["2001:db8:100::/56", "203.0.113.0", "203.0.113.1", "203.0.113.2"]
        assert every["next"] is None
        for wanted, expected in (
            ({"pool": "v4"}, ["203.0.113.0", "203.0.113.1", "203.0.113.2"]),
            ({"state": "bound"}, ["2001:db8:100::/56", "203.0.113.0"]),
            ({"state": "free"}, []),
            ({"subscriber": "S2"}, ["203.0.113.2"]),
            ({"owner": "S1"}, ["203.0.113.1"]),
            ({"nas": "bng-8"}, ["203.0.113.2"]),
            ({"session": session.uid, "pool": "v4"}, ["203.0.113.0"]),
            ({"prefix": "203.0.113.2/31"}, ["203.0.113.2"]),
            ({"prefix": "2001:db8::/32"}, ["2001:db8:100::/56"]),
            ({"vrf": "default", "prefix": "203.0.113.1"}, ["203.0.113.1"]),
            ({"vrf": "blue"}, []),
            ({"tenant": "other"}, []),
        ):
            assert addresses_of(await stage.get("/leases", **wanted)) == expected, wanted
        bound = (await stage.get("/leases", pool="v4"))["items"][0]
        assert (bound["subscriber"], bound["state"], bound["vrf"]) == ("A1", "bound", "default")
        assert bound["session"] == str(session.uid)

    run(tmp_path, story)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_pages_go_on_where_the_last_one_ended_and_miss_none(tmp_path: Path, limit: int) -> None:
    async def story(stage: Counter) -> None:
        for number in range(8):
            take(stage, f"S{number}")
            take(stage, f"S{number}", pool="pd", kind=Kind.PD)
        found: list[str] = []
        cursor = None
        for _ in range(20):
            page = await stage.get("/leases", limit=limit, cursor=cursor)
            assert len(page["items"]) <= limit
            found += addresses_of(page)
            cursor = page["next"]
            if cursor is None:
                break
        assert len(found) == 16
        assert len(set(found)) == 16

    run(tmp_path, story)


def test_a_page_of_a_hundred_thousand_leases_lets_requests_in_between(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        addresses: Addresses[Any] = stage.play.edge.addresses
        empty = Pool(tenant="demo", vrf="", name="big", kind=Kind.V4, unit_length=32, ranges=())
        pool = Pool(
            **{f: getattr(empty, f) for f in empty.__slots__} | {"ranges": (range_of("10.0.0.0/8", empty),)}
        )
        shelf = addresses.register.add_pool(pool)
        for number in range(100_000):
            shelf.allocator.claim(shelf.allocator.pick_new(), f"S{number}")
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        beside = asyncio.create_task(others())
        page = await list_leases(addresses, LeaseFilter(owner="S99999"))
        beside.cancel()
        assert addresses_of(page.model_dump()) == ["10.1.134.159"]
        assert turns >= 199, "a slice is 500 slots"
        first = await list_leases(addresses, LeaseFilter(pool="big", limit=10))
        assert len(first.items) == 10

    run(tmp_path, story)


@pytest.mark.parametrize(("field", "value"), [("cursor", "abc"), ("prefix", "10.0.0.1/8"), ("state", "lost")])
def test_a_wrong_filter_is_named(tmp_path: Path, field: str, value: str) -> None:
    async def story(stage: Counter) -> None:
        answer = await stage.ask("GET", "/leases", **{field: value})
        assert answer.status_code == 422
        assert field in answer.json()["message"]

    run(tmp_path, story)


# --- one lease -------------------------------------------------------------------------------------


def test_a_lease_is_shown_with_what_its_login_has_and_its_history(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await online(stage)
        await stage.play.until(lambda: not stage.play.edge.addresses.register.ledger.waiting)
        shown = await stage.get("/leases/203.0.113.0")
        assert [each["address"] for each in shown["with_it"]] == ["2001:db8:100::/56"]
        assert [(each["new"], each["cause"]) for each in shown["history"]] == [
            ("bound", "start"),
            ("tentative", "login"),
        ]
        inside = await stage.get("/leases/2001:db8:100:7::1")
        assert inside["lease"]["address"] == "2001:db8:100::/56"
        by_id = await stage.get(f"/leases/{shown['lease']['lease_id']}")
        assert by_id["lease"] == shown["lease"]
        free = await stage.get("/leases/203.0.113.5")
        assert (free["lease"]["state"], free["history"]) == ("free", [])
        before = len(stage.play.edge.addresses.register.shelves["demo", "v4"].allocator)
        assert before == 1, "looking makes no cell"

    run(tmp_path, story)


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("198.51.100.1", 404, "is in no pool here"),
        ("nonsense", 422, "is not an address, a prefix"),
        ("99999999999", 404, "no lease has the number"),
        ("203.0.113.0/30", 404, "is in no pool here"),
    ],
)
def test_what_is_no_lease_is_said(tmp_path: Path, name: str, status: int, text: str) -> None:
    async def story(stage: Counter) -> None:
        answer = await stage.ask("GET", f"/leases/{name}")
        assert answer.status_code == status
        assert text in answer.json()["message"]

    run(tmp_path, story)


def test_an_address_of_two_vrfs_needs_its_vrf(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        empty = Pool(tenant="demo", vrf="blue", name="blue-v4", kind=Kind.V4, unit_length=32, ranges=())
        given = range_of("203.0.113.0/29", empty)
        made = Pool(tenant="demo", vrf="blue", name="blue-v4", kind=Kind.V4, unit_length=32, ranges=(given,))
        stage.play.edge.addresses.register.add_pool(made)
        answer = await stage.ask("GET", "/leases/203.0.113.1")
        assert answer.status_code == 409
        assert "demo VRF blue, demo VRF default" in answer.json()["message"]
        assert (await stage.get("/leases/203.0.113.1", vrf="blue"))["lease"]["pool"] == "blue-v4"

    run(tmp_path, story)


# --- what operators do -----------------------------------------------------------------------------


def test_a_lease_without_a_session_is_released_with_its_bundle_and_that_is_audited(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        take(stage, "S1")
        done = (await stage.ask("POST", "/leases/203.0.113.0/release", reason="ticket 1")).json()
        assert (done["done"], done["lease"]["state"]) == (True, "held")
        shown = await stage.get("/leases/203.0.113.0")
        assert shown["history"][0]["cause"] == "operator", "it was on disk before the answer"
        again = (await stage.ask("POST", "/leases/203.0.113.0/release")).json()
        assert (again["done"], again["says"]) == (False, "nothing to release: nobody has it")
        rows, _ = await search(stage.play.edge.engine, AuditSearch(action="lease-release"))
        assert [(each.subject, each.reason, each.result) for each in rows] == [
            ("203.0.113.0", "", "nothing to release: nobody has it"),
            ("203.0.113.0", "ticket 1", "released"),
        ]

    run(tmp_path, story)


def test_the_lease_of_a_live_session_is_not_taken_from_under_it(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await online(stage)
        answer = await stage.ask("POST", "/leases/203.0.113.0/release")
        assert answer.status_code == 409
        assert "(A1)" in answer.json()["message"]
        assert "--disconnect" in answer.json()["message"]
        assert (await stage.get("/leases/203.0.113.0"))["lease"]["state"] == "bound"
        forced = (await stage.ask("POST", "/leases/203.0.113.0/release", force=True)).json()
        assert forced["says"] == "released, with the other lease of its login"
        assert (await stage.get("/leases/2001:db8:100::"))["lease"]["state"] == "held"

    run(tmp_path, story)


def test_a_release_with_disconnect_ends_the_session_and_with_it_the_lease(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await online(stage)
        asked = asyncio.create_task(stage.ask("POST", "/leases/203.0.113.0/release", disconnect=True))
        await stage.play.until(asked.done)
        done = asked.result().json()
        assert (done["done"], done["lease"]["state"]) == (True, "held")
        assert [each["kind"] for each in done["jobs"]] == ["disconnect"]

    run(tmp_path, story)


def test_single_addresses_are_declined_disabled_and_enabled(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        async def act(action: str, address: str = "203.0.113.3") -> Any:
            return (await stage.ask("POST", f"/leases/{address}/{action}")).json()

        assert (await act("disable"))["lease"]["state"] == "disabled"
        assert (await act("disable"))["says"] == "nothing to do: it is so already"
        assert (await act("enable"))["lease"]["state"] == "quarantined"
        assert (await act("decline"))["lease"]["state"] == "declined"
        assert "is declined already" in (await act("decline"))["message"]
        take(stage, "S1")
        later = await act("disable", "203.0.113.0")
        assert (later["lease"]["state"], later["says"]) == (
            "tentative",
            "will be disabled when its lease is over",
        )
        assert not stage.play.edge.addresses.register.ledger.waiting, "all of it is on disk"

    run(tmp_path, story)


# --- history ---------------------------------------------------------------------------------------


async def _events(stage: Counter, limit: int = 1000, **wanted: object) -> list[Any]:
    """Return all events, from as many pages as it takes."""
    found: list[Any] = []
    cursor = None
    for _ in range(100):
        page = await stage.get("/history", limit=limit, cursor=cursor, **wanted)
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found
    raise AssertionError("no end")


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_history_is_told_by_address_subscriber_and_pool(tmp_path: Path, limit: int) -> None:
    async def story(stage: Counter) -> None:
        begun = stage.play.clock.wall()
        for number in range(3):
            take(stage, f"S{number}")
            await stage.play.pass_time(60, step_s=5)
        await stage.ask("POST", "/leases/203.0.113.2/release")
        of_one = await _events(stage, limit, address="203.0.113.1")
        assert [each["new"] for each in of_one] == ["held", "tentative"]
        assert len({each["hash"] for each in of_one}) == 2
        of_subscriber = await _events(stage, limit, subscriber="S1")
        assert [each["seq"] for each in of_subscriber] == [each["seq"] for each in of_one]
        of_pool = await _events(stage, limit, pool="v4")
        assert [each["seq"] for each in of_pool] == sorted((each["seq"] for each in of_pool), reverse=True)
        assert len(of_pool) == 6
        assert await _events(stage, limit, pool="pd") == []
        early = await _events(stage, limit, pool="v4", until=begun + 5)
        assert [each["owner"] for each in early] == ["S0"]
        late = await _events(stage, limit, pool="v4", since=begun + 15)
        assert len(late) == 5
        assert await _events(stage, limit, address="203.0.113.1", until=begun) == []

    run(tmp_path, story, tentative_s=20.0)


def test_a_question_about_everything_is_refused(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        answer = await stage.ask("GET", "/history")
        assert answer.status_code == 422
        assert "give an address, a subscriber or a pool" in answer.json()["message"]

    run(tmp_path, story)


# --- use -------------------------------------------------------------------------------------------


def test_use_is_told_by_pool_and_summed_up_by_site_vrf_and_tenant(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        take(stage, "S1")
        take(stage, "S2")
        page = await stage.get("/utilisations")
        (v4,) = [each for each in page["items"] if each["name"] == "v4"]
        assert (v4["size"], v4["free"], v4["tentative"], v4["used_percent"]) == (8, 6, 2, 25.0)
        for level, name in (("site", "lab"), ("vrf", "default"), ("tenant", "demo")):
            (one,) = (await stage.get("/utilisations", level=level, kind="v4"))["items"]
            assert (one["name"], one["size"], one["tentative"]) == (name, 8, 2), level
        assert (await stage.get("/utilisations", tenant="other"))["items"] == []

    run(tmp_path, story, site="lab")


# --- the command line ------------------------------------------------------------------------------


def test_the_commands_tell_the_same(tmp_path: Path) -> None:
    async def story(stage: Counter) -> None:
        await online(stage)
        take(stage, "S1")
        await stage.play.until(lambda: not stage.play.edge.addresses.register.ledger.waiting)

        async def lease(*arguments: str) -> tuple[int, str]:
            done = await stage.command(tmp_path, lease_group, *arguments)
            return done.exit_code, done.stdout + done.stderr

        code, text = await lease("list", "--pool", "v4", "--limit", "1")
        assert code == 0
        assert "203.0.113.0" in text
        assert "203.0.113.1" not in text
        assert "--cursor" in text
        code, text = await lease("list", "--output", "json", "--limit", "5000")
        assert [each["address"] for each in json.loads(text)["items"]][1:] == ["203.0.113.0", "203.0.113.1"]
        code, text = await lease("show", "203.0.113.0")
        assert code == 0
        assert "tentative -> bound" in text
        assert "2001:db8:100::/56" in text
        code, text = await lease("release", "203.0.113.0")
        assert code == 1
        assert "--disconnect" in text
        code, text = await lease("release", "203.0.113.1")
        assert (code, text) == (0, "203.0.113.1: released.\n")
        code, text = await lease("decline", "203.0.113.6", "--reason", "arp")
        assert (code, text) == (0, "203.0.113.6: declined.\n")
        assert (await lease("show", "198.51.100.1"))[0] == 4
        assert (await lease("show", "nonsense"))[0] == 2
        assert (await lease("history"))[0] == 2
        code, text = await lease("history", "--subscriber", "A1", "--since", "7d")
        assert code == 0
        assert "2001:db8:100::/56" in text
        used = await stage.command(tmp_path, ipam_group, "usage", "--kind", "v4")
        assert used.exit_code == 0
        assert "▊" in used.output or "█" in used.output
        assert max(map(len, used.output.splitlines())) <= 100

    run(tmp_path, story)


def test_the_use_of_a_large_pool_in_alarm_is_one_line_of_100_columns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    use: dict[str, Any] = {
        "size": 16_777_216,
        "free": 1_234_567,
        "bound": 14_444_444,
        "tentative": 205,
        "held": 1_098_000,
    }
    use |= {"quarantined": 0, "declined": 0, "reserved": 999_000, "disabled": 0, "used_percent": 97.1}
    item = use | {"name": "residential-west", "kind": "v6-prefix", "alarm": "critical", "tenant": "demo"}
    show_page({"items": [item], "count": 1, "offset": 0}, _USE_COLUMNS, "table", _use_row)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2, lines
    assert lines[1].rstrip().endswith("critical")
    assert "16.78 M" in lines[1]


@pytest.mark.parametrize(("percent", "full"), [(0, 0), (0.001, 0), (50, 4), (99.99, 8), (100, 8)])
def test_a_bar_shows_that_something_is_used(percent: float, full: int) -> None:
    drawn = bar(percent)
    assert len(drawn) == 8
    assert drawn.count("█") == full
    assert (drawn == "·" * 8) is (percent == 0)
