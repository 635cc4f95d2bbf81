"""What an entry of `api.client_certificates` says, and what it must say."""

from __future__ import annotations

import pytest

from config.api import Api, read_client_certificate


def test_an_entry_names_a_certificate_its_scopes_and_its_tenant() -> None:
    found = read_client_certificate("DNS:platform.example scopes=sync:write,events:read tenant=demo")
    assert (found.subject, found.tenant) == ("DNS:platform.example", "demo")
    assert found.scopes == ("sync:write", "events:read")
    found = read_client_certificate(" subject:CN=My Platform,O=Example Ltd  tenant=* scopes=viewer ")
    assert (found.subject, found.scopes, found.tenant) == (
        "subject:CN=My Platform,O=Example Ltd",
        ("viewer",),
        "*",
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("platform.example scopes=admin", r"tenant=\*"),  # all tenants are given only where it is said
        ("platform.example tenant=demo", "scopes=A,B"),
        ("scopes=admin tenant=demo", "scopes=A,B"),
        ("platform.example scopes=admin tenant=", "tenant="),
        ("platform.example scopes=, tenant=demo", "at least one"),
        ("platform.example scopes=admin scopes=viewer", "tenant="),
        ("CN=platform,O=Example scopes=admin tenant=demo", "subject:CN=platform,O=Example"),
        ("DNS: scopes=admin tenant=demo", "name is needed"),
    ],
)
def test_an_entry_that_leaves_something_open_is_refused(entry: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_client_certificate(entry)


def test_a_name_has_one_entry() -> None:
    entries = ["p.example scopes=viewer tenant=a", "p.example scopes=admin tenant=b"]
    with pytest.raises(ValueError, match=r"p\.example is there twice"):
        Api.model_validate(
            {"certificate": "/c", "certificate_key": "/k", "client_ca": "/a", "client_certificates": entries}
        )
