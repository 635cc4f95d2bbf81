"""`dotmac-edge pool next`: addresses out of a pool for one owner, once, however often it is asked."""

from __future__ import annotations

import json
import uuid
from typing import Any

import click

from daemon.cli.client import Json, place, socket_path
from daemon.cli.output import Column, ExitCode, fail, output_option, show, show_one, tenant_option
from daemon.cli.times import when

_PATH = "/api/v1/ipam/pools"
_TIMEOUT_S = 60.0
_COLUMNS = (Column("address", "Address"), Column("owner", "For"), Column("until", "Held until"))
_CODES = {404: ExitCode.NOT_FOUND, 422: ExitCode.USAGE}


@click.command("next")
@click.argument("name")
@click.option("--owner", required=True, metavar="SUBSCRIBER", help="For whom, by id.")
@click.option("--count", type=click.IntRange(1, 100), default=1, show_default=True, help="How many.")
@click.option("--hold", type=click.Choice(["reservation", "lease"]), default="reservation", show_default=True)
@click.option("--key", help="Idempotency-Key: the same brings the same addresses again. Default: a new one.")
@tenant_option
@output_option
@click.pass_context
def next_command(
    context: click.Context,
    name: str,
    owner: str,
    count: int,
    hold: str,
    key: str | None,
    tenant: str | None,
    output: str,
) -> None:
    """Take the next free units of a pool for one owner: reserved, or leased for a short time.

    The key is printed. Repeat a command that was interrupted with its --key: nothing is taken twice.

    Example: dotmac-edge pool next home --owner alice --key order-4711
    """
    key = key or str(uuid.uuid4())
    click.echo(f"Idempotency-Key: {key}", err=True)
    body = {"owner": owner, "count": count, "hold": hold}
    found = _send(context, f"{place(_PATH, name)}/next-available", body, key, tenant)
    if output != "table":
        show_one(found, output)
        return
    rows = [each | {"until": when(each["expires_at"])} for each in found["items"]]
    show(rows, _COLUMNS, output)


def _send(context: click.Context, path: str, body: dict[str, Any], key: str, tenant: str | None) -> Json:
    """Ask under a key; leaves with a message and the fitting exit code where there is no answer."""
    import httpx  # noqa: PLC0415 - 80 ms that help need not pay

    where = socket_path(context)
    params = {} if tenant is None else {"tenant": tenant}
    headers = {"Idempotency-Key": key}
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), timeout=_TIMEOUT_S) as client:
            answer = client.post(
                f"http://edge{path}", params=params, headers=headers, content=json.dumps(body).encode()
            )
    except httpx.TransportError as error:
        text = f"no answer on {where} ({error}); is the daemon running? Then ask again with --key {key}"
        fail(text, ExitCode.UNREACHABLE)
    if answer.is_success:
        return answer.json()
    try:
        message = str(answer.json()["message"])
    except (ValueError, TypeError, KeyError):
        message = f"the daemon on {where} answers with {answer.status_code} and nothing that can be read; see its log"
    return fail(message, _CODES.get(answer.status_code, ExitCode.FAILURE))
