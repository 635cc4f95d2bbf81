"""`dotmac-edge ipam import`: address books of other systems.

The files are read here, not by the daemon: a dump of a RADIUS database holds passwords, too, and only what is about
addresses leaves this process.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from daemon.cli.client import socket_path
from daemon.cli.ipam_options import bar
from daemon.cli.output import Column, ExitCode, escaped, fail, output_option, show, show_one

_PATH = "/api/v1/ipam/imports"
_TIMEOUT_S = 600.0
_SHOWN = 20
_STEP = 5_000
_COLUMNS = (Column("what", "What"), Column("made", "New", "right"), Column("unchanged", "As it is", "right"))


@click.command("import")
@click.argument("source", type=click.Choice(["radippool", "netbox", "phpipam", "plain"]))
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@click.option("--tenant", metavar="ID", help="Whose it is; needed where there are several tenants.")
@click.option("--vrf", metavar="NAME", default="", help="VRF of what names none.")
@click.option("--map", "mapping", type=click.Path(exists=True, dir_okay=False), help="YAML file: names here.")
@click.option("--zone", default="UTC", show_default=True, help="Time zone of times that name none.")
@click.option("--table", default="radippool", show_default=True, help="Name of the table in an SQL dump.")
@click.option("--dry-run", is_flag=True, help="Check and report only.")
@output_option
@click.pass_context
def import_command(
    context: click.Context,
    source: str,
    files: tuple[str, ...],
    tenant: str | None,
    vrf: str,
    mapping: str | None,
    zone: str,
    table: str,
    dry_run: bool,
    output: str,
) -> None:
    """Take over the address book of another system: pools, leases, reservations, prefixes.

    SOURCE is radippool (FreeRADIUS: SQL dump or CSV), netbox, phpipam (CSV or JSON) or plain (CSV). All of it is
    checked first; with any problem nothing is taken over. The same files again change nothing.

    Example: dotmac-edge ipam import radippool - --tenant demo --dry-run
    """
    imported = _read(source, files, _names(mapping, vrf), zone, table)
    params = {"dry_run": str(dry_run)} | ({} if tenant is None else {"tenant": tenant})
    result = imported if isinstance(imported, dict) else _send(context, imported, params)
    _report(result, output, dry_run=dry_run)
    if result["problem_count"]:
        raise click.exceptions.Exit(ExitCode.FAILURE)


# --- reading ---------------------------------------------------------------------------------------


def _names(mapping: str | None, vrf: str) -> Any:
    from ipam.imports import mapping as names  # noqa: PLC0415 - help need not wait for it

    document = None
    if mapping is not None:
        import yaml  # noqa: PLC0415

        try:
            document = yaml.safe_load(Path(mapping).read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            fail(f"{mapping}: no YAML: {error}", ExitCode.USAGE)
    try:
        return names.read(document, "" if vrf == "default" else vrf)
    except names.BadMapping as error:
        fail(f"{mapping}: {error}", ExitCode.USAGE)


def _read(source: str, files: tuple[str, ...], names: Any, zone: str, table: str) -> Any:
    """Return the records, or the report of why there are none."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    from ipam.imports import mapping, netbox, phpipam, plain, radippool  # noqa: PLC0415
    from ipam.imports.records import Refused, Source  # noqa: PLC0415

    try:
        times = ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        raise click.UsageError(f"--zone {zone!r} is no time zone such as Africa/Lagos") from None
    options = radippool.Options(zone=times, vrf_of=names.vrf_of_pool, table=table)
    gc.disable()  # a million rows that all stay, looked through again and again
    sources = [Source(click.format_filename(each), _lines(each)) for each in files]
    readers: dict[str, Callable[[], Any]] = {
        "radippool": lambda: radippool.read(sources, options),
        "netbox": lambda: netbox.read(sources),
        "phpipam": lambda: phpipam.read(sources),
        "plain": lambda: plain.read(sources, times),
    }
    try:
        found = readers[source]()
    except UnicodeDecodeError as error:
        fail(f"the files are not in UTF-8 ({error}); convert them, for instance with iconv", ExitCode.USAGE)
    _tell("")
    if isinstance(found, Refused):
        return _refused([str(each) for each in found.problems], found.count)
    return mapping.applied(found, names)


