"""The settings of the address book: what it does about conflicts, what it keeps, which store nodes share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from config.base import Reference, Section, live, restart


class Ipam(Section):
    """Addresses that this edge leases itself, from pools of its own."""

    on_conflict: Literal["report", "disconnect"] = Field(
        default="report",
        description="What becomes of a session that reports an address which is leased to somebody else. It is always "
        "recorded, told as an event, and the address is kept from everybody else; with `disconnect` the session "
        "that has no right to the address is ended, too.",
        json_schema_extra=live(),
    )
    history_keep_days: int = Field(
        default=400,
        ge=1,
        le=36_500,
        description="How long it is kept who had which address. Ask your lawyer.",
        json_schema_extra=restart(),
    )
    shared_store: Reference | None = Field(
        default=None,
        description="Where the URL of a PostgreSQL database is, `postgresql://USER:PASSWORD@HOST/NAME`, that several "
        "edges of a point of presence share: then each leases from blocks of its own, and one takes over the "
        "blocks of another that died. Without it all pools are this edge's alone, in its own database.",
        json_schema_extra=restart("file:PATH, env:NAME or credential:NAME", hidden=True),
    )
    node: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        default="edge",
        description="Name of this edge in the shared store and in the history of leases; each has its own, for ever.",
        json_schema_extra=restart("1 to 64 letters, digits, dots, dashes or underscores"),
    )
    block_slots: int = Field(
        default=256,
        ge=1,
        le=1_048_576,
        description="How many addresses a node takes from the shared store at a time.",
        json_schema_extra=restart(),
    )
