"""`dotmac-edge radius`: ask RADIUS servers as a NAS would, and read RADIUS packets."""

from __future__ import annotations

import os
import sys
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address
from typing import NoReturn

import click

from daemon.cli import nas
from daemon.cli import radius_attributes as build
from daemon.cli.output import Column, ExitCode, fail, output_option, show, show_one
from daemon.cli.radius_listen import listen
from daemon.cli.radius_options import (
    ACCT_PORT,
    AUTH_PORT,
    SECRET_VARIABLE,
    address,
    nas_options,
    octets,
    server_options,
)
from radius import exchange
from radius.authenticator import ZERO16, Key
from radius.codes import AcctStatus, Attr, Code, TerminateCause
from radius.errors import RadiusError
from radius.exchange import Request, Schedule

PASSWORD_VARIABLE = "DOTMAC_EDGE_PASSWORD"  # noqa: S105 - the name of a variable, no password
_PROOF_SIZE = 43  # of MS-CHAP2-Success without its message
_FRAMED_USER = 2
_RESULTS = {
    Code.ACCESS_ACCEPT: ("accept", ExitCode.OK),
    Code.ACCESS_REJECT: ("reject", ExitCode.DENIED),
    Code.ACCESS_CHALLENGE: ("challenge", ExitCode.FAILURE),
    Code.ACCOUNTING_RESPONSE: ("acknowledged", ExitCode.OK),
    Code.PROTOCOL_ERROR: ("protocol-error", ExitCode.FAILURE),
}
_STATUSES = {
    "start": AcctStatus.START,
    "interim": AcctStatus.INTERIM_UPDATE,
    "stop": AcctStatus.STOP,
    "on": AcctStatus.ACCOUNTING_ON,
    "off": AcctStatus.ACCOUNTING_OFF,
}
_CAUSES = {cause.slug: cause for cause in TerminateCause}
_COLUMNS = (Column("name", "Attribute"), Column("value", "Value"))


@click.group("radius")
def group() -> None:
    """Ask RADIUS servers as a NAS would, and read RADIUS packets.

    Example: dotmac-edge radius auth alice wonderland
    """


group.add_command(listen)


@group.command("auth")
@click.argument("user")
@click.argument("password", required=False)
@click.option(
    "--method",
    type=click.Choice(["pap", "chap", "mschap", "mschapv2"]),
    default="pap",
    show_default=True,
    help="How to prove the password.",
)
@nas_options
@server_options
def auth(
    *,
    user: str,
    password: str | None,
    method: str,
    nas_ip: IPv4Address | IPv6Address,
    calling_station: str | None,
    attributes: tuple[str, ...],
    server: str | None,
    secret: str,
    timeout: float,
    tries: int,
    output: str,
) -> None:
    """Log in as USER and print the answer.

    PASSWORD may be left out or `-`: then it comes from DOTMAC_EDGE_PASSWORD, or is asked for on a terminal.
    Leaves with 0 on accept, 5 on reject, 6 without a reply, 1 where the reply is not authentic.

    \b
    Example:
      dotmac-edge radius auth bob hello --server 192.0.2.1 --method mschapv2 \\
        --attribute 'NAS-Port-Id=ge-0/0/1:100'
    """
    key = Key(secret.encode())
    authenticator = os.urandom(16)
    proof, expected = build.proof(method, user, _password(password), authenticator, key)
    wire = (
        build.text(Attr.USER_NAME, user)
        + proof
        + build.integer(Attr.SERVICE_TYPE, _FRAMED_USER)
        + build.line(nas_ip, calling_station)
        + build.named(attributes, key, authenticator)
    )
    request = exchange.access_request(nas.identifier(), authenticator, wire, key)
    where, answer = _ask(request, server, AUTH_PORT, key, timeout, tries)
    proven = None
    if expected is not None and answer.reply is not None and answer.reply.code == Code.ACCESS_ACCEPT:
        proven = compare_digest((exchange.mschap_v2_success(answer.reply) or b"")[:_PROOF_SIZE], expected)
    exit_code = _print_answer(answer, request, where, key, output, {"server_proof": proven})
    if proven is False:
        fail("the server did not prove that it knows the password: MS-CHAP2-Success is missing or wrong")
    raise click.exceptions.Exit(exit_code)


