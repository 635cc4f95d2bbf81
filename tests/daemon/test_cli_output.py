"""What commands print and how they leave."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import click
import pytest
import yaml
from click.testing import CliRunner

from daemon.cli import events, outbox
from daemon.cli.output import Column, ExitCode, Lines, escaped, fail, output_option, show, show_one

COLUMNS = (Column("name", "Name"), Column("octets", "Octets", "right"), Column("live", "Live"))
ROWS = (
    {"name": "bob", "octets": 5, "live": True, "address": IPv4Address("192.0.2.7")},
    {"name": "[red]alice[/red]", "octets": 1_000_000, "live": False, "address": None},
)


def test_a_table_has_its_columns_only_and_takes_markup_for_text(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, COLUMNS, "table")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "Name               Octets  Live",
        "bob                     5  yes",
        "[red]alice[/red]  1000000  no",
    ]


def test_a_long_cell_is_folded_to_100_columns_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"name": "x" * 250}], (Column("name", "Name"),), "table")
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 100
    assert out.count("x") == 250


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_documents_have_every_key_in_plain_types(capsys: pytest.CaptureFixture[str], output: str) -> None:
    show(ROWS, COLUMNS, output)
    out = capsys.readouterr().out
    expected = [{**row, "address": row["address"] and str(row["address"])} for row in ROWS]
    assert (json.loads(out) if output == "json" else yaml.safe_load(out)) == expected


def test_one_thing_is_a_line_a_field_without_those_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"name": "bob", "address": None, "routes": ["192.0.2.0/24", "198.51.100.0/24"]}, "table")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["name    bob", "routes  192.0.2.0/24, 198.51.100.0/24"]


def test_one_thing_keeps_its_none_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"name": "bob", "address": None}, "json")
    assert json.loads(capsys.readouterr().out) == {"name": "bob", "address": None}


@pytest.mark.parametrize("exit_code", list(ExitCode))
def test_a_failure_is_said_on_standard_error_and_leaves_with_its_code(exit_code: ExitCode) -> None:
    @click.command()
    @output_option
    def command(*, output: str) -> None:
        fail(f"no {output}", exit_code)

    result = CliRunner().invoke(command, ["--output", "yaml"])
    assert result.exit_code == exit_code
    assert result.stdout == ""
    assert result.stderr == "Error: no yaml\n"


STEERS = "a\nb\x1b[2J\x9b31m\u202e\u2066\u2028\x85z"


def calm(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


def test_no_name_ends_a_line_or_steers_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped(STEERS) == r"a\nb\x1b[2J\x9b31m\u202e\u2066\u2028\x85z"
    show([{"name": STEERS}], (Column("name", "Name"),), "table")
    assert len(capsys.readouterr().out.splitlines()) == 2
    show_one({"name": STEERS, "lines": Lines("one\ntwo\x1b")}, "table")
    out = capsys.readouterr().out
    assert [line.rstrip() for line in out.splitlines()][1:] == ["lines  one", r"       two\x1b"]


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_documents_do_not_steer_a_terminal_and_read_back_the_same(
    capsys: pytest.CaptureFixture[str], output: str
) -> None:
    show([{"name": STEERS, "place": "Zürich"}], COLUMNS, output)
    out = capsys.readouterr().out
    assert calm(out)
    assert (json.loads(out) if output == "json" else yaml.safe_load(out)) == [
        {"name": STEERS, "place": "Zürich"}
    ]
    show_one({"place": "Zürich"}, output)
    assert "Zürich" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["table", "json"])
def test_an_event_that_is_followed_is_one_line_whatever_its_names_hold(output: str) -> None:
    item = {"seq": 1, "occurred_at": "t", "type": "x", "tenant_id": "", "correlation_id": STEERS}
    line = outbox._line(item | {"data": {"username": STEERS}}, output)
    assert calm(line)
    assert "\n" not in line
    lately = {
        "at": 1.0,
        "kind": "ghost",
        "subscriber": STEERS,
        "nas": "",
        "reason": "",
        "fields": {"a": STEERS},
    }
    line = events._followed(lately, output)
    assert calm(line)
    assert "\n" not in line


def test_a_failure_is_escaped_line_by_line() -> None:
    @click.command()
    def command() -> None:
        fail("one\ntwo \x1b[2J\x9b")

    assert CliRunner().invoke(command).stderr == "Error: one\ntwo \\x1b[2J\\x9b\n"


def test_a_tenant_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    show(
        [{"id": "a", "tenant": "x"}, {"id": "b", "tenant": "y"}],
        (Column("id", "Id"), Column("tenant", "Tenant")),
        "table",
    )
    assert capsys.readouterr().out.count("Tenant") == 1


def test_words_are_not_parted_where_all_of_them_fit(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "when": "2026-11-21 21:00:00 +0000",
        "who": "key k1f2e3d4c5b6a billing of the platform",
        "action": "POST /sessions/{id}/disconnect",
        "of": "tenant demo, subscriber alice and others",
    }
    show([row], tuple(Column(key, key) for key in row), "table")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    for value in row.values():
        for word in value.split():
            assert word in out


@pytest.mark.parametrize("stream", ["a/b", "bogus", ""])
def test_a_stream_that_there_is_not_is_a_wrong_command_line(stream: str) -> None:
    for command in (["tail", stream], ["replay", "sink", stream, "--from", "1"]):
        done = CliRunner().invoke(outbox.group, command)
        assert done.exit_code == ExitCode.USAGE
        assert "accounting" in done.stderr
