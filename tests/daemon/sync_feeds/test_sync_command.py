"""`sync` over the admin socket: what it prints, and what it leaves with."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI, Request

from daemon.api.application import _add_failures
from daemon.api.security.principals import Kind, Principal
from daemon.api.security.scopes import SCOPES
from daemon.api.sync_feed_models import Ending, FeedDesk, SyncFeeds
from daemon.api.sync_feeds import add_sync_feeds
from daemon.cli.sync import group
from daemon.clock import SystemClock
from daemon.replica.contact import AgePolicy
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.model import Applied
from daemon.sync.feed.wire import read_batch
from daemon.sync.feed.wire_json import Malformed
from tests.daemon.sync_feeds.stage import (
    FEED,
    HELLO,
    feed_at,
    feeds_at,
    fill,
    line,
    options,
    running,
    same,
    served,
    source,
    until,
)
from tests.twins.platform import Platform
from tests.twins.platform_book import canonical

Run = Callable[..., Result]
Play = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A daemon with one feed, and commands that ask it."""

    def __init__(self, config: Path, platform: Platform, feed: Any, desk: FeedDesk) -> None:
        self.config = config
        self.platform = platform
        self.feed = feed
        self.desk = desk

    async def run(self, *arguments: str) -> Result:
        """Run a command in a thread, while the daemon goes on."""
        return await asyncio.to_thread(CliRunner().invoke, group, list(arguments), obj=str(self.config))


def _application(desks: dict[str, FeedDesk], ending: Ending | None = None) -> FastAPI:
    app, router = FastAPI(), APIRouter(prefix="/api/v1")

    @app.middleware("http")
    async def door(request: Request, call_next: Callable[[Request], Awaitable[Any]]) -> Any:
        request.state.principal = Principal(kind=Kind.LOCAL, name="0", scopes=frozenset(SCOPES))
        return await call_next(request)

    _add_failures(app)
    add_sync_feeds(router, SyncFeeds(desks, SystemClock(), ending))
    app.include_router(router)
    return app


def play(tmp_path: Path, story: Play, *, pulled: bool = True, stale_s: float = 180.0) -> None:
    """Run a story with a feed that is pulled, or waits for pushes."""

    async def scenario() -> None:
        platform = Platform(FEED)
        fill(platform, 30)
        place, config = tmp_path / "s", tmp_path / "edge.toml"
        config.write_text(f'[edge]\nstate_dir = "{tmp_path}"\n[api]\nadmin_socket = "{place}"\n')
        tight = BrakeOptions(percent=0.0, objects=3)
        async with feed_at(tmp_path, brake=tight) as feed, platform.serving() as port:
            asks = source(feed, options(port)) if pulled else None
            desk = FeedDesk(feed=feed, source=asks, ages=AgePolicy(stale_after_s=stale_s))
            app = _application({FEED: desk})
            with _serving(app, place) as server:
                serving = asyncio.create_task(server.serve())
                await until(lambda: server.started)
                stage = Stage(config, platform, feed, desk)
                if asks is None:
                    await story(stage)
                else:
                    async with running(asks):
                        await same(feed, platform)
                        await story(stage)
            await serving

    asyncio.run(scenario())


