"""What commands print and how they leave."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import click
import pytest
import yaml
from click.testing import CliRunner

from daemon.cli.output import Column, ExitCode, fail, output_option, show, show_one

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
