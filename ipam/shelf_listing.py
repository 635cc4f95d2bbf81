"""One slot of a shelf as a listing shows it."""

from __future__ import annotations

from ipam.history import NOBODY
from ipam.kinds import STATES
from ipam.lease import Standing
from ipam.shelf import Shelf


def standing_of(shelf: Shelf, cell: int, bundle_id: int, expires_at: float | None) -> Standing:
    """Return what a slot is; `bundle_id` 0 and `expires_at` None, epoch seconds, where it is in no live bundle."""
    tenure = shelf.tenures.get(cell)
    return Standing(
        tenant=shelf.pool.tenant,
        pool=shelf.pool.name,
        kind=shelf.pool.kind,
        unit=shelf.unit(cell),
        state=STATES[shelf.allocator.states[cell]],
        lease_id=tenure.lease_id if tenure is not None else 0,
        bundle_id=bundle_id,
        owner=shelf.owner_of(cell),
        session=tenure.session if tenure is not None else "",
        party=tenure.party if tenure is not None else NOBODY,
        since_at=tenure.since_at if tenure is not None else 0.0,
        expires_at=expires_at,
    )
