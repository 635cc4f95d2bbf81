"""FreeRADIUS, alone with a users file or with PostgreSQL behind it, set up from scratch for one benchmark."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import SECRET, USERS, Live
from machine import BenchError, free_port, run, start, stop, wait_until

_NEEDED = {  # a file that shows that it is installed -> Debian package
    "/usr/sbin/freeradius": "freeradius",
    "/usr/lib/freeradius/rlm_sql_postgresql.so": "freeradius-postgresql",
    "/usr/bin/radclient": "freeradius-utils",
    "/usr/bin/psql": "postgresql",
    "/usr/bin/cc": "gcc",
}
_FREERADIUS = "/usr/sbin/freeradius"
_SQL = Path("/etc/freeradius/3.0/mods-config/sql/main/postgresql")

_RADIUSD = """\
raddbdir = {home}
logdir = {home}
run_dir = {home}
pidfile = {home}/freeradius.pid
libdir = /usr/lib/freeradius
max_requests = 65536
hostname_lookups = no
proxy_requests = no
security {{
	max_attributes = 200
	status_server = no
}}
thread pool {{
	start_servers = {threads}
	max_servers = {threads}
	min_spare_servers = 0
	max_spare_servers = {threads}
}}
client load {{
	ipaddr = 127.0.0.1
	secret = {secret}
	require_message_authenticator = {demand}
}}
"""

_LOGIN = """\
modules {{
	pap {{
	}}
	chap {{
	}}
	files {{
		usersfile = {home}/users
		key = "%{{User-Name}}"
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
		chap
		files
		pap
	}}
	authenticate {{
		Auth-Type PAP {{
			pap
		}}
		Auth-Type CHAP {{
			chap
		}}
	}}
	post-auth {{
		update reply {{
			Message-Authenticator := 0x00
		}}
	}}
}}
"""

_USER = """\
user{number:07d} Cleartext-Password := "pw{number:07d}"
	Service-Type = Framed-User,
	Framed-Protocol = PPP,
	Mikrotik-Rate-Limit = "20M/100M",
	Acct-Interim-Interval = 600

"""

# The queries are Debian's own; the session's unique id is made as its acct_unique policy does, without Class.
_ACCOUNTING = """\
modules {{
	expr {{
	}}
	sql {{
		dialect = "postgresql"
		driver = "rlm_sql_postgresql"
		server = "{server}"
		port = {database_port}
		login = "{login}"
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
		$INCLUDE {queries}
	}}
}}
server accounting {{
	listen {{
		type = acct
		ipaddr = 127.0.0.1
		port = {port}
		recv_buff = 8388608
	}}
	preacct {{
		update request {{
			Acct-Unique-Session-Id := "%{{md5:%{{User-Name}},%{{Acct-Session-ID}},%{{NAS-IP-Address}}}}"
		}}
	}}
	accounting {{
		sql
	}}
}}
"""

# A session is one row that later records overwrite; with radload's times (300 s a record) this counts them.
_COUNT = "SELECT count(*) + coalesce(sum(acctsessiontime), 0)::bigint / 300 FROM radacct"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running cluster of this benchmark: its socket directory, port, user, and first process."""

    directory: Path
    port: int
    user: str | None  # the account it runs under, None for our own
    pid: int

    def ask(self, sql: str, database: str = "radius") -> str:
        """Run SQL text and return what psql prints, bare."""
        where = ["-h", str(self.directory), "-p", str(self.port), "-U", "bench", "-d", database]
        command = ["psql", *where, "-qAtX", "-v", "ON_ERROR_STOP=1"]
        return run(command, given=sql, user=self.user).strip()


def install() -> None:
    """Install the Debian packages that are missing; raises BenchError, naming them, unless this is root."""
    missing = sorted({package for path, package in _NEEDED.items() if not Path(path).exists()})
    if not missing:
        return
    if os.geteuid():
        raise BenchError(f"not installed: {' '.join(missing)}\nas root: apt-get install {' '.join(missing)}")
    # RUNLEVEL=1 keeps the packages from starting services of their own
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run(["apt-get", "update"], environ=environ)
    run(["apt-get", "install", "-y", "--no-install-recommends", *missing], environ=environ, timeout_s=900)


