"""`dotmac-edge session`: list, show, kick, reconcile."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any, TypeVar

import click

from daemon.cli.client import ask, place
from daemon.cli.coa import JOB_COLUMNS, job_row, leave_with
from daemon.cli.output import Column, ExitCode, output_option, show, show_one, tenant_option
from daemon.cli.pages import show_page
from daemon.cli.times import size, when


@click.group("session")
def group() -> None:
    """Look at sessions, end them, compare them with the data.

    NAME is an Acct-Session-Id, a user name or a subscriber. The number that a session has on this edge is written
    '#12', in quotes for the shell, or --uid 12.

    Example: dotmac-edge session list --state active
    """


_Command = TypeVar("_Command", bound=Callable[..., Any])


def _which_session(command: _Command) -> _Command:
    """Give a command what names a session; its parameters are `name`, `uid` and `tenant`."""
    command = tenant_option(command)
    command = click.option("--uid", metavar="NUMBER", type=click.IntRange(0), help="The session's number.")(
        command
    )
    return click.argument("name", required=False)(command)


def _named(name: str | None, uid: int | None) -> str:
    """Return what names a session, as the API takes it."""
    if (name is None) is (uid is None):
        raise click.UsageError("give an Acct-Session-Id, user or subscriber, or --uid NUMBER")
    return name if name is not None else f"#{uid}"


def _ipv4(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else str(IPv4Address(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no IPv4 address") from None


_COLUMNS = (
    Column("username", "User"),
    Column("nas", "NAS"),
    Column("acct_session_id", "Session"),
    Column("state", "State"),
    Column("framed_ip_address", "Address"),
    Column("upload", "Upload", "right"),
    Column("download", "Download", "right"),
    Column("started", "Started"),
    Column("note", "Note"),
)


def _row(item: dict[str, Any]) -> dict[str, Any]:
    return item | {
        "upload": size(item["octets_upload"]),
        "download": size(item["octets_download"]),
        "started": when(item["started_at"]),
        "note": _note(item),
    }


def _note(item: dict[str, Any]) -> str:
    """Return what is to know of a session beside its numbers."""
    if item["closed_at"] is not None:
        return str(item["terminate_cause"] or item["closed_by"])
    deviation = item["deviation"]
    notes = [item["applied_reason"]] if item["applied_reason"] else []
    if deviation is not None:
        notes.append(
            "should change: " + ", ".join(deviation["fields"]) if deviation["fields"] else "should end"
        )
    return "; ".join(notes)


@group.command("list")
@click.option("--username", help="Sessions of this user name.")
@click.option("--subscriber", help="Sessions of this subscriber.")
@click.option("--nas", help="Sessions on this NAS.")
@click.option("--address", callback=_ipv4, help="Sessions with this IPv4 address.")
@click.option(
    "--state",
    type=click.Choice(["active", "suspect", "closed", "reserved"]),
    help="Only sessions in this state.",
)
@tenant_option
@click.option("--deviating", is_flag=True, help="Only live ones that are not what the data want.")
@click.option("--limit", default=100, show_default=True)
@click.option("--offset", default=0)
@output_option
@click.pass_context
def list_command(context: click.Context, /, output: str, **params: object) -> None:
    """List sessions, the latest first; traffic is seen from the subscriber.

    A suspect session has missed its reports. A reserved one is a login whose Start has not come yet.

    Example: dotmac-edge session list --state active --nas lab
    """
    show_page(ask(context, "GET", "/api/v1/sessions", params=params), _COLUMNS, output, _row)


@group.command("show")
@_which_session
@output_option
@click.pass_context
def show_command(
    context: click.Context, name: str | None, uid: int | None, tenant: str | None, output: str
) -> None:
    """Show one session by its Acct-Session-Id, its number, or the user or subscriber who has only one.

    Example: dotmac-edge session show 8100000a
    """
    where = place("/api/v1/sessions", _named(name, uid))
    found = ask(context, "GET", where, params={"tenant": tenant})
    if output == "table":
        for key in ("started_at", "updated_at", "closed_at", "suspect_since"):
            found[key] = when(found[key]) or None
        deviation = found["deviation"]
        if deviation is not None:
            fields = ", ".join(deviation["fields"]) or "it should end"
            how = "can be changed live" if deviation["live"] else "takes a new login"
            reason = f" ({deviation['reason']})" if deviation["reason"] else ""
            found["deviation"] = f"{fields}{reason}, since {when(deviation['since'])}; {how}"
        found["applied"] = "; ".join(f"{name} {value}" for name, value in found["applied"].items()) or None
        for key in ("octets_upload", "octets_download"):
            found[key] = f"{found[key]} ({size(found[key])})"
    show_one(found, output)


@group.command()
@_which_session
@click.option("--reason", metavar="TEXT", help="Why, for events and the log.")
@click.option("--wait", is_flag=True, help="Wait until the session has ended, a minute at the most.")
@output_option
@click.pass_context
def kick(
    context: click.Context,
    name: str | None,
    uid: int | None,
    tenant: str | None,
    reason: str | None,
    wait: bool,
    output: str,
) -> None:
    """End a session by its Acct-Session-Id or number, or all of a user or subscriber.

    Sends a Disconnect-Request at once and says what the NAS answers, within half a minute. Where that was not a
    yes, it is tried again until the session has ended: see `coa list`. Leaves with 0 when the NAS agreed, 1 when
    it refused, 4 without such a session, 6 when the NAS does not answer.

    Example: dotmac-edge session kick alice --reason "ticket 4711"
    """
    params = {"name": _named(name, uid), "tenant": tenant, "reason": reason, "wait_s": 60 if wait else 0}
    jobs = ask(context, "POST", "/api/v1/sessions/kick", params=params)
    show([job_row(job) for job in jobs] if output == "table" else jobs, JOB_COLUMNS, output)
    leave_with(jobs)


@group.command()
@_which_session
@click.option("--all", "everything", is_flag=True, help="Every live session.")
@output_option
@click.pass_context
def reconcile(
    context: click.Context,
    name: str | None,
    uid: int | None,
    tenant: str | None,
    everything: bool,
    output: str,
) -> None:
    """Compare a live session, those of a user, or all with the data, now; what differs is changed.

    The daemon does so by itself; this is for who does not want to wait. Leaves with 3 where something differed.

    Example: dotmac-edge session reconcile alice
    """
    if (name is None and uid is None) is not everything:
        raise click.UsageError("give a session, user or subscriber, or --all")
    params = {"name": None if everything else _named(name, uid), "tenant": tenant}
    done = ask(context, "POST", "/api/v1/sessions/reconcile", params=params)
    if output != "table":
        show_one(done, output)
    else:
        click.echo(f"{done['looked_at']} looked at, {done['matching']} as wanted, {done['deviating']} not.")
        if done["jobs"]:
            show([job_row(job) for job in done["jobs"]], JOB_COLUMNS, output)
    if done["deviating"]:
        raise click.exceptions.Exit(ExitCode.DIFFERENCES)