@contextmanager
def _serving(app: FastAPI, place: Path) -> Iterator[uvicorn.Server]:
    class Quiet(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            assert threading.current_thread() is threading.main_thread()
            yield

    server = Quiet(uvicorn.Config(app, uds=str(place), log_config=None, lifespan="off"))
    try:
        yield server
    finally:
        server.should_exit = True


def test_a_feed_that_is_as_the_platform_has_it_is_synced(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        done = await stage.run("status", "--check")
        assert done.exit_code == 0, done.output
        assert max(map(len, done.output.splitlines())) <= 100
        for shown in (FEED, "subscriber", "plan", "SYNCED", "30", f"{stage.platform.book.epoch[:8]}:31"):
            assert shown in done.output
        one = json.loads((await stage.run("status", FEED, "--output", "json")).output)
        assert (one[0]["state"], one[0]["lag"], one[0]["source"]["snapshots"]) == ("SYNCED", 0, 1)
        unknown = await stage.run("status", "demo/other")
        assert unknown.exit_code == 4

    play(tmp_path, story)


def test_refused_objects_are_listed_with_why(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        assert (await stage.run("nacks")).output == "None.\n"
        stage.platform.put("subscriber", "S00001", line(1, access_mode="maybe"))
        await same(stage.feed, stage.platform)
        listed = await stage.run("nacks", FEED)
        assert max(map(len, listed.output.splitlines())) <= 100
        assert "S00001" in listed.output
        assert "unknown-word" in listed.output
        assert json.loads((await stage.run("nacks", "--kind", "plan", "--output", "json")).output) == []
        status = await stage.run("status", "--check")
        assert status.exit_code == 3
        rows = {each.split()[1]: each.split()[2] for each in status.output.splitlines()[1:]}
        assert rows == {"plan": "SYNCED", "subscriber": "NACKED"}

    play(tmp_path, story)


def test_the_brake_is_shown_and_released(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        assert "holds nothing" in (await stage.run("brake", "show", FEED)).output
        for number in range(5):
            stage.platform.book.delete("subscriber", f"S{number:05}")
        stage.platform.tell()
        await until(lambda: stage.feed.brake is not None)
        status = await stage.run("status", "--check")
        assert status.exit_code == 3
        assert "BRAKED" in status.output
        assert "5 of 30 subscriber objects would go" in status.output
        shown = await stage.run("brake", "show", FEED)
        assert "losses" in shown.output
        released = await stage.run("brake", "release", FEED)
        assert released.exit_code == 0, released.output
        await same(stage.feed, stage.platform)
        assert (await stage.run("brake", "release", FEED)).exit_code == 1

    play(tmp_path, story)


def test_everything_is_read_again_on_demand(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        done = await stage.run("resync", FEED)
        assert "all of it is read again" in done.output
        await until(lambda: stage.platform.heard.requests["snapshot"] == 2)
        assert (await stage.run("resync", "demo/other")).exit_code == 4

    play(tmp_path, story)


def test_a_platform_that_was_silent_for_too_long_makes_a_feed_stale(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        status = await stage.run("status", "--check")
        assert status.exit_code == 3
        assert "STALE" in status.output

    play(tmp_path, story, stale_s=0.0)


def test_why_a_source_gets_nowhere_is_told_below_the_table(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        stage.platform.token = "changed"
        stage.platform.closing = True
        stage.platform.tell()
        assert stage.desk.source is not None
        await until(lambda: "refuses this edge (401)" in stage.desk.source.status.error)  # type: ignore[union-attr]
        status = await stage.run("status")
        assert "refuses this edge (401); check the token" in " ".join(status.output.split())
        assert HELLO.boot not in status.output

    play(tmp_path, story)


def test_a_feed_of_which_nothing_came_is_never(tmp_path: Path) -> None:
    async def story(stage: Stage) -> None:
        status = await stage.run("status", "--check")
        assert status.exit_code == 3
        assert "NEVER" in status.output
        asked = await stage.run("resync", FEED)
        assert "has to push a snapshot" in asked.output
        assert "a snapshot is wanted of the platform" in (await stage.run("status")).output
        staging = await stage.feed.snapshot(stage.platform.book.epoch, 0)
        assert "SNAPSHOT" in (await stage.run("status")).output
        assert isinstance(await staging.finish(None), Applied)
        batch = read_batch(canonical(stage.platform.batch(FEED, stage.platform.book.epoch, 0, 500)))
        assert not isinstance(batch, Malformed)
        await stage.feed.apply(batch)
        await same(stage.feed, stage.platform)

    play(tmp_path, story, pulled=False)


@pytest.mark.parametrize(
    ("choice", "says"), [("--keep", "are the operators' now"), ("--remove", "have gone")]
)
def test_a_feed_that_is_no_longer_in_the_settings_is_ended(tmp_path: Path, choice: str, says: str) -> None:
    async def scenario() -> None:
        platform = Platform(FEED)
        fill(platform, 5)
        place, config = tmp_path / "s", tmp_path / "edge.toml"
        config.write_text(f'[edge]\nstate_dir = "{tmp_path}"\n[api]\nadmin_socket = "{place}"\n')
        async with (
            feed_at(tmp_path) as feed,
            platform.serving() as port,
            running(source(feed, options(port))),
        ):
            await same(feed, platform)
        async with feeds_at(tmp_path, name="other", kinds=("staff",)) as feeds:
            other = feeds.get("other")
            app = _application({"other": FeedDesk(feed=other)}, feeds)
            with _serving(app, place) as server:
                serving = asyncio.create_task(server.serve())
                await until(lambda: server.started)

                async def run(*words: str) -> Result:
                    return await asyncio.to_thread(
                        CliRunner().invoke, group, ["forget", *words], obj=str(config)
                    )

                unsaid = await run(FEED)
                assert (unsaid.exit_code, "--keep or --remove" in unsaid.output) == (2, True)
                kept = await run("other", choice)
                assert kept.exit_code == 1
                assert "take it out of sync.feeds first" in kept.output
                assert (await run("nothing", choice)).exit_code == 4
                assert len(served(other)) == 5
                done = await run(FEED, choice)
                assert done.exit_code == 0, done.output
                assert f"its 6 objects {says}" in done.output
                assert len(served(other)) == (5 if choice == "--keep" else 0)
                assert (await run(FEED, choice)).exit_code == 4
            await serving

    asyncio.run(scenario())


@pytest.mark.parametrize("command", ["status", "nacks", "resync", "forget", "brake"])
def test_every_command_has_an_example(command: str) -> None:
    assert "Example:" in CliRunner().invoke(group, [command, "--help"]).output
