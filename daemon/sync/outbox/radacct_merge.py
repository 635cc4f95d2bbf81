"""One session as a row of radacct: what it says, and how it is folded into the row that is there.

The row may be of FreeRADIUS, and others write into it: a platform closes what it has not heard of for long. Newer
evidence opens such a row again; a real Stop is final. Counters and times only rise, and what a session once had is
not taken away by a report that does not say it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from daemon.aaa.shown_id import suffixed

REAPED = frozenset({"Ghost-Reaped", "Ghost-Reconciled"})
"""Causes that a platform writes where it only believes that a session is gone."""
_NEAR_S = 300.0  # between the starts of one session as two servers reckon them
_CLOCKS_S = 60.0  # between the clocks of two servers
_QUIET_S = 7200.0  # without an interim: longer, and platforms take a session for gone


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """A session of ours, in the words of radacct. Times are epoch seconds; octets are seen as its NAS counts them.

    `acct_input_octets` come from the subscriber (RFC 2866 section 5.3). `concluded` tells that we have closed it
    without a Stop.
    """

    uid: int
    nas_address: str
    acct_session_id: str
    username: str
    known: bool  # its login is in the replica
    start_seen: bool
    started_at: float
    updated_at: float
    closed_at: float | None = None
    concluded: bool = False
    session_time_s: int = 0
    acct_input_octets: int = 0
    acct_output_octets: int = 0
    nas_port_id: str | None = None
    called_station_id: str | None = None
    calling_station_id: str | None = None
    terminate_cause: str | None = None
    framed_ip_address: str | None = None
    framed_ipv6_address: str | None = None
    framed_ipv6_prefix: str | None = None
    framed_interface_id: str | None = None
    delegated_ipv6_prefix: str | None = None
    class_: str | None = None
    of_event: bool = False  # the session itself is not kept any more

    def unique_id(self) -> str:
        """Return a key of 32 hex digits that no other session has, whatever its NAS calls it."""
        said = (str(self.uid), self.nas_address, self.acct_session_id, self.username)
        return hashlib.md5("\0".join(said).encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RadacctRow:
    """The columns that are written. Times are epoch seconds, None where the column is NULL."""

    acctuniqueid: str
    acctsessionid: str
    username: str
    nasipaddress: str
    acctstarttime: float | None = None
    acctupdatetime: float | None = None
    acctstoptime: float | None = None
    acctinterval: int | None = None
    acctsessiontime: int | None = None
    acctinputoctets: int | None = None
    acctoutputoctets: int | None = None
    nasportid: str | None = None
    calledstationid: str | None = None
    callingstationid: str | None = None
    acctterminatecause: str | None = None
    framedipaddress: str | None = None
    framedipv6address: str | None = None
    framedipv6prefix: str | None = None
    framedinterfaceid: str | None = None
    delegatedipv6prefix: str | None = None
    class_: str | None = None


COLUMNS = tuple(each.name for each in fields(RadacctRow))
TIMES = ("acctstarttime", "acctupdatetime", "acctstoptime")


def new_row(facts: SessionFacts, unique_id: str, shown: str, now: float) -> RadacctRow:
    """Return the row of a session that the table does not have; `now` is the clock of the database."""
    return _row(facts, unique_id, shown, now)


def merge(old: RadacctRow, facts: SessionFacts, now: float) -> RadacctRow:
    """Return what becomes of the row of a session, which keeps its keys."""
    new = _row(facts, old.acctuniqueid, old.acctsessionid, now)
    kept = {
        name: getattr(new, name) if getattr(new, name) not in (None, "") else getattr(old, name)
        for name in COLUMNS
    }
    for name in ("acctsessiontime", "acctinputoctets", "acctoutputoctets", "acctupdatetime"):
        kept[name] = _highest(getattr(old, name), getattr(new, name))
    kept |= {
        "acctuniqueid": old.acctuniqueid,
        "acctsessionid": old.acctsessionid,
        "nasipaddress": old.nasipaddress,
    }
    kept["acctstarttime"] = _lowest(old.acctstarttime, new.acctstarttime)
    updated, before = kept["acctupdatetime"], old.acctupdatetime
    if before is not None and updated - before >= 1:
        kept["acctinterval"] = int(updated - before)
    kept["acctstoptime"], kept["acctterminatecause"] = _end(old, new, facts)
    return RadacctRow(**kept)


def _end(old: RadacctRow, new: RadacctRow, facts: SessionFacts) -> tuple[float | None, str | None]:
    """Return stop time and cause: a real Stop is final, what was only believed gives way to what is newer."""
    if old.acctstoptime is None:
        return new.acctstoptime, new.acctterminatecause
    if new.acctstoptime is not None and (not facts.concluded or old.acctterminatecause in REAPED):
        return new.acctstoptime, new.acctterminatecause
    if new.acctstoptime is None and (new.acctupdatetime or 0.0) > old.acctstoptime:
        return None, ""  # a session with a real Stop never lives again, so this one had none
    return old.acctstoptime, old.acctterminatecause


def _row(facts: SessionFacts, unique_id: str, shown: str, now: float) -> RadacctRow:
    updated = max(facts.started_at, facts.updated_at)

    def whole(at: float) -> float:
        return float(int(min(at, now)))

    return RadacctRow(
        acctuniqueid=unique_id,
        acctsessionid=shown,
        username=facts.username,
        nasipaddress=facts.nas_address,
        acctstarttime=whole(facts.started_at),
        acctupdatetime=whole(updated),
        acctstoptime=None if facts.closed_at is None else whole(facts.closed_at),
        acctsessiontime=facts.session_time_s,
        acctinputoctets=facts.acct_input_octets,
        acctoutputoctets=facts.acct_output_octets,
        nasportid=facts.nas_port_id,
        calledstationid=facts.called_station_id or "",
        callingstationid=facts.calling_station_id or "",
        acctterminatecause=facts.terminate_cause if facts.closed_at is not None else "",
        framedipaddress=facts.framed_ip_address,
        framedipv6address=facts.framed_ipv6_address,
        framedipv6prefix=facts.framed_ipv6_prefix,
        framedinterfaceid=facts.framed_interface_id,
        delegatedipv6prefix=facts.delegated_ipv6_prefix,
        class_=facts.class_,
    )


def shown_id(facts: SessionFacts, taken: bool, width: int | None) -> str:
    """Return the Acct-Session-Id for the table: the NAS's own, with a suffix where another session has it there."""
    most = width or 64
    return suffixed(facts.acct_session_id, facts.uid, most) if taken else facts.acct_session_id[:most]


