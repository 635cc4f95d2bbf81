"""How long to wait before the next try: full jitter, so that a thousand edges do not come back in the same second."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_ASKED_S = 3600.0  # what a Retry-After may ask for
_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True)
class Backoff:
    """Bounds of the pause: the first is up to `first_s` long, each further one up to twice that, up to `most_s`."""

    first_s: float = 1.0
    most_s: float = 60.0

    def pause_s(self, failures: int, random: float, asked_s: float | None = None) -> float:
        """Return the pause after so many failures in a row, from 1 on; `random` is in [0, 1).

        `asked_s` is what the other side asked for: never less than that, and spread behind it.
        """
        most = min(self.most_s, self.first_s * 2.0 ** min(max(0, failures - 1), _MOST_DOUBLINGS))
        if asked_s is None:
            return random * most
        wanted = min(max(0.0, asked_s), LONGEST_ASKED_S)
        return wanted + random * max(most, wanted / 2)
