"""Whose tokens are taken: attacks on JWTs that have worked elsewhere, and the limits of time, place and tenant."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from daemon.api.security.issuer import TokenIssuer
from daemon.api.security.key_set import Algorithm, KeySetFile, KeySetInvalid, VerifyKey, read_key_set
from daemon.api.security.tokens import Accepted, Issuer, Rejected, verify

AT = 1_800_000_000.0
SECRET = b"s" * 32
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
ED_KEY = Ed25519PrivateKey.generate()
CLAIMS: dict[str, Any] = {
    "iss": "https://platform.example",
    "aud": "edge",
    "sub": "billing",
    "exp": AT + 60,
    "tenant": "alpha",
    "scopes": ["sessions:read"],
}


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    form = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else OKPAlgorithm
    made: dict[str, Any] = form.to_jwk(key.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, "kid": kid, **more}


KEYS = (
    VerifyKey("", Algorithm.HS256, SECRET),
    *read_key_set(json.dumps({"keys": [public(RSA_KEY, "r1"), public(ED_KEY, "e1")]})),
)


def issuer(keys: Iterable[VerifyKey] = KEYS, leeway_s: float = 0.0) -> Issuer:
    fixed = tuple(keys)
    return Issuer("https://platform.example", "edge", lambda _: fixed, leeway_s)


def token(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "r1", **claims: Any) -> str:
    shown = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not ...}
    return jwt.encode(shown, key, algorithm=algorithm, headers=None if kid is None else {"kid": kid})


def check(given: str, keys: Iterable[VerifyKey] = KEYS, leeway_s: float = 0.0) -> Accepted | Rejected:
    return verify(given, [issuer(keys, leeway_s)], 0.0, AT)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "given",
    [token(), token(ED_KEY, "EdDSA", "e1"), token(SECRET, "HS256", None), token(SECRET, "HS256", "any")],
    ids=["RS256", "EdDSA", "HS256", "HS256 with a kid"],
)
def test_a_token_of_a_known_key_says_who_asks(given: str) -> None:
    found = check(given)
    assert isinstance(found, Accepted)
    assert (found.principal.name, found.principal.tenant) == ("token billing", "alpha")
    assert found.principal.scopes == {"sessions:read"}
    assert (found.client, found.principal.key) == ("", "")


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
def test_a_token_without_a_signature_is_none(name: str) -> None:
    for signature in ("", "AAAA"):
        given = f"{part({'alg': name, 'kid': 'r1'})}.{part(CLAIMS)}.{signature}"
        assert isinstance(check(given), Rejected)


def test_a_public_key_is_no_shared_secret() -> None:
    """The attack that made the algorithm of a token a matter of its key: HMAC under the published RSA key."""
    published = RSA_KEY.public_key()
    for encoding, form in (
        (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
    ):
        import hashlib
        import hmac

        octets = published.public_bytes(encoding, form)
        said = f"{part({'alg': 'HS256', 'kid': 'r1'})}.{part(CLAIMS)}"
        mac = hmac.new(octets, said.encode(), hashlib.sha256).digest()
        given = f"{said}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        assert check(given) == Rejected("token-signature")  # of the real secret
        assert check(given, KEYS[1:]) == Rejected("token-key-unknown")


def test_algorithms_that_no_key_of_ours_has_are_not_taken() -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    for given in (
        token(other, "ES256"),
        token(RSA_KEY, "RS512"),
        token(RSA_KEY, "PS256"),
        token(b"s" * 64, "HS512", None),
        token(RSA_KEY, "RS256", "e1"),  # the name of another key
        token(ED_KEY, "EdDSA", "r1"),
    ):
        assert check(given) == Rejected("token-key-unknown")


def test_a_foreign_key_is_not_taken_whatever_it_is_called() -> None:
    assert check(token(OTHER_RSA)) == Rejected("token-signature")
    assert check(token(OTHER_RSA, kid="r9")) == Rejected("token-key-unknown")
    assert check(token(OTHER_RSA, kid=None)) == Rejected("token-signature")
    assert check(token(b"x" * 32, "HS256", None)) == Rejected("token-signature")


def test_a_key_that_the_token_brings_along_or_points_at_is_not_looked_at() -> None:
    for header in (
        {"jwk": public(OTHER_RSA, "r1")},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"kid": "../../etc/passwd"},
        {"kid": "r1' OR 1=1"},
    ):
        given = jwt.encode(CLAIMS, OTHER_RSA, algorithm="RS256", headers={"kid": "r1", **header})
        assert isinstance(check(given), Rejected)
    critical = jwt.encode(
        CLAIMS, RSA_KEY, algorithm="RS256", headers={"kid": "r1", "crit": ["b64"], "b64": False}
    )
    assert isinstance(check(critical), Rejected)


def test_a_changed_claim_breaks_the_signature() -> None:
    head, _, signature = token().split(".")
    assert check(f"{head}.{part({**CLAIMS, 'tenant': '*'})}.{signature}") == Rejected("token-signature")


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": AT - 1}, "token-expired"),
        ({"exp": AT}, "token-expired"),
        ({"nbf": AT + 1}, "token-not-yet-valid"),
        ({"iat": AT + 1}, "token-not-yet-valid"),
        ({"exp": ...}, "token-without-exp"),
        ({"exp": "never"}, "token-malformed"),
        ({"exp": True}, "token-malformed"),
        ({"exp": float("nan")}, "token-malformed"),
        ({"exp": float("inf")}, "token-malformed"),
        ({"exp": 10**400}, "token-malformed"),
        ({"nbf": -(10**400)}, "token-malformed"),
        ({"aud": "another"}, "token-audience"),
        ({"aud": ["another", "third"]}, "token-audience"),
        ({"aud": ...}, "token-without-aud"),
        ({"iss": "https://evil.example"}, "token-issuer"),
        ({"iss": ...}, "token-without-iss"),
        ({"sub": ...}, "token-without-sub"),
        ({"sub": " "}, "token-without-sub"),
        ({"tenant": ...}, "token-without-tenant"),
        ({"tenant": ""}, "token-without-tenant"),
        ({"tenant": ["alpha", "beta"]}, "token-without-tenant"),
        ({"scopes": {"sessions:read": 1}}, "token-malformed"),
        ({"scopes": [1]}, "token-malformed"),
    ],
)
def test_claims_that_do_not_hold(claims: dict[str, Any], why: str) -> None:
    assert check(token(**claims)) == Rejected(why)


def test_the_leeway_is_for_clocks_that_differ() -> None:
    assert isinstance(check(token(exp=AT - 29), leeway_s=30), Accepted)
    assert isinstance(check(token(nbf=AT + 29), leeway_s=30), Accepted)
    assert check(token(exp=AT - 30), leeway_s=30) == Rejected("token-expired")


def test_scopes_come_as_a_list_or_as_text_and_unknown_ones_open_nothing() -> None:
    for claims in (
        {"scopes": ["sessions:read", "viewer-of-all", "admin:*", "*"]},
        {"scopes": ..., "scope": "sessions:read openid profile"},
    ):
        found = check(token(**claims))
        assert isinstance(found, Accepted)
        assert found.principal.scopes == {"sessions:read"}
    none = check(token(scopes=...))
    assert isinstance(none, Accepted)
    assert none.principal.scopes == frozenset()


def test_a_client_that_a_foreign_token_names_is_not_one_of_ours() -> None:
    found = check(token(client_id="c0123"))
    assert isinstance(found, Accepted)
    assert found.client == ""


@pytest.mark.parametrize("given", ["", ".", "..", "a.b", "a.b.c.d", "é.b.c", "a" * 20_000, "\x00.\x00.\x00"])
def test_what_is_no_token_is_refused(given: str) -> None:
    assert isinstance(check(given), Rejected)


# --- our own tokens --------------------------------------------------------------------------------


def test_a_token_of_ours_is_good_for_us_for_its_time(tmp_path: Path) -> None:
    ours = TokenIssuer("pop", tmp_path / "api.key", 600)
    given = ours.issue("c01", "alpha", {"sync:write"}, AT)
    found = verify(given, [issuer(), ours.issuer], 0.0, AT + 599)
    assert isinstance(found, Accepted)
    assert (found.client, found.principal.tenant, found.principal.scopes) == ("c01", "alpha", {"sync:write"})
    assert verify(given, [ours.issuer], 0.0, AT + 600) == Rejected("token-expired")


def test_edges_do_not_take_each_others_tokens_and_keep_their_key(tmp_path: Path) -> None:
    first, again = TokenIssuer("a", tmp_path / "a", 600), TokenIssuer("a", tmp_path / "a", 600)
    other = TokenIssuer("b", tmp_path / "b", 600)
    given = first.issue("c01", "*", (), AT)
    assert isinstance(verify(given, [again.issuer], 0.0, AT), Accepted)
    assert verify(given, [other.issuer], 0.0, AT) == Rejected("token-key-unknown")
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0
    (key,) = read_key_set(json.dumps(first.key_set()))
    assert (key.algorithm, key.kid) == (Algorithm.EDDSA, first.kid)


# --- key sets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ([{"kty": "oct", "k": "c2VjcmV0"}], "shared secret"),
        ([{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}], "RSA or Ed25519"),
        ([public(RSA_KEY, "r1", alg="HS256")], "RS256 expected"),
        ([public(ED_KEY, "e1", alg="RS256")], "EdDSA expected"),
        ([public(rsa.generate_private_key(65537, 1024), "r0")], "2048"),
        ([public(RSA_KEY, "r1"), public(OTHER_RSA, "r1")], "kid"),
        ([RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True)], "private"),
        ([{"kty": "RSA", "n": "!", "e": "AQAB"}], "read"),
        (["r1"], "object"),
        ("r1", "list"),
    ],
)
def test_a_key_set_that_must_not_be_used_says_why(keys: Any, why: str) -> None:
    with pytest.raises(KeySetInvalid, match=why):
        read_key_set(json.dumps({"keys": keys}))


def test_keys_for_encryption_are_passed_over() -> None:
    assert read_key_set(json.dumps({"keys": [public(RSA_KEY, "r1", use="enc")]})) == ()


def test_a_key_set_is_read_again_when_its_file_changes_and_kept_when_that_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [public(RSA_KEY, "r1")]}))
    known = KeySetFile(path)
    assert [each.kid for each in known.keys(0.0)] == ["r1"]
    _replace(path, json.dumps({"keys": [public(OTHER_RSA, "r2")]}))
    assert [each.kid for each in known.keys(1.0)] == ["r1"]  # looked at a moment ago
    assert [each.kid for each in known.keys(2.0)] == ["r2"]
    _replace(path, "{")
    assert [each.kid for each in known.keys(4.0)] == ["r2"]
    assert str(path) in known.problem
    path.unlink()
    assert [each.kid for each in known.keys(6.0)] == ["r2"]
    _replace(path, json.dumps({"keys": [public(RSA_KEY, "r1")]}))
    assert [each.kid for each in known.keys(8.0)] == ["r1"]
    assert known.problem == ""


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.replace(path)
