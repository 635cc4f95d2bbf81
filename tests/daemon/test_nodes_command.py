"""`ipam nodes` and `ipam takeover` over the admin socket: what they print and what they leave with."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from click.testing import CliRunner, Result
from fastapi import APIRouter, FastAPI

from daemon.api.application import _add_failures
from daemon.api.nodes import add_nodes
from daemon.cli.ipam_nodes import nodes, takeover
from daemon.leases.nodes import Nodes, Overview, TakenOver
from ipam.node_rows import NodeRow
from tests.e2e.netns import until

Run = Callable[..., Result]

NORTH = NodeRow(node="north", boot=7, silent_s=0.4, hint="192.0.2.10", blocks=12)
SOUTH = NodeRow(node="south", boot=9, silent_s=4711.0, hint="192.0.2.11", blocks=3)
BLOCKS = (
    ("demo", "home", "", 241, 61_696),
    ("demo", "home", "north", 12, 3072),
    ("demo", "spare", "south", 3, 768),
)


class NodesTwin(Nodes):
    """Answers as a node would, without a store."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.takes = TakenOver(node="south", blocks=3, silent_s=4711.0)

    @property
    def name(self) -> str:
        return "north"

    @property
    def problems(self) -> list[str]:
        return self.said

    async def overview(self) -> Overview:
        return Overview(nodes=(NORTH, SOUTH), blocks=BLOCKS)

    async def take_over(self, dead: str, *, force: bool = False) -> TakenOver:
        assert dead == self.takes.node
        return TakenOver(node=dead, blocks=3, silent_s=0.4) if force else self.takes


@contextmanager
def serving(tmp_path: Path, known: Nodes | None) -> Iterator[Run]:
    """Run commands against the routes, on a socket as the daemon has it."""
    app, router = FastAPI(), APIRouter(prefix="/api/v1")
    _add_failures(app)
    add_nodes(router, known)
    app.include_router(router)
    place, config = tmp_path / "s", tmp_path / "edge.toml"
    config.write_text(f'[edge]\nstate_dir = "{tmp_path}"\n[api]\nadmin_socket = "{place}"\n')
    server = uvicorn.Server(uvicorn.Config(app, uds=str(place), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started or None, "the server")
    yield lambda command, *arguments: CliRunner().invoke(command, list(arguments), obj=str(config))
    server.should_exit = True
    thread.join()


def test_nodes_are_listed_with_the_blocks_of_each_pool(tmp_path: Path) -> None:
    with serving(tmp_path, NodesTwin()) as run:
        done = run(nodes)
        assert done.exit_code == 0, done.output
        assert max(map(len, done.output.splitlines())) <= 100
        for shown in ("north", "4711 s ago", "192.0.2.11", "(free)", "61696"):
            assert shown in done.output
        of_pool = json.loads(run(nodes, "--pool", "spare", "--output", "json").output)
        assert [each["node"] for each in of_pool["pools"]] == ["south"]
        assert [each["here"] for each in of_pool["nodes"]] == [True, False]


def test_a_node_that_does_not_serve_says_why_and_leaves_with_1(tmp_path: Path) -> None:
    known = NodesTwin()
    known.said = ["pools of the shared store are not served: connection refused"]
    with serving(tmp_path, known) as run:
        done = run(nodes)
        assert done.exit_code == 1
        assert "connection refused" in done.output


def test_a_takeover_tells_what_it_took_or_why_not(tmp_path: Path) -> None:
    known = NodesTwin()
    with serving(tmp_path, known) as run:
        done = run(takeover, "south", "--output", "json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.output)["blocks"] == 3
        known.takes = TakenOver(node="south", reason="node-alive", silent_s=0.4)
        refused = run(takeover, "south")
        assert refused.exit_code != 0
        assert "was heard of 0.4 s ago" in refused.output
        assert run(takeover, "south", "--force").exit_code == 0
        known.takes = TakenOver(node="west", reason="node-unknown")
        assert run(takeover, "west").exit_code == 4


def test_without_a_shared_store_the_setting_is_named(tmp_path: Path) -> None:
    with serving(tmp_path, None) as run:
        done = run(nodes)
        assert done.exit_code != 0
        assert "ipam.shared_store" in done.output
