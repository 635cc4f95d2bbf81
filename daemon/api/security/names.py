"""The names in a client certificate, each with its kind, so that what one field says never passes for another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "domainComponent": "DC",
    "userId": "UID",
    "streetAddress": "STREET",
}
_KINDS = frozenset({"subject", "CN", "URI", "DNS"})
_PLAIN = ""
_SPECIAL = frozenset('\\"+,;<>=')


class Name(NamedTuple):
    """A name and its kind: subject, CN, URI or DNS; no kind: what an entry without one may mean."""

    kind: str
    value: str


def read_name(text: str) -> Name:
    """Return what an entry of the settings names: `KIND:value`, or a value whose kind is told by its form."""
    kind, colon, value = text.partition(":")
    if colon and kind in _KINDS:
        return Name(kind, value.lower() if kind == "DNS" else value)
    return Name(_PLAIN, text if colon else text.lower())


def names_of(certificate: Mapping[str, Any] | None) -> tuple[Name, ...]:
    """Return by what names a checked client certificate is known: the most exact first.

    These are its subject as RFC 4514 writes it but in the certificate's own order, its URIs and DNS names (RFC 5280
    4.2.1.6), and its common name where there is exactly one. Without a kind a URI and a DNS name are meant, and the
    common name only where the certificate has no alternative name. `certificate` is what `SSLObject.getpeercert`
    tells.
    """
    return tuple(dict.fromkeys(_names(certificate or {})))


def _names(certificate: Mapping[str, Any]) -> Iterator[Name]:
    parts = certificate.get("subject", ())
    if parts:
        yield Name("subject", ",".join(map(_part, parts)))
    alternative = certificate.get("subjectAltName", ())
    known = [Name(kind, value.lower() if kind == "DNS" else value) for kind, value in alternative]
    yield from (each for each in known if each.kind in ("URI", "DNS"))
    for each in known:
        if (each.kind == "URI") == (":" in each.value) and each.kind in ("URI", "DNS"):
            yield Name(_PLAIN, each.value)
    common = [value for part in parts for name, value in part if name == "commonName"]
    if len(common) == 1:
        yield Name("CN", common[0])
        if not alternative and ":" not in common[0]:
            yield Name(_PLAIN, common[0].lower())


def _part(pairs: Iterable[tuple[str, str]]) -> str:
    return "+".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in pairs)


def _escaped(value: str) -> str:
    """Return a value as RFC 4514 2.4 writes it."""
    shown = "".join(f"\\{each}" if each in _SPECIAL else "\\00" if each == "\0" else each for each in value)
    if value.endswith(" "):
        shown = f"{shown[:-1]}\\ "
    return f"\\{shown}" if value[:1] in (" ", "#") and value != " " else shown
