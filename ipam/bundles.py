"""Bundles that have not ended, and which of them are whose."""

from __future__ import annotations

from ipam.native import mypyc_attr
from ipam.shelf import Shelf, Tenure

Member = tuple[Shelf, int, Tenure]  # an int for the cell
Owner = tuple[str, str]  # with the tenant before it


@mypyc_attr(acyclic=True)  # as a tenure
class Live:
    """A bundle that has not ended. `due` is monotonic seconds; `session` is empty until the Start.

    There are as many as there are sessions, so `tenures` know their places, and bundles of an owner the `younger` one.
    """

    __slots__ = (
        "due",
        "ended",
        "id",
        "lease_s",
        "logins",
        "owner",
        "serial",
        "session",
        "shelves",
        "tenant",
        "tenures",
        "younger",
    )

    def __init__(self, number: int, key: tuple[str, str], lease_s: float, shelves: list[Shelf]) -> None:
        self.id = number
        self.tenant, self.owner = key
        self.tenures: tuple[Tenure, ...] = ()
        self.shelves = shelves  # by their numbers
        self.younger: Live | None = None
        self.lease_s = lease_s
        self.due = 0.0
        self.session = ""
        self.logins = 1  # that were given it, before there was a session
        self.serial = 0
        self.ended = False

    @property
    def key(self) -> tuple[str, str]:
        """Tenant and owner."""
        return self.tenant, self.owner

    @property
    def members(self) -> tuple[Member, ...]:
        """The leases of it, each with its shelf and cell."""
        return tuple([(self.shelves[tenure.shelf], tenure.cell, tenure) for tenure in self.tenures])


class Owners:
    """The bundles of each owner."""

    __slots__ = ("_oldest",)

    def __init__(self) -> None:
        self._oldest: dict[str, dict[str, Live]] = {}  # by tenant and owner

    def oldest(self, key: Owner) -> Live | None:
        """Return the oldest bundle of an owner; each knows the one that is younger."""
        owners = self._oldest.get(key[0])
        return None if owners is None else owners.get(key[1])

    def all_of(self, key: Owner) -> list[Live]:
        """Return the bundles of an owner, oldest first."""
        found: list[Live] = []
        live = self.oldest(key)
        while live is not None:
            found.append(live)
            live = live.younger
        return found

    def enter(self, live: Live) -> None:
        """Know a bundle as the youngest of its owner."""
        owners = self._oldest.get(live.tenant)
        if owners is None:
            owners = self._oldest[live.tenant] = {}
        last = owners.setdefault(live.owner, live)
        if last is live:
            return
        while last.younger is not None:
            last = last.younger
        last.younger = live

    def leave(self, live: Live) -> None:
        """Know a bundle no more."""
        owners = self._oldest[live.tenant]
        before = owners[live.owner]
        if before is live:
            if live.younger is None:
                del owners[live.owner]
            else:
                owners[live.owner] = live.younger
            return
        while before.younger is not live:
            assert before.younger is not None, "a bundle is one of its owner's"
            before = before.younger
        before.younger = live.younger
