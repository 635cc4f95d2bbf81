"""Pools, leases, blocks and the history of leases."""

from alembic import op

from ipam.schema import METADATA

revision = "i0001"
down_revision = None
branch_labels = ("ipam",)
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    METADATA.create_all(op.get_bind())


def downgrade() -> None:
    """Drop the tables."""
    METADATA.drop_all(op.get_bind())
