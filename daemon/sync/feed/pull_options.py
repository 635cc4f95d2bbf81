"""What the settings say of a connection to a platform, and how it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from daemon.sync.feed.backoff import Backoff
from daemon.sync.feed.pace import Pace

_TOKEN = re.compile(r"[\x21-\x7e]{1,8192}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """Where a platform is, and how it and we are known to each other. Raises ValueError for what cannot be.

    `url` is such as https://central.example.net/edge; certificate and key are of us, `ca_file` says whom to trust,
    the system's own without one. Files are read again with each connection. `plain`: http is allowed.
    """

    url: str
    token: str = field(default="", repr=False)
    certificate_file: Path | None = None
    key_file: Path | None = field(default=None, repr=False)
    ca_file: Path | None = None
    plain: bool = False
    connect_s: float = 10.0
    answer_s: float = 30.0  # until the head of an answer is here, beside the time that it may be held
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("url: names and passwords do not belong there; set a token or a certificate")
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"url: got {self.url}; expected one such as https://central.example.net")
        if parts.scheme == "http" and not self.plain:
            raise ValueError("url: http can be read and changed on its way; use https")
        if self.token and not _TOKEN.fullmatch(self.token):
            raise ValueError(
                "token: it has characters that no token has; is there a space or line end in it?"
            )
        if (self.key_file is not None) and self.certificate_file is None:
            raise ValueError("key_file: there is a key but no certificate_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """How a feed is read. Times are seconds."""

    link: LinkOptions
    stream: bool = True  # batches on one held answer; else long-poll
    wait_s: float = 30.0  # how long the platform may hold a poll
    idle_s: float = 90.0  # a stream on which nothing comes for so long is dead; platforms send empty batches
    limit: int = 500  # items a batch
    digests_s: float = 900.0
    ack_s: float = 5.0  # not more often than that while batches come
    brake_pause_s: float = 30.0  # until a change that is held is asked for again
    brake_again_s: float = 900.0  # until a snapshot that is held is read anew
    most_repairs: int = 64  # buckets; where more differ, a snapshot is cheaper
    skew_warn_s: float = 5.0
    skew_alarm_s: float = 30.0
    backoff: Backoff = field(default_factory=Backoff)


class PullState(StrEnum):
    """What a source is doing."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    SNAPSHOT = "snapshot"
    CHECKING = "checking"  # digests
    FOLLOWING = "following"
    BRAKED = "braked"
    WAITING = "waiting"  # until the next try


class Skew(StrEnum):
    """How far the two clocks are apart, in words."""

    UNKNOWN = "unknown"
    FINE = "fine"
    WARN = "warn"
    ALARM = "alarm"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullStatus:
    """A source at a glance. Times are epoch seconds; `skew_s`: how far the platform's clock is ahead."""

    state: PullState = PullState.STOPPED
    since: float = 0.0
    error: str = ""  # the latest, kept until something was applied
    error_at: float | None = None
    failures: int = 0  # in a row
    next_try_at: float | None = None
    connected_at: float | None = None
    pages: int = 0  # of the snapshot that is under way, or of the latest
    items: int = 0
    batches: int = 0  # since the start, as all that follow
    snapshots: int = 0
    repairs: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    skew_s: float | None = None
    skew: Skew = Skew.UNKNOWN
    certificate_until: float | None = None

    def certificate_days(self, at: float) -> float | None:
        """Return how many days our certificate is good for; negative after its end, None without one."""
        return None if self.certificate_until is None else (self.certificate_until - at) / 86_400.0
