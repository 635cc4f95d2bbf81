"""Files of FreeRADIUS: users, clients and dumps; each thing that is left out is told with its place."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from daemon.sync.freeradius import clients_file, dump, users_file
from daemon.sync.freeradius.findings import Findings
from daemon.sync.freeradius.front import Unusable, export_files, import_files
from daemon.sync.freeradius.offline import Imported
from tests.daemon.freeradius.databases import COLUMNS, Database, inserts
from tests.daemon.freeradius.population import rows

USERS = r"""
# a comment
alice   Cleartext-Password := "won\"derland"   # and another
        Framed-IP-Address = 203.0.113.10,
        Reply-Message = 'Hello, %{User-Name}',
        Framed-Route = "198.51.100.0/29 0.0.0.0 1"
"bob builder"  Cleartext-Password := builder, Simultaneous-Use := 2
        Fall-Through = Yes
carol   Auth-Type := Reject
dave    Cleartext-Password := dragonfly,
        Expiration := "24 Dec 2040"
        Session-Timeout := 3600, Idle-Timeout := 600
erin    Cleartext-Password := x
        X-Unknown = 1,
        Reply-Message = "%{User-Name}"

DEFAULT Service-Type == Framed-User
        Service-Type = Framed-User,
        Framed-Protocol = PPP,
        Fall-Through = Yes
DEFAULT Huntgroup-Name == "lab"
        Filter-Id = "lab"
DEFAULT
        Mikrotik-Rate-Limit = "10M/50M"
"""
CLIENTS = """
client localhost {
\tipaddr = 127.0.0.1   # the address
\tsecret = "testing 123"
\trequire_message_authenticator = yes
\tnas_type = mikrotik
\tlimit {
\t\tmax_connections = 16
\t}
}
client 192.0.2.0/24 { secret = s2
 shortname = access
}
client bng { ipv6addr = 2001:db8::/64
 secret = 's"3' }
client broken {
\tipaddr = 192.0.2.77
}
home_server x { ipaddr = 10.0.0.1
 secret = no }
