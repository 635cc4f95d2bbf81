"""The page about the outbox says what is so: its commands run, and what it shows of the wire is on the wire."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from daemon.sync.outbox.envelope import encode
from daemon.sync.outbox.model import Acked, Incarnation, Stream
from tests.daemon.sinks.counter import counter
from tests.daemon.sinks.stage import KEY, ROOT, event, free_port, platform, until
from tests.daemon.sinks.test_api import SinkTwin
from tests.daemon.sinks.test_platform import delivery

PAGE = (ROOT / "docs" / "outbox.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def lines(beginning: str) -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith(beginning)]


def test_each_command_of_the_page_runs(tmp_path: Path) -> None:
    class Platform(SinkTwin):
        name = "platform"

    async def scene() -> None:
        async with counter(tmp_path, Platform()) as open_:
            await open_.edge.happen(*(f"u{i}" for i in range(20)))
            await open_.edge.delivered()
            for line in lines("dotmac-edge "):
                words = shlex.split(line)
                assert words[:2] == ["dotmac-edge", "outbox"]
                done = await open_.command(*words[2:])
                late = (
                    "--since" in words and "acknowledged nothing" in done.stderr
                )  # these have times of their own
                assert late or done.exit_code == 0, f"{line}: {done.output}"

    assert len(lines("dotmac-edge ")) == 5
    asyncio.run(scene())


def test_the_receiver_starts_as_the_page_says(tmp_path: Path) -> None:
    (block,) = [each for each in blocks("sh") if "receiver.py" in each]
    port = free_port()
    script = block.replace("python docs", f"exec {sys.executable} {ROOT}/docs").replace("8300", str(port))
    script = script.replace("a long random text", KEY)

    async def scene() -> None:
        with subprocess.Popen(
            ["sh", "-c", script], cwd=tmp_path, env=os.environ, stderr=subprocess.DEVNULL
        ) as process:
            sink = platform(f"http://127.0.0.1:{port}")
            try:

                async def taken() -> bool:
                    return await sink.deliver(delivery(1, 3)) == Acked(3)

                await until(taken, 20.0)
            finally:
                process.terminate()
                await sink.close()
        assert (tmp_path / "events.db").exists()

    asyncio.run(scene())


def test_what_the_page_shows_of_an_event_and_a_request_is_so() -> None:
    shown, body = (json.loads(block) for block in blocks("json"))
    told = json.loads(encode("pop7", Stream.SESSIONS, Incarnation("q7f2m0c1", 0), event(41, "alice")))
    assert list(told) == list(shown)
    assert (told["id"], told["data"]) == (shown["id"], shown["data"])

    async def scene() -> None:
        sink = platform("http://127.0.0.1:1")
        request = await sink._made(delivery(1, 1), 1, bytes(32))
        sent: dict[str, Any] = json.loads(request.body)
        headers = sink._headers(request)
        assert list(sent) == list(body)
        named = set(re.findall(r"^\| `([A-Z][\w-]+)` \|", PAGE, re.MULTILINE))
        assert named - {"Authorization"} == {each for each in headers if not each.startswith("Content-")}
        await sink.close()

    asyncio.run(scene())
