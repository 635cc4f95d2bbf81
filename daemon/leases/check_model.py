"""What a check of the address book looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from daemon.leases.addresses import Addresses
from ipam.address import Unit
from ipam.cgnat import DeterministicPlan
from ipam.model import Claim

SLICE = 250
"""How much is looked at before requests are let in between."""


class Rule(StrEnum):
    """What must be so."""

    BOOK = "book"  # the book agrees with itself
    STORED = "stored"  # what is in memory is on disk, and nothing else
    SESSION_LEASE = "session-lease"  # a live session has the addresses that it reports
    LEASE_SESSION = "lease-session"  # a bound lease has a live session
    ONE_SESSION = "one-session"  # no two live sessions report one address
    OVERLAP = "overlap"  # no two definitions or claims have a number in common
    HISTORY = "history"  # every event follows from the one before


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not so; `subject` is the address, pool, session or book that it is about."""

    rule: Rule
    tenant: str
    subject: str
    text: str
    remedy: str
    repaired: bool = False


class Progress(NamedTuple):
    """How far one part of the check is."""

    stage: str
    done: int
    total: int


Step = Finding | Progress


class Seen(NamedTuple):
    """A live session as accounting tells of it; `name` is what the book calls it."""

    name: str
    tenant: str
    vrf: str
    subscriber: str
    nas: str
    units: tuple[Unit, ...]
    bundles: tuple[int, ...]


class Sessions(Protocol):
    """The live sessions, by those who know them."""

    def names(self) -> list[str]:
        """Return the names of all that are live now."""

    def find(self, name: str) -> Seen | None:
        """Return a session as it is now; None where it is not live any more."""

    def look_again(self, name: str) -> None:
        """Let the book take up the addresses that a session reports, where nobody else has them."""


class Claims(Protocol):
    """The fixed addresses and routed blocks of the platform's data."""

    def __call__(self) -> Iterable[Claim]:
        """Yield all of them; what is yielded from does not change meanwhile."""


class Entitled(Protocol):
    """Whether a slot of a pool may be set aside for somebody without a reservation."""

    def __call__(self, tenant: str, vrf: str, unit: Unit, owner: str) -> bool:
        """Tell whether the platform's data give the unit to that owner."""


def _nobody(tenant: str, vrf: str, unit: Unit, owner: str) -> bool:  # noqa: ARG001 - as `Entitled` is called
    return False


@dataclass(frozen=True, slots=True)
class Scope:
    """What is checked. `repair` puts right what can be without asking anybody; `deep` recomputes the history.

    `plans` are CGNAT plans in force, each with its tenant.
    """

    addresses: Addresses[Any]
    sessions: Sessions
    claims: Claims
    entitled: Entitled = _nobody
    plans: tuple[tuple[str, DeterministicPlan], ...] = ()
    repair: bool = False
    deep: bool = False
