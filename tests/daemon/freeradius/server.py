"""FreeRADIUS from Debian, on its own: with users from SQL tables as rlm_sql reads them, or from files."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECRET = "testing123"
SCHEMAS = Path("/etc/freeradius/3.0/mods-config/sql/main")

_MAIN = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = {home}
logdir = {home}
run_dir = {home}
pidfile = {home}/radiusd.pid
modconfdir = {home}/mods-config
log {{
  destination = stdout
}}
security {{
  reject_delay = 0
}}
thread pool {{
  start_servers = 1
  max_servers = 1
  min_spare_servers = 1
  max_spare_servers = 1
}}
{clients}
instantiate {{
  expr
}}
modules {{
  expr {{
  }}
  pap {{
  }}
  chap {{
  }}
  mschap {{
  }}
  expiration {{
  }}
  logintime {{
  }}
{modules}
}}
server default {{
  listen {{
    type = auth
    ipaddr = 127.0.0.1
    port = {port}
  }}
  authorize {{
    {source}
    chap
    mschap
    expiration
    logintime
    pap
  }}
  authenticate {{
    Auth-Type PAP {{
      pap
    }}
    Auth-Type CHAP {{
      chap
    }}
    Auth-Type MS-CHAP {{
      mschap
    }}
  }}
}}
"""
_CLIENT = f"""
client here {{
  ipaddr = 127.0.0.1
  secret = {SECRET}
}}
"""
_SQL = """
  sql {{
    dialect = "{dialect}"
    driver = "rlm_sql_{dialect}"
{database}
    acct_table1 = "radacct"
    acct_table2 = "radacct"
    postauth_table = "radpostauth"
    authcheck_table = "radcheck"
    groupcheck_table = "radgroupcheck"
    authreply_table = "radreply"
    groupreply_table = "radgroupreply"
    usergroup_table = "radusergroup"
    client_table = "nas"
    read_clients = no
    group_attribute = "SQL-Group"
    pool {{
      start = 1
      min = 1
      max = 2
      spare = 1
      uses = 0
      retry_delay = 1
      lifetime = 0
      idle_timeout = 60
    }}
    $INCLUDE {schemas}/{dialect}/queries.conf
  }}
"""
_FILES = """
  files {{
    filename = {home}/users
  }}
"""


def installed() -> bool:
    """Tell whether the daemon with its SQL drivers, and radclient, are there."""
    library = Path("/usr/lib/freeradius")
    return shutil.which("freeradius") is not None and (library / "rlm_sql_postgresql.so").exists()


def free_port() -> int:
    """Return a UDP port that nobody has now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    """What radclient says of an answer: its code, and each attribute with its values in order."""

    code: str
    attributes: dict[str, list[str]]


def ask(port: int, *lines: str, secret: str = SECRET) -> Answer:
    """Send one Access-Request of `lines` and return the answer; code "none" where there is none."""
    text = "\n".join(lines) + "\n"
    command = ["radclient", "-x", "-r", "1", "-t", "3", f"127.0.0.1:{port}", "auth", secret]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return answer(done.stdout)


def ask_all(port: int, packets: list[tuple[str, ...]], secret: str = SECRET) -> list[Answer]:
    """Send one Access-Request after the other and return the answers."""
    text = "\n\n".join("\n".join(lines) for lines in packets) + "\n"
    command = ["radclient", "-x", "-p", "1", "-r", "1", "-t", "3", f"127.0.0.1:{port}", "auth", secret]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    found = [answer(each) for each in done.stdout.split("Sent Access-Request")[1:]]
    assert len(found) == len(packets), done.stderr
    return found


def answer(said: str) -> Answer:
    """Return the last answer in what `radclient -x` has printed."""
    _, _, received = said.rpartition("Received ")
    match = re.match(r"(Access-\w+)", received)
    if match is None:
        return Answer("none", {})
    found: dict[str, list[str]] = {}
    for line in received.splitlines()[1:]:
        if not line.startswith("\t"):
            break
        name, _, value = line.strip().partition(" = ")
        found.setdefault(name, []).append(value)
    return Answer(match[1], found)


def sql_module(dialect: str, database: str) -> str:
    """Return the module `sql`; `database` are the lines that say where the tables are."""
    return _SQL.format(dialect=dialect, database=database, schemas=SCHEMAS)


@contextmanager
def freeradius(
    home: Path, *, sql: str = "", clients: str = _CLIENT, check_only: bool = False
) -> Iterator[int]:
    """Run a server with the module `sql`, or with the file `users` in `home`; yield its port."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    modules = sql or _FILES.format(home=home)
    source = "sql" if sql else "files"
    text = _MAIN.format(home=home, port=port, modules=modules, source=source, clients=clients)
    (home / "radiusd.conf").write_text(text)
    command = ["freeradius", "-n", "radiusd", "-d", str(home)]
    if check_only:
        done = subprocess.run([*command, "-XC"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
        yield 0
        return
    log = (home / "log").open("w")
    server = subprocess.Popen([*command, "-f", "-X"], stdout=log, stderr=subprocess.STDOUT)
    try:
        _ready(server, home / "log")
        yield port
    finally:
        server.terminate()
        server.wait(10)
        log.close()


def _ready(server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if "Ready to process requests" in log.read_text():
            return
        assert server.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-3000:])
