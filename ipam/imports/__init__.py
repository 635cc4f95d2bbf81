"""Readers of what other address books export: complete, or nothing and a report of every problem."""
