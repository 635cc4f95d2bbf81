"""Stored passwords of every kind, by vectors that others published or made."""

from __future__ import annotations

import base64
import hashlib
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius import libcrypt, passwords
from radius.passwords import UnusableSecret

# Made by openssl passwd (MD5 and SHA), by crypt(3) through Perl (the others); the first bcrypt value and the
# DES value are published ones.
CRYPT = [
    ("$1$abcdefgh$rwnEbRiN0agqVgZBovWNQ/", "hello"),
    ("$5$toolongsaltstrin$WTgCiziuKAFphAxOVAMTpslazlD8vDaLhnD3zU8W1B4", "hello"),
    ("$5$rounds=5000$toolongsaltstrin$WTgCiziuKAFphAxOVAMTpslazlD8vDaLhnD3zU8W1B4", "hello"),
    ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
    (
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "Hello world!",
    ),
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    ("$2b$05$CCCCCCCCCCCCCCCCCCCCC.3Nxn4wBbCPuUupOgwKEXOSgZpCHWsqG", "hello"),
    ("$2y$05$CCCCCCCCCCCCCCCCCCCCC.3Nxn4wBbCPuUupOgwKEXOSgZpCHWsqG", "hello"),
    ("$y$j9T$F5Jx5fExrKuPp53xLKQ..1$pAanBp0GxdDoC.EK6Si0uTUwzIJFEvkXDPG7l9k5OFB", "hello"),
    ("$7$CU..../....HePZ9YPTnkF0T9lr0dP.10$cTyCW2KTAIQG31SGDQveAyhpzNdDF6D7BLgf4uiPdm6", "hello"),
    ("rl.3StKT.4T8M", "rasmuslerdorf"),
]
# Published by passlib's and Django's documentation and tests; the Perl forms are FreeRADIUS's test vectors.
PBKDF2 = [
    ("$pbkdf2-sha256$6400$0ZrzXitFSGltTQnBWOsdAw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M", "password"),
    ("$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44", "password"),
    ("pbkdf2_sha256$10000$seasalt$FQCNpiZpTb0zub+HBsH6TOwyRxJ19FwvjbweatNmK/Y=", "letmein"),
    ("pbkdf2_sha256$10000$seasalt$CWWFdHOWwPnki7HvkcqN9iA2T3KLW1cf2uZ5kvArtVY=", "lètmein"),
    ("HMACSHA1:AAAD6A:Xw1P133xrwk=:dtQBXQRiR/No5A8Ip3JFGF/qUC0=", "password"),
    ("HMACSHA2+224:AAAnEA:UHScBrg/ZWOyBKqQdAh7bw==:tcFp6CDrkIYdhwa60g24U4ko+mBxzAiFxlpPnA==", "password"),
    (
        "HMACSHA2+256:AAAnEA:a/8HbYW2HWsMthN27JI+Ew==:3nPlXYOlOuDCFOfethUomHxTXkG9JCivOdvh6FDNdGw=",
        "password",
    ),
    (
        (
            "HMACSHA2+384:AAAnEA:pyHRsYLfNZdjszRcu6eHrA==:"
            "ktGfNmZ6PyD8FNEgPzFK1fypKERZ13pgvFl+PQdyKouaMXsXIiWPuTMXHqDUCWsx"
        ),
        "password",
    ),
    (
        (
            "HMACSHA2+512:AAAnEA:TG8Mb94NEmfPLaePwi5CFA==:"
            "SYSFeRf9jr4Uo5DB4NvNUEuc1gmEiLjTac5J4WgyKa7mO58KHKWop9xWmcFeuLtUN/iexLTNSgcubOugAyZcog=="
        ),
        "password",
    ),
    (
        "{X-PBKDF2}HMACSHA2+256:AAAD6A:yhmqoKrtPLY2KYK6cNjnfw==:Y6gkSZEo4TRtlsryHqnGYZhoe2qn5tJ4IUyyVHb/3WU=",
        "password",
    ),
]


@pytest.mark.parametrize(("stored", "password"), CRYPT)
def test_crypt_hashes_take_their_password_and_no_other(stored: str, password: str) -> None:
    octets = stored.encode()
    assert passwords.problem("crypt", octets) is None
    assert passwords.check_pap("crypt", octets, password.encode())
    # The first character, because old DES reads no more than eight.
    assert not passwords.check_pap("crypt", octets, b"x" + password.encode()[1:])
    assert passwords.check_pap("ldap", b"{CRYPT}" + octets, password.encode())


@pytest.mark.parametrize("form", ["-1", "-5", "-6"])
def test_crypt_takes_what_openssl_makes_with_a_salt_of_its_own(form: str) -> None:
    made = subprocess.run(["openssl", "passwd", form, "s3cret pässword"], capture_output=True, check=True)
    stored = made.stdout.strip()
    assert passwords.check_pap("crypt", stored, "s3cret pässword".encode())
    assert not passwords.check_pap("crypt", stored, b"s3cret")


