"""FreeRADIUS with `sqlippool` on PostgreSQL: Debian's schema and queries, a row for each address."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from load import SECRET, Live
from machine import free_port
from peers import _RADIUSD, Postgres, _empty, _freeradius

NAME = "FreeRADIUS sqlippool"
_POOL = Path("/etc/freeradius/3.0/mods-config/sql/ippool/postgresql")
_QUERIES = Path("/etc/freeradius/3.0/mods-config/sql/main/postgresql/queries.conf")
_LEASE_S = 3600

# One entry for all users, with the same password: FreeRADIUS looks nobody up, which is its best case.
_SITE = """\
modules {{
	expr {{
	}}
	pap {{
	}}
	sql {{
		dialect = "postgresql"
		driver = "rlm_sql_postgresql"
		server = "{server}"
		port = {database_port}
		login = "bench"
		radius_db = "radius"
		acct_table1 = "radacct"
		acct_table2 = "radacct"
		postauth_table = "radpostauth"
		authcheck_table = "radcheck"
		groupcheck_table = "radgroupcheck"
		authreply_table = "radreply"
		groupreply_table = "radgroupreply"
		usergroup_table = "radusergroup"
		client_table = "nas"
		group_attribute = "SQL-Group"
		read_clients = no
		read_groups = no
		read_profiles = no
		pool {{
			start = {threads}
			min = {threads}
			max = {threads}
			spare = 0
			uses = 0
			lifetime = 0
			idle_timeout = 0
		}}
		$INCLUDE {sql_queries}
	}}
	sqlippool {{
		sql_module_instance = "sql"
		dialect = "postgresql"
		pool_name = "Pool-Name"
		ippool_table = "radippool"
		lease_duration = {lease_s}
		attribute_name = Framed-IP-Address
		req_attribute_name = Framed-IP-Address
		pool_key = "%{{NAS-Port}}"
		$INCLUDE {home}/ippool.conf
	}}
}}
server login {{
	listen {{
		type = auth
		ipaddr = 127.0.0.1
		port = {port}
		recv_buff = 8388608
	}}
	authorize {{
		update control {{
			Cleartext-Password := "pw"
			Pool-Name := "home"
		}}
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
	}}
	post-auth {{
		sqlippool
		update reply {{
			Service-Type := Framed-User
			Framed-Protocol := PPP
			Mikrotik-Rate-Limit := "20M/100M"
			Acct-Interim-Interval := 600
			Message-Authenticator := 0x00
		}}
	}}
}}
"""

_PROCEDURE = """\
allocate_begin = ""
allocate_commit = ""
allocate_find = "\\
	SELECT fr_allocate_previous_or_new_framedipaddress( \\
		'%{control:${pool_name}}', \\
		'%{SQL-User-Name}', \\
		'%{Calling-Station-Id}', \\
		'%{NAS-IP-Address}', \\
		'${pool_key}', \\
		'${lease_duration}' \\
	)"
pool_check = ""
start_update = ""
stop_clear = ""
alive_update = ""
on_clear = ""
off_clear = ""
"""

# Times are spread and leases have holders, so that the planner's statistics are those of a pool in use.
_FILL = """\
TRUNCATE radippool RESTART IDENTITY;
INSERT INTO radippool (pool_name, framedipaddress, expiry_time)
SELECT 'home', '10.0.0.0'::inet + n, now() - interval '1 day' + n * interval '10 milliseconds'
FROM generate_series(0, {free} - 1) AS n;
INSERT INTO radippool
    (pool_name, framedipaddress, expiry_time, username, callingstationid, nasipaddress, pool_key)
SELECT 'home', '10.0.0.0'::inet + n, now() + interval '1 day' + n * interval '10 milliseconds',
       'old' || n, 'old' || n, '192.0.2.254', n::text
FROM generate_series({free}, {size} - 1) AS n;
"""


_LEASED = """\
SELECT count(*), count(DISTINCT (nasipaddress, username)) FROM radippool WHERE username LIKE 'user%'
"""


class Way(StrEnum):
    """How an address is looked for: the queries as Debian has them, or the procedure that comes with them.

    Both with SKIP LOCKED, as their comments advise for this PostgreSQL.
    """

    QUERIES = "queries"
    PROCEDURE = "stored procedure"


@dataclass(frozen=True, slots=True)
class Filled:
    """What it takes to make a pool: seconds, and MiB in the database."""

    took_s: float
    size_mib: float


def prepare(database: Postgres) -> None:
    """Make the table of a fresh cluster, its indexes and the procedure."""
    if database.ask("SELECT to_regclass('radippool') IS NOT NULL") == "f":
        database.ask((_POOL / "schema.sql").read_text())
        database.ask((_POOL / "procedure.sql").read_text())


def fill(database: Postgres, size: int, free: int) -> Filled:
    """Make the pool anew: `size` addresses, of which the first `free` may be given out, the others are leased."""
    began = time.perf_counter()
    database.ask(_FILL.format(size=size, free=free))
    took_s = time.perf_counter() - began
    database.ask("VACUUM ANALYZE radippool")
    database.ask("CHECKPOINT")  # not in the middle of a run
    octets = int(database.ask("SELECT pg_total_relation_size('radippool')"))
    return Filled(took_s, octets / 2**20)


def leased(database: Postgres) -> tuple[int, int]:
    """Return how many addresses were given out in runs, and to how many users: the same number, if all is well."""
    addresses, users = database.ask(_LEASED).split("|")
    return int(addresses), int(users)


@contextmanager
def sqlippool(out: Path, core: int, threads: int, way: Way, database: Postgres) -> Iterator[Live]:
    """FreeRADIUS that takes an address out of the table for each login, `threads` connections wide."""
    home = _empty(out / "freeradius-sqlippool")
    port = free_port(socket.SOCK_DGRAM)
    text = (_POOL / "queries.conf").read_text()
    assert 'skip_locked = ""' in text
    queries = text.replace('skip_locked = ""', 'skip_locked = "SKIP LOCKED"')
    (home / "ippool.conf").write_text(queries if way is Way.QUERIES else _PROCEDURE)
    settings = (_RADIUSD + _SITE).format(
        home=home,
        threads=threads,
        secret=SECRET,
        demand="yes",
        port=port,
        server=database.directory,
        database_port=database.port,
        sql_queries=_QUERIES,
        lease_s=_LEASE_S,
    )
    (home / "radiusd.conf").write_text(settings)
    with _freeradius(home, core, threads) as pid:
        yield Live(name=NAME, auth_port=port, acct_port=0, roots=(pid, database.pid), stored=lambda: 0)
