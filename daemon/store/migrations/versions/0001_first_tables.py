"""The first tables: journal, session, object, mark."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "journal",
        sa.Column("first_seq", _KEY, primary_key=True, autoincrement=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.Float, nullable=False),
        sa.Column("records", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "session",
        sa.Column("uid", _KEY, primary_key=True, autoincrement=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("nas", sa.Text, nullable=False),
        sa.Column("box", sa.LargeBinary, nullable=False),
        sa.Column("acct_session_id", sa.LargeBinary, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("framed_ip_address", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.Column("closed_at", sa.Float),
        sa.Column("detail", sa.LargeBinary, nullable=False),
    )
    op.create_index("session_by_acct_session_id", "session", ["acct_session_id"])
    op.create_index("session_by_username", "session", ["username"])
    op.create_index("session_by_closed_at", "session", ["closed_at"])
    op.create_table(
        "object",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("loaded_at", sa.Float, nullable=False),
    )
    op.create_table(
        "mark",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("mark", "object", "session", "journal"):
        op.drop_table(table)
