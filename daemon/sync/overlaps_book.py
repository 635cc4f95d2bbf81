"""What the address book has in the way of new data: operators' pools, and ranges of the platform's that are in use."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from daemon.replica.claims import parts_of
from daemon.replica.pools import PoolSpec
from daemon.replica.standing import Standing
from ipam.address import Unit
from ipam.kinds import Space

WillBe = Callable[[str, str], PoolSpec | None]
"""(tenant, name): the pool that the data will have."""

_Group = tuple[str, str, Space]


class Book:
    """The ranges of the book by number. Those of one tenant, VRF and space do not overlap."""

    def __init__(self, standing: Sequence[Standing], will_be: WillBe) -> None:
        self._will_be = will_be
        self._groups: dict[_Group, list[Standing]] = {}
        for each in sorted(standing, key=_first):
            self._groups.setdefault((each.tenant, each.vrf, each.space), []).append(each)

    def in_the_way(self, tenant: str, vrf: str, span: tuple[Space, int, int], name: str) -> Standing | None:
        """Return a range that a pool of that name cannot have.

        One that another pool of the platform has, and will have in part only, stays whole in the book.
        """
        for each in self._overlapping((tenant, vrf, span[0]), *span[1:]):
            if each.part.pool != name and (each.busy or not self._goes(each)):
                return each
        return None

    def cut_by(self, tenant: str, vrf: str, unit: Unit) -> Standing | None:
        """Return a range that a fixed address or routed block would cut. What the data's own pools keep is theirs."""
        for each in self._overlapping((tenant, vrf, unit.space), unit.value, unit.last):
            stands = each.by_operator or (each.busy and self._goes(each))
            if stands and not each.part.has_room_for(unit):
                return each
        return None

    def _goes(self, standing: Standing) -> bool:
        """Tell whether the data will have nothing of a range of the platform's under the name of its pool."""
        if standing.by_operator:
            return False
        spec = self._will_be(standing.tenant, standing.part.pool)
        return spec is None or not any(
            space is standing.space and part.first <= standing.part.last and standing.part.first <= part.last
            for _, space, part in (parts_of(spec) if spec.pool.vrf == standing.vrf else ())
        )

    def _overlapping(self, group: _Group, first: int, last: int) -> Iterator[Standing]:
        ranges = self._groups.get(group, [])
        at = max(0, bisect_right(ranges, first, key=_first) - 1)
        while at < len(ranges) and ranges[at].part.first <= last:
            if ranges[at].part.last >= first:
                yield ranges[at]
            at += 1


def _first(standing: Standing) -> int:
    return standing.part.first
