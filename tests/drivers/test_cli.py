"""The command line transport against a difficult device: prompts, echoes, pages, questions, hangs, cuts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from drivers.emulator.cli import CliSession
from drivers.emulator.sample import SampleRouter
from drivers.emulator.server import Wire
from drivers.errors import CommandRefused, Dropped, Garbled, Phase, TimedOut
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.cli import Cli, Dialect
from drivers.transports.screen import Screen
from tests.drivers.beds import QUICK, opening_of, run, serving, target_of

PLAIN = Dialect(errors=(r"^% .*",))


@asynccontextmanager
async def logged_in(
    router: SampleRouter, dialect: Dialect = PLAIN, **more: Any
) -> AsyncGenerator[tuple[Cli, Opening]]:
    async with serving(router) as emulator:
        opening = opening_of(target_of(emulator, **more))
        connection = await ssh.connect(opening)
        cli = Cli(await connection.shell(), dialect, opening)
        try:
            await cli.login()
            yield cli, opening
        finally:
            connection.abort()


def test_a_banner_with_signs_of_prompts_is_not_taken_for_one() -> None:
    async def work() -> None:
        router = SampleRouter()
        router.faults.banner = "#######\n# keep out! #\nroot@not-me>\nacme1 is mine #\n"
        async with logged_in(router) as (cli, _):
            assert cli.prompt == "acme1> "
            assert "AR-1000" in await cli.run("show version")

    run(work)


def test_a_banner_that_stops_in_the_middle_of_a_line_is_not_taken_for_a_prompt() -> None:
    class Slow(SampleRouter):
        async def shell(self, wire: Wire) -> None:
            wire.write(b"router of bob# ")
            await asyncio.sleep(0.2)
            wire.write(b"and alice\r\n")
            await super().shell(wire)

    async def work() -> None:
        async with logged_in(Slow()) as (cli, _):
            assert cli.prompt == "acme1> "
            assert "AR-1000" in await cli.run("show version")

    run(work)


def test_pages_are_turned() -> None:
    async def work() -> None:
        router = SampleRouter()
        router.running |= {f"key-{chr(97 + n)}": str(n) for n in range(20)}
        async with logged_in(router) as (cli, _):
            text = await cli.run("show config")
            assert text.count("\n") == 23
            assert "More" not in text
            assert not re.search(r"^\s+set", text, re.MULTILINE)

    run(work)


@pytest.mark.parametrize("echo", ["right", "wrong", "none"])
def test_any_echo_is_tolerated(echo: str) -> None:
    async def work() -> None:
        router = SampleRouter()
        router.faults.echo = echo
        async with logged_in(router) as (cli, _):
            assert (await cli.run("show version")).startswith("Acme OS 7.2")
            await cli.run("configure")
            await cli.run("set ntp 192.0.2.77")
            assert "+ set ntp 192.0.2.77" in await cli.run("diff")

    run(work)


def test_a_slow_echo_and_a_late_answer_are_waited_for() -> None:
    async def work() -> None:
        router = SampleRouter()
        router.faults.slow_echo_s, router.faults.late_s = 0.01, 0.1
        async with logged_in(router) as (cli, _):
            assert (await cli.run("show version")).splitlines()[1] == "Model AR-1000"

    run(work)


def test_lines_that_the_console_pushes_can_be_left_out() -> None:
    async def work() -> None:
        router = SampleRouter()
        router.faults.noise = "%LINK-3-UPDOWN: port 1, changed state to up"
        dialect = replace(PLAIN, quiet=(r"%[A-Z]+-\d-[^\n]*\n",))
        async with logged_in(router, dialect) as (cli, _):
            assert (await cli.run("show version")).startswith("Acme OS")

    run(work)


def test_a_refused_command_is_an_error_with_the_answer() -> None:
    async def work() -> None:
        async with logged_in(SampleRouter()) as (cli, _):
            with pytest.raises(CommandRefused) as caught:
                await cli.run("frobnicate")
            assert caught.value.answer == "% Unknown command"
            assert "AR-1000" in await cli.run("show version")  # and the line is in step

    run(work)


def test_modes_and_a_new_host_name_change_the_prompt() -> None:
    async def work() -> None:
        dialect = replace(PLAIN, renames=r"commit.*")
        async with logged_in(SampleRouter(), dialect) as (cli, _):
            answer = await cli.command("configure")
            assert answer.prompt == "acme1(config)# "
            await cli.run("set hostname other")
            assert (await cli.command("commit")).prompt == "other(config)# "
            assert "AR-1000" in await cli.run("show version")

    run(work)


def test_silence_ends_with_the_transcript_and_what_was_expected() -> None:
    async def work() -> None:
        router = SampleRouter()
        router.faults.hang_at = "show version"
        async with logged_in(router) as (cli, _):
            with pytest.raises(TimedOut) as caught:
                await cli.run("show version", timeout_s=0.5)
            assert caught.value.phase is Phase.COMMAND
            assert "acme1" in caught.value.expected
            assert "show version" in caught.value.tail
            with pytest.raises(Dropped):  # out of step: nothing is read as the answer of something else
                await cli.run("show config")

    run(work)


@pytest.mark.parametrize("when", ["cut_before", "cut_after"])
def test_a_dead_connection_is_dropped_and_not_waited_for(when: str) -> None:
    async def work() -> None:
        router = SampleRouter()
        setattr(router.faults, when, "show version")
        async with logged_in(router) as (cli, _):
            with pytest.raises(Dropped):
                await cli.run("show version")

    run(work)


def test_a_device_without_a_prompt_is_given_up() -> None:
    class Mute(SampleRouter):
        def prompt(self, session: CliSession) -> str:
            return "please wait... "

    async def work() -> None:
        with pytest.raises(TimedOut) as caught:
            async with logged_in(Mute(), deadlines=replace(QUICK, login_s=0.5)):
                pass
        assert caught.value.phase is Phase.PROMPT

    run(work)


def test_a_question_is_answered_and_a_password_is_not_written_down() -> None:
    class Asking(SampleRouter):
        async def handle(self, session: CliSession, line: str) -> str:
            if line == "enable":
                word = await session.ask("Password: ", hidden=True)
                return "" if word == "up-y0u-g0" else "% Bad password"
            if line == "wipe":
                return f"said {await session.ask('Really? [y/n]: ')}"
            return await super().handle(session, line)

    async def work() -> None:
        async with logged_in(Asking()) as (cli, opening):
            assert "said n" in await cli.run("wipe", answers=[(r"\[y/n\]: $", "n")])
            assert not (await cli.answer_password("enable", "up-y0u-g0")).failed
            assert "up-y0u-g0" not in opening.transcript.text()
            with pytest.raises(CommandRefused):
                await cli.run("enable", answers=[(r"Password: $", "wrong-one")])
            assert "wrong-one" not in opening.transcript.text()

    run(work)


def test_what_a_terminal_erases_is_not_text() -> None:
    screen = Screen()
    for part in (b"\x1b[1;3", b"2mgreen\x1b[0m \x08\x08x\r", b"\n--More--\r        \rnext\xc3", b"\xa4\r\n"):
        screen.feed(part)
    assert screen.text == "greex\n--More--nextä\n"


def test_a_prompt_without_a_name_is_garbled() -> None:
    async def work() -> None:
        with pytest.raises(Garbled):
            async with logged_in(SampleRouter(), replace(PLAIN, name=r"^(nothing)$")):
                pass

    run(work)
