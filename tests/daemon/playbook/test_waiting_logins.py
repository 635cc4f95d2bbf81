"""Logins that wait for the disk: they are counted, told and remembered when they are answered, or when they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.views import decision_view
from radius.codes import Code
from tests.daemon.playbook.stage import PASSWORD, Play, _shipped
from tests.daemon.playbook.test_leases import alice, run
from tests.twins.bng import BngTwin, CpeTwin

OTHER = "02-00-00-00-00-99"


def refuse(play: Play) -> Callable[[], None]:
    """Let every commit of leases fail until the returned function is called."""
    lessor = play.edge.addresses.lessor
    write = lessor.write

    async def fail(connection: AsyncConnection) -> None:
        raise OSError("disk full")

    lessor.write = fail  # type: ignore[method-assign]

    def mend() -> None:
        lessor.write = write  # type: ignore[method-assign]

    return mend


@contextmanager
def stalled(play: Play) -> Iterator[Callable[[], int]]:
    """Let no commit of leases come to an end meanwhile; yields what tells how many logins wait."""
    lessor, go_on = play.edge.addresses.lessor, asyncio.Event()
    write = lessor.write

    async def wait(connection: AsyncConnection) -> None:
        await go_on.wait()
        await write(connection)

    lessor.write = wait  # type: ignore[method-assign]
    try:
        yield lambda: lessor.waiting
    finally:
        lessor.write = write  # type: ignore[method-assign]
        go_on.set()


def counted(play: Play) -> dict[tuple[str, str], int]:
    """Return how many logins there were by outcome and reason."""
    found = play.path._requests.requests.items()
    return {(outcome, str(reason)): number for (code, _, outcome, reason), number in found if code == 1}


async def in_vain(play: Play, bng: BngTwin, cpe: CpeTwin) -> None:
    """Log in where the disk refuses, and give up."""
    login = asyncio.ensure_future(bng.login(cpe))
    before = sum(counted(play).values())
    await play.until(lambda: sum(counted(play).values()) > before)
    login.cancel()
    with suppress(asyncio.CancelledError):
        await login


def test_a_login_that_is_never_answered_is_counted_once_and_why_tells_the_cause(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        mend = refuse(play)
        await in_vain(play, bng, cpe)
        assert counted(play) == {("drop", "store-unavailable"): 1}
        (decision,) = play.path.trace.newest_first()
        told = decision_view(decision, _shipped(), play.path.leasing.attributes)
        assert told.reason == "store-unavailable"
        assert told.meaning == "not answered: leases cannot be stored: disk full"
        mend()

    run(tmp_path, story)


def test_nothing_is_left_of_a_login_that_was_not_answered(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        await play.provide("plan", "basic", simultaneous_use=1, bind=["mac"], bind_learn=True)
        bng, cpe = await alice(play)
        mend = refuse(play)
        await in_vain(play, bng, cpe)
        mend()
        await play.until(lambda: play.edge.addresses.lessor.failing is None)
        other = bng.cpe("alice", PASSWORD, mac=OTHER)
        reply = await bng.login(other)  # no place is taken, and she is not tied to the first equipment
        assert reply.code == Code.ACCESS_ACCEPT

    run(tmp_path, story)


def test_a_login_counts_as_online_while_it_waits_and_as_accepted_when_it_is_answered(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        await play.provide("plan", "basic", simultaneous_use=1)
        bng, cpe = await alice(play)
        other = await play.bng("bng-2", "127.0.0.2")
        with stalled(play) as waiting:
            login = asyncio.ensure_future(bng.login(cpe))
            await play.until(lambda: waiting() == 1)
            assert counted(play) == {}
            assert not list(play.path.trace.newest_first())
            reply = await other.login(other.cpe("alice", PASSWORD, mac=OTHER))
            assert reply.code == Code.ACCESS_REJECT
            assert play.last_reason() == "too-many-sessions"
        assert (await login).code == Code.ACCESS_ACCEPT
        assert counted(play) == {("accept", "pap"): 1, ("reject", "too-many-sessions"): 1}
        assert [each.reason for each in play.path.trace.newest_first()] in (
            ["", "too-many-sessions"],
            ["too-many-sessions", ""],
        )

    run(tmp_path, story)


def test_a_caller_that_asks_again_while_the_disk_stalls_is_answered_once(tmp_path: Path) -> None:
    async def story(play: Play) -> None:
        bng, cpe = await alice(play)
        with stalled(play) as waiting:
            logins = []
            for number in range(3):
                logins.append(asyncio.ensure_future(bng.login(cpe)))
                await play.until(lambda: waiting() == 1 and sum(counted(play).values()) == len(logins) - 1)
                if number < 2:
                    logins[-1].cancel()
            assert counted(play) == {("drop", "superseded"): 2}
        assert (await logins[-1]).code == Code.ACCESS_ACCEPT
        assert counted(play) == {("drop", "superseded"): 2, ("accept", "pap"): 1}
        await asyncio.gather(*logins, return_exceptions=True)

    run(tmp_path, story)