def versions() -> tuple[str, str]:
    """Return the versions of FreeRADIUS and PostgreSQL."""
    radius = re.search(r"Version (\S+?),", run([_FREERADIUS, "-v"]))
    database = re.search(r"\d[\d.]*", run([_tool("postgres"), "--version"]))
    return radius[1] if radius else "unknown", database[0] if database else "unknown"


@contextmanager
def freeradius_login(out: Path, core: int, threads: int) -> Iterator[Live]:
    """FreeRADIUS that proves PAP and CHAP from a users file and does nothing else.

    `threads` is the size of its pool; 0 serves everything in the one thread that reads the socket.
    """
    home = _empty(out / "freeradius-login")
    port = free_port(socket.SOCK_DGRAM)
    with (home / "users").open("w") as users:
        users.writelines(_USER.format(number=number) for number in range(USERS))
    text = _RADIUSD + _LOGIN
    (home / "radiusd.conf").write_text(
        text.format(home=home, threads=threads or 1, secret=SECRET, demand="yes", port=port)
    )
    with _freeradius(home, core, threads) as pid:
        yield Live(name="FreeRADIUS", auth_port=port, acct_port=0, roots=(pid,), stored=lambda: 0)


@contextmanager
def freeradius_accounting(out: Path, core: int, threads: int, database: Postgres) -> Iterator[Live]:
    """FreeRADIUS that writes accounting to PostgreSQL before it answers, `threads` connections wide."""
    home = _empty(out / "freeradius-accounting")
    port = free_port(socket.SOCK_DGRAM)
    text = (_RADIUSD + _ACCOUNTING).format(
        home=home,
        threads=threads,
        secret=SECRET,
        demand="no",
        port=port,
        server=database.directory,
        database_port=database.port,
        login="bench",
        queries=_SQL / "queries.conf",
    )
    (home / "radiusd.conf").write_text(text)
    with _freeradius(home, core, threads) as pid:
        yield Live(
            name="FreeRADIUS + PostgreSQL",
            auth_port=0,
            acct_port=port,
            roots=(pid, database.pid),
            stored=lambda: int(database.ask(_COUNT)),
        )


@contextmanager
def postgres(scratch: Path, core: int) -> Iterator[Postgres]:
    """A PostgreSQL cluster in `scratch`, made at the first call, on a Unix socket there; fsync stays on."""
    user = None if os.geteuid() else "postgres"
    home, port = scratch / "postgres", free_port(socket.SOCK_STREAM)
    log = scratch / "postgres.log"
    fresh = not home.exists()
    if fresh:
        home.mkdir(mode=0o700)
        if user:
            shutil.chown(home, user, user)
        options = ["--auth=trust", "--username=bench", "--encoding=UTF8", "--locale=C"]
        run([_tool("initdb"), "-D", home / "data", *options], user=user)
    settings = {
        "listen_addresses": "",
        "port": port,
        "unix_socket_directories": home,
        "max_connections": 60,
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
        "fsync": "on",
        "synchronous_commit": "on",
    }
    command: list[str | Path] = [_tool("postgres"), "-D", home / "data"]
    command += [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    process = start(command, log, core, user=user)
    try:
        wait_until(lambda: "ready to accept connections" in log.read_text(), process, log, timeout_s=60)
        database = Postgres(home, port, user, process.pid)
        if fresh:
            database.ask("CREATE DATABASE radius", "postgres")
            database.ask((_SQL / "schema.sql").read_text())
        yield database
    finally:
        stop(process, signal.SIGINT)  # a fast shutdown: it does not wait for clients


@contextmanager
def _freeradius(home: Path, core: int, threads: int) -> Iterator[int]:
    log = home / "freeradius.log"
    single = [] if threads else ["-s"]
    process = start([_FREERADIUS, "-f", *single, "-l", "stdout", "-d", home], log, core)
    try:
        wait_until(lambda: "Ready to process requests" in log.read_text(), process, log, timeout_s=60)
        yield process.pid
    finally:
        stop(process)


def _empty(directory: Path) -> Path:
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    return directory


def _tool(name: str) -> Path:
    """Return the path of a PostgreSQL program; Debian keeps them apart by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    if not found:
        raise BenchError(f"no {name} under /usr/lib/postgresql")
    return found[-1]
