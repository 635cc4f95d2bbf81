"""How operations on definitions answer: whose tenant it is, and a refusal as the fitting status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from fastapi import HTTPException

from daemon.api.services import Services
from ipam.address import Malformed, Unit, read_number, read_unit
from ipam.kinds import BITS, SPACE_OF, Kind
from ipam.model import Pool, Problem

Done = TypeVar("Done")

_CONFLICTS = frozenset(
    {
        "claim-reserved",
        "overlap",
        "pool-busy",
        "pool-exists",
        "pool-full",
        "pool-named",
        "pool-not-draining",
        "pool-of-other-origin",
        "prefix-full",
        "reservation-overlap",
        "reservation-second",
        "reservation-taken",
        "selector-of-other-origin",
        "vrf-busy",
    }
)


class Refused(HTTPException):
    """An operation that was refused; `problems` have the names of both sides."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        slug = problems[0].slug
        status = 404 if slug.startswith("no-such-") else 409 if slug in _CONFLICTS else 422
        super().__init__(status, "; ".join(each.text for each in problems))
        self.problems = problems


def done(answer: Done | tuple[Problem, ...]) -> Done:
    """Return what was done. Raises Refused."""
    if isinstance(answer, tuple) and answer and isinstance(answer[0], Problem):
        raise Refused(answer)
    return answer  # type: ignore[return-value]


def malformed(field: str, error: Malformed) -> HTTPException:
    """Return the failure for a field that cannot be read."""
    return HTTPException(422, f"{field}: {error}")


@contextmanager
def reading(field: str) -> Iterator[None]:
    """Make a failure that names a field of what cannot be read there."""
    try:
        yield
    except Malformed as error:
        raise malformed(field, error) from None


def own_tenant(services: Services, tenant: str | None) -> str:
    """Return whose a new definition is. Raises HTTPException 404, or 409 where it must be said."""
    known = services.index.tenants
    if tenant is None:
        if len(known) != 1:
            names = ", ".join(sorted(known)) or "none"
            raise HTTPException(409, f"say with --tenant whose it is; tenants are: {names}")
        return next(iter(known))
    if tenant not in known:
        raise HTTPException(404, f"no tenant has the id {tenant}")
    return tenant


def vrf_name(given: str | None) -> str | None:
    """Return the name of a VRF: `default` is the one without."""
    return "" if given == "default" else given


def unit_of(given: str, field: str, pool: Pool | None = None) -> Unit:
    """Read an address, a prefix or, of a pool of VLANs, a number. Raises HTTPException 422."""
    with reading(field):
        if pool is not None and pool.kind in (Kind.SVLAN, Kind.CVLAN):
            space = SPACE_OF[pool.kind]
            return Unit(space, read_number(space, given), BITS[space])
        return read_unit(given)
