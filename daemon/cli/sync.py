"""`dotmac-edge sync`: how the feeds of the central platform stand, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import click

from daemon.cli.client import Json, ask
from daemon.cli.output import Column, ExitCode, escaped, output_option, show, show_one
from daemon.cli.times import duration, when

_PATH = "/api/v1/sync/feeds"
_PAGE = 1000
_MOST_UNKNOWN = 5
_BAD = frozenset({"NEVER", "BRAKED", "STALE", "NACKED"})

_COLUMNS = (
    Column("feed", "Feed"),
    Column("kind", "Kind"),
    Column("state", "State"),
    Column("objects", "Objects", "right"),
    Column("nacked", "Refused", "right"),
    Column("pending", "Pending", "right"),
    Column("lag", "Behind", "right"),
    Column("age", "Heard of"),
    Column("cursor", "Cursor"),
)
_NACKS = (
    Column("feed", "Feed"),
    Column("kind", "Kind"),
    Column("id", "Id"),
    Column("rev", "Revision", "right"),
    Column("since", "Since"),
    Column("code", "Code"),
    Column("detail", "Why"),
)


@click.group("sync")
def group() -> None:
    """Look at the feeds of the central platform: how far they are, what they refuse, what the brake holds.

    Example: dotmac-edge sync status
    """


def _place(feed: str, *rest: str) -> str:
    return "/".join((_PATH, quote(feed, safe="/"), *rest))


def _all(context: click.Context, path: str, **params: object) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    items: list[dict[str, Any]] = []
    while True:
        page = ask(context, "GET", path, params=params | {"limit": _PAGE, "offset": len(items)})
        items += page["items"]
        if not page["items"] or len(items) >= page["count"]:
            return items


@group.command("status")
@click.argument("feed", required=False)
@click.option("--check", is_flag=True, help="Leave with 3 where somebody has to look at a feed.")
@output_option
@click.pass_context
def status(context: click.Context, /, feed: str | None, output: str, check: bool) -> None:
    """Show how each feed stands, by kind of object: SYNCED, SNAPSHOT, NACKED, STALE, BRAKED or NEVER.

    SYNCED: all is as the platform has it. SNAPSHOT: everything is read again, what is there serves meanwhile. NACKED:
    some objects are refused, see `sync nacks`. STALE: the platform was silent for too long. BRAKED: too much would
    go, see `sync brake show`. NEVER: nothing has come yet. With --check it leaves with 3 for the last four.

    Example: dotmac-edge sync status --check
    """
    feeds = _all(context, _PATH) if feed is None else [ask(context, "GET", _place(feed))]
    if output != "table":
        show(feeds, (), output)
    elif not feeds:
        click.echo("No feeds: objects are loaded by operators only. See the settings [feeds.NAME].")
    else:
        show([row for each in feeds for row in _rows(each)], _COLUMNS, output)
        for line in _remarks(feeds):
            click.echo(line)
    if check and any(each["state"] in _BAD for each in feeds):
        raise click.exceptions.Exit(ExitCode.DIFFERENCES)


def _rows(feed: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a line for each kind of a feed; one line where it has none yet."""
    common = {
        "feed": feed["feed"],
        "lag": feed["lag"],
        "age": "never" if feed["age_s"] is None else f"{duration(feed['age_s'])} ago",
        "cursor": _cursor(feed["position"]),
    }
    kinds = feed["kinds"] or [{"kind": "", "state": feed["state"]}]
    return [common | each for each in kinds]


def _cursor(position: dict[str, Any] | None) -> str:
    return "" if position is None else f"{position['epoch'][:8]}:{position['rev']}"


def _remarks(feeds: Iterable[dict[str, Any]]) -> Iterable[str]:
    """Yield what a table has no room for."""
    for feed in feeds:
        name, brake, source = feed["feed"], feed["brake"], feed["source"]
        said: list[str] = []
        if brake is not None:
            said.append(f"held since {_held(brake)} would go: `sync brake show {name}`")
        if feed["age"] in ("degraded", "isolated"):
            said.append(f"heard of {duration(feed['age_s'])} ago: its data are {feed['age']}")
        if source is not None:
            said += _of_source(source)
        elif feed["sql"] is not None:
            said += _of_tables(feed["sql"])
        elif feed["wants_snapshot"]:
            said.append("a snapshot is wanted of the platform")
        yield from (escaped(f"{name}: {each}") for each in said)


def _of_source(source: dict[str, Any]) -> list[str]:
    said: list[str] = []
    if source["error"]:
        upcoming = f"; next try {when(source['next_try_at'])}" if source["next_try_at"] else ""
        said.append(f"{source['error']} ({source['failures']} times in a row){upcoming}")
    if source["state"] == "snapshot":
        said.append(f"a snapshot is read: {source['pages']} pages, {source['items']} objects so far")
    if source["clock"] in ("warn", "alarm"):
        said.append(f"the platform's clock is {source['skew_s']:+.0f} s from ours")
    days = source["certificate_days"]
    if days is not None and days < 30:
        said.append(
            "the certificate has expired" if days < 0 else f"the certificate expires in {days:.0f} days"
        )
    return said


