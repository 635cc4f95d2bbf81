"""The settings of the HTTP interface: where it listens, who is let in, how long a request may take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, Strict, model_validator

from config.address import parse
from config.base import ADDRESS, Address, FilePath, Reference, Section, restart

_KINDS = ("subject:", "CN:", "URI:", "DNS:")
_ENTRY = re.compile(r"(?P<name>\S(?:.*\S)?)(?P<words>(?:\s+(?:scopes|tenant)=\S+){2})\s*")
_DISTINGUISHED = re.compile(r"[A-Za-z][A-Za-z0-9.-]*=")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientCertificate:
    """One entry of `api.client_certificates`, read: what the holder of a certificate may do; tenant `*`: all."""

    subject: str
    scopes: tuple[str, ...]
    tenant: str


def read_client_certificate(text: str) -> ClientCertificate:
    """Return what an entry of `api.client_certificates` says; its name may have blanks. Raises ValueError."""
    found = _ENTRY.fullmatch(text.strip())
    named = dict(each.split("=", 1) for each in found["words"].split()) if found else {}
    if found is None or len(named) != 2:
        raise ValueError("after the name come scopes=A,B and tenant=ID, or tenant=* for all of them")
    name, scopes = found["name"], tuple(each for each in named["scopes"].split(",") if each)
    if not scopes:
        raise ValueError("scopes=: at least one expected")
    if _DISTINGUISHED.match(name):
        raise ValueError(f"a subject is written with its kind: subject:{name}")
    if name in _KINDS:
        raise ValueError(f"a name is needed after {name}")
    return ClientCertificate(subject=name, scopes=scopes, tenant=named["tenant"])


def _checked(text: str) -> str:
    if not text.split():
        raise ValueError("a name is needed")
    read_client_certificate(text)
    return text


_Certificates = Annotated[tuple[Annotated[str, AfterValidator(_checked)], ...], Strict(strict=False)]


class Api(Section):
    """The HTTP interface and the admin socket."""

    listen: Address = Field(
        default="127.0.0.1:8080",
        description="Where the API, health and metrics are served over HTTP.",
        json_schema_extra=restart(ADDRESS),
    )
    admin_socket: FilePath | None = Field(
        default=None,
        description="Unix socket of the command line; without it `admin.sock` in `edge.state_dir`.",
        json_schema_extra=restart("a path"),
    )
    admin_group: str | None = Field(
        default=None,
        min_length=1,
        description="Group whose members may use the admin socket, beside root and the daemon's user. They "
        "must also be able to reach the directory of the socket, which `edge.state_dir` does not allow.",
        json_schema_extra=restart("the name of a group"),
    )
    certificate: FilePath | None = Field(
        default=None,
        description="Certificate of this edge (PEM, with its chain): with it `listen` speaks HTTPS. Read again when "
        "the file changes.",
        json_schema_extra=restart("a path"),
    )
    certificate_key: FilePath | None = Field(
        default=None, description="Private key of `certificate` (PEM).", json_schema_extra=restart("a path")
    )
    client_ca: FilePath | None = Field(
        default=None,
        description="Authorities whose certificates clients may show (PEM).",
        json_schema_extra=restart("a path"),
    )
    require_client_certificate: bool = Field(
        default=False,
        description="Nobody without a certificate of `client_ca` gets as far as a request.",
        json_schema_extra=restart("true or false"),
    )
    client_certificates: _Certificates = Field(
        default=(),
        description="What holders of client certificates may do, by `URI:`, `DNS:`, `CN:` or `subject:`; without "
        "a kind by URI or DNS name. `tenant=*`: all tenants.",
        json_schema_extra=restart(
            "a list of texts such as `DNS:platform.example scopes=sync:write tenant=acme`"
        ),
    )
    token_issuer: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Issuer (`iss`) of tokens that others make and that are taken here.",
        json_schema_extra=restart(),
    )
    token_audience: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Audience (`aud`) that such tokens must be for.",
        json_schema_extra=restart(),
    )
    token_secret: Reference | None = Field(
        default=None,
        description="Where the secret of tokens signed with HS256 is, 32 octets or more.",
        json_schema_extra=restart("file:PATH, env:NAME or credential:NAME", hidden=True),
    )
    token_keys: FilePath | None = Field(
        default=None,
        description="Public keys of tokens signed with RS256 or EdDSA (a JWKS file); read again when it changes.",
        json_schema_extra=restart("a path"),
    )
    own_token_s: int = Field(
        default=600,
        ge=60,
        le=86_400,
        description="How long a token of our own token endpoint is good.",
        json_schema_extra=restart(),
    )
    open_metrics: bool = Field(
        default=True,
        description="`/metrics` is told to anybody on this machine; otherwise it takes the scope metrics:read.",
        json_schema_extra=restart("true or false"),
    )
    open_docs: bool = Field(
        default=False,
        description="`/docs` and `/openapi.json` are shown to anybody.",
        json_schema_extra=restart("true or false"),
    )
    connections: int = Field(
        default=1_000,
        ge=10,
        le=100_000,
        description="How many connections `listen` takes at one time.",
        json_schema_extra=restart("a number of connections"),
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Api:
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("certificate and certificate_key belong together")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs a certificate of our own")
        if (self.require_client_certificate or self.client_certificates) and self.client_ca is None:
            raise ValueError("client certificates need `client_ca`")
        names = [read_client_certificate(each).subject for each in self.client_certificates]
        twice = next((each for each in names if names.count(each) > 1), None)
        if twice is not None:
            raise ValueError(f"client_certificates: {twice} is there twice; one entry for each name expected")
        if (self.token_secret or self.token_keys) and not (self.token_issuer and self.token_audience):
            raise ValueError("tokens of others need `token_issuer` and `token_audience`")
        return self

    @property
    def address(self) -> tuple[str, int]:
        """`listen` as (host, port)."""
        return parse(self.listen)
