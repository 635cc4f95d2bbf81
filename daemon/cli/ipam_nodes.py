"""`dotmac-edge ipam nodes` and `ipam takeover`."""

from __future__ import annotations

from urllib.parse import quote

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, ExitCode, output_option, show, show_one

_NODES = (
    Column("node", "Node"),
    Column("here", "Here"),
    Column("blocks", "Blocks", "right"),
    Column("heard", "Heard of"),
    Column("hint", "Where"),
)
_POOLS = (
    Column("pool", "Pool"),
    Column("node", "Node"),
    Column("blocks", "Blocks", "right"),
    Column("slots", "Addresses", "right"),
)


@click.command("nodes")
@click.option("--pool", metavar="NAME", help="Show who has the blocks of this pool only.")
@click.option("--tenant", metavar="ID", help="Only pools of this tenant.")
@output_option
@click.pass_context
def nodes(context: click.Context, /, output: str, pool: str | None, tenant: str | None) -> None:
    """List the nodes that share the address store, and the blocks of each pool by node.

    Leaves with 1 when this node does not serve pools of the store, and says why.

    Example: dotmac-edge ipam nodes --pool residential
    """
    asked = {name: value for name, value in (("pool", pool), ("tenant", tenant)) if value is not None}
    found = ask(context, "GET", "/api/v1/ipam/nodes", params=asked)
    if output != "table":
        show_one(found, output)
    else:
        rows = [
            each | {"here": "yes" if each["here"] else "", "heard": f"{each['silent_s']:g} s ago"}
            for each in found["nodes"]
        ]
        show(rows, _NODES, output)
        show([each | {"node": each["node"] or "(free)"} for each in found["pools"]], _POOLS, output)
        for problem in found["problems"]:
            click.echo(problem, err=True)
    if found["problems"]:
        raise click.exceptions.Exit(ExitCode.FAILURE)


@click.command("takeover")
@click.argument("node")
@click.option("--force", is_flag=True, help="Also of a node that was heard of lately.")
@output_option
@click.pass_context
def takeover(context: click.Context, /, output: str, node: str, force: bool) -> None:
    """Take over the address blocks of a node that is dead.

    Its leases are kept for their owners for one lease time, then its addresses are given to others. Make sure that
    the node is really off: one that only lost its network goes on with the sessions that it has until it is back.

    Example: dotmac-edge ipam takeover pop1-b
    """
    path = f"/api/v1/ipam/nodes/{quote(node, safe='')}/takeover"
    done = ask(context, "POST", path, params={"force": force})
    show_one(done, output)
