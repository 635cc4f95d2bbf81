"""The pages say what is so: settings load, commands parse, links and paths lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from config.load import load
from daemon.cli.main import main
from tests.e2e.conftest import ROOT, Daemon

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
ALERTS = ROOT / "config" / "examples" / "alerts.yml"
LONGEST_ADR = 40
FOLDERS = ("radius", "config", "daemon", "docs", "tests", "bench", "systemd", "scripts")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def in_code(text: str) -> list[str]:
    """Return what stands between backticks in running text."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", prose)


def command_lines(text: str) -> list[str]:
    """Return the lines that a reader would type: in shell blocks, between backticks, after a colon in settings."""
    found = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    found += in_code(text)
    found += re.findall(r"^#.*:\s+(dotmac-edge .*)$", "\n".join(blocks(text, "toml")), re.MULTILINE)
    return [line for line in found if line.startswith("dotmac-edge ")]


def parse(line: str) -> None:
    """Parse a command line as click would before it calls the command.

    A line that only names a command need not have its arguments. Raises click.UsageError.
    """
    words = shlex.split(line.partition(" > ")[0].removesuffix(" &"))[1:]
    command: click.Command = main
    context: click.Context | None = None
    name: str | None = "dotmac-edge"
    while True:
        try:
            context = command.make_context(name, [*words], parent=context)
        except click.MissingParameter:
            if words:
                raise
            return
        if not isinstance(command, click.Group):
            return
        words = [*getattr(context, "_protected_args", ()), *context.args]
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found


def all_commands(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is no group, with its full name."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {rest}", each) for rest, each in all_commands(command, context))
        else:
            yield name, command


def examples() -> list[tuple[str, str]]:
    """Return the example in the help of every command, one line each."""
    out = []
    for name, command in all_commands(main, click.Context(main)):
        _, _, example = (command.help or "").partition("Example:")
        out.append((name, " ".join(example.replace("\\\n", " ").split())))
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_of_settings_loads(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks(page.read_text(), "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        assert load(file, {}).path == file


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_line_parses(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for line in command_lines(page.read_text()):
        try:
            parse(line)
        except click.UsageError as error:
            pytest.fail(f"{page.name}: {line}: {error.format_message()}")


@pytest.mark.parametrize(("command", "example"), examples(), ids=[name for name, _ in examples()])
def test_each_example_in_the_help_parses(command: str, example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert example.startswith("dotmac-edge "), example
    assert command in example
    parse(example)


def test_a_wrong_line_would_be_found() -> None:
    for line in ("dotmac-edge nas lost", "dotmac-edge status --last 3", "dotmac-edge why --last 3"):
        with pytest.raises(click.UsageError):
            parse(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    lost = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_path_between_backticks_is_there(page: Path) -> None:
    named = [
        code for code in in_code(page.read_text()) if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*", code)
    ]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_decisions_are_short() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert records
    assert [page.name for page in records if len(page.read_text().splitlines()) > LONGEST_ADR] == []


def test_the_alert_rules_speak_of_metrics_that_there_are(daemon: Daemon) -> None:
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = group["rules"]
    for rule in rules:
        assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]
        assert rule["expr"].count("(") == rule["expr"].count(")"), rule["alert"]
    daemon.run("radius", "auth", "alice", "wonderland")
    scraped = set(re.findall(r"^(?:# TYPE )?(dotmac_edge_\w+)", daemon.metrics(), re.MULTILINE))
    named = set(re.findall(r"dotmac_edge_\w+", " ".join(rule["expr"] for rule in rules)))
    assert named <= scraped
    page = (ROOT / "docs" / "operations.md").read_text()
    listed = set(re.findall(r"^\| `(dotmac_edge_\w+)", page, re.MULTILINE))
    assert {name.removesuffix("_bucket") for name in named} == listed, "each row of the page has its rule"
