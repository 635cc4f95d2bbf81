"""The settings of what acts on logins and live sessions: policy, CoA, staff logins, storms."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from config.address import parse
from config.base import ADDRESSES, Address, Section, live, restart
from config.errors import SecretUnavailable
from config.secrets import check_reference, resolve

_RELAY_CLIENT = "a tenant, an address or prefix, and a reference to the secret: `demo 192.0.2.10 file:PATH`"


def _checked_client(text: str) -> str:
    read_relay_client(text)
    return text


def _each_once(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse two clients that no request could tell apart: the second would never be asked for."""
    seen: set[tuple[IPv4Network | IPv6Network, str]] = set()
    for text in texts:
        _, network, reference = read_relay_client(text)
        if (network, reference) in seen:
            raise ValueError(f"two clients have the network {network} and the same secret: give each its own")
        seen.add((network, reference))
    return texts


def read_relay_client(text: str) -> tuple[str, IPv4Network | IPv6Network, str]:
    """Return tenant, network and secret reference of a relay client. Raises ValueError."""
    parts = text.split(maxsplit=2)
    if len(parts) != 3:
        raise ValueError("three words are needed: tenant, address or prefix, reference to the secret")
    return parts[0], ip_network(parts[1]), check_reference(parts[2])


def relay_secrets(texts: tuple[str, ...], environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return the secret of each relay client, in their order, without a final line end.

    Raises SecretUnavailable where one cannot be had, is empty, or is that of another with the same network.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    secrets: list[bytes] = []
    seen: set[tuple[IPv4Network | IPv6Network, bytes]] = set()
    for text in texts:
        _, network, reference = read_relay_client(text)
        secret = resolve(reference, environ, Path(directory) if directory else None).rstrip(b"\r\n")
        if not secret:
            raise SecretUnavailable(reference, "it is empty")
        if (network, secret) in seen:
            raise SecretUnavailable(reference, f"another relay client of {network} has the same secret")
        seen.add((network, secret))
        secrets.append(secret)
    return tuple(secrets)


_Places = Annotated[tuple[Address, ...], Strict(strict=False)]
_RelayClients = Annotated[
    tuple[Annotated[str, AfterValidator(_checked_client)], ...],
    Strict(strict=False),
    AfterValidator(_each_once),
]


class Policy(Section):
    """Logins, and sessions that are not heard of any more."""

    reservation_s: float = Field(
        default=60.0,
        ge=5,
        le=600,
        allow_inf_nan=False,
        description="How long an accepted login counts as a session while its Accounting-Start has not come.",
        json_schema_extra=restart(),
    )
    timer_spread_percent: int = Field(
        default=10,
        ge=0,
        le=50,
        description="By how much interim intervals and session timeouts differ between sessions, so that "
        "those which began together do not report and end together; 0 sends them as planned.",
        json_schema_extra=restart("a percentage"),
    )
    retry_refusals: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="So many refusals of one user name and MAC within `retry_window_s` earn a pause in which "
        "they are refused unseen; 0 never does.",
        json_schema_extra=live("a number of refusals"),
    )
    retry_window_s: float = Field(
        default=60.0,
        ge=1,
        le=3_600,
        allow_inf_nan=False,
        description="Time within which refusals are counted together.",
        json_schema_extra=live(),
    )
    retry_pause_s: float = Field(
        default=20.0,
        ge=1,
        le=600,
        allow_inf_nan=False,
        description="Length of that pause. A change of the subscriber's data ends it.",
        json_schema_extra=live(),
    )
    suspect_after: int = Field(
        default=2,
        ge=1,
        le=100,
        description="After so many missed interims, of its own interval, a session is suspect: it does not "
        "count against a limit of sessions any more.",
        json_schema_extra=restart("a number of intervals"),
    )
    close_after: int = Field(
        default=3,
        ge=2,
        le=1_000,
        description="After so many it is closed, if its NAS still tells of others. Newer accounting opens it again.",
        json_schema_extra=restart("a number of intervals"),
    )
    sweep_s: float = Field(
        default=60.0,
        ge=1,
        le=86_400,
        allow_inf_nan=False,
        description="How often every live session is compared with what it should be. Changes of data, of usage "
        "and of a session are looked at in any case, at once; hours of the day wait for the sweep.",
        json_schema_extra=restart(),
    )


