"""Ranges of pools that the address book has, beside those that the data name: new data must not cut them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from daemon.replica.claims import Part
from ipam.kinds import Space


class Standing(NamedTuple):
    """A range that the address book has. `busy`: something of it is leased, held or in quarantine."""

    tenant: str
    vrf: str
    space: Space
    part: Part
    by_operator: bool
    busy: bool


Stands = Callable[[], Sequence[Standing]]
"""Gives all of them as they are now; may be called from another thread."""


def nothing() -> Sequence[Standing]:
    """Return that there is no address book."""
    return ()
