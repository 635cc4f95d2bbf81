"""Settings come from defaults, file and environment; everything wrong with them comes at once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from pydantic import ValidationError

from config import fields
from config.errors import ConfigInvalid
from config.load import dump, find_path, load
from config.settings import Settings

CANARY = "canary-7f3a"


def write(directory: Path, text: str | bytes) -> Path:
    path = directory / "edge.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def problems(directory: Path, text: str | bytes, environ: dict[str, str] | None = None) -> list[str]:
    """Return the lines of the refusal, without the directory."""
    path = write(directory, text)
    with pytest.raises(ConfigInvalid) as caught:
        load(path, environ or {})
    return str(caught.value).replace(f"{directory}/", "").splitlines()


def test_without_a_file_the_defaults_hold() -> None:
    loaded = load(None, {})
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.settings.radius.auth_addresses == (("0.0.0.0", 1812), ("::", 1812))
    assert loaded.settings.radius.acct_addresses == (("0.0.0.0", 1813), ("::", 1813))
    assert loaded.settings.api.address == ("127.0.0.1", 8080)
    assert loaded.settings.edge.state_dir == Path("/var/lib/dotmac-edge")


def test_each_value_knows_where_it_came_from(tmp_path: Path) -> None:
    path = write(tmp_path, '[radius]\nreject_delay_s = 0\n\n[log]\nlevel = "debug"\n')
    loaded = load(path, {"DOTMAC_EDGE_LOG__LEVEL": "error", "HOME": "/root"})
    assert loaded.settings.radius.reject_delay_s == 0
    assert loaded.settings.log.level == "error"
    assert loaded.sources["radius.reject_delay_s"] == f"{path}:2"
    assert loaded.sources["log.level"] == "env DOTMAC_EDGE_LOG__LEVEL"
    assert loaded.sources["log.format"] == "default"
    assert loaded.path == path


def test_environment_values_take_the_type_of_their_setting() -> None:
    settings = load(
        None,
        {
            "DOTMAC_EDGE_RADIUS__AUTH_LISTEN": '["[::1]:1645"]',
            "DOTMAC_EDGE_RADIUS__REJECT_DELAY_S": "2.5",
            "DOTMAC_EDGE_RADIUS__HASH_WORKERS": "4",
            "DOTMAC_EDGE_EDGE__NAME": "42",
            "DOTMAC_EDGE_API__ADMIN_SOCKET": "/run/edge.sock",
            "DOTMAC_EDGE_CONFIG": "elsewhere",
            "DOTMAC_EDGE_PASSWORD": "belongs to the command line",
        },
    ).settings
    assert settings.radius.auth_addresses == (("::1", 1645),)
    assert settings.radius.reject_delay_s == 2.5
    assert settings.radius.hash_workers == 4
    assert settings.edge.name == "42"
    assert settings.api.admin_socket == Path("/run/edge.sock")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '\n[radius]\nreject_delay_s = "abc"',
            'edge.toml:3: radius.reject_delay_s: got "abc"; expected seconds, 0 to 10',
        ),
        (
            "[radius]\nreject_delay_s = 10.5",
            "edge.toml:2: radius.reject_delay_s: got 10.5; expected seconds, 0 to 10",
        ),
        (
            "[radius]\nreject_delay_s = nan",
            "edge.toml:2: radius.reject_delay_s: got NaN; expected seconds, 0 to 10",
        ),
        (
            "radius.duplicate_window_s = true",
            "edge.toml:1: radius.duplicate_window_s: got true; expected whole seconds, 5 to 30",
        ),
        (
            "radius = { hash_workers = 2.5 }",
            "edge.toml:1: radius.hash_workers: got 2.5; expected a number of threads, 1 to 64",
        ),
        (
            '[log]\nlevel = "loud"',
            'edge.toml:2: log.level: got "loud"; expected debug or info or warning or error',
        ),
        (
            '[edge]\nstate_dir = ""',
            'edge.toml:2: edge.state_dir: got ""; expected a directory; a path is not empty and holds no NUL',
        ),
        ("[edge]\nname = []", "edge.toml:2: edge.name: got a list of 0; expected text of 1 to 64 characters"),
        ('data = "x"', "edge.toml:1: data: got text; expected a table [data]"),
        (
            '[data]\nfiles = "provider.yaml"',
            'edge.toml:2: data.files: got "provider.yaml"; expected a list of paths',
        ),
    ],
)
def test_a_wrong_value_is_named_with_line_key_and_what_was_expected(
    tmp_path: Path, text: str, line: str
) -> None:
    assert problems(tmp_path, text) == [line]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("localhost:1812", "localhost is not an IP address; a host name cannot stand here"),
        ("1.2.3.4", "the port is missing"),
        ("1.2.3.4:0", "the port is not a number from 1 to 65535"),
        ("1.2.3.4:65536", "the port is not a number from 1 to 65535"),
        ("::1:1812", "brackets are for IPv6 addresses, and those need them"),
        ("[1.2.3.4]:1812", "brackets are for IPv6 addresses, and those need them"),
        (":1812", "nothing is not an IP address; a host name cannot stand here"),
    ],
)
def test_a_bad_address_says_why(tmp_path: Path, address: str, why: str) -> None:
    (line,) = problems(tmp_path, f'[radius]\nauth_listen = ["127.0.0.1:1", "{address}"]')
    assert line.startswith(f'edge.toml:2: radius.auth_listen: got "{address}" as item 1; expected a list of')
    assert line.endswith(why)
    assert problems(tmp_path, f'[api]\nlisten = "{address}"')[0].endswith(why)


@pytest.mark.parametrize(
    "text",
    [
        'auth_listen = ["127.0.0.1:1", "127.0.0.1:1"]',
        'auth_listen = ["[::1]:5"]\nacct_listen = ["[0:0::1]:5"]',
        'auth_listen = ["0.0.0.0:1813"]',
    ],
)
def test_one_address_is_listened_to_once(tmp_path: Path, text: str) -> None:
    (line,) = problems(tmp_path, f"[radius]\n{text}")
    assert "twice in auth_listen and acct_listen" in line


def test_a_list_of_addresses_is_not_empty(tmp_path: Path) -> None:
    assert problems(tmp_path, "[radius]\nauth_listen = []")[0].endswith("nobody could reach the server")


def test_a_batch_fits_into_the_records_that_may_wait(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, "[accounting]\nmax_batch_records = 600\nmax_pending_records = 500")
    assert line.startswith("edge.toml:3: accounting.max_pending_records: got 500;")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        (
            "[radius]\nreject_dely_s = 1",
            "edge.toml:2: radius.reject_dely_s: got an unknown key;",
            "did you mean reject_delay_s?",
        ),
        ("[radios]\nx = 1", "edge.toml:1: radios: got an unknown section;", "did you mean radius?"),
        (
            "reject_delay_s = 1",
            "edge.toml:1: reject_delay_s: got an unknown section;",
            "radius.reject_delay_s exists",
        ),
        (
            '[api]\nstate_dir = "x"',
            "edge.toml:2: api.state_dir: got an unknown key;",
            "edge.state_dir exists",
        ),
    ],
)
def test_an_unknown_key_gets_a_suggestion(tmp_path: Path, text: str, start: str, end: str) -> None:
    (line,) = problems(tmp_path, text)
    assert line.startswith(start)
    assert line.endswith(end)


def test_everything_wrong_comes_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = '[radius]\nreject_delay_s = -1\nhash_workers = 0\n[log]\nformat = "xml"\nlevl = 1\n[nothing]\n'
    environ = {"DOTMAC_EDGE_STORE__BUSY_TIMEOUT_S": "x", "DOTMAC_EDGE_STORE__WAL_PAGES": "1"}
    assert [each.split("; ")[0] for each in problems(tmp_path, text, environ)] == [
        "edge.toml:2: radius.reject_delay_s: got -1",
        "edge.toml:3: radius.hash_workers: got 0",
        'edge.toml:5: log.format: got "xml"',
        "edge.toml:6: log.levl: got an unknown key",
        "edge.toml:7: nothing: got an unknown section",
        'DOTMAC_EDGE_STORE__BUSY_TIMEOUT_S: store.busy_timeout_s: got "x"',
        "DOTMAC_EDGE_STORE__WAL_PAGES: got an unknown variable",
    ]


def test_a_variable_with_too_few_underscores_is_not_passed_over() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(None, {"DOTMAC_EDGE_LOG_LEVEL": "debug"})
    assert str(caught.value).endswith("did you mean DOTMAC_EDGE_LOG__LEVEL?")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            b"[log]\nlevel == 1\n",
            "edge.toml:2:8: got text that is not TOML; expected TOML 1.0; Invalid value",
        ),
        (b"[log]\n\xff = 1\n", "edge.toml:2: got octets that are not UTF-8; expected text in UTF-8"),
        (b"a = [1,\n\n", "edge.toml:3: got text that is not TOML; expected TOML 1.0; Invalid value"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_its_line(tmp_path: Path, text: bytes, line: str) -> None:
    assert problems(tmp_path, text) == [line]


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"gone\.toml: got no such file or directory; expected a file"):
        load(tmp_path / "gone.toml", {})
    with pytest.raises(ConfigInvalid, match="is a directory"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    "text",
    [
        f'[secrets]\nsealing_key = "{CANARY}"',
        f'[secrets]\nsealing_key = ["{CANARY}"]',
        f'[secrets]\nsealing_kee = "{CANARY}"',
        f'secrets = "{CANARY}"',
        f'sealing_key = "{CANARY}"',
        f'[log]\npassword = "{CANARY}"',
        f'[secrets]\nsealing_key = "{CANARY}',
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, text: str) -> None:
    assert CANARY not in "".join(problems(tmp_path, text))


def test_a_secret_in_the_environment_is_not_repeated() -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(None, {"DOTMAC_EDGE_SECRETS__SEALING_KEY": CANARY, "DOTMAC_EDGE_SECRETS__KEY": CANARY})
    assert len(caught.value.problems) == 2
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_message_does_not_steer_the_terminal(tmp_path: Path) -> None:
    assert "\x1b" not in "".join(problems(tmp_path, '[log]\n"\\u001b[2J" = 1\nlevel = "\\u001b[2J"'))


def test_keys_within_texts_of_several_lines_do_not_mislead(tmp_path: Path) -> None:
    text = '[edge]\nname = """\n[log]\nlevel = 1\n"""\n\n[log]\nlevel = "x"\n'
    assert problems(tmp_path, text)[0].startswith("edge.toml:8: log.level:")


def test_data_files_lie_beside_the_configuration(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, '[data]\nfiles = ["provider.yaml", "/srv/more.yaml"]\n'), {})
    assert loaded.data_files == (tmp_path / "provider.yaml", Path("/srv/more.yaml"))


def test_the_path_is_the_options_then_the_environments_then_the_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"DOTMAC_EDGE_CONFIG": "named.toml"}
    assert find_path(Path("asked.toml"), environ) == Path("asked.toml")
    assert find_path(None, environ) == Path("named.toml")
    write(tmp_path, "")
    assert find_path(None, {}) == Path("edge.toml")


def test_dump_lists_every_setting_with_value_and_source(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, '[edge]\nstate_dir = "./var"\n'), {})
    rows = {each.name: each for each in dump(loaded.settings, loaded.sources)}
    assert set(rows) == set(fields.settings())
    assert (rows["edge.state_dir"].value, rows["edge.state_dir"].source) == ("var", f"{tmp_path}/edge.toml:2")
    assert rows["radius.acct_listen"].value == ["0.0.0.0:1813", "[::]:1813"]
    assert (rows["log.level"].live, rows["store.busy_timeout_s"].live) == (True, False)


def test_settings_cannot_be_changed() -> None:
    loaded = load(None, {})
    with pytest.raises(ValidationError):
        loaded.settings.log.level = "debug"
    with pytest.raises(dataclasses.FrozenInstanceError):
        loaded.path = None  # type: ignore[misc] # that it is refused is the point


FEED = '[feeds.acme]\nsource = "pull"\ntenant = "acme"\nurl = "https://platform.example/edge"\n'


def test_tables_with_names_of_their_own_are_read(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(FEED + '[sinks.central]\ntarget = "platform"\nurl = "https://platform.example/edge"\n')
    loaded = load(path, {})
    assert loaded.settings.feeds["acme"].url == "https://platform.example/edge"
    assert loaded.sources["feeds.acme.tenant"] == f"{path}:3"
    rows = {row.name: row for row in dump(loaded.settings, loaded.sources)}
    assert rows["sinks.central.target"].value == "platform"
    assert rows["feeds.acme.stream"].source == "default"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (FEED.replace("tenant", "tennant"), 3, "feeds.acme.tennant: got an unknown key"),
        (FEED.replace('"pull"', '"poll"'), 2, 'feeds.acme.source: got "poll"; expected pull or push or sql'),
        (FEED.replace('url = "https://platform.example/edge"', ""), 1, "source pull needs `url`"),
        (FEED.replace("[feeds.acme]", "[feeds.Acme]"), 1, "1 to 32 small letters, digits and dashes"),
        (FEED + "stale_after_s = 1", 5, "feeds.acme.stale_after_s: got 1; expected seconds, 10 to 86400"),
        (FEED + 'token = "s3cret"', 5, "feeds.acme.token: got a hidden value"),
        (FEED.replace('tenant = "acme"', ""), 1, "feeds.acme.tenant: got nothing; expected 1 to 64 letters"),
        ("[feeds]\nacme = 1", 2, "feeds.acme: got a number; expected a table [feeds.acme]"),
    ],
)
def test_what_is_wrong_in_a_table_with_a_name_is_told_with_line_and_key(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(text)
    with pytest.raises(ConfigInvalid) as caught:
        load(path, {})
    assert f"{path}:{line}: " in str(caught.value)
    assert said in str(caught.value)


def test_two_feeds_do_not_own_the_same_kind(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(FEED + FEED.replace("feeds.acme", "feeds.other"))
    with pytest.raises(ConfigInvalid, match=r"feeds\.acme and feeds\.other both own tenant of tenant acme"):
        load(path, {})
