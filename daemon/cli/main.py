"""The command `dotmac-edge`. Commands are imported when they are used, so that help comes at once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

_COMMANDS = {
    "run": ("daemon.cli.service", "run", "Run the daemon in the foreground."),
    "status": ("daemon.cli.service", "status", "Show the running daemon at a glance."),
    "version": ("daemon.cli.service", "version_command", "Show versions."),
    "completion": (
        "daemon.cli.service",
        "completion",
        "Print a script that completes commands in the shell.",
    ),
    "config": ("daemon.cli.settings", "group", "Check, show and reload the settings."),
    "import": ("daemon.cli.freeradius", "import_group", "Take over users and NASes from another system."),
    "export": ("daemon.cli.freeradius", "export_group", "Write users and NASes for another system."),
    "data": ("daemon.cli.data", "group", "Load and export subscribers, plans and NASes."),
    "policy": ("daemon.cli.policy", "group", "Tell who would change, before data are loaded."),
    "plan": ("daemon.cli.plans", "group", "Look at plans, and at what they say on the wire."),
    "subscriber": ("daemon.cli.subscribers", "group", "Look at subscribers: data, use, bindings."),
    "nas": ("daemon.cli.nases", "group", "Look at NASes, and at unknown sources."),
    "session": ("daemon.cli.sessions", "group", "Look at sessions, end them, compare them with the data."),
    "why": ("daemon.cli.why", "why", "Tell why a login was accepted or rejected, step by step."),
    "pool": ("daemon.cli.ipam_pools", "group", "Look at pools of addresses; add, resize, drain them."),
    "selector": ("daemon.cli.ipam_selectors", "group", "Say which logins are served from which pools."),
    "lease": ("daemon.cli.ipam_leases", "group", "Look at leases; end them."),
    "reservation": (
        "daemon.cli.ipam_reservations",
        "group",
        "Set addresses and prefixes aside for one subscriber.",
    ),
    "prefix": ("daemon.cli.ipam_prefixes", "group", "Document prefixes as a tree, and find free ones."),
    "vlan": ("daemon.cli.ipam_vlans", "group", "Look at VLANs of pools: who has which, which is next."),
    "vrf": ("daemon.cli.ipam_vrfs", "group", "Document VRFs: spaces of addresses of their own."),
    "who-had": ("daemon.cli.who_had", "group", "Tell who had an address at a time."),
    "cgnat": ("daemon.cli.cgnat", "group", "Plan a CGNAT, and tell which ports an address has."),
    "ipam": ("daemon.cli.ipam", "group", "Look after the address book: checks, probes, imports, nodes."),
    "sync": ("daemon.cli.sync", "group", "Look at what comes from the platform; release a brake."),
    "outbox": ("daemon.cli.outbox", "group", "Look at what this edge tells the platform."),
    "apikey": ("daemon.cli.apikey", "group", "Make and revoke keys of the API."),
    "audit": ("daemon.cli.audit", "group", "Look at who asked for personal data."),
    "coa": ("daemon.cli.coa", "group", "Look at CoA and Disconnect jobs; test a NAS."),
    "event": ("daemon.cli.events", "group", "Look at what happened lately."),
    "storm": ("daemon.cli.events", "storm", "Tell whether subscribers come back in a storm."),
    "staff": ("daemon.cli.staff", "group", "Look at who may log in to devices, and who did."),
    "radius": ("daemon.cli.radius", "group", "A small NAS: log in, account, ask for status, decode."),
    "journal": ("daemon.cli.service", "journal", "Look at the accounting journal."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and help, and imports one when it is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take `--config` wherever it stands: `run --config FILE` is what fingers type."""
        own: list[str] = []
        rest = list(args)
        for i, word in enumerate(args):
            if word == "--":
                break
            if word == "--config" and i + 1 < len(args):
                own, rest = args[i : i + 2], args[:i] + args[i + 2 :]
            elif word.startswith("--config="):
                own, rest = [word], args[:i] + args[i + 1 :]
        return super().parse_args(ctx, own + rest)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of a newcomer's interest."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        known = _COMMANDS.get(cmd_name)
        if known is None:
            return None
        command: click.Command = getattr(import_module(known[0]), known[1])
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an argument that is no text, which nothing can be asked about, is a wrong command line."""
        try:
            return super().invoke(ctx)
        except UnicodeEncodeError as error:
            if not any("\udc80" <= each <= "\udcff" for each in error.object[error.start : error.end]):
                raise
            raise click.UsageError("an argument is no text in UTF-8", ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches  # noqa: PLC0415

            near = get_close_matches(args[0], _COMMANDS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx) from None


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--config",
    "config_path",
    envvar="DOTMAC_EDGE_CONFIG",
    type=click.Path(dir_okay=False),
    help="Settings file, also after the command. [env: DOTMAC_EDGE_CONFIG]",
)
@click.pass_context
def main(context: click.Context, config_path: str | None) -> None:
    """DotMac Edge: RADIUS for an Internet provider's point of presence.

    Example: dotmac-edge why alice
    """
    context.obj = config_path
