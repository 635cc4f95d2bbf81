"""The checks of the conformance kit, in the order in which they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from drivers.checks import pushing, reading
from drivers.conformance import Subject

CHECKS: tuple[tuple[str, Callable[[Subject], Awaitable[str]]], ...] = (
    ("probe-is-steady", reading.probe_is_steady),
    ("unknown-is-read-only", reading.unknown_is_read_only),
    ("read-only-writes-nothing", reading.read_only_writes_nothing),
    ("wrong-password", reading.wrong_password),
    ("wrong-host-key", reading.wrong_host_key),
    ("lock-refused", reading.lock_refused),
    ("base-changed", reading.base_changed),
    ("stage-changes-nothing", reading.stage_changes_nothing),
    ("bad-change-refused", pushing.bad_change_refused),
    ("push-confirmed", pushing.push_confirmed),
    ("push-unconfirmed-reverts", pushing.push_unconfirmed_reverts),
    ("rollback-now", pushing.rollback_now),
    ("cut-before-commit", pushing.cut_before_commit),
    ("cut-after-commit", pushing.cut_after_commit),
    ("no-secret-in-transcripts", reading.no_secret_in_transcripts),
)