class Coa(Section):
    """CoA and Disconnect towards NASes, and the relay for the platform's own RADIUS client."""

    unchangeable: Literal["disconnect", "next-login"] = Field(
        default="disconnect",
        description="What happens to a session that should change and whose NAS cannot change it live. One that "
        "may not be online, or belongs into the walled garden, is disconnected in any case.",
        json_schema_extra=live(),
    )
    nas_per_s: float = Field(
        default=50.0,
        ge=0.1,
        le=10_000,
        allow_inf_nan=False,
        description="Most requests a second to one NAS.",
        json_schema_extra=restart("a number of requests"),
    )
    overall_per_s: float = Field(
        default=500.0,
        ge=1,
        le=100_000,
        allow_inf_nan=False,
        description="Most requests a second in all.",
        json_schema_extra=restart("a number of requests"),
    )
    verify_s: float = Field(
        default=15.0,
        ge=1,
        le=600,
        allow_inf_nan=False,
        description="How long the Stop of an acknowledged Disconnect is waited for before it is tried again.",
        json_schema_extra=restart(),
    )
    job_keep_days: int = Field(
        default=7,
        ge=1,
        le=365,
        description="How long finished jobs stay in the database.",
        json_schema_extra=restart(),
    )
    relay_listen: _Places = Field(
        default=(),
        description="Where CoA and Disconnect of the platform are taken (RFC 5176, usually port 3799); empty: nowhere.",
        json_schema_extra=restart(ADDRESSES),
    )
    relay_clients: _RelayClients = Field(
        default=(),
        description=f"Who may send them: {_RELAY_CLIENT}.",
        json_schema_extra=restart(f"a list of texts, each {_RELAY_CLIENT}", hidden=True),
    )

    @property
    def relay_addresses(self) -> tuple[tuple[str, int], ...]:
        """`relay_listen` as (host, port)."""
        return tuple(parse(each) for each in self.relay_listen)


class Staff(Section):
    """Logins of staff to devices, on ports of their own."""

    auth_listen: _Places = Field(
        default=(),
        description="Where Access-Requests of staff are taken, usually port 1822; empty: nowhere.",
        json_schema_extra=restart(ADDRESSES),
    )
    acct_listen: _Places = Field(
        default=(),
        description="Where their accounting is taken, usually port 1823; empty: nowhere.",
        json_schema_extra=restart(ADDRESSES),
    )
    keep_days: int = Field(
        default=365,
        ge=1,
        le=3_650,
        description="How long accounting records of staff stay in the database.",
        json_schema_extra=restart(),
    )

    @property
    def auth_addresses(self) -> tuple[tuple[str, int], ...]:
        """`auth_listen` as (host, port)."""
        return tuple(parse(each) for each in self.auth_listen)

    @property
    def acct_addresses(self) -> tuple[tuple[str, int], ...]:
        """`acct_listen` as (host, port)."""
        return tuple(parse(each) for each in self.acct_listen)


class Storm(Section):
    """When many subscribers come back at once: what can wait, waits."""

    least_per_s: float = Field(
        default=200.0,
        ge=1,
        le=1_000_000,
        allow_inf_nan=False,
        description="Access-Requests a second below which no rate is a storm.",
        json_schema_extra=restart("a number of requests"),
    )
    times_usual: float = Field(
        default=5.0,
        ge=1.1,
        le=1_000,
        allow_inf_nan=False,
        description="How many times the usual rate makes a storm.",
        json_schema_extra=restart("a factor"),
    )
    calm_s: float = Field(
        default=30.0,
        ge=1,
        le=3_600,
        allow_inf_nan=False,
        description="A storm is over when none of its signs was there for so long.",
        json_schema_extra=restart(),
    )
