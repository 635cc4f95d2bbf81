"""From the settings to the options of feeds, sinks, the outbox and the security of the API; secrets are read here."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from config.api import read_client_certificate
from config.errors import SecretUnavailable
from config.exchange import FeedTable, SinkTable
from config.secrets import resolve
from config.settings import Settings
from daemon.api.security.options import (
    CertificatePrincipal,
    PortOptions,
    SecurityOptions,
    TlsOptions,
    TokenOptions,
)
from daemon.replica.contact import AgePolicy
from daemon.replica.rules import GARDEN, REJECTED
from daemon.sync.assembly import DatabasePlan, ExchangeOptions, FeedPlan, SinkPlan
from daemon.sync.feed.brake import BrakeOptions
from daemon.sync.feed.feed import FeedOptions
from daemon.sync.feed.pull_options import LinkOptions, PullOptions
from daemon.sync.feed.signing import Keys
from daemon.sync.freeradius.semantics import Reading
from daemon.sync.freeradius.sql_options import SqlOptions
from daemon.sync.freeradius.sql_rows import Tables
from daemon.sync.outbox.model import Stream
from daemon.sync.outbox.nats_sink import NatsOptions
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.platform_sink import PlatformOptions
from daemon.sync.outbox.pressure import PressureOptions
from daemon.sync.outbox.radacct_sink import RadacctOptions

_DAY_S = 86_400.0
_MIB = 1024 * 1024
_DRIVERS = {"postgresql": "postgresql+asyncpg", "mysql": "mysql+aiomysql", "mariadb": "mysql+aiomysql"}
_ACTS = {"keep": None, "captive": GARDEN, "reject": REJECTED}


def exchange(settings: Settings, environ: Mapping[str, str]) -> ExchangeOptions:
    """Return what goes on between this edge and its platform.

    Raises SecretUnavailable, and ValueError where what was read cannot be used.
    """
    outbox = settings.outbox
    return ExchangeOptions(
        edge=settings.edge.name,
        version=version("dotmac-edge"),
        database=Path(settings.edge.state_dir) / "edge.db",
        feeds=tuple(_feed(name, each, environ) for name, each in settings.feeds.items()),
        sinks=tuple(_sink(name, each, environ) for name, each in settings.sinks.items()),
        outbox=OutboxOptions(
            keep_s=outbox.replay_days * _DAY_S,
            pressure=PressureOptions(
                database_most_octets=outbox.most_mib * _MIB, disk_least_octets=outbox.least_free_mib * _MIB
            ),
        ),
    )


def _feed(name: str, table: FeedTable, environ: Mapping[str, str]) -> FeedPlan:
    keys = Keys(dict(map(_public_key, table.public_keys)), required=table.require_signature)
    options = FeedOptions(
        name=name,
        tenant=table.tenant,
        kinds=frozenset(table.owned),
        keys=keys,
        brake=BrakeOptions(percent=table.brake_percent, objects=table.brake_objects),
    )
    ages = AgePolicy(
        stale_after_s=table.stale_after_s,
        degraded_after_s=table.degraded_after_s,
        isolated_after_s=table.isolated_after_s,
        degraded_unknown=GARDEN if table.degraded_unknown == "captive" else None,
        isolated_known=_ACTS[table.isolated_known],
    )
    source: PullOptions | SqlOptions | None = None
    if table.source == "pull":
        source = PullOptions(link=_link(table, environ), stream=table.stream)
    elif table.source == "sql":
        source = _sql(f"feeds.{name}", table, environ)
    return FeedPlan(feed=options, keys=keys, ages=ages, source=source)


def _public_key(text: str) -> tuple[str, bytes]:
    name, _, value = text.removeprefix("ed25519:").partition("=")
    return name, base64.b64decode(value)


def _link(table: FeedTable, environ: Mapping[str, str]) -> LinkOptions:
    return LinkOptions(
        url=table.url or "",
        token=_secret(table.token, environ),
        certificate_file=table.certificate,
        key_file=table.certificate_key,
        ca_file=table.ca,
        plain=table.plain_http,
    )


def _sql(setting: str, table: FeedTable, environ: Mapping[str, str]) -> SqlOptions:
    names = Tables(schema=table.db_schema or "")
    if table.staff_tables:
        names = replace(names, staff_check="radcheck_admin", staff_reply="radreply_admin")
    for each in table.tables:
        ours, _, theirs = each.partition("=")
        names = replace(names, **{ours: theirs})
    return SqlOptions(
        url=_url(setting, table.database, environ),
        tables=names,
        reading=Reading(password_attribute=table.password_attribute),
        users=table.usernames or "",
        probe_s=table.probe_s,
        compare_s=table.compare_s,
    )


def _sink(name: str, table: SinkTable, environ: Mapping[str, str]) -> SinkPlan:
    streams = frozenset(map(Stream, table.streams)) or frozenset(Stream)
    if table.target == "platform":
        return PlatformOptions(
            base_url=table.url or "",
            signing_key=_secret(table.signing_secret, environ),
            token=_secret(table.token, environ),
            ca_file=_file(table.ca),
            certificate_file=_file(table.certificate),
            key_file=_file(table.certificate_key),
            streams=streams,
            name=name,
        )
    if table.target == "nats":
        return NatsOptions(
            servers=table.servers,
            prefix=table.subject,
            token=_secret(table.token, environ),
            streams=streams,
            name=name,
        )
    options = RadacctOptions(
        name=name,
        table=table.table,
        distinct_ids=table.distinct_ids,
        new_rows_per_min=table.new_rows_per_min,
        post_auth=table.post_auth,
    )
    return DatabasePlan(options=options, url=_url(f"sinks.{name}", table.database, environ))


def _file(path: Path | None) -> str:
    return "" if path is None else str(path)


def _secret(reference: str | None, environ: Mapping[str, str]) -> str:
    return "" if reference is None else secret_text(reference, environ)


def secret_text(reference: str, environ: Mapping[str, str]) -> str:
    """Return a secret without its final line end. Raises SecretUnavailable."""
    octets = _octets(reference, environ).rstrip(b"\r\n")
    try:
        return octets.decode("ascii")
    except UnicodeDecodeError:
        raise SecretUnavailable(reference, "it is not printable ASCII") from None


def _octets(reference: str, environ: Mapping[str, str]) -> bytes:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return resolve(reference, environ, Path(directory) if directory else None)


def _url(setting: str, reference: str | None, environ: Mapping[str, str]) -> str:
    try:
        return database_url(reference or "", environ)
    except ValueError as error:
        raise ValueError(f"{setting}.database: {error}") from None


def database_url(reference: str, environ: Mapping[str, str]) -> str:
    """Return the URL of a database with the driver that we use.

    Raises SecretUnavailable, and ValueError, which never shows the URL.
    """
    try:
        url = make_url(secret_text(reference, environ))
    except (ArgumentError, ValueError):  # such as a port that is no number
        raise ValueError(f"what {reference} holds is no URL of a database") from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise ValueError("it begins with another word than postgresql or mysql")
    return url.set(drivername=driver).render_as_string(hide_password=False)


def security(settings: Settings, environ: Mapping[str, str]) -> SecurityOptions:
    """Return who is let in to the API port. Raises SecretUnavailable."""
    api = settings.api
    return SecurityOptions(
        name=settings.edge.name,
        signing_key=Path(settings.edge.state_dir) / "token.key",
        tokens=TokenOptions(
            issuer=api.token_issuer or "",
            audience=api.token_audience or "",
            secret=None if api.token_secret is None else _octets(api.token_secret, environ).rstrip(b"\r\n"),
            key_set=api.token_keys,
        ),
        token_s=float(api.own_token_s),
        open_metrics=api.open_metrics,
        open_docs=api.open_docs,
    )


def tls(settings: Settings) -> TlsOptions | None:
    """Return how the API port is protected, None where it speaks plain HTTP."""
    api = settings.api
    if api.certificate is None or api.certificate_key is None:
        return None
    shown = map(read_client_certificate, api.client_certificates)
    return TlsOptions(
        certificate=api.certificate,
        key=api.certificate_key,
        client_ca=api.client_ca,
        require_client=api.require_client_certificate,
        principals={
            each.subject: CertificatePrincipal(name=each.subject, scopes=each.scopes, tenant=each.tenant)
            for each in shown
        },
    )


def port(settings: Settings) -> PortOptions:
    """Return how much the API port takes."""
    return PortOptions(connections=settings.api.connections)
