"""Durable storage: engine, tables, the single writer with group commit, the accounting journal."""