"""


def read(tmp_path: Path, *texts: str, **options: object) -> Imported:
    """Import files with these texts."""
    paths = []
    for i, text in enumerate(texts):
        paths.append(tmp_path / f"file{i}")
        paths[-1].write_text(text)
    return import_files(paths, **options)  # type: ignore[arg-type]


def bodies(found: Imported, kind: str) -> dict[str, dict[str, object]]:
    """Return the bodies of a kind by id."""
    return {each["id"]: each["body"] for each in found.objects if each["kind"] == kind}


def test_users_with_their_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, USERS)
    users, plans = bodies(found, "subscriber"), bodies(found, "plan")
    alice = users["alice"]
    assert alice["password"] == 'won"derland'
    assert alice["ipv4_address"] == "203.0.113.10"
    assert alice["routes"] == [{"prefix": "198.51.100.0/29", "metric": 1}]
    assert alice["attributes"] == [{"op": "replace", "name": "Reply-Message", "value": "Hello, %{User-Name}"}]
    (bob,) = [each for each in users.values() if each["username"] == "bob builder"]
    assert bob["simultaneous_use"] == 2
    assert plans[str(bob["plan"])]["download"] == "50 Mbit/s"
    assert plans[str(bob["plan"])]["access"] == "ppp"
    assert plans[str(bob["plan"])]["name"] == "DEFAULT + DEFAULT-3"
    assert users["carol"]["access_mode"] == "reject"
    assert users["dave"]["valid_until"] == 2_239_920_000
    assert users["dave"]["service"] == {"session_timeout_s": 3600}
    told = {(each.line, each.attribute, str(each.why)) for each in found.findings}
    assert (14, "X-Unknown", "unknown-attribute") in told
    assert (15, "Reply-Message", "expanded-value") in told
    assert all(each.file.endswith("file0") for each in found.findings)


def test_clients_with_their_sections(tmp_path: Path) -> None:
    found = read(tmp_path, CLIENTS)
    nases = bodies(found, "nas")
    assert nases == {
        "localhost": {
            "prefixes": ["127.0.0.1/32"],
            "secret": "testing 123",
            "vendor": "mikrotik",
            "require_message_authenticator": True,
        },
        "access": {"prefixes": ["192.0.2.0/24"], "secret": "s2", "vendor": "standard"},
        "bng": {"prefixes": ["2001:db8::/64"], "secret": 's"3', "vendor": "standard"},
    }
    assert [(each.owner, each.attribute, each.line) for each in found.findings] == [("broken", "secret", 16)]


def test_lines_that_are_no_pairs_are_told(tmp_path: Path) -> None:
    findings = Findings()
    found = users_file.entries(
        "\tReply-Message = x\nann Cleartext-Password\n\t= x\n$INCLUDE other\n", findings
    )
    assert [each.name for each in found] == ["ann"]
    assert [each.line for each in findings.kept] == [1, 2, 4]
    assert clients_file.clients("client a {\n secret = 's\n}\n", findings) == []


def test_what_is_none_of_these_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    for text in ("", "# nothing\n", "DEFAULT\n\tFall-Through = Yes\n"):
        with pytest.raises(Unusable, match="expected a `users` file"):
            read(tmp_path, text)
    (tmp_path / "latin").write_bytes(b"ann Cleartext-Password := caf\xe9\n")
    with pytest.raises(Unusable, match="latin:1: octets"):
        import_files([tmp_path / "latin"])
    with pytest.raises(Unusable, match="time zone Nowhere"):
        read(tmp_path, USERS, timezone="Nowhere")


def test_an_object_that_would_be_refused_is_left_out_and_told(tmp_path: Path) -> None:
    found = read(tmp_path, "ann Cleartext-Password := 'bcrypt$x'\nbob Cleartext-Password := 'enc:gAAAA'\n")
    assert list(bodies(found, "subscriber")) == ["ann"]
    (told,) = found.findings
    assert (str(told.why), told.owner) == ("refused", "subscriber bob")
    assert "gAAAA" not in told.text


def dumped(database: Database) -> str:
    """Return what the database's own program dumps."""
    if database.dialect == "postgresql":
        host = database.url.partition("host=")[2]
        command = [database.client[0].replace("psql", "pg_dump"), "-h", host, "-U", "edge", "postgres"]
    else:
        command = ["mariadb-dump", *database.client[1:-1], "radius"]
        command.remove("-N")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_dump_of_a_real_database_has_every_row(tables: Database) -> None:
    given = rows()
    given["radreply"].append(("plain", "Reply-Message", ":=", "it's a \\ \t; ('x'),"))
    given["radcheck"].append(("o'neil", "Cleartext-Password", ":=", "semi;colon --"))
    tables.run(
        "".join(f"{each}\n" for each in inserts(given)).replace(
            "\\", "\\\\" if tables.dialect == "mysql" else "\\"
        )
    )
    text = dumped(tables)
    assert dump.is_dump(text)
    findings = Findings()
    damage = dump.Damage()
    found = dump.rows(text, findings, damage)
    assert findings.kept == []
    assert damage == dump.Damage()
    for table, columns in COLUMNS.items():
        got = [tuple(str(each.values[name]) for name in columns) for each in found if each.table == table]
        assert got == [tuple(map(str, each)) for each in given[table]], table


def test_a_dump_with_inserts_and_without_names_of_columns() -> None:
    text = (
        "CREATE TABLE public.radusergroup (\n  username text NOT NULL,\n  groupname text,\n  priority int\n);\n"
        "INSERT INTO public.radusergroup VALUES ('a', 'b', 1);\n"
        "INSERT INTO radcheck VALUES (2,'x','P',':=','two'),\n(1,'x','P',':=','o''ne');\n"
        "INSERT INTO other VALUES (1);\nINSERT INTO radcheck VALUES (3, 'short');\n"
    )
    findings = Findings()
    damage = dump.Damage()
    found = dump.rows(text, findings, damage)
    assert damage == dump.Damage(set(), [(10, "radcheck: a row of 5 values was expected")])
    assert [each.values.get("value") for each in found if each.table == "radcheck"] == ["o'ne", "two"]
    assert [each.values for each in found if each.table == "radusergroup"] == [
        {"username": "a", "groupname": "b", "priority": "1"}
    ]
    assert [each.owner for each in findings.kept] == ["radcheck"]


