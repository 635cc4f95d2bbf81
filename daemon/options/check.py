"""Tries what settings refer to before anything is started: secrets, certificates, tokens of others."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from config import fields
from config.api import read_client_certificate
from config.errors import ConfigInvalid, Problem, SecretUnavailable
from config.exchange import FeedTable, Peer, SinkTable
from config.load import Loaded
from config.secrets import resolve
from daemon.api.security.key_set import KeySetFile
from daemon.api.security.scopes import expand
from daemon.options.exchange import database_url, secret_text
from daemon.sync.feed.pull_options import LinkOptions
from daemon.sync.outbox.platform_sink import PlatformOptions, PlatformSink

_LEAST_TOKEN_SECRET = 32  # octets
_CREDENTIALS = Path("/run/credentials")  # where systemd puts those of a unit; nobody else sees them
_CERTIFICATE = "a file with certificates (PEM)"
_KEY = "the private key of `certificate` (PEM), without a password"


def check(loaded: Loaded, environ: Mapping[str, str], *, whole: bool = True) -> None:
    """Try secrets and files of feeds, sinks and the API port. Raises ConfigInvalid with all that is wrong.

    `whole`: also what a start does without, since it is read again later. Credentials of systemd are seen in its
    unit only, and passed over elsewhere.
    """
    found = list(_Try(loaded, environ, whole).problems())
    if found:
        raise ConfigInvalid(tuple(sorted(found, key=lambda each: (each.file, each.line or 0, each.key))))


class _Try:
    def __init__(self, loaded: Loaded, environ: Mapping[str, str], whole: bool) -> None:
        self._loaded = loaded
        self._environ = environ
        self._whole = whole
        self._in_unit = "CREDENTIALS_DIRECTORY" in environ

    def problems(self) -> Iterator[Problem]:
        settings = self._loaded.settings
        for name, feed in settings.feeds.items():
            yield from self._feed(f"feeds.{name}", feed)
        for name, sink in settings.sinks.items():
            yield from self._sink(f"sinks.{name}", sink)
        yield from self._api_files()
        yield from self._tokens()

    def _feed(self, setting: str, table: FeedTable) -> Iterator[Problem]:
        wrong = list(self._reference(f"{setting}.token", table.token, secret_text))
        yield from wrong
        if table.source == "sql":
            yield from self._reference(f"{setting}.database", table.database, database_url)
        if table.source != "pull":
            return
        if not wrong and self._seen(table.token):
            try:
                token = "" if table.token is None else secret_text(table.token, self._environ)
                LinkOptions(url=table.url or "", token=token, plain=table.plain_http)
            except ValueError as error:
                key, _, why = str(error).partition(": ")
                yield self._problem(f"{setting}.{key}", "what cannot be used", why=why)
        if self._whole:
            yield from self._peer_files(setting, table)

    def _sink(self, setting: str, table: SinkTable) -> Iterator[Problem]:
        wrong = list(self._reference(f"{setting}.token", table.token, secret_text))
        wrong += self._reference(f"{setting}.signing_secret", table.signing_secret, secret_text)
        if table.target == "radacct":
            wrong += self._reference(f"{setting}.database", table.database, database_url)
        elif table.target == "platform" and self._whole:
            wrong += self._peer_files(setting, table)
        yield from wrong
        if table.target == "platform" and not wrong and self._seen(table.token, table.signing_secret):
            yield from self._platform(setting, table)

    def _platform(self, setting: str, table: SinkTable) -> Iterator[Problem]:
        """Say what its sink itself does not take."""

        def text(reference: str | None) -> str:
            return "" if reference is None else secret_text(reference, self._environ)

        try:
            PlatformSink(
                PlatformOptions(
                    base_url=table.url or "",
                    signing_key=text(table.signing_secret),
                    token=text(table.token),
                    name=setting,
                ),
                lambda: 0.0,
            )
        except ValueError as error:
            yield self._problem(setting, "what cannot be used", why=str(error).removeprefix(f"{setting}: "))

    def _peer_files(self, setting: str, table: Peer) -> Iterator[Problem]:
        if self._seen_file(table.ca):
            yield from self._authorities(f"{setting}.ca", table.ca)
        if self._seen_file(table.certificate) and self._seen_file(table.certificate_key):
            yield from self._pair(setting, table.certificate, table.certificate_key)

    def _api_files(self) -> Iterator[Problem]:
        api = self._loaded.settings.api
        if self._seen_file(api.certificate) and self._seen_file(api.certificate_key):
            yield from self._pair("api", api.certificate, api.certificate_key)
        if self._seen_file(api.client_ca):
            yield from self._authorities("api.client_ca", api.client_ca)
        for each in api.client_certificates:
            try:
                expand(read_client_certificate(each).scopes)
            except ValueError as error:
                yield self._problem("api.client_certificates", f'"{each}"', why=str(error))

    def _tokens(self) -> Iterator[Problem]:
        settings = self._loaded.settings
        api = settings.api
        yield from self._reference("api.token_secret", api.token_secret, _token_secret)
        if (api.token_secret or api.token_keys) and api.token_issuer == f"dotmac-edge:{settings.edge.name}":
            why = "it is the name of this edge as an issuer"
            yield self._problem("api.token_issuer", f'"{api.token_issuer}"', why=why)
        if self._whole and api.token_keys is not None and self._seen_file(api.token_keys):
            problem = _key_set_problem(api.token_keys)
            if problem:
                yield self._problem("api.token_keys", f'"{api.token_keys}"', "a file with a JWKS", problem)

    def _reference(
        self, setting: str, reference: str | None, read: Callable[[str, Mapping[str, str]], object]
    ) -> Iterator[Problem]:
        if reference is None or not self._seen(reference):
            return
        try:
            read(reference, self._environ)
        except SecretUnavailable as error:
            yield self._problem(setting, reference, "a secret that can be read", error.why)
        except ValueError as error:
            yield self._problem(setting, reference, why=str(error))

    def _authorities(self, setting: str, path: Path | None) -> Iterator[Problem]:
        if path is None:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError) as error:
            yield self._problem(setting, f'"{path}"', _CERTIFICATE, _said(error))

    def _pair(self, section: str, path: Path | None, key: Path | None) -> Iterator[Problem]:
        if path is None or key is None:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
        except (OSError, ValueError) as error:
            yield self._problem(f"{section}.certificate", f'"{path}"', _CERTIFICATE, _said(error))
            return
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path, key, password=_no_password)
        except (OSError, ValueError) as error:
            yield self._problem(f"{section}.certificate_key", f'"{key}"', _KEY, _said(error))

    def _seen(self, *references: str | None) -> bool:
        """Tell whether we can see what all of these refer to."""
        return self._in_unit or not any(each and each.startswith("credential:") for each in references)

    def _seen_file(self, path: Path | None) -> bool:
        return path is not None and (self._in_unit or not path.is_relative_to(_CREDENTIALS))

    def _problem(self, setting: str, got: str, expected: str = "", why: str = "") -> Problem:
        source = self._loaded.sources.get(setting, "")
        file, _, line = source.rpartition(":")
        if source.startswith("env "):
            file, line = source.removeprefix("env "), ""
        return Problem(
            file=file or str(self._loaded.path or "settings"),
            line=int(line) if line.isdecimal() else None,
            key=setting,
            got=got,
            expected=expected or _expected(setting),
            hint=why,
        )


def _expected(setting: str) -> str:
    """Return what a setting takes; of a whole table, that it can be used."""
    family, _, rest = setting.partition(".")
    if family in fields.members():
        known = fields.members()[family].get(rest.partition(".")[2])
    else:
        known = fields.settings().get(setting)
    return f"a whole [{setting}]" if known is None else known.expected


def _token_secret(reference: str, environ: Mapping[str, str]) -> None:
    """Raise SecretUnavailable, or ValueError for a secret that is too short."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    octets = resolve(reference, environ, Path(directory) if directory else None).rstrip(b"\r\n")
    if len(octets) < _LEAST_TOKEN_SECRET:
        raise ValueError(f"the secret has {len(octets)} octets; {_LEAST_TOKEN_SECRET} or more are needed")


def _key_set_problem(path: Path) -> str:
    keys = KeySetFile(path)
    keys.keys(0.0)
    return keys.problem.removeprefix(f"{path}: ")


def _no_password() -> str:
    raise ValueError("the key has a password")


def _said(error: Exception) -> str:
    """Return why a file cannot be used, in one line."""
    if isinstance(error, ssl.SSLError):
        return "it does not fit" if error.reason == "KEY_VALUES_MISMATCH" else "it is not PEM, or holds none"
    strerror = error.strerror if isinstance(error, OSError) else str(error)
    return strerror or type(error).__name__
