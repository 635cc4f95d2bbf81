"""May this subscriber connect? An ordered tuple of pure checks; the first that answers decides."""

from __future__ import annotations

from collections.abc import Callable

from daemon.aaa.reasons import Deny
from daemon.replica.records import AccessMode, Plan, Subscriber

Check = Callable[[Subscriber, Plan | None, float], Deny | None]
"""(subscriber, plan, epoch seconds) -> why not, or None."""


def access_mode(subscriber: Subscriber, _plan: Plan | None, _at: float) -> Deny | None:
    """The platform's decision about the subscriber."""
    mode = subscriber.access_mode
    if mode is AccessMode.ACTIVE:
        return None
    return _BY_MODE[mode]


def validity(subscriber: Subscriber, _plan: Plan | None, at: float) -> Deny | None:
    """The subscription's own dates."""
    if subscriber.valid_from is not None and at < subscriber.valid_from:
        return Deny.NOT_YET_VALID
    if subscriber.valid_until is not None and at >= subscriber.valid_until:
        return Deny.EXPIRED
    return None


def has_plan(_subscriber: Subscriber, plan: Plan | None, _at: float) -> Deny | None:
    """Something to give."""
    return Deny.NO_PLAN if plan is None else None


_BY_MODE = {
    AccessMode.REJECT: Deny.ACCESS_REJECT,
    AccessMode.NONE: Deny.ACCESS_NONE,
    AccessMode.CAPTIVE: Deny.CAPTIVE_UNSUPPORTED,
}

CHECKS: tuple[Check, ...] = (access_mode, validity, has_plan)


def decide(subscriber: Subscriber, plan: Plan | None, at: float) -> Deny | None:
    """Return why the subscriber may not connect now, None when it may."""
    for check in CHECKS:
        reason = check(subscriber, plan, at)
        if reason is not None:
            return reason
    return None
