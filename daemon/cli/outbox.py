"""`dotmac-edge outbox`: status, tail, replay."""

from __future__ import annotations

import json
from typing import Any

import click

from daemon.cli.client import ask, place
from daemon.cli.output import (
    Column,
    ExitCode,
    escaped,
    fail,
    json_text,
    output_option,
    show,
    show_one,
    yaml_text,
)
from daemon.cli.times import moment, size, when

_WAIT_S = 30
_PAGE = 1000
_STATUS = (
    Column("stream", "Stream"),
    Column("last_seq", "Last", "right"),
    Column("sink", "Sink"),
    Column("acked_seq", "Acked", "right"),
    Column("backlog", "Backlog", "right"),
    Column("size", "Size", "right"),
    Column("oldest", "Oldest waits since"),
    Column("failing", "Failing"),
)
_EVENTS = (
    Column("seq", "Number", "right"),
    Column("occurred_at", "When"),
    Column("type", "Event"),
    Column("tenant_id", "Tenant"),
    Column("correlation_id", "Of"),
    Column("details", "Details"),
)
_MOST_DETAILS = 300
# As the API names them, which says them as well; loading its code for this would take a second.
_STREAMS = click.Choice(["accounting", "sessions", "auth-rejects", "leases", "quota", "devices", "audit"])


@click.group("outbox")
def group() -> None:
    """Look at what this edge tells the platform; deliver it again.

    Example: dotmac-edge outbox status
    """


@group.command("status")
@output_option
@click.pass_context
def status(context: click.Context, output: str) -> None:
    """Show each stream, and how far each sink has acknowledged it. Leaves with 7 where a delivery fails.

    Example: dotmac-edge outbox status
    """
    page = ask(context, "GET", "/api/v1/outbox")
    if output != "table":
        show_one(page, output)
    else:
        show([row for stream in page["items"] for row in _rows(stream)], _STATUS, output)
    if any(sink["failing"] for stream in page["items"] for sink in stream["sinks"]):
        context.exit(ExitCode.PARTIAL)


def _rows(stream: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each sink of a stream, or one without."""
    head = {"stream": stream["stream"], "last_seq": stream["last_seq"]}
    return [
        head | sink | {"size": size(sink["backlog_octets"]), "oldest": when(sink["oldest_at"])}
        for sink in stream["sinks"]
    ] or [head | {"sink": "none"}]


@group.command("tail")
@click.argument("stream", type=_STREAMS)
@click.option("--follow", is_flag=True, help="Go on with what comes, a line each, until stopped.")
@click.option("--from", "from_seq", type=click.IntRange(1), metavar="SEQ", help="Begin with this number.")
@click.option(
    "--last", type=click.IntRange(0, _PAGE), default=20, show_default=True, help="So many, without --from."
)
@click.option("--type", "type_", metavar="TYPE", help="Only of this type, such as session.started.")
@click.option("--tenant", metavar="ID", help="Only of this tenant.")
@output_option
@click.pass_context
def tail(
    context: click.Context,
    /,
    stream: str,
    follow: bool,
    from_seq: int | None,
    last: int,
    type_: str | None,
    tenant: str | None,
    output: str,
) -> None:
    """Show the newest events of a stream: accounting, sessions, auth-rejects, leases, quota, devices, audit.

    With --follow and `--output json`, each is one line.

    Example: dotmac-edge outbox tail sessions --follow --output json
    """
    path = f"{place('/api/v1/outbox', stream)}/events"
    wanted: dict[str, object] = {"type": type_, "tenant": tenant, "limit": _PAGE}
    start: dict[str, object] = {"last": last} if from_seq is None else {"from_seq": from_seq}
    if from_seq is not None:
        _see_there(context, stream, from_seq)
    page = ask(context, "GET", path, params=wanted | start)
    if follow:
        _follow(context, path, wanted, page, output)
    elif output != "table":
        show_one(page, output)
    elif page["items"]:
        show([_row(item) for item in page["items"]], _EVENTS, output)
        if page["more"]:
            click.echo(f"There are more, up to {page['last_seq']}: --from {page['items'][-1]['seq'] + 1}")
    else:
        click.echo("None.")


def _see_there(context: click.Context, stream: str, seq: int) -> None:
    """Leave where a stream has not come as far as a number; the next one may be waited for."""
    known = {each["stream"]: each["last_seq"] for each in ask(context, "GET", "/api/v1/outbox")["items"]}
    last = known.get(stream, 0)
    if seq > last + 1:
        fail(f"{stream} has no event {seq}: the last is {last}", ExitCode.NOT_FOUND)


def _follow(
    context: click.Context, path: str, wanted: dict[str, object], page: dict[str, Any], output: str
) -> None:
    """Print events for ever, each as soon as it is there."""
    while True:
        for item in page["items"]:
            click.echo(_line(item, output))
        more = {"cursor": page["next_cursor"], "wait": _WAIT_S}
        page = ask(context, "GET", path, params=wanted | more)


def _line(item: dict[str, Any], output: str) -> str:
    if output == "json":
        return json_text(item)
    if output == "table":
        row = _row(item)
        return escaped("  ".join(str(row[each.key]) for each in _EVENTS if row[each.key] not in ("", None)))
    return yaml_text(item, start=True)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    said = ", ".join(
        f"{name} {value if not isinstance(value, (dict, list)) else json.dumps(value)}"
        for name, value in item["data"].items()
        if value not in (None, "")
    )
    return item | {"details": said if len(said) <= _MOST_DETAILS else f"{said[:_MOST_DETAILS]}..."}


@group.command("replay")
@click.argument("sink")
@click.argument("stream", type=_STREAMS)
@click.option(
    "--from",
    "from_seq",
    type=click.IntRange(1),
    metavar="SEQ",
    help="From this number on, as the sink has it.",
)
@click.option("--since", callback=moment, metavar="TIME", help="From a time on, or a span such as 2h ago.")
@output_option
@click.pass_context
def replay(
    context: click.Context, sink: str, stream: str, from_seq: int | None, since: float | None, output: str
) -> None:
    """Deliver events to a sink again that it has acknowledged: where it lost them, or was restored from a backup.

    A receiver that keeps the watermark takes nothing twice.

    Example: dotmac-edge outbox replay platform accounting --since 2h
    """
    if (from_seq is None) == (since is None):
        fail("give either --from or --since", ExitCode.USAGE)
    if not sink or "/" in sink:
        fail(f"there is no sink {sink!r}; `dotmac-edge outbox status` lists them", ExitCode.NOT_FOUND)
    wanted = {"from_seq": from_seq} if since is None else {"since": since}
    path = f"{place(place('/api/v1/outbox', sink), stream)}/replay"
    headers = {"Content-Type": "application/json"}
    done = ask(context, "POST", path, content=json.dumps(wanted).encode(), headers=headers)
    if output == "table":
        click.echo(f"{done['sink']} gets {done['stream']} again from {done['from_seq']} on.")
    else:
        show_one(done, output)
