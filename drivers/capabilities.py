"""What a device can do, computed from its identity and never assumed: the unknown is read-only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class CandidateKind(StrEnum):
    """Where a staged change waits."""

    NATIVE = "native"  # a candidate datastore
    SESSION = "session"  # a named configuration session
    FILE = "file"  # a file on the device
    NONE = "none"  # with us; lines take effect as they are sent


class ConfirmKind(StrEnum):
    """How a commit is undone if nobody confirms it."""

    NATIVE_PERSIST = "native-persist"  # device timer with an id, confirmed from any session
    NATIVE_SESSION = "native-session"  # device timer, confirmed from any session by its owner's login
    TIMER_JOB = "timer-job"  # a job that we put on the device restores the old state
    SESSION_BOUND = "session-bound"  # undone when the session drops; cannot be confirmed from a new one
    NONE = "none"


class RollbackMethod(StrEnum):
    """How the old state comes back."""

    TRANSACTION = "transaction"
    TIMER = "timer"
    REPLACE = "replace"
    SESSION_BOUND = "session-bound"
    REBOOT = "reboot"
    INVERSE_COMMANDS = "inverse-commands"
    NONE = "none"


class LockKind(StrEnum):
    """What keeps others out while we change."""

    NATIVE = "native"
    ADVISORY = "advisory"  # seen by us only
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Defaults are those of an unknown device: it may be read. Ranges and granularity in seconds."""

    writes: bool = False
    reason: str = "unknown model or firmware"  # why writes is False, for people
    merge: bool = False
    replace: bool = False
    actions: bool = False
    services: bool = False
    merge_atomic: bool = False  # a refused change leaves nothing behind
    candidate: CandidateKind = CandidateKind.NONE
    confirm: ConfirmKind = ConfirmKind.NONE
    confirm_min_s: int = 0
    confirm_max_s: int = 0
    confirm_step_s: int = 1
    rollback: RollbackMethod = RollbackMethod.NONE
    reboots: bool = False  # rollback, or a lapsed confirm, reboots the device
    pending_visible: bool = False
    lock: LockKind = LockKind.NONE
    diff_native: bool = False
    validate_native: bool = False
    neighbors: bool = False
    startup: bool = False  # a startup configuration apart from the running one: save() means something
    max_sessions: int = 1
    notes: tuple[str, ...] = field(default=())

    def confirm_within(self, wanted_s: int) -> int:
        """Return the confirm time the device takes: `wanted_s` inside its range, rounded up to its step."""
        bounded = min(max(wanted_s, self.confirm_min_s), self.confirm_max_s)
        stepped = -(-bounded // self.confirm_step_s) * self.confirm_step_s
        return stepped if stepped <= self.confirm_max_s else stepped - self.confirm_step_s
