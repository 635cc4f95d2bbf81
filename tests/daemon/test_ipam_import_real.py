"""A provider leaves FreeRADIUS: what its sqlippool has handed out is handed out by us to the same users."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ipam.kinds import Kind, LeaseState
from ipam.model import Match, Selector
from ipam.restore import faults
from radius.codes import Code
from tests.daemon.import_counter import command, importing
from tests.daemon.playbook.stage import PASSWORD
from tests.daemon.playbook.test_leases import state
from tests.ipam.postgres import bin_dir, postgresql

SQL = Path("/etc/freeradius/3.0/mods-config/sql")
USERS = {"alice": "02-00-00-00-00-01", "bob": "02-00-00-00-00-02", "carol": "02-00-00-00-00-03"}
CONFIG = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {home}
logdir = {home}
run_dir = {home}
pidfile = {home}/radiusd.pid
log {{
  destination = stdout
}}
thread pool {{
  start_servers = 1
  max_servers = 1
  min_spare_servers = 1
  max_spare_servers = 1
}}
client nas {{
  ipaddr = 127.0.0.1
  secret = testing123
}}
modules {{
  expr {{
  }}
  pap {{
  }}
  sql {{
    dialect = "postgresql"
    driver = "rlm_sql_postgresql"
    server = "{database}"
    login = "edge"
    radius_db = "postgres"
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
    pool {{
      start = 1
      min = 1
      max = 2
      spare = 0
      uses = 0
      lifetime = 0
      idle_timeout = 0
    }}
    $INCLUDE {sql}/main/postgresql/queries.conf
  }}
  sqlippool {{
    sql_module_instance = "sql"
    dialect = "postgresql"
    pool_name = "Pool-Name"
    ippool_table = "radippool"
    lease_duration = 3600
    attribute_name = Framed-IP-Address
    req_attribute_name = Framed-IP-Address
    pool_key = "%{{Calling-Station-Id}}"
    $INCLUDE {sql}/ippool/postgresql/queries.conf
  }}
}}
server login {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {port}
  }}
  authorize {{
    update control {{
      Cleartext-Password := "{password}"
      Pool-Name := "main_pool"
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
  }}
}}
"""


class Old:
    """The provider's present server."""

    def __init__(self, database: Path, port: int) -> None:
        self.database = database
        self.port = port

    def login(self, user: str) -> IPv4Address:
        """Log a user in with radclient; return the address."""
        asked = (
            f'User-Name="{user}",User-Password="{PASSWORD}",NAS-IP-Address=127.0.0.1,'
            f'Calling-Station-Id="{USERS[user]}",Message-Authenticator=0x00'
        )
        call = ["radclient", "-x", "-t", "5", f"127.0.0.1:{self.port}", "auth", "testing123"]
        done = subprocess.run(call, input=asked, capture_output=True, text=True, check=True, timeout=30)
        found = re.search(r"Framed-IP-Address = (\S+)", done.stdout)
        assert found is not None, done.stdout
        return IPv4Address(found[1])

    def ask(self, statement: str) -> str:
        """Run SQL; return what it prints."""
        call = ["psql", "-h", str(self.database), "-U", "edge", "-v", "ON_ERROR_STOP=1", "-qAt", "postgres"]
        done = subprocess.run(call, input=statement, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    def dump(self) -> str:
        """Return what pg_dump writes of the whole database."""
        call = ["pg_dump", "-h", str(self.database), "-U", "edge", "postgres"]
        return subprocess.run(call, capture_output=True, text=True, check=True, timeout=30).stdout


@contextmanager
def old(directory: Path) -> Iterator[Old]:
    """Run FreeRADIUS with sqlippool on PostgreSQL, with Debian's schema and queries."""
    where = bin_dir()
    if where is None or shutil.which("freeradius") is None or not (SQL / "ippool").exists():
        pytest.skip("needs postgresql, freeradius, freeradius-postgresql and freeradius-utils")
    home = directory / "freeradius"
    home.mkdir()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    with postgresql(where) as url:
        database = Path(url.partition("host=")[2])
        server = Old(database, port)
        rows = ", ".join(f"('main_pool', '10.64.0.{number}', '2020-01-01')" for number in range(2, 10))
        server.ask((SQL / "ippool/postgresql/schema.sql").read_text())
        server.ask(f"INSERT INTO radippool (pool_name, framedipaddress, expiry_time) VALUES {rows}")
        text = CONFIG.format(home=home, database=database, sql=SQL, port=port, password=PASSWORD)
        (home / "radiusd.conf").write_text(text)
        log = (home / "log").open("wb")
        call = ["freeradius", "-f", "-l", "stdout", "-n", "radiusd", "-d", str(home)]
        process = subprocess.Popen(call, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 20
            while "Ready to process requests" not in (home / "log").read_text():
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < end, (home / "log").read_text()
                time.sleep(0.05)
            yield server
        finally:
            process.kill()
            process.wait()
            log.close()


def test_everybody_keeps_the_address_that_freeradius_gave(tmp_path: Path) -> None:
    with old(tmp_path) as server:
        had = {user: server.login(user) for user in USERS}
        assert len(set(had.values())) == len(USERS)
        # Carol went offline yesterday. Alice stays online throughout, bob will dial in again.
        server.ask("UPDATE radippool SET expiry_time = now() - interval '1 day' WHERE username = 'carol'")
        zone = server.ask("SHOW timezone")
        dump = tmp_path / "radius.sql"
        dump.write_text(server.dump())
    asyncio.run(_cut_over(tmp_path, dump, had, zone))


async def _cut_over(directory: Path, dump: Path, had: dict[str, IPv4Address], zone: str) -> None:
    async with importing(directory, time.time()) as (counter, _):
        play = counter.play
        for number, user in enumerate(["bob", "carol", "dora"]):
            await play.provide(
                "subscriber",
                f"S{number}",
                username=user,
                password=PASSWORD,
                access_mode="active",
                plan="basic",
            )
        done = await command(counter, directory, "radippool", dump, "--tenant", "demo", "--zone", zone)
        assert done.exit_code == 0, done.output
        assert done.stderr == ""  # everybody was found, nothing was left out
        everybody = Selector(
            name="all", priority=1, match=Match(tenant="demo"), pools=((Kind.V4, ("main_pool",)),)
        )
        assert await counter.definitions.selectors.add(everybody) == everybody
        assert state(play, str(had["alice"])) == (LeaseState.TENTATIVE, "A1")

        bng = await play.bng()  # the first NAS is switched
        alice = bng.cpe(
            "alice", PASSWORD, mac=USERS["alice"], stubborn=True, online=True, session_id=b"000a11ce"
        )
        alice.address, alice.started_at = had["alice"], play.clock.wall() - 500
        bng.interim(alice)
        await play.until(lambda: play.find(alice) is not None)
        assert state(play, str(had["alice"])) == (LeaseState.BOUND, "A1")

        got: dict[str, IPv4Address] = {}
        for user, mac in {"dora": "02-00-00-00-00-04", **USERS}.items():
            if user != "alice":
                cpe = bng.cpe(user, PASSWORD, mac=mac)
                reply = await bng.login(cpe)
                assert reply.code == Code.ACCESS_ACCEPT, play.last_reason()
                got[user] = cpe.address
        assert {user: got[user] for user in ("bob", "carol")} == {
            user: had[user] for user in ("bob", "carol")
        }
        assert got["dora"] not in had.values()
        await play.until(lambda: not bng.unanswered)
        assert play.events("address-conflict") == []
        assert faults(play.edge.addresses.register) == ()
