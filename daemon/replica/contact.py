"""How long ago a tenant's platform was last heard of, and what becomes of logins meanwhile.

Fresh data and stale data answer alike, but each decision on stale data says so. Degraded data may lack customers
that were sold since; an isolated edge does with active subscribers what their provider wants of such a week.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from daemon.replica.rules import Treatment


class Age(StrEnum):
    """How old the data are, in the steps that matter."""

    FRESH = "fresh"
    STALE = "stale"
    DEGRADED = "degraded"
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgePolicy:
    """When data become older, in seconds since the last contact, and what is done then; None: as ever."""

    stale_after_s: float = 120.0
    degraded_after_s: float = 86_400.0
    isolated_after_s: float = 604_800.0
    degraded_unknown: Treatment | None = None
    isolated_known: Treatment | None = None

    def age(self, silent_s: float) -> Age:
        """Return how old data are whose platform was silent for so long."""
        if silent_s < self.stale_after_s:
            return Age.FRESH
        if silent_s < self.degraded_after_s:
            return Age.STALE
        return Age.DEGRADED if silent_s < self.isolated_after_s else Age.ISOLATED

    def contact(self, silent_s: float, last_at: float | None) -> Contact:
        """Return what that means for logins; `last_at` is the last contact, epoch seconds."""
        age = self.age(silent_s)
        return Contact(
            age=age,
            last_at=last_at,
            unknown=self.degraded_unknown if age is Age.DEGRADED else None,
            known=self.isolated_known if age is Age.ISOLATED else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What a tenant's data are worth now: what becomes of unknown logins and of active subscribers; None: as ever."""

    age: Age = Age.FRESH
    last_at: float | None = None
    unknown: Treatment | None = None
    known: Treatment | None = None


IN_TOUCH = Contact()
"""Of a tenant that is not replicated, or whose platform is there."""