COPY = "COPY public.radcheck (id, username, attribute, op, value) FROM stdin;\n"


def test_a_user_with_a_row_of_a_dump_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        COPY
        + "1\tann\tCleartext-Password\t:=\tx\n2\tmallory\tCleartext-Password\t:=\tx\n"
        + "3\tmallory\tAuth-Type\t:=\n\\.\n",
    )
    assert list(bodies(found, "subscriber")) == ["ann"]
    told = [(str(each.why), each.owner, each.line) for each in found.findings]
    assert told == [("syntax", "mallory", 4), ("refused", "mallory", 0)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (
            COPY + "1\tann\tCleartext-Password\t:=\tx\n2\tbob\tCleartext-Password\t:=\tsec",
            "3: radcheck: the rows end",
        ),
        (COPY + "1\tann\tCleartext-Password\t:=\tx\n", "2: radcheck: the rows end"),
        (COPY + "1\tann\n\\.\n", "2: radcheck: 2 values; 5 expected"),
        (
            "INSERT INTO radcheck VALUES (1,'a','P',':=','x'),\n(2,'b','Cleartext-Pass",
            "2: radcheck: a row of 5",
        ),
        ("INSERT INTO radcheck VALUES (1,'a','P',':=','x'),\n", "2: radcheck: a row was expected"),
        ("INSERT INTO radcheck VALUES (1,'a','P',':=','x')", "1: radcheck: the statement ends without"),
        ("--\n-- PostgreSQL database dump\n--\n" + COPY + "1\ta\tP\t:=\tx\n\\.\n", "7: it ends without"),
        ("-- MySQL dump 10.13\nINSERT INTO `radcheck` VALUES (1,'a','P',':=','x');\n", "3: it ends without"),
    ],
)
def test_nobody_is_taken_from_half_a_dump(tmp_path: Path, text: str, place: str) -> None:
    with pytest.raises(Unusable) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'file0'}:{place}"), str(caught.value)


def test_only_a_line_feed_ends_a_line_of_users(tmp_path: Path) -> None:
    for char in "\u2028\u2029\x85\x0b\x1c":
        users = f'ann\tCleartext-Password := "a{char}bob\tAuth-Type := Accept"\r\ncarol Cleartext-Password := x\r\n'
        findings = Findings()
        found = users_file.entries(users, findings)
        assert [(each.name, each.line) for each in found] == [("ann", 1), ("carol", 2)]
        assert [row.value for row in found[0].checks] == [f"a{char}bob\tAuth-Type := Accept"]
        assert findings.kept == []


def test_a_quote_without_its_end_is_told() -> None:
    findings = Findings()
    found = users_file.entries(
        'ann Cleartext-Password := "x\nbob Cleartext-Password := \'y\n"carol Cleartext-Password := z\n',
        findings,
    )
    assert [(each.name, each.checks) for each in found] == [("ann", []), ("bob", [])]
    assert [(each.line, each.text) for each in findings.kept] == [
        (line, "a quote without its end") for line in (1, 2, 3)
    ]


@pytest.mark.parametrize("name", ["DEFAULT", "$INCLUDE"])
def test_a_subscriber_whose_name_means_everybody_is_not_written(name: str) -> None:
    plan = {"kind": "plan", "tenant": "demo", "id": "p", "body": {}}
    objects = [plan] + [
        {
            "kind": "subscriber",
            "tenant": "demo",
            "id": key,
            "body": {"username": username, "password": "x", "plan": "p", "access_mode": "active"},
        }
        for key, username in (("s1", name), ("s2", "ann"))
    ]
    made = export_files(objects, vendor="mikrotik")
    assert name not in made.files["users"]
    assert '"ann"' in made.files["users"]
    assert made.users == 1
    ((why, owner),) = [(str(each.why), each.owner) for each in made.findings]
    assert (why, owner) == ("refused", "s1")
