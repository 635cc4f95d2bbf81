"""The daemon's tables. Changes to them are alembic migrations in `store/migrations`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

# Append-only: one row for each group commit, records concatenated as `store.journal` packs them.
JOURNAL = Table(
    "journal",
    METADATA,
    Column("first_seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("written_at", Float, nullable=False),
    Column("records", LargeBinary, nullable=False),
)

# Sessions as they were when last written; the mark says from which journal record on to fold in again.
SESSION = Table(
    "session",
    METADATA,
    Column("uid", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("tenant", Text, nullable=False),
    Column("nas", Text, nullable=False),
    Column("box", LargeBinary, nullable=False),
    Column("acct_session_id", LargeBinary, nullable=False),
    Column("username", Text, nullable=False),
    Column("framed_ip_address", Text),
    Column("state", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("detail", LargeBinary, nullable=False),  # everything else, JSON
)
Index("session_by_acct_session_id", SESSION.c.acct_session_id)
Index("session_by_username", SESSION.c.username)
Index("session_by_closed_at", SESSION.c.closed_at)

# The replica: one row for each object, secrets sealed. Served is the generation that its feed's row names; a
# snapshot gathers in the next one. What operators load is of the feed `local`, which has no row and generation 0.
OBJECT = Table(
    "object",
    METADATA,
    Column("feed", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("loaded_at", Float, nullable=False),
    Column("rev", BigInteger, nullable=False),  # the platform's number of this state; 0: it has none
    Column("bucket", Integer, nullable=False),  # which digest it is part of
    Column("digest", LargeBinary, nullable=False),  # of the object as it came; empty: of no feed
    Column("extra", LargeBinary),  # fields that this version does not know, sealed
)
Index("object_by_bucket", OBJECT.c.feed, OBJECT.c.generation, OBJECT.c.bucket)

# Feeds: how far each has been read, and which generation of its objects is served.
FEED = Table(
    "feed",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("epoch", Text, nullable=False),
    Column("rev", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("contact_at", Float),  # when its platform was last heard of for certain
    Column("detail", LargeBinary, nullable=False),  # JSON: a snapshot under way, a brake that holds
)

# Objects that a feed brought and that could not become records; the last good ones are served on.
NACK = Table(
    "nack",
    METADATA,
    Column("feed", Text, primary_key=True),
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("generation", Integer, primary_key=True, autoincrement=False),
    Column("rev", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("code", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("bucket", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # of what came, so that the platform's digests can be met
    Column(
        "body", LargeBinary
    ),  # what came, sealed, where it is only in the way of others: it is tried again
)

# Small facts by name: how far the journal is applied to sessions, when the replica was last loaded.
MARK = Table(
    "mark",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Float, nullable=False),
)

# Work for a NAS or device that may take several tries: one row for each job, rewritten with each change of state.
JOB = Table(
    "job",
    METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("tenant", Text, nullable=False),
    Column("nas", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("session_uid", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("detail", LargeBinary, nullable=False),  # everything else, JSON
)
Index("job_by_finished_at", JOB.c.finished_at)

# What subscribers have used in the windows of their allowances: one row for each.
USAGE = Table(
    "usage",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("subscriber", Text, primary_key=True),
    Column("updated_at", Float, nullable=False),
    Column("detail", LargeBinary, nullable=False),  # JSON
)

# What first logins have tied subscribers to.
BINDING = Table(
    "binding",
    METADATA,
    Column("tenant", Text, primary_key=True),
    Column("subscriber", Text, primary_key=True),
    Column("learned_at", Float, nullable=False),
    Column("detail", LargeBinary, nullable=False),  # JSON
)

# Accounting of logins to devices.
STAFF_RECORD = Table(
    "staff_record",
    METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Float, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("nas", Text, nullable=False),
    Column("staff", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("detail", LargeBinary, nullable=False),  # JSON
)
Index("staff_record_by_at", STAFF_RECORD.c.at)
