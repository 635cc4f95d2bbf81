"""Asks the running daemon over its admin socket."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from daemon.cli.output import ExitCode, fail

Json = Any  # a value of a JSON answer
_TIMEOUT_S = 600.0
_EXIT_CODES = {
    "not-found": ExitCode.NOT_FOUND,
    "denied": ExitCode.DENIED,
    "invalid-request": ExitCode.USAGE,
}


def socket_path(context: click.Context) -> Path:
    """Return the admin socket of the daemon that the settings describe."""
    # As `daemon.app.admin_socket_of` says it, without a second for importing all of the daemon.
    settings = load_settings(context).settings
    return Path(settings.api.admin_socket or Path(settings.edge.state_dir) / "admin.sock")


def load_settings(context: click.Context) -> Any:
    """Return the settings with their sources, or leave with all that is wrong with them."""
    import os  # noqa: PLC0415

    from config.errors import ConfigInvalid  # noqa: PLC0415
    from config.load import find_path, load  # noqa: PLC0415

    try:
        return load(find_path(Path(context.obj) if context.obj else None, os.environ), os.environ)
    except ConfigInvalid as error:
        fail(str(error), ExitCode.USAGE)


def ask(
    context: click.Context,
    method: str,
    path: str,
    *,
    params: Mapping[str, object] | None = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    remedy: str = "Is it running? Start it with: dotmac-edge run",
) -> Json:
    """Return the JSON answer; leaves with a message and the fitting exit code where there is none.

    `remedy` is what to do where nobody answers.
    """
    import httpx  # noqa: PLC0415 - 80 ms that help need not pay

    where = socket_path(context)
    query = {name: str(value) for name, value in (params or {}).items() if value is not None}
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(where)), timeout=_TIMEOUT_S) as client:
            answer = client.request(
                method, f"http://edge{path}", params=query, content=content, headers=headers
            )
    except httpx.TransportError as error:
        fail(f"no daemon answers on {where} ({error}). {remedy}", ExitCode.UNREACHABLE)
    try:
        if answer.is_success:
            return answer.json() if answer.content else None
        failure = answer.json()
        message, code = str(failure["message"]), str(failure["code"])
    except (ValueError, TypeError, KeyError):
        fail(
            f"the daemon on {where} answers with {answer.status_code} and nothing that can be read; see its log"
        )
    return fail(message, _EXIT_CODES.get(code, ExitCode.FAILURE))


def place(path: str, name: str) -> str:
    """Return the path of one thing in a collection, whatever is in its name."""
    return f"{path}/{quote(name, safe='')}"
