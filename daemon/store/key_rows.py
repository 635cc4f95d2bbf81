"""Keys and clients of the API: a hash of each secret, what it may do, until when, how often it was used."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, LargeBinary, Table, Text

from daemon.store.schema import METADATA

API_KEY = Table(
    "api_key",
    METADATA,
    Column("id", Text, primary_key=True),  # the public part
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of a secret of 256 random bits
    Column("scopes", Text, nullable=False),  # separated by spaces
    Column("tenant", Text, nullable=False),  # empty: all of them
    Column("rate_per_s", Float),
    Column("created_at", Float, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("last_used_at", Float),
    Column("uses", BigInteger, nullable=False),
    Column("refusals", BigInteger, nullable=False),
)
