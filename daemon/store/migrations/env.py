"""Alembic's entry point: run the migrations on the connection that `store.migrate` hands in."""

from alembic import context

from daemon.store.schema import METADATA
from ipam.schema import METADATA as ADDRESS_BOOK

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=[METADATA, ADDRESS_BOOK],
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