def test_a_nul_in_the_password_does_not_shorten_it() -> None:
    """crypt(3) stops at a NUL, so `hello NUL anything` would pass for `hello`."""
    assert not passwords.check_pap("crypt", CRYPT[0][0].encode(), b"hello\0x")


def test_only_old_des_crypt_is_quick() -> None:
    assert [passwords.slow("crypt", stored.encode()) for stored, _ in CRYPT] == [True] * 10 + [False]
    assert passwords.slow("ldap", b"{CRYPT}" + CRYPT[0][0].encode())
    assert not passwords.slow("ldap", b"{CRYPT}rl.3StKT.4T8M")


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        ("", "not a crypt"),
        ("hello", "not a crypt"),
        ("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl", "not a crypt"),
        ("$9$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl", "not a crypt"),
        ("$1$abcdefgh$rwnEbRiN0agqVgZBovWNQ/\n", "not a crypt"),
        ("$5$rounds=99000000$toolongsaltstrin$WTgCiziuKAFphAxOVAMTpslazlD8vDaLhnD3zU8W1B4", "rounds"),
        ("$2b$31$CCCCCCCCCCCCCCCCCCCCC.3Nxn4wBbCPuUupOgwKEXOSgZpCHWsqG", "cost"),
    ],
)
def test_a_crypt_value_that_cannot_be_checked_is_reported_and_never_a_wrong_password(
    stored: str, why: str
) -> None:
    found = passwords.problem("crypt", stored.encode())
    assert found is not None
    assert why in found
    with pytest.raises(UnusableSecret, match=why):
        passwords.check_pap("crypt", stored.encode(), b"hello")


@pytest.mark.parametrize(("stored", "password"), PBKDF2)
def test_pbkdf2_forms_take_their_password_and_no_other(stored: str, password: str) -> None:
    octets = stored.encode()
    assert passwords.problem("pbkdf2", octets) is None
    assert passwords.slow("pbkdf2", octets)
    assert passwords.check_pap("pbkdf2", octets, password.encode())
    assert not passwords.check_pap("pbkdf2", octets, password.encode() + b"x")


@pytest.mark.parametrize(
    ("scheme", "algorithm"), [("", "sha1"), ("-SHA1", "sha1"), ("-SHA256", "sha256"), ("-SHA512", "sha512")]
)
def test_pbkdf2_values_of_openldap_are_checked(scheme: str, algorithm: str) -> None:
    salt = bytes(range(240, 256))
    digest = hashlib.pbkdf2_hmac(algorithm, b"hello", salt, 1000)
    salt_text, digest_text = (
        base64.b64encode(each).rstrip(b"=").replace(b"+", b".").decode() for each in (salt, digest)
    )
    stored = f"{{PBKDF2{scheme}}}1000${salt_text}${digest_text}".encode()
    for kind in ("pbkdf2", "ldap"):
        assert passwords.problem(kind, stored) is None
        assert passwords.slow(kind, stored)
        assert passwords.check_pap(kind, stored, b"hello")
        assert not passwords.check_pap(kind, stored, b"hullo")


def test_the_dollar_form_of_crypt_pbkdf2_is_checked() -> None:
    salt, digest = "a/8HbYW2HWsMthN27JI+Ew==", "3nPlXYOlOuDCFOfethUomHxTXkG9JCivOdvh6FDNdGw="
    stored = f"$PBKDF2$HMACSHA2+256:10000:{salt}${digest}".encode()
    assert passwords.check_pap("pbkdf2", stored, b"password")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "password",
        "$pbkdf2-md5$6400$0ZrzXitFSGltTQnBWOsdAw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M",
        "$pbkdf2-sha256$0$0ZrzXitFSGltTQnBWOsdAw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M",
        "$pbkdf2-sha256$99999999999$0ZrzXitFSGltTQnBWOsdAw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M",
        "$pbkdf2-sha256$6400$0ZrzXitFSGltTQnBWOsdAw$Y11",
        "pbkdf2_sha256$10000$seasalt$not base64!",
        "HMACSHA2+256::E+VXOSsE8RwyYGdygQoW9Q==:UivlvrwHML4VtZHMJLiT/xlH7oyoyvbXQceivptq9TI=",
        "HMACSHA0/:AAAD6A:CPQHPHX5NE8=:ZsVj1s1gDDmSyO4j4UZHDWsx9Ck=",
    ],
)
def test_a_pbkdf2_value_that_cannot_be_checked_is_reported(stored: str) -> None:
    assert passwords.problem("pbkdf2", stored.encode()) is not None
    with pytest.raises(UnusableSecret):
        passwords.check_pap("pbkdf2", stored.encode(), b"password")


