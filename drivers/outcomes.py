"""What came of a commit, a confirm, a rollback: values. Ambiguous is `unverified`, never success."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from drivers.model import CommitRef


class CommitState(StrEnum):
    """After commit()."""

    PENDING = "pending"  # in force; the device takes it back unless confirmed
    COMMITTED = "committed"  # in force, without a timer
    REJECTED = "rejected"  # refused, and nothing was changed
    PARTIAL = "partial"  # refused half way; some lines are in force
    UNVERIFIED = "unverified"  # the reply was lost: look at pending() and read back


class ConfirmState(StrEnum):
    """After confirm()."""

    CONFIRMED = "confirmed"
    LAPSED = "lapsed"  # nothing was pending any more: the device has taken it back
    REFUSED = "refused"
    UNVERIFIED = "unverified"


class RollbackState(StrEnum):
    """After rollback()."""

    REVERTED = "reverted"
    REBOOTING = "rebooting"
    REFUSED = "refused"
    UNVERIFIED = "unverified"


class Settled(StrEnum):
    """What a new session finds out about a commit whose reply was lost."""

    PENDING = "pending"
    APPLIED = "applied"
    REVERTED = "reverted"  # or never applied: the configuration is the one before
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class CommitResult:
    """The outcome of commit(); `slug` and `detail` say why where it is not PENDING or COMMITTED."""

    state: CommitState
    ref: CommitRef
    slug: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ConfirmResult:
    """The outcome of confirm()."""

    state: ConfirmState
    slug: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RollbackResult:
    """The outcome of rollback()."""

    state: RollbackState
    slug: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """Commits that wait for their confirm. `visible` False: this device does not tell, so `ids` proves nothing."""

    visible: bool
    ids: tuple[str, ...] = ()
