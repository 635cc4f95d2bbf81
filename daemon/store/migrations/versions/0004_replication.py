"""Feeds, objects by feed and generation, refused objects; the outbox; keys of the API."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Move the objects that are there to the feed of what operators load, and create the rest."""
    op.rename_table("object", "object_before")
    op.create_table(
        "object",
        sa.Column("feed", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("loaded_at", sa.Float, nullable=False),
        sa.Column("rev", sa.BigInteger, nullable=False),
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("extra", sa.LargeBinary),
    )
    op.create_index("object_by_bucket", "object", ["feed", "generation", "bucket"])
    _move(
        "object_before",
        "object",
        ("tenant", "kind", "id", "body", "loaded_at"),
        {"feed": "local", "generation": 0, "rev": 0, "bucket": 0, "digest": b""},
    )
    op.drop_table("object_before")
    op.create_table(
        "feed",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("rev", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("contact_at", sa.Float),
        sa.Column("detail", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "nack",
        sa.Column("feed", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rev", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("bucket", sa.Integer, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary),
    )
    _create_outbox()
    op.create_table(
        "api_key",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("rate_per_s", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float),
        sa.Column("revoked_at", sa.Float),
        sa.Column("last_used_at", sa.Float),
        sa.Column("uses", sa.BigInteger, nullable=False),
        sa.Column("refusals", sa.BigInteger, nullable=False),
        sa.Column("parent", sa.Text, nullable=False),
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("seq", _KEY, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("class", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("correlation", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "outbox_stream",
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("incarnation", sa.Text, nullable=False),
        sa.Column("base_seq", sa.BigInteger, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "outbox_mark",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("incarnation", sa.Text, nullable=False),
        sa.Column("base_seq", sa.BigInteger, nullable=False),
        sa.Column("acked_seq", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("acked_at", sa.Float, nullable=False),
    )
    op.create_table(
        "outbox_hash",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("stream", sa.Text, primary_key=True),
        sa.Column("incarnation", sa.Text, primary_key=True),
        sa.Column("seq", _KEY, primary_key=True, autoincrement=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "radacct_session",
        sa.Column("sink", sa.Text, primary_key=True),
        sa.Column("session_uid", _KEY, primary_key=True, autoincrement=False),
        sa.Column("unique_id", sa.Text, nullable=False),
        sa.Column("shown_id", sa.Text, nullable=False),
        sa.Column("closed_at", sa.Float),
    )


def _move(source: str, target: str, columns: tuple[str, ...], constants: dict[str, object]) -> None:
    """Copy rows of one table to another that has more columns."""
    old = sa.table(source, *(sa.column(each) for each in columns))
    new = sa.table(target, *(sa.column(each) for each in (*columns, *constants)))
    said = [sa.literal(value).label(name) for name, value in constants.items()]
    op.execute(
        new.insert().from_select([*columns, *constants], sa.select(*(old.c[each] for each in columns), *said))
    )


def downgrade() -> None:
    """Keep what operators loaded; what feeds brought comes again from them."""
    op.drop_index("object_by_bucket", "object")
    op.rename_table("object", "object_after")
    op.create_table(
        "object",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("loaded_at", sa.Float, nullable=False),
    )
    columns = ("tenant", "kind", "id", "body", "loaded_at")
    after = sa.table("object_after", *(sa.column(each) for each in ("feed", *columns)))
    kept = sa.select(*(after.c[each] for each in columns)).where(after.c.feed == "local")
    before = sa.table("object", *(sa.column(each) for each in columns))
    op.execute(before.insert().from_select(list(columns), kept))
    for table in (
        "object_after",
        "feed",
        "nack",
        "outbox",
        "outbox_stream",
        "outbox_mark",
        "outbox_hash",
        "radacct_session",
        "api_key",
    ):
        op.drop_table(table)