@pytest.mark.parametrize(
    ("scheme", "algorithm"),
    [
        ("MD5", "md5"),
        ("SHA", "sha1"),
        ("SHA224", "sha224"),
        ("SHA256", "sha256"),
        ("SHA384", "sha384"),
        ("SHA512", "sha512"),
    ],
)
@given(password=st.binary(max_size=60), salt=st.binary(min_size=1, max_size=20))
def test_ldap_hashes_are_what_slappasswd_writes(
    scheme: str, algorithm: str, password: bytes, salt: bytes
) -> None:
    plain = hashlib.new(algorithm, password).digest()
    salted = hashlib.new(algorithm, password + salt).digest() + salt
    for value, name in ((plain, scheme), (salted, f"S{scheme}")):
        for text in (base64.b64encode(value).decode(), value.hex()):
            for stored in (f"{{{name}}}{text}".encode(), f"{{{name.lower()}}}{text}".encode()):
                assert passwords.problem("ldap", stored) is None
                assert not passwords.slow("ldap", stored)
                assert passwords.check_pap("ldap", stored, password)
                assert not passwords.check_pap("ldap", stored, password + b"x")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "hello",
        "{SHA}",
        "{NOSUCH}qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "{SHA}qvTGHdzF6KLavt4PO0g=",  # short
        "{SHA}qvTGHdzF6KLavt4PO0gs2a6pQ01zYWx0",  # SSHA under the wrong name
        "{SSHA}qvTGHdzF6KLavt4PO0gs2a6pQ00=",  # no salt
        "{SHA}not base64!",
        "{CRYPT}hello",
        "{CLEARTEXT}",
    ],
)
def test_an_ldap_value_that_cannot_be_checked_is_reported(stored: str) -> None:
    assert passwords.problem("ldap", stored.encode()) is not None


def test_an_ldap_value_may_wrap_the_password_itself() -> None:
    assert passwords.check_pap("ldap", b"{cleartext}hello", b"hello")
    assert not passwords.check_pap("ldap", b"{cleartext}hello", b"{cleartext}hello")


@given(st.text(max_size=40))
def test_an_nt_hash_is_taken_raw_or_in_hex(password: str) -> None:
    octets = passwords.nt_hash_of("cleartext", password.encode())
    assert octets is not None
    for stored in (octets, octets.hex().encode(), octets.hex().upper().encode()):
        assert passwords.problem("nt-hash", stored) is None
        assert passwords.nt_hash_of("nt-hash", stored) == octets
        assert passwords.check_pap("nt-hash", stored, password.encode())
        assert not passwords.check_pap("nt-hash", stored, password.encode() + b"x")


def test_the_nt_hash_of_rfc_2759_takes_its_password() -> None:
    assert passwords.check_pap("nt-hash", b"44EBBA8D5312B8D611474411F56989AE", b"clientPass")
    assert passwords.nt_hash_of("crypt", b"rl.3StKT.4T8M") is None


@pytest.mark.parametrize("stored", [b"", bytes(15), b"g" * 32, bytes(32)])
def test_an_nt_hash_of_another_form_is_reported(stored: bytes) -> None:
    assert passwords.problem("nt-hash", stored) is not None
    with pytest.raises(UnusableSecret):
        passwords.check_pap("nt-hash", stored, b"hello")


@given(st.binary(min_size=1), st.binary())
def test_cleartext_is_the_password_itself(stored: bytes, password: bytes) -> None:
    assert passwords.problem("cleartext", stored) is None
    assert passwords.check_pap("cleartext", stored, stored)
    assert passwords.check_pap("cleartext", stored, password) == (stored == password)


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    assert passwords.problem("rot13", b"uryyb") == (
        "rot13: unknown kind, expected one of cleartext, nt-hash, crypt, ldap, pbkdf2"
    )
    assert passwords.problem("cleartext", b"") == "the password is empty"
    with pytest.raises(UnusableSecret):
        passwords.check_pap("rot13", b"uryyb", b"hello")


@given(st.sampled_from(passwords.kinds()), st.binary(max_size=80))
def test_a_stored_value_never_breaks_the_check(kind: str, stored: bytes) -> None:
    found = passwords.problem(kind, stored)
    passwords.slow(kind, stored)
    if found is not None and kind != "cleartext":
        with pytest.raises(UnusableSecret):
            passwords.check_pap(kind, stored, b"hello")


@pytest.mark.parametrize(
    "stored", [b"hunter2", b"{SHA}hunter2", b"{CRYPT}hunter2", b"{hunter2}", b"$6$hunter2"]
)
@pytest.mark.parametrize("kind", [kind for kind in passwords.kinds() if kind != "cleartext"])
def test_what_is_wrong_is_said_without_the_value(kind: str, stored: bytes) -> None:
    assert "hunter2" not in (passwords.problem(kind, stored) or "hunter2")


def test_a_system_without_libcrypt_says_which_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libcrypt, "_NAMES", ("libcrypt-that-is-not-there.so",))
    libcrypt._library.cache_clear()
    try:
        assert "libcrypt1" in (passwords.problem("crypt", CRYPT[0][0].encode()) or "")
    finally:
        libcrypt._library.cache_clear()
