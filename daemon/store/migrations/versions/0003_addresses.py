"""What is kept of addresses beside the address book: reports of sessions, CGNAT, audit, samples, answers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "audit",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_by_at", "audit", ["at"], unique=False)
    op.create_table(
        "cgnat_block",
        sa.Column(
            "seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("outside", sa.Text(), nullable=False),
        sa.Column("first_port", sa.Integer(), nullable=False),
        sa.Column("last_port", sa.Integer(), nullable=False),
        sa.Column("transport", sa.Integer(), nullable=False),
        sa.Column("inside", sa.Text(), nullable=False),
        sa.Column("subscriber", sa.Text(), nullable=False),
        sa.Column("session", sa.BigInteger(), nullable=False),
        sa.Column("nas", sa.Text(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=True),
        sa.Column("ending", sa.Text(), nullable=False),
        sa.Column("ended_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", "ordinal"),
    )
    op.create_index(
        "cgnat_block_by_inside", "cgnat_block", ["tenant", "inside", "since", "until"], unique=False
    )
    op.create_index("cgnat_block_by_outside", "cgnat_block", ["outside", "since", "until"], unique=False)
    op.create_index(
        "cgnat_block_by_outside_long",
        "cgnat_block",
        ["outside", "since", "until"],
        unique=False,
        sqlite_where=sa.text("until IS NULL OR until - since > 604800.0"),
    )
    op.create_index("cgnat_block_by_until", "cgnat_block", ["until"], unique=False)
    op.create_table(
        "cgnat_plan",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_from", sa.Float(), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "version"),
    )
    op.create_table(
        "cgnat_plan_end",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_until", sa.Float(), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "name", "version"),
    )
    op.create_table(
        "coverage",
        sa.Column("run", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("start_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("run"),
    )
    op.create_index("coverage_by_last_at", "coverage", ["last_at"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.Float(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("idempotency_by_begun_at", "idempotency", ["begun_at"], unique=False)
    op.create_table(
        "session_address",
        sa.Column(
            "uid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("vrf", sa.Text(), nullable=False),
        sa.Column("nas", sa.Text(), nullable=False),
        sa.Column("subscriber", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("acct_session_id", sa.LargeBinary(), nullable=False),
        sa.Column("circuit", sa.Text(), nullable=False),
        sa.Column("mac", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("closed_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("uid", "kind", "address", "length"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "session_address_by_address", "session_address", ["address", "started_at", "closed_at"], unique=False
    )
    op.create_index("session_address_by_closed_at", "session_address", ["closed_at"], unique=False)
    # ### end Alembic commands ###


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "session_address",
        "idempotency",
        "coverage",
        "cgnat_plan_end",
        "cgnat_plan",
        "cgnat_block",
        "audit",
    ):
        op.drop_table(table)
