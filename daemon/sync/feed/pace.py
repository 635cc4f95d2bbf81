"""How slow an answer may come: a byte now and then must not hold us for ever."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Something that began may take `grace_s`, and a second more for each `least_octets_per_s` that came of it."""

    grace_s: float = 20.0
    least_octets_per_s: float = 1000.0

    def left_s(self, waited_s: float, octets: int) -> float:
        """Return how much longer to wait for more; 0 or less: it is too slow.

        `waited_s` is only the time that was spent on waiting: what we do with what came is not the sender's fault.
        """
        return self.grace_s + octets / self.least_octets_per_s - waited_s
