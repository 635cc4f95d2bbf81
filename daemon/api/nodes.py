"""The routes of nodes that share a store: which there are, which blocks they have, taking over one that is dead."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from pydantic import Field

from daemon.api.models import Model
from daemon.api.security import Reach, scope
from daemon.leases.nodes import Nodes, TakenOver

_NOT_SHARED = "this edge shares no store with others; see the setting ipam.shared_store"


class NodeView(Model):
    """One node."""

    node: str
    here: bool = Field(description="whether it is the one that answers")
    blocks: int
    silent_s: float = Field(description="how long ago the store heard of it, by the store's clock")
    hint: str = Field(description="where it is")
    boot: int


class PoolBlocksView(Model):
    """The blocks of a pool that one node has; an empty node: nobody has them."""

    tenant: str
    pool: str
    node: str
    blocks: int
    slots: int


class NodesView(Model):
    """All nodes and what they have."""

    nodes: list[NodeView]
    pools: list[PoolBlocksView]
    problems: list[str] = Field(description="why this node does not serve pools, or not fully")


class TakeoverView(Model):
    """What a takeover has done."""

    node: str
    blocks: int
    silent_s: float


def add_nodes(router: APIRouter, nodes: Nodes | None) -> None:
    """Add the routes `/ipam/nodes`; None: this edge shares no store."""

    @router.get("/ipam/nodes", dependencies=[scope("ipam:read", Reach.EDGE)])
    async def list_nodes(tenant: str | None = None, pool: str | None = None) -> NodesView:
        known = _shared(nodes)
        found = await known.overview()
        return NodesView(
            nodes=[
                NodeView(
                    node=each.node,
                    here=each.node == known.name,
                    blocks=each.blocks,
                    silent_s=round(each.silent_s, 1),
                    hint=each.hint,
                    boot=each.boot,
                )
                for each in found.nodes
            ],
            pools=[
                PoolBlocksView(tenant=row[0], pool=row[1], node=row[2], blocks=row[3], slots=row[4])
                for row in found.blocks
                if tenant in (None, row[0]) and pool in (None, row[1])
            ],
            problems=list(known.problems),
        )

    @router.post("/ipam/nodes/{node}/takeover", dependencies=[scope("ipam:write", Reach.EDGE)])
    async def take_over(node: str, force: bool = False) -> TakeoverView:
        done = await _shared(nodes).take_over(node, force=force)
        if done.reason:
            raise HTTPException(404 if done.reason == "node-unknown" else 409, _refusal(done))
        return TakeoverView(node=done.node, blocks=done.blocks, silent_s=round(done.silent_s, 1))


def _shared(nodes: Nodes | None) -> Nodes:
    if nodes is None:
        raise HTTPException(409, _NOT_SHARED)
    return nodes


def _refusal(done: TakenOver) -> str:
    if done.reason == "node-unknown":
        return f"the shared store knows no node {done.node}; see `ipam nodes`"
    if done.reason == "node-is-this":
        return f"{done.node} is this node: ask another one to take it over"
    return (
        f"node {done.node} was heard of {done.silent_s:.1f} s ago: it is alive. Stop it first; "
        "with --force its subscribers are disconnected as soon as it finds out"
    )