@group.command("acct")
@click.argument("status", type=click.Choice(list(_STATUSES)))
@click.argument("user", required=False)
@click.option("--session-id", metavar="TEXT", help="Acct-Session-Id; needed but for on and off.")
@click.option("--octets-upload", type=click.IntRange(0, 2**64 - 1), help="Octets from the subscriber.")
@click.option("--octets-download", type=click.IntRange(0, 2**64 - 1), help="Octets to the subscriber.")
@click.option("--session-time", type=click.IntRange(0, 2**32 - 1), help="Seconds since the start.")
@click.option("--framed-ip", callback=address, metavar="ADDRESS", help="The subscriber's address.")
@click.option("--class", "class_", callback=octets, metavar="HEX", help="Class as the Access-Accept had it.")
@click.option(
    "--terminate-cause",
    type=click.Choice(list(_CAUSES)),
    metavar="CAUSE",
    help="Why the session ended, such as user-request; another word gets the list.",
)
@nas_options
@server_options
def acct(
    *,
    status: str,
    user: str | None,
    session_id: str | None,
    octets_upload: int | None,
    octets_download: int | None,
    session_time: int | None,
    framed_ip: IPv4Address | IPv6Address | None,
    class_: bytes | None,
    terminate_cause: str | None,
    nas_ip: IPv4Address | IPv6Address,
    calling_station: str | None,
    attributes: tuple[str, ...],
    server: str | None,
    secret: str,
    timeout: float,
    tries: int,
    output: str,
) -> None:
    """Send one accounting record: start, interim or stop of USER's session, or on or off of the NAS.

    Leaves with 0 when it was acknowledged, 6 without a reply, 1 where the reply is not authentic.

    \b
    Example:
      dotmac-edge radius acct stop bob --session-id 4f2a --octets-upload 1000000 \\
        --octets-download 9000000000 --session-time 3600 --terminate-cause user-request
    """
    if status not in ("on", "off") and (user is None or session_id is None):
        raise click.UsageError(f"{status} needs USER and --session-id")
    key = Key(secret.encode())
    wire = (
        build.integer(Attr.ACCT_STATUS_TYPE, _STATUSES[status])
        + build.text(Attr.USER_NAME, user)
        + build.text(Attr.ACCT_SESSION_ID, session_id)
        + build.counter(Attr.ACCT_INPUT_OCTETS, Attr.ACCT_INPUT_GIGAWORDS, octets_upload)
        + build.counter(Attr.ACCT_OUTPUT_OCTETS, Attr.ACCT_OUTPUT_GIGAWORDS, octets_download)
        + build.integer(Attr.ACCT_SESSION_TIME, session_time)
        + build.address(Attr.FRAMED_IP_ADDRESS, Attr.FRAMED_IPV6_ADDRESS, framed_ip)
        + build.octets(Attr.CLASS, class_)
        + build.integer(Attr.ACCT_TERMINATE_CAUSE, _CAUSES.get(terminate_cause or ""))
        + build.line(nas_ip, calling_station)
        + build.named(attributes, key, ZERO16)
    )
    request = exchange.accounting_request(nas.identifier(), wire, key)
    where, answer = _ask(request, server, ACCT_PORT, key, timeout, tries)
    raise click.exceptions.Exit(_print_answer(answer, request, where, key, output, {}))


@group.command("status")
@click.option(
    "--port-kind",
    type=click.Choice(["auth", "acct"]),
    default="auth",
    show_default=True,
    help="Which port is asked where --server names none.",
)
@server_options
def status(
    *, port_kind: str, server: str | None, secret: str, timeout: float, tries: int, output: str
) -> None:
    """Ask whether a server is alive (Status-Server, RFC 5997); no subscriber is touched.

    Leaves with 0 when it answered, 6 without a reply, 1 where the reply is not authentic.

    \b
    Example:
      dotmac-edge radius status --server 192.0.2.1 --port-kind acct --timeout 1
    """
    key = Key(secret.encode())
    request = exchange.status_server(nas.identifier(), os.urandom(16), key)
    port = AUTH_PORT if port_kind == "auth" else ACCT_PORT
    where, answer = _ask(request, server, port, key, timeout, tries)
    _print_answer(answer, request, where, key, output, {})


