"""`dotmac-edge radius listen`: the other half of a small NAS, which takes CoA and Disconnects."""

from __future__ import annotations

import socket
import time
from ipaddress import IPv4Address, IPv6Address

import click

from daemon.cli import nas
from daemon.cli import radius_attributes as build
from daemon.cli.output import ExitCode, escaped, fail
from daemon.cli.radius_options import SECRET_VARIABLE
from daemon.cli.radius_options import address as ip_option
from radius import exchange
from radius.authenticator import Key, request_is_authentic, sign_plain_reply
from radius.codes import AcctStatus, Attr, Code, TerminateCause
from radius.errors import Malformed
from radius.exchange import Schedule
from radius.packet import Packet
from radius.packet import decode as decode_packet

COA_PORT = 3799
_LARGEST_DATAGRAM = 65_535
_TAKEN = (Code.COA_REQUEST, Code.DISCONNECT_REQUEST)
_STOP = Schedule(first_s=1.0, longest_s=2.0, most_sends=3, give_up_s=0)
_OF_THE_SESSION = (Attr.USER_NAME, Attr.ACCT_SESSION_ID, Attr.FRAMED_IP_ADDRESS)


@click.command("listen")
@click.option("--address", default=f"127.0.0.1:{COA_PORT}", show_default=True, help="Where to listen.")
@click.option(
    "--secret",
    default="testing123",
    envvar=SECRET_VARIABLE,
    show_envvar=True,
    help="Shared secret.  [default: testing123]",
)
@click.option(
    "--nak", "cause", type=click.IntRange(0, 2**32 - 1), help="Refuse, with this Error-Cause (RFC 5176)."
)
@click.option("--stop-to", metavar="HOST[:PORT]", help="Send a Stop there after a Disconnect, as a NAS does.")
@click.option(
    "--nas-ip",
    callback=ip_option,
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="The NAS's address in that Stop, as in the session's other records.",
)
@click.option("--for", "seconds", type=click.FloatRange(0.1), help="End after so many seconds; else never.")
def listen(
    *,
    address: str,
    secret: str,
    cause: int | None,
    stop_to: str | None,
    nas_ip: IPv4Address | IPv6Address,
    seconds: float | None,
) -> None:
    """Take CoA- and Disconnect-Requests, print them and answer, as the NAS of a trial; Ctrl-C ends it.

    Example: dotmac-edge radius listen --stop-to 127.0.0.1:18130 --for 60
    """
    key = Key(secret.encode())
    try:
        where = nas.Server.parse(address, COA_PORT)
        server = None if stop_to is None else nas.Server.parse(stop_to, 1813)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    end = None if seconds is None else time.monotonic() + seconds  # noqa: TID251 - a program of its own
    with socket.socket(socket.AF_INET6 if ":" in where.host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((where.host, where.port))
        except OSError as error:
            fail(f"{where}: {error.strerror}", ExitCode.FAILURE)
        click.echo(f"Listening on {where}")
        while (octets := _next(sock, end)) is not None:
            request = _read(octets[0], key)
            if request is not None:
                _answer(sock, request, octets[1], key, cause)
                if server is not None and cause is None and request.code == Code.DISCONNECT_REQUEST:
                    _stop(request, server, key, nas_ip)


def _next(sock: socket.socket, end: float | None) -> tuple[bytes, tuple[str, int]] | None:
    """Return the next datagram and who sent it; None when the time is over."""
    left = None if end is None else end - time.monotonic()  # noqa: TID251
    if left is not None and left <= 0:
        return None
    sock.settimeout(left)
    try:
        octets, asker = sock.recvfrom(_LARGEST_DATAGRAM)
    except TimeoutError:
        return None
    return octets, asker


def _read(octets: bytes, key: Key) -> Packet | None:
    """Return a request that is authentic, printed by name; None, with a line about it, for anything else."""
    from radius import dictionary, tree  # noqa: PLC0415 - loads the dictionaries

    try:
        request = decode_packet(octets)
    except Malformed as error:
        click.echo(f"No packet: {error}", err=True)
        return None
    if request.code not in _TAKEN or not request_is_authentic(request, key):
        click.echo("A request that is no CoA or Disconnect, or is signed with another secret", err=True)
        return None
    click.echo(Code(request.code).title)
    for each in tree.decode(request, dictionary.shipped()):
        click.echo(f"    {escaped(each.text())}")
    return request


def _answer(
    sock: socket.socket, request: Packet, asker: tuple[str, int], key: Key, cause: int | None
) -> None:
    code = Code(request.code + (1 if cause is None else 2))
    attributes = build.integer(Attr.ERROR_CAUSE, cause)
    sock.sendto(sign_plain_reply(code, request.identifier, request.authenticator, attributes, key), asker)
    click.echo(f"answered {code.title}")


def _stop(request: Packet, server: nas.Server, key: Key, nas_ip: IPv4Address | IPv6Address) -> None:
    """Send the Stop of the session that the request names."""
    wire = (
        build.integer(Attr.ACCT_STATUS_TYPE, AcctStatus.STOP)
        + b"".join(build.octets(kind, request.find(kind)) for kind in _OF_THE_SESSION)
        + build.line(nas_ip, None)
        + build.integer(Attr.ACCT_TERMINATE_CAUSE, TerminateCause.ADMIN_RESET)
    )
    answer = nas.ask(exchange.accounting_request(nas.identifier(), wire, key), server, key, _STOP)
    click.echo("sent Stop" if answer.reply is not None else f"sent Stop, {server} did not answer")