def _lines(name: str) -> Iterator[str]:
    if name == "-":
        yield from sys.stdin
        return
    with Path(name).open(encoding="utf-8", newline="") as file:
        for number, line in enumerate(file):
            if number % _STEP == 0:
                _tell(f"reading {click.format_filename(name)}: {number:,} lines")
            yield line


def _refused(problems: list[str], count: int) -> dict[str, Any]:
    return {
        "done": False,
        "made": {},
        "unchanged": {},
        "problems": problems,
        "problem_count": count,
        "notes": [],
        "note_count": 0,
    }


# --- asking the daemon -----------------------------------------------------------------------------


def _send(context: click.Context, imported: Any, params: dict[str, str]) -> dict[str, Any]:
    import httpx  # noqa: PLC0415 - 80 ms that help need not pay

    where = socket_path(context)
    try:
        with (
            httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), timeout=_TIMEOUT_S) as client,
            client.stream("POST", f"http://edge{_PATH}", params=params, content=_body(imported)) as answer,
        ):
            if answer.is_success:
                return _follow(answer.iter_lines())
            failure = json.loads(answer.read())
            code, message = str(failure["code"]), str(failure["message"])
    except httpx.TransportError as error:
        fail(
            f"no daemon answers on {where} ({error}). Is it running? Start it with: dotmac-edge run",
            ExitCode.UNREACHABLE,
        )
    except (ValueError, KeyError, TypeError):
        fail(f"the daemon on {where} answers with nothing that can be read; see its log")
    return _leave(message, code)


def _leave(message: str, code: str) -> NoReturn:
    codes = {"denied": ExitCode.DENIED, "not-found": ExitCode.NOT_FOUND, "invalid-request": ExitCode.USAGE}
    fail(message, codes.get(code, ExitCode.FAILURE))


def _body(imported: Any) -> Iterator[bytes]:
    from ipam.imports import wire  # noqa: PLC0415

    total = wire.count(imported)
    waiting: list[bytes] = []
    for number, line in enumerate(wire.lines(imported)):
        waiting.append(line)
        if len(waiting) == _STEP // 20:
            yield b"".join(waiting)
            waiting.clear()
        if number % _STEP == 0:
            _tell(_far("checking", number, total))
    yield b"".join(waiting)


def _follow(lines: Iterable[str]) -> dict[str, Any]:
    for line in lines:
        said = json.loads(line)
        if "progress" in said:
            far = said["progress"]
            _tell(_far(far["stage"], far["done"], far["total"]))
        elif "failure" in said:
            _tell("")
            fail(str(said["failure"]))
        elif "result" in said:
            _tell("")
            result: dict[str, Any] = said["result"]
            for name in ("problems", "notes"):
                result[name] = [_sentence(each) for each in result[name]]
            return result
    _tell("")
    return fail("the daemon has ended in the middle of the import; the same import again completes it")


def _sentence(finding: dict[str, Any]) -> str:
    from ipam.imports.records import Finding  # noqa: PLC0415

    return str(Finding(**finding))


def _far(stage: str, done: int, total: int) -> str:
    return f"{stage} {bar(100 * done / (total or 1), 30)} {done:,} of {total:,}"


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", nl=False, err=True)


# --- telling ---------------------------------------------------------------------------------------


def _report(result: dict[str, Any], output: str, *, dry_run: bool) -> None:
    if output != "table":
        show_one(result, output)
        return
    _list("Note", result["notes"], result["note_count"])
    _list("Problem", result["problems"], result["problem_count"])
    whats = dict.fromkeys((*result["made"], *result["unchanged"]))
    rows = [
        {"what": what, "made": result["made"].get(what, 0), "unchanged": result["unchanged"].get(what, 0)}
        for what in whats
    ]
    if rows:
        show(rows, _COLUMNS, output)
    if result["problem_count"]:
        click.echo("Nothing was taken over.")
    elif dry_run:
        click.echo("Dry run: nothing was changed.")
    else:
        said = "all of it is in force" if result["made"] else "everything was there already"
        click.echo(f"Done: {said}.")
        if result["made"].get("pools"):
            click.echo(
                "Logins get addresses of a new pool once a selector names it: dotmac-edge selector add"
            )


def _list(what: str, findings: list[str], count: int) -> None:
    for each in findings[:_SHOWN]:
        click.echo(f"{what}: {escaped(each)}", err=True)
    if count > _SHOWN:
        click.echo(f"... and {count - _SHOWN:,} more; --output json shows up to 1,000.", err=True)