@group.command("decode")
@click.argument("source", metavar="FILE|HEX|-")
@click.option(
    "--secret", envvar=SECRET_VARIABLE, show_envvar=True, help="Shared secret, to verify and reveal."
)
@click.option("--show-secrets", is_flag=True, help="Print passwords and keys, too.")
@output_option
def decode(*, source: str, secret: str | None, show_secrets: bool, output: str) -> None:
    """Print RADIUS packets by name: from a pcap or pcapng file, hex text in a file, hex here, or `-`.

    Packets in hex text stand apart by an empty line. Replies are paired with their requests. Leaves with 1
    where a packet is malformed or does not verify under the secret.

    \b
    Example:
      dotmac-edge radius decode login.pcap --secret testing123
    """
    from daemon.cli import radius_decode  # noqa: PLC0415 - loads the dictionaries

    try:
        datagrams = radius_decode.datagrams(source, sys.stdin)
    except (ValueError, OSError, RadiusError) as error:
        fail(str(error))
    seen = radius_decode.look(
        datagrams, secret.encode() if secret is not None else None, show_secrets=show_secrets
    )
    if output == "table":
        for each in seen:
            click.echo(each.as_text())
    else:
        show([each.as_fields() for each in seen], (), output)
    if any(each.wrong for each in seen):
        raise click.exceptions.Exit(ExitCode.FAILURE)


def _password(given: str | None) -> str:
    """Take the password from the command line, the environment or, on a terminal only, from a prompt."""
    if given is not None and given != "-":
        return given
    from_environment = os.environ.get(PASSWORD_VARIABLE)
    if from_environment is not None:
        return from_environment
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"no password: give PASSWORD or set {PASSWORD_VARIABLE}; no terminal to ask on"
        )
    return str(click.prompt("Password", hide_input=True))


def _own_server(port: int) -> str:
    """Return where the daemon of the settings listens; from the port's wildcard address one asks loopback."""
    from daemon.cli.client import load_settings  # noqa: PLC0415

    radius = load_settings(click.get_current_context()).settings.radius
    host, number = (radius.auth_addresses if port == AUTH_PORT else radius.acct_addresses)[0]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _ask(
    request: Request, server: str | None, port: int, key: Key, timeout: float, tries: int
) -> tuple[nas.Server, nas.Answer]:
    """Return the server and its answer, which has a reply; leaves the program where none counts."""
    try:
        where = nas.Server.parse(server or _own_server(port), port)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--server") from error
    schedule = Schedule(first_s=timeout, longest_s=timeout, most_sends=tries, give_up_s=0)
    try:
        answer = nas.ask(request, where, key, schedule)
    except OSError as error:
        fail(f"{where}: {error.strerror or error}", ExitCode.UNREACHABLE)
    if answer.reply is None:
        _give_up(answer, where)
    return where, answer


def _give_up(answer: nas.Answer, where: nas.Server) -> NoReturn:
    if answer.dropped is not None:
        fail(f"{where} answered, but its reply does not count: {answer.dropped}; is the secret right?")
    if answer.refused:
        fail(f"{where}: nobody listens on that port", ExitCode.UNREACHABLE)
    fail(f"{where}: no reply to {answer.sends} sends", ExitCode.UNREACHABLE)


def _print_answer(
    answer: nas.Answer,
    request: Request,
    where: nas.Server,
    key: Key,
    output: str,
    more: dict[str, object],
) -> ExitCode:
    """Print result, latency and attributes by name; return what the program leaves with."""
    from radius import dictionary, tree  # noqa: PLC0415 - loads the dictionaries

    reply = answer.reply
    if reply is None:
        raise ValueError("there is no reply to print")
    code = Code(reply.code)
    result, exit_code = _RESULTS[code]
    fields: dict[str, object] = {
        "result": result,
        "reply": code.title,
        "server": str(where),
        "latency_ms": round(answer.latency_s * 1000, 3),
        "sends": answer.sends,
        "message_authenticator": Attr.MESSAGE_AUTHENTICATOR in reply.spots,
    }
    fields.update((name, value) for name, value in more.items() if value is not None)
    attributes = [
        build.shown(each.text())
        for each in tree.decode(
            reply, dictionary.shipped(), secret=key.secret, request_authenticator=request.authenticator
        )
    ]
    if output == "table":
        show_one(fields, output)
        if attributes:
            click.echo()
            show(attributes, _COLUMNS, output)
    else:
        show_one({**fields, "attributes": attributes}, output)
    return exit_code
