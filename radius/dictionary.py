"""The dictionary that ships with this package, and the names other code needs to use any dictionary."""

from __future__ import annotations

from pathlib import Path

from radius.definitions import AttributeDef, Dictionary, Oid, Type, Vendor
from radius.dictionary_reader import read

__all__ = ["SHIPPED", "AttributeDef", "Dictionary", "Oid", "Type", "Vendor", "read", "shipped"]

SHIPPED = Path(__file__).parent / "dictionaries" / "dictionary"


def shipped() -> Dictionary:
    """Return the dictionary in this package; it is read anew on each call, so call once and keep it."""
    return read(SHIPPED)
