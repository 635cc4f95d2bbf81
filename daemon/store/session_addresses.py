"""Which session had which address, kept for as long as the law wants: also what a NAS gave from pools of its own.

One row for each session, attribute and address. It says enough of the session to be understood when the session's own
row is gone. Rows of a session are written with its session row, and only when there is something new to say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    Select,
    Table,
    Text,
    and_,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.dialects.sqlite.aiosqlite import dialect
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.store.schema import METADATA, SESSION
from radius.codes import Attr

SESSION_ADDRESS = Table(
    "session_address",
    METADATA,
    Column("uid", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("address", Text, primary_key=True),  # canonical, the first one of a prefix
    Column("length", Integer, primary_key=True, autoincrement=False),
    Column("tenant", Text, nullable=False),
    Column("vrf", Text, nullable=False),
    Column("nas", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("username", Text, nullable=False),
    Column("acct_session_id", LargeBinary, nullable=False),
    Column("circuit", Text, nullable=False),
    Column("mac", Text, nullable=False),
    Column("started_at", Float, nullable=False),  # the session
    Column("first_at", Float, nullable=False),  # event time at which the address was first reported
    Column("last_at", Float, nullable=False),
    Column("closed_at", Float),  # the session; none while it lives
    sqlite_with_rowid=False,
)
# The times are in it so that only rows of the time that is asked about are read.
Index(
    "session_address_by_address",
    SESSION_ADDRESS.c.address,
    SESSION_ADDRESS.c.started_at,
    SESSION_ADDRESS.c.closed_at,
)
Index("session_address_by_closed_at", SESSION_ADDRESS.c.closed_at)

KINDS = {
    int(Attr.FRAMED_IP_ADDRESS): "framed-ip-address",
    int(Attr.FRAMED_IPV6_PREFIX): "framed-ipv6-prefix",
    int(Attr.FRAMED_IPV6_ADDRESS): "framed-ipv6-address",
    int(Attr.DELEGATED_IPV6_PREFIX): "delegated-ipv6-prefix",
}
"""Attributes that give a session an address, and what their rows are called."""
INTERFACE_KIND = "framed-interface-id"  # of the address that prefix and interface id make together
INTERFACE_ID = int(Attr.FRAMED_INTERFACE_ID)
_KEY = ("uid", "kind", "address", "length")
_PAGE = 200
_MOST = 500  # session numbers in one query


class AddressRow(NamedTuple):
    """One row; times are epoch seconds, `circuit` and `mac` as they were reported."""

    uid: int
    kind: str
    address: str
    length: int
    tenant: str
    vrf: str
    nas: str
    subscriber: str
    username: str
    acct_session_id: bytes
    circuit: str
    mac: str
    started_at: float
    first_at: float
    last_at: float
    closed_at: float | None


class _Grant(Protocol):
    @property
    def vrf(self) -> str | None:
        """The routing instance, None for the default one."""


class Reporting(Protocol):
    """What is asked of a session."""

    uid: int
    tenant: str
    nas: str
    subscriber: str
    username: str
    acct_session_id: bytes
    started_at: float
    closed_at: float | None
    line: tuple[bytes | None, bytes | None]

    @property
    def applied(self) -> _Grant | None:
        """What the NAS was last told, None where that is not known."""

    def tracked(self) -> tuple[tuple[bytes | None, ...], list[float]]:
        """Return the latest value of each tracked attribute and its event time."""

    def find(self, attr: Attr) -> bytes | None:
        """Return the latest raw value of a tracked attribute."""


Other = tuple[int, bytes, float]
"""A value that an attribute had at an event time, and that is not its latest: attribute type, octets, time."""


def rows_of(session: Reporting, tracked: Sequence[int], others: Iterable[Other] = ()) -> list[AddressRow]:
    """Return the rows of a session as it is now, one for each address that it has or had.

    `tracked` names the attributes of `session.tracked()`. `others` are values that it reported at other times.
    """
    latest, times = session.tracked()
    held = {kind: (value, at) for kind, value, at in zip(tracked, latest, times, strict=True) if value}
    reports: list[tuple[str, tuple[str, int], float]] = []
    for kind, (value, at) in held.items():
        read = _read(kind, value)
        if read is not None:
            reports.append((KINDS[kind], read, at))
    for kind, value, at in others:
        read = _read(kind, value)
        if read is not None:
            reports.append((KINDS[kind], read, at))
    made = _interface_address(held)
    if made is not None:
        reports.append(made)
    if not reports:
        return []
    found: dict[tuple[str, str, int], AddressRow] = {}
    for name, (address, length), at in reports:
        row = found.get((name, address, length))
        first, last = (at, at) if row is None else (min(row.first_at, at), max(row.last_at, at))
        found[name, address, length] = _row(session, name, address, length, first, last)
    return list(found.values())


def _row(
    session: Reporting, kind: str, address: str, length: int, first_at: float, last_at: float
) -> AddressRow:
    circuit = session.line[0] or session.find(Attr.NAS_PORT_ID)
    granted = session.applied
    return AddressRow(
        session.uid,
        kind,
        address,
        length,
        session.tenant,
        "" if granted is None else granted.vrf or "",
        session.nas,
        session.subscriber,
        session.username,
        session.acct_session_id,
        _text(circuit),
        _text(session.find(Attr.CALLING_STATION_ID)),
        session.started_at,
        first_at,
        last_at,
        session.closed_at,
    )


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")


def _read(kind: int, value: bytes) -> tuple[str, int] | None:
    """Return address and prefix length of a raw value; None where it is no address, or says "any" or "none"."""
    if kind == int(Attr.FRAMED_IP_ADDRESS):
        # RFC 2865 section 5.8: 0xFFFFFFFF and 0xFFFFFFFE are wishes, no addresses.
        if len(value) != 4 or value in (bytes(4), b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe"):
            return None
        return str(IPv4Address(value)), 32
    if kind == int(Attr.FRAMED_IPV6_ADDRESS):
        return (str(IPv6Address(value)), 128) if len(value) == 16 and any(value) else None
    if kind in (int(Attr.FRAMED_IPV6_PREFIX), int(Attr.DELEGATED_IPV6_PREFIX)):
        return _read_prefix(value)
    return None


def _read_prefix(value: bytes) -> tuple[str, int] | None:
    """Return a prefix (RFC 3162 section 2.3, RFC 4818 section 3), without host bits that a NAS may have left in."""
    if not 2 <= len(value) <= 18 or not 0 < value[1] <= 128:
        return None
    length = value[1]
    number = int.from_bytes(value[2:].ljust(16, b"\0"), "big") >> (128 - length) << (128 - length)
    return (str(IPv6Address(number)), length) if number else None


def _interface_address(
    held: Mapping[int, tuple[bytes, float]],
) -> tuple[str, tuple[str, int], float] | None:
    prefix, interface = held.get(int(Attr.FRAMED_IPV6_PREFIX)), held.get(INTERFACE_ID)
    if prefix is None or interface is None or len(interface[0]) != 8:
        return None
    read = _read_prefix(prefix[0])
    if read is None or read[1] != 64:
        return None
    number = int(IPv6Address(read[0])) | int.from_bytes(interface[0], "big")
    return INTERFACE_KIND, (str(IPv6Address(number)), 128), max(prefix[1], interface[1])


def _upsert() -> str:
    statement = insert(SESSION_ADDRESS)
    new, old = statement.excluded, SESSION_ADDRESS.c
    changes: dict[str, Any] = {name: new[name] for name in AddressRow._fields if name not in _KEY}
    changes["first_at"] = func.min(old.first_at, new.first_at)
    changes["last_at"] = func.max(old.last_at, new.last_at)
    changes["started_at"] = func.min(old.started_at, new.started_at)
    made = statement.on_conflict_do_update(index_elements=list(_KEY), set_=changes)
    return str(made.compile(dialect=dialect()))


_UPSERT = _upsert()


async def save(connection: AsyncConnection, rows: Sequence[AddressRow]) -> None:
    """Write rows; of one that is there the earliest and the latest report stay. The same again changes nothing."""
    if rows:
        await connection.exec_driver_sql(_UPSERT, list(rows))


async def find(
    connection: AsyncConnection,
    units: Mapping[str, Collection[int]],
    tenant: str | None,
    vrf: str | None,
    since: float,
    until: float,
) -> list[AddressRow]:
    """Return the rows of units whose sessions lived at any time from `since` to `until` (epoch s, both included).

    `units` is lengths by canonical text of the first address.
    """
    closed = SESSION_ADDRESS.c.closed_at
    query = _of_units(units, tenant, vrf).where(
        SESSION_ADDRESS.c.started_at <= until, or_(closed.is_(None), closed >= since)
    )
    return await _rows(connection, query, units)


async def find_last(
    connection: AsyncConnection,
    units: Mapping[str, Collection[int]],
    tenant: str | None,
    vrf: str | None,
    before: float,
) -> list[AddressRow]:
    """Return the row of the session that began latest of those that were over before that epoch second."""
    query = _of_units(units, tenant, vrf).where(
        SESSION_ADDRESS.c.started_at <= before, SESSION_ADDRESS.c.closed_at < before
    )
    return (await _rows(connection, query.order_by(SESSION_ADDRESS.c.started_at.desc()).limit(20), units))[:1]


def _of_units(units: Iterable[str], tenant: str | None, vrf: str | None) -> Select[Any]:
    query = select(SESSION_ADDRESS).where(SESSION_ADDRESS.c.address.in_(list(units)))
    if tenant is not None:
        query = query.where(SESSION_ADDRESS.c.tenant == tenant)
    return query if vrf is None else query.where(SESSION_ADDRESS.c.vrf == vrf)


async def _rows(
    connection: AsyncConnection, query: Select[Any], units: Mapping[str, Collection[int]]
) -> list[AddressRow]:
    found = (AddressRow._make(row) for row in await connection.execute(query))
    return [row for row in found if row.length in units[row.address]]


async def of_sessions(connection: AsyncConnection, uids: Sequence[int]) -> list[AddressRow]:
    """Return every row of some sessions."""
    found: list[AddressRow] = []
    for start in range(0, len(uids), _MOST):
        some = SESSION_ADDRESS.c.uid.in_(uids[start : start + _MOST])
        rows = await connection.execute(select(SESSION_ADDRESS).where(some))
        found += [AddressRow._make(row) for row in rows]
    return found


class SessionName(NamedTuple):
    """What a session's own row says of who it was."""

    uid: int
    acct_session_id: bytes
    username: str
    nas: str


async def names_of(connection: AsyncConnection, uids: Sequence[int]) -> list[SessionName]:
    """Return what the session table says of sessions that have no row here."""
    columns = (SESSION.c.uid, SESSION.c.acct_session_id, SESSION.c.username, SESSION.c.nas)
    found: list[SessionName] = []
    for start in range(0, len(uids), _MOST):
        query = select(*columns).where(SESSION.c.uid.in_(uids[start : start + _MOST]))
        found += [SessionName(*row) for row in await connection.execute(query)]
    return found


async def prune(connection: AsyncConnection, closed_before: float) -> int:
    """Delete some of the rows of sessions closed before that epoch second; return how many went."""
    key = [SESSION_ADDRESS.c[name] for name in _KEY]
    old = select(*key).where(SESSION_ADDRESS.c.closed_at < closed_before).limit(_PAGE)
    keys = (await connection.execute(old)).all()
    if keys:
        these = (and_(*(column == value for column, value in zip(key, each, strict=True))) for each in keys)
        await connection.execute(delete(SESSION_ADDRESS).where(or_(*these)))
    return len(keys)