def _of_tables(sql: dict[str, Any]) -> list[str]:
    again = f" ({sql['failures']} times in a row)" if sql["failures"] else ""
    said = [f"{sql['error']}{again}"] if sql["error"] else []
    if sql["swept_at"] is None:
        return said
    told = f"{sql['users']} users in {sql['rows']} rows, read {when(sql['swept_at'])}, {sql['digest'][:12]}"
    counts = ("skipped", "by the rule for names"), ("unusable_passwords", ""), ("duplicates", "")
    odd = [f"{sql[name]} {name.replace('_', ' ')} {why}".strip() for name, why in counts if sql[name]]
    return [*said, told, *odd, *_unknown(sql["unknown"])]


def _unknown(found: dict[str, int]) -> list[str]:
    if not found:
        return []
    most = sorted(found.items(), key=lambda each: -each[1])
    named = ", ".join(f"{name} ({count})" for name, count in most[:_MOST_UNKNOWN])
    rest = f" and {len(most) - _MOST_UNKNOWN} more" if len(most) > _MOST_UNKNOWN else ""
    return [f"attributes that are passed over: {named}{rest}"]


def _held(brake: dict[str, Any]) -> str:
    return f"{when(brake['since'])}: {brake['losses']} of {brake['of']} {brake['kind']} objects"


@group.command("nacks")
@click.argument("feed", required=False)
@click.option("--kind", metavar="KIND", help="Only objects of this kind.")
@output_option
@click.pass_context
def nacks(context: click.Context, /, feed: str | None, kind: str | None, output: str) -> None:
    """List the objects that are refused, with why; what was good of them before is served on.

    Example: dotmac-edge sync nacks t1/pop7 --kind subscriber
    """
    names = [each["feed"] for each in _all(context, _PATH)] if feed is None else [feed]
    rows: list[dict[str, Any]] = [
        {"feed": name} | each for name in names for each in _all(context, _place(name, "nacks"), kind=kind)
    ]
    if output != "table":
        show(rows, (), output)
    elif not rows:
        click.echo("None.")
    else:
        show([row | {"since": when(row["at"])} for row in rows], _NACKS, output)


@group.command("resync")
@click.argument("feed")
@output_option
@click.pass_context
def resync(context: click.Context, /, feed: str, output: str) -> None:
    """Read everything of a feed again; what is there is served until all of it is here.

    Example: dotmac-edge sync resync t1/pop7
    """
    done = ask(context, "POST", _place(feed, "resync"))
    if output != "table":
        show_one(done, output)
    else:
        click.echo(f"{escaped(done['feed'])}: {done['says']}.")


@group.command("forget")
@click.argument("feed")
@click.option("--keep", "objects", flag_value="keep", help="Operators change its objects from now on.")
@click.option(
    "--remove", "objects", flag_value="remove", help="Its objects go: who they are is known no more."
)
@output_option
@click.pass_context
def forget(context: click.Context, /, feed: str, objects: str | None, output: str) -> None:
    """End a feed that the settings name no longer, and say what becomes of its objects.

    Until then they are served as they were, and nobody can change them.

    Example: dotmac-edge sync forget t1/pop7 --keep
    """
    if objects is None:
        raise click.UsageError("Say --keep or --remove: what shall become of the objects of the feed?")
    done = ask(context, "POST", _place(feed, "forget"), params={"objects": objects})
    if output != "table":
        show_one(done, output)
    else:
        what = "are the operators' now" if done["kept"] else "have gone"
        click.echo(f"{escaped(done['feed'])} is no more; its {done['objects']} objects {what}.")


@group.group("brake")
def brake() -> None:
    """Look at a change that is held because too much would go, and let it through.

    Example: dotmac-edge sync brake show t1/pop7
    """


@brake.command("show")
@click.argument("feed")
@output_option
@click.pass_context
def show_brake(context: click.Context, /, feed: str, output: str) -> None:
    """Show what the brake of a feed holds. What is served stays as it is until it is released.

    Example: dotmac-edge sync brake show t1/pop7
    """
    held = ask(context, "GET", _place(feed, "brake"))["brake"]
    if output != "table":
        show_one({"brake": held}, output)
    elif held is None:
        click.echo("The brake holds nothing.")
    else:
        show_one(held | {"since": when(held["since"])}, output)


@brake.command("release")
@click.argument("feed")
@output_option
@click.pass_context
def release(context: click.Context, /, feed: str, output: str) -> None:
    """Apply what the brake holds: the objects go, and sessions of theirs are treated as the policy says.

    Make sure that it is meant: a platform that was restored, or whose filter is wrong, sends the same.

    Example: dotmac-edge sync brake release t1/pop7
    """
    done: Json = ask(context, "POST", _place(feed, "brake", "release"))
    if output != "table":
        show_one(done, output)
    else:
        click.echo(f"Applied; the feed is at {_cursor(done['position'])}.")
