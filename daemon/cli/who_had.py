"""`dotmac-edge who-had`: ask, key, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from daemon.cli.client import ask
from daemon.cli.output import Column, ExitCode, escaped, fail, output_option, show, show_one, tenant_option
from daemon.cli.times import duration, moment, when

_BLOCKS = 3  # so many holders are shown in full, more of them as a table
_CLAIMS = {"had": "had it", "offered": "was offered it", "perhaps": "may have had it"}


class _AsksFirst(click.Group):
    """A group whose first command needs no name: `who-had ADDRESS` is `who-had ask ADDRESS`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name in where none of the commands is named and no help is asked for."""
        if args and args[0] not in {*self.commands, "-h", "--help"}:
            args = ["ask", *args]
        return super().parse_args(ctx, args)


@click.group("who-had", cls=_AsksFirst)
def group() -> None:
    """Tell who had an address at a time: leases, delegated prefixes, CGNAT ports.

    Example: dotmac-edge who-had 203.0.113.9:40000 --at 2h --reason 17/26
    """


@group.command("ask")
@click.argument("address", metavar="ADDRESS[/LEN][:PORT]")
@click.option(
    "--at", required=True, callback=moment, metavar="TIME", help="When: ISO 8601, or so long ago (2h)."
)
@click.option("--reason", required=True, metavar="TEXT", help="Reference of the request; goes to the audit.")
@click.option("--skew", "skew_s", callback=lambda *given: _span(given[2]), default="5s", show_default=True,
              metavar="SPAN", help="How wrong the time may be.")  # fmt: skip
@click.option("--vrf", metavar="NAME", help="Only in this VRF; `default` for the one without a name.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option(
    "--verify",
    "events",
    type=click.IntRange(2, 100_000),
    metavar="N",
    help="Recompute the hash chain of N events around each piece of evidence.",
)
@click.option(
    "--export", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write a signed answer here."
)
@tenant_option
@output_option
@click.pass_context
def ask_command(
    context: click.Context, /, events: int | None, file: Path | None, output: str, **asked: object
) -> None:
    """Tell who had an address; the question is kept in the audit.

    Everybody who may have had it is named. The exit code is 0 where somebody is, 4 where nobody had it, 7 where
    nobody is known and records are missing, 1 where evidence was altered.

    Example: dotmac-edge who-had ask 2001:db8:10:1::7 --at 2026-07-01T20:00:00Z --reason "case 17/26"
    """
    if file is not None and file.exists():
        raise click.UsageError(f"{file} exists: name a new file")
    params = {**asked, "verify": events}
    if file is None:
        answer = ask(context, "GET", "/api/v1/ipam/who-had", params=params)
    else:
        signed = ask(context, "POST", "/api/v1/ipam/who-had-exports", params=params)
        _write(file, signed)
        answer = {"question": signed["document"]["question"], **signed["document"]["answer"]}
    if output != "table":
        show_one(answer, output)
    else:
        _print(answer)
    if file is not None:
        click.echo(f"Signed answer written to {file}.", err=True)
    context.exit(exit_code(answer))


def _span(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    factor = {"s": 1, "m": 60, "h": 3600}.get(unit)
    if factor is None or not number.isascii() or not number.isdigit() or int(number) * factor > 86_400:
        raise click.BadParameter(f"{text!r} is no span of at most a day such as 5s or 2m")
    return float(int(number) * factor)


def _write(file: Path, signed: object) -> None:
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(json.dumps(signed, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        fail(f"{file}: {error.strerror}; the answer was given (see the audit) and is not kept")


def exit_code(answer: dict[str, Any]) -> ExitCode:
    """Return what an answer leaves with."""
    altered = any("was altered" in note for holder in answer["holders"] for note in holder["notes"])
    if altered or any(each["broken_at"] is not None for each in answer["verified"]):
        return ExitCode.FAILURE
    if answer["holders"]:
        return ExitCode.OK
    return ExitCode.PARTIAL if answer["gaps"] else ExitCode.NOT_FOUND


def _print(answer: dict[str, Any]) -> None:
    holders, question = answer["holders"], answer["question"]
    port = "" if question["port"] is None else f" port {question['port']}"
    moment_of = f"{when(question['at'])} +-{duration(question['skew_s'])}"
    said = {0: "nobody is known to have had it", 1: "one holder"}.get(
        answer["count"], f"{answer['count']} candidates"
    )
    click.echo(f"{escaped(question['address'])}{port} at {moment_of}: {said}.")
    if len(holders) <= _BLOCKS:
        for each in holders:
            click.echo("")
            show_one(_block(each), "table")
    else:
        _table(holders)
    if answer["last"]:
        click.echo("\nWho had it last:")
        _table(answer["last"])
    _print_rest(answer)


def _block(holder: dict[str, Any]) -> dict[str, object]:
    via = holder["via"]
    ports = None if via is None else _ports(via)
    fields: dict[str, object] = {
        "holder": _CLAIMS.get(holder["claim"], holder["claim"]),
        "tenant": holder["tenant"],
        "VRF": holder["vrf"] or "default",
        "address": f"{holder['unit']} ({holder['kind']})",
        "CGNAT": ports,
        "subscriber": holder["subscriber"],
        "user name": holder["username"],
        "session": holder["session"],
        "Acct-Session-Id": holder["acct_session_id"],
        "NAS": holder["nas"],
        "circuit": holder["circuit"],
        "MAC": holder["mac"],
        "from": when(holder["from_at"]),
        "until": when(holder["until_at"]) or "no end is recorded",
    }
    shown = {name: value for name, value in fields.items() if value not in ("", None)}
    for number, each in enumerate(holder["evidence"], 1):
        place = f"{each['book']}/{each['seq']} " if each["book"] else ""
        shown[f"evidence {number}"] = f"{place}{when(each['at'])} {each['what']}".strip()
    for number, note in enumerate(holder["notes"], 1):
        shown[f"note {number}"] = note
    return shown


def _ports(via: dict[str, Any]) -> str:
    step = "" if via["step"] == 1 else f", every {via['step']}th"
    inside = f" were {via['inside']}" if via["inside"] else ""
    by = f", plan {via['plan']} version {via['version']}" if via["plan"] else ""
    return f"{via['outside']} ports {via['first_port']}-{via['last_port']}{step}{inside}{by}"


def _table(holders: list[dict[str, Any]]) -> None:
    columns = (
        Column("claim", "Holder"),
        Column("unit", "Address"),
        Column("subscriber", "Subscriber"),
        Column("nas", "NAS"),
        Column("from", "From"),
        Column("until", "Until"),
    )
    rows = [
        each
        | {
            "claim": _CLAIMS.get(each["claim"], each["claim"]),
            "unit": each["unit"]
            if each["via"] is None or not each["via"]["inside"]
            else each["via"]["inside"],
            "from": when(each["from_at"]),
            "until": when(each["until_at"]),
        }
        for each in holders
    ]
    show(rows, columns, "table")


def _print_rest(answer: dict[str, Any]) -> None:
    lines = [f"Note: {note}." for note in answer["notes"]]
    for gap in answer["gaps"]:
        since = when(gap["since"]) if gap["since"] else "the beginning"
        lines.append(f"Gap: {since} to {when(gap['until'])}: {gap['why']}.")
    for run in answer["verified"]:
        place = f"{run['book']}/{run['first_seq']}-{run['last_seq']}"
        if run["broken_at"] is None:
            lines.append(f"Chain {place}: whole.")
        else:
            lines.append(f"Chain {place}: broken at event {run['broken_at']}.")
    if answer["holders"]:
        lines.append(f"Clock of the evidence: {answer['clock']}.")
    if lines:
        click.echo("\n" + "\n".join(map(escaped, lines)))


@group.command()
@output_option
@click.pass_context
def key(context: click.Context, output: str) -> None:
    """Print the public key that this edge signs answers with; it is made when it is first asked for.

    Example: dotmac-edge who-had key
    """
    shown = ask(context, "GET", "/api/v1/ipam/who-had-key")
    if output == "table":
        click.echo(shown["public_key"])
    else:
        show_one(shown, output)


@group.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--key", "public_key", metavar="PUBLIC", help="The edge's public key, as `who-had key` prints it."
)
@output_option
@click.pass_context
def verify(context: click.Context, file: Path, public_key: str | None, output: str) -> None:
    """Check a signed answer: signature and hashes. Needs no daemon.

    Without --key only this is known: nobody altered the file after it was signed with the key that is in it.

    Example: dotmac-edge who-had verify case-17.json --key "$(cat edge.pub)"
    """
    from daemon.leases.export_form import check  # noqa: PLC0415 - cryptography takes its time to load

    try:
        found = check(file.read_bytes(), public_key)
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    if output != "table":
        fields = {"public_key": found.public_key, "trusted": found.trusted, "events": found.events}
        show_one({"valid": not found.problems, "problems": list(found.problems), **fields}, output)
    elif found.problems:
        for problem in found.problems:
            click.echo(f"Error: {escaped(problem)}", err=True)
    else:
        whose = "the key that was given" if found.trusted else f"the key in it, {found.public_key}"
        click.echo(f"{file}: whole, signed with {whose}; {found.events} events with their hashes.")
    context.exit(ExitCode.FAILURE if found.problems else ExitCode.OK)
