"""The tables of the address book. Numbers of 128 bits do not fit any database, so addresses are canonical text.

There is no row for a slot that was never used.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

METADATA = MetaData()

_SEQ = BigInteger().with_variant(Integer, "sqlite")

# One row for each start of a node: its number makes the ids of leases differ.
BOOT = Table(
    "ipam_boot",
    METADATA,
    Column("boot", _SEQ, primary_key=True, autoincrement=True),
    Column("node", Text, nullable=False),
    Column("at", Double, nullable=False),
)

VRF = Table(
    "ipam_vrf",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("distinguisher", Text),
)

PREFIX = Table(
    "ipam_prefix",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("vrf", Text, primary_key=True),
    Column("space", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("length", Integer, primary_key=True, autoincrement=False),
    Column("role", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("name", Text, nullable=False),
)

POOL = Table(
    "ipam_pool",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("vrf", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),  # everything else, JSON
)

RANGE = Table(
    "ipam_range",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("first_slot", _SEQ, primary_key=True, autoincrement=False),
    Column("first", Text, nullable=False),  # the first number, decimal
    Column("slots", BigInteger, nullable=False),
    Column("draining", Boolean, nullable=False),
)

SELECTOR = Table(
    "ipam_selector",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("detail", Text, nullable=False),  # JSON
)

RESERVATION = Table(
    "ipam_reservation",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("vrf", Text, primary_key=True),
    Column("space", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("length", Integer, primary_key=True, autoincrement=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
)

# Who may give out which slots of a divided pool. The generation goes up with each new owner.
BLOCK = Table(
    "ipam_block",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("first_slot", _SEQ, primary_key=True, autoincrement=False),
    Column("last_slot", BigInteger, nullable=False),
    Column("owner", Text),
    Column("generation", BigInteger, nullable=False),
    Column("taken_at", Double, nullable=False),
)
Index("ipam_block_by_owner", BLOCK.c.owner)
_NOBODYS = BLOCK.c.owner.is_(None)
Index(
    "ipam_block_free",
    BLOCK.c.tenant,
    BLOCK.c.pool,
    BLOCK.c.first_slot,
    sqlite_where=_NOBODYS,
    postgresql_where=_NOBODYS,
)

# The nodes that share this store. `boot` is that of the daemon which has the name now; `seen_at` is by the database's
# clock.
NODE = Table(
    "ipam_node",
    METADATA,
    Column("node", Text, primary_key=True),
    Column("boot", BigInteger, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("hint", Text, nullable=False),  # where it is, for people
)

# Slots that were ever used, as they are; free ones for the sake of who had them last.
LEASE = Table(
    "ipam_lease",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("slot", _SEQ, primary_key=True, autoincrement=False),
    Column("vrf", Text, nullable=False),
    Column("space", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("length", Integer, nullable=False),
    Column("owner", Text),
    Column("state", Text, nullable=False),
    Column("marks", Integer, nullable=False),
    Column("lease_id", BigInteger, nullable=False),
    Column("bundle_id", BigInteger, nullable=False),
    Column("since_at", Double, nullable=False),
    Column("session", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("nas", Text, nullable=False),
    Column("circuit", Text, nullable=False),
    Column("mac", Text, nullable=False),
    Column("fence", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
# What the book promises, said to the database as well. Fixed units are the platform's promise, for each node.
_LIVE = LEASE.c.state.in_(("tentative", "bound")) & LEASE.c.pool.not_like("fixed:%")
Index(
    "ipam_lease_one_owner",
    LEASE.c.tenant,
    LEASE.c.vrf,
    LEASE.c.space,
    LEASE.c.address,
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)

# The history: rows are added, never changed. `tenant` to `fence` are the fields that the hash covers, in order.
EVENT = Table(
    "ipam_event",
    METADATA,
    Column("book", Text, primary_key=True),
    Column("seq", _SEQ, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("clock_quality", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("vrf", Text, nullable=False),
    Column("pool", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("length", Integer, nullable=False),
    Column("lease_id", BigInteger, nullable=False),
    Column("owner", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("nas", Text, nullable=False),
    Column("circuit", Text, nullable=False),
    Column("mac", Text, nullable=False),
    Column("old", Text, nullable=False),
    Column("new", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("slot", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
# By time, so that the latest events of an address are next to each other. With the others it says which units, of whom
# and in which books an address has events; of a busy address they are thousands, and none of them has to be read.
Index(
    "ipam_event_by_address",
    EVENT.c.address,
    EVENT.c.at,
    EVENT.c.length,
    EVENT.c.tenant,
    EVENT.c.vrf,
    EVENT.c.book,
)

# Where the kept part of each chain begins: the number and hash of the last event that was pruned.
ANCHOR = Table(
    "ipam_anchor",
    METADATA,
    Column("book", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)
