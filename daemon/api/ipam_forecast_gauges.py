"""When pools run out, for Prometheus: the latest outlooks, with the time that has passed since taken off."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from daemon.api.live_gauges import Families
from daemon.leases.samples_outlook import Outlooks
from daemon.metrics import Gauges
from ipam.forecast import Confidence, Forecast

_LABELS = ("tenant", "pool")
_CONFIDENCE: Final = {Confidence.LOW: 0.0, Confidence.MEDIUM: 1.0, Confidence.HIGH: 2.0}


def gauges(outlooks: Outlooks, wall: Callable[[], float]) -> Families:
    """Return the gauges by name: help, labels, and what reads them; `wall` is the time of now, epoch seconds.

    Infinite is a pool that does not run out as far as can be seen, so that comparisons with a limit do what they
    say; a pool of which too little is known, or that gives out no leases, has no value at all.
    """

    def of(read: Callable[[Forecast], float | None]) -> Callable[[], Gauges]:
        def seconds() -> Gauges:
            at = wall()
            return {
                key: _left(read(each.forecast), at - each.at)
                for key, each in list(outlooks.known.items())
                if isinstance(each.forecast, Forecast)
            }

        return seconds

    def confidence() -> Gauges:
        return {
            key: _CONFIDENCE[each.forecast.confidence]
            for key, each in list(outlooks.known.items())
            if isinstance(each.forecast, Forecast)
        }

    what = (
        "time until no address of a pool is free, from the peaks of its days; +Inf where it does not run out"
    )
    return {
        "pool_exhaustion_seconds_forecast": (what, _LABELS, of(lambda each: each.seconds)),
        "pool_exhaustion_seconds_forecast_low": (
            "the early end of the interval of 90 %",
            _LABELS,
            of(lambda each: each.earliest_s),
        ),
        "pool_exhaustion_seconds_forecast_high": (
            "the late end of the interval of 90 %",
            _LABELS,
            of(lambda each: each.latest_s),
        ),
        "pool_forecast_confidence": (
            "how much of the forecast the data carry: 0 low, 1 medium, 2 high",
            _LABELS,
            confidence,
        ),
    }


def _left(seconds: float | None, passed_s: float) -> float:
    return inf if seconds is None else max(0.0, seconds - max(0.0, passed_s))
