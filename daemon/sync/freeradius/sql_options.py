"""How a FreeRADIUS database is read, and how the reading stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from daemon.sync.feed.backoff import Backoff
from daemon.sync.freeradius.nases import NasReading
from daemon.sync.freeradius.semantics import Reading
from daemon.sync.freeradius.sql_rows import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlOptions:
    """One database as a source. `url` is one of SQLAlchemy's, with asyncpg or aiomysql.

    `users` is a regular expression that a whole user name must match; empty: all. `fold` says whether user names are
    the same in upper and lower case; None: as the database compares them by default, so only in MySQL and MariaDB.
    Every `probe_s` it is asked whether rows have come or gone, and every `compare_s` all rows are compared.
    """

    url: str = field(repr=False)
    tables: Tables = field(default_factory=Tables)
    reading: Reading = field(default_factory=Reading)
    nases: NasReading = field(default_factory=NasReading)
    users: str = ""
    fold: bool | None = None
    probe_s: float = 3.0
    compare_s: float = 120.0
    connect_timeout_s: float = 10.0
    sweep_limit_s: float = 600.0  # then a pass is given up
    page: int = 500  # objects of a snapshot at a time
    batch_most: int = 1000  # changes beyond this come as a snapshot
    backoff: Backoff = field(default_factory=lambda: Backoff(first_s=2.0, most_s=120.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlStatus:
    """How it stands. Times are epoch seconds; `unknown` are attributes with the number of owners that have them.

    `digest` is that of the whole projection, hex; empty before the first pass.
    """

    swept_at: float | None = None  # of the last pass that came to its end
    changed_at: float | None = None
    users: int = 0
    rows: int = 0
    objects: tuple[tuple[str, int], ...] = ()
    skipped: int = 0  # users that the rule for user names leaves out
    unusable_passwords: int = 0
    duplicates: int = 0
    unknown: tuple[tuple[str, int], ...] = ()
    digest: str = ""
    held: bool = False  # what was read is held by the brake of the feed
    failures: int = 0
    error: str = ""  # of the last try, empty where it went well
