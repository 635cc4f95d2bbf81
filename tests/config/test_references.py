"""What settings refer to, secrets and files, is tried by `config check` and before a start, and named by its key."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from config.errors import ConfigInvalid
from config.load import load
from daemon.cli.main import main
from daemon.cli.output import ExitCode
from daemon.options.check import check

API = "[api]\nlisten = '127.0.0.1:8080'\n"
FEED = "[feeds.a]\nsource = 'pull'\ntenant = 'demo'\nurl = 'https://platform.example'\n"
SQL = "[feeds.a]\nsource = 'sql'\ntenant = 'demo'\n"
SINK = "[sinks.s]\ntarget = 'platform'\nurl = 'https://platform.example'\n"
TOKENS = API + "token_issuer = 'i'\ntoken_audience = 'a'\n"


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Write a certificate of its own and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=10_000))
        .sign(key, hashes.SHA256())
    )
    files = directory / f"{name}.pem", directory / f"{name}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def written(directory: Path, text: str) -> Path:
    """Write settings; DIR in them is their directory, with a certificate `one`, one `two`, and what is none."""
    certificate(directory, "one")
    certificate(directory, "two")
    (directory / "broken").write_text("-----BEGIN CERTIFICATE-----\nno\n")
    file = directory / "edge.toml"
    state = f"[edge]\nstate_dir = '{directory / 'state'}'\n"
    file.write_text(text.replace("DIR", str(directory)) + state)
    return file


WRONG = {
    "a table that FreeRADIUS has not": (
        SQL + "database = 'env:URL'\ntables = ['radchek=x']",
        5,
        'feeds.a.tables: got "radchek=x" as item 0',
    ),
    "no name of a table": (
        SQL + "database = 'env:URL'\ntables = ['radcheck=x; DROP']",
        5,
        'feeds.a.tables: got "radcheck=x; DROP"',
    ),
    "a table twice": (
        SQL + "database = 'env:URL'\ntables = ['nas=x', 'nas=y']",
        5,
        "feeds.a.tables: got a list of 2",
    ),
    "no regular expression": (
        SQL + "database = 'env:URL'\nusernames = '(['",
        5,
        'feeds.a.usernames: got "(["',
    ),
    "a variable that is not set": (SQL + "database = 'env:NOPE'", 4, "feeds.a.database: got env:NOPE"),
    "no URL of a database": (SQL + "database = 'env:SHORT'", 4, "feeds.a.database: got env:SHORT"),
    "another database": (SQL + "database = 'env:SQLITE'", 4, "postgresql or mysql"),
    "a port that is none": (SQL + "database = 'env:BAD_PORT'", 4, "feeds.a.database: got env:BAD_PORT"),
    "a secret that is not there": (FEED + "token = 'file:/nope'", 5, "feeds.a.token: got file:/nope"),
    "a token with a blank": (FEED + "token = 'env:BLANK'", 5, "feeds.a.token: got what cannot be used"),
    "a sink's secret": (SINK + "signing_secret = 'file:/nope'", 4, "sinks.s.signing_secret: got file:/nope"),
    "a secret of 3 octets": (TOKENS + "token_secret = 'env:SHORT'", 5, "the secret has 3 octets"),
    "no certificate": (
        API + "certificate = '/nope.pem'\ncertificate_key = 'DIR/one.key'",
        3,
        'api.certificate: got "/nope.pem"; expected a file with certificates (PEM); No such file',
    ),
    "the key of another": (
        API + "certificate = 'DIR/one.pem'\ncertificate_key = 'DIR/two.key'",
        4,
        "api.certificate_key: got",
    ),
    "authorities that are none": (
        API + "certificate = 'DIR/one.pem'\ncertificate_key = 'DIR/one.key'\nclient_ca = 'DIR/broken'",
        5,
        "api.client_ca: got",
    ),
    "a scope that is none": (
        API
        + "certificate = 'DIR/one.pem'\ncertificate_key = 'DIR/one.key'\nclient_ca = 'DIR/two.pem'\n"
        + "client_certificates = ['DNS:x scopes=bogus tenant=demo']",
        6,
        "no scope or role bogus",
    ),
}
VARIABLES = {
    "SHORT": "abc",
    "SQLITE": "sqlite:///s3cret",
    "BAD_PORT": "postgresql://u:s3cret@h:port/x",
    "BLANK": "s3 cret",
    "URL": "postgresql://u:s3cret@h/x",
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used_is_named_by_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    text, line, said = WRONG[case]
    file = written(tmp_path, f"{text}\n")
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(main, ["--config", str(file), "config", "check"])
    assert done.exit_code == ExitCode.USAGE, done.output
    assert f"{file}:{line}: " in done.stderr
    assert said in done.stderr
    assert "s3" not in done.stderr


@pytest.mark.parametrize("case", WRONG)
def test_what_a_start_cannot_do_without_is_named_before_it(tmp_path: Path, case: str) -> None:
    text, line, said = WRONG[case]
    file = written(tmp_path, f"{text}\n")
    with pytest.raises(ConfigInvalid) as caught:
        check(load(file, VARIABLES), VARIABLES, whole=False)
    assert f"{file}:{line}: " in str(caught.value)
    assert said in str(caught.value)


def test_a_daemon_that_cannot_start_says_why_and_shows_no_traceback(tmp_path: Path) -> None:
    file = written(tmp_path, FEED + "token = 'file:/nope'\n" + TOKENS + "token_secret = 'env:SHORT'\n")
    done = subprocess.run(
        [Path(sys.executable).with_name("dotmac-edge"), "--config", str(file), "run", "--quiet"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"SHORT": "abc", "PATH": "/usr/bin"},
    )
    assert done.returncode == ExitCode.FAILURE, done.stderr
    assert done.stderr.startswith("Error: cannot start:\n")
    assert f"{file}:5: feeds.a.token: got file:/nope" in done.stderr
    assert f"{file}:10: api.token_secret: got env:SHORT" in done.stderr


def test_what_is_read_again_later_stops_no_start_and_is_told_by_the_check(tmp_path: Path) -> None:
    file = written(tmp_path, FEED + "ca = 'DIR/broken'\n" + TOKENS + "token_keys = 'DIR/none'\n")
    loaded = load(file, {})
    check(loaded, {}, whole=False)
    with pytest.raises(ConfigInvalid) as caught:
        check(loaded, {})
    assert [(each.line, each.key) for each in caught.value.problems] == [
        (5, "feeds.a.ca"),
        (10, "api.token_keys"),
    ]


def test_credentials_are_looked_at_where_they_can_be_seen(tmp_path: Path) -> None:
    text = FEED + "token = 'credential:token'\n" + API
    text += "certificate = '/run/credentials/x/c.pem'\ncertificate_key = '/run/credentials/x/c.key'\n"
    loaded = load(written(tmp_path, text), {})
    check(loaded, {})
    with pytest.raises(ConfigInvalid) as caught:
        check(loaded, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert [each.key for each in caught.value.problems] == ["feeds.a.token", "api.certificate"]


def test_what_is_right_is_found_right(tmp_path: Path) -> None:
    text = SQL + "database = 'env:URL'\ntables = ['radcheck=s.my_check', 'nas=n']\nusernames = '[a-z]+'\n"
    text += API + "certificate = 'DIR/one.pem'\ncertificate_key = 'DIR/one.key'\nclient_ca = 'DIR/two.pem'\n"
    text += SINK + "ca = 'DIR/two.pem'\ncertificate = 'DIR/one.pem'\ncertificate_key = 'DIR/one.key'\n"
    check(load(written(tmp_path, text), VARIABLES), VARIABLES)