def fit(row: RadacctRow, widths: Mapping[str, int], mosts: Mapping[str, int]) -> tuple[RadacctRow, int]:
    """Return a row that its columns take, and how many of its values had to give: a long text, a great number.

    No text has a NUL, which PostgreSQL takes in none.
    """
    fitting: dict[str, str | int] = {}
    lost = 0
    for name in COLUMNS:
        value = getattr(row, name)
        if isinstance(value, str):
            fitted: str | int = plain(value)[: widths.get(name)]
            lost += len(value) > widths.get(name, len(value))
        elif isinstance(value, int) and name in mosts:
            fitted = min(max(value, 0), mosts[name])
            lost += fitted != value
        else:
            continue
        if fitted != value:
            fitting[name] = fitted
    return (replace(row, **fitting) if fitting else row), lost  # type: ignore[arg-type]


def plain(value: str) -> str:
    """Return a text that every database takes: without NUL, and with nothing that is no character."""
    if "\0" in value:
        value = value.replace("\0", "")
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def is_of_session(row: RadacctRow, facts: SessionFacts) -> bool:
    """Tell whether an open row that somebody else began is of this session, and not a ghost of an older one.

    Ids are used again: the row must have begun when this session has, and nothing in it may be beyond what the NAS
    says now. Where the NAS never says how long a session is, the row must have been kept up until lately.
    """
    began, kept_up = row.acctstarttime, row.acctupdatetime or row.acctstarttime
    if row.nasipaddress.split("/")[0] != facts.nas_address or began is None or kept_up is None:
        return False
    beyond = (
        kept_up > max(facts.updated_at, facts.started_at) + _CLOCKS_S
        or (row.acctinputoctets or 0) > facts.acct_input_octets
        or (row.acctoutputoctets or 0) > facts.acct_output_octets
    )
    if beyond:
        return False
    if facts.session_time_s:
        near = abs(began - facts.started_at) <= _NEAR_S
        return near and (row.acctsessiontime or 0) <= facts.session_time_s + _CLOCKS_S
    return began <= facts.started_at + _NEAR_S and kept_up >= facts.started_at - _QUIET_S


def cause_name(slug: str | None) -> str | None:
    """Return a terminate cause as the dictionary spells it: `nas-reboot` is NAS-Reboot."""
    if slug is None:
        return None
    return "-".join("NAS" if each == "nas" else each[:1].upper() + each[1:] for each in slug.split("-"))


def _highest(*values: float | None) -> float | None:
    return max((each for each in values if each is not None), default=None)


def _lowest(*values: float | None) -> float | None:
    return min((each for each in values if each is not None), default=None)
