"""What the control items of a login say: its password, until when, how often, at which hours."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from daemon.sync.freeradius.conditions import ASSIGNS, CONTROLS
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import Operator, Row
from daemon.sync.freeradius.merge import name_of
from daemon.sync.freeradius.times import read_expiration, read_login_time

# Hashes as LDAP writes them; the digest comes as hex or base64, with its salt behind it where there is one.
_LDAP = {
    "md5-password": "MD5",
    "smd5-password": "SMD5",
    "sha-password": "SHA",
    "sha1-password": "SHA",
    "ssha-password": "SSHA",
    "ssha1-password": "SSHA",
    "ssha2-224-password": "SSHA224",
    "ssha2-256-password": "SSHA256",
    "ssha2-384-password": "SSHA384",
    "ssha2-512-password": "SSHA512",
}
_NUMBER = re.compile(r"[0-9]{1,10}")  # the column is a text of any length
_SHA2 = {28: "SHA224", 32: "SHA256", 48: "SHA384", 64: "SHA512"}
_HEADER = re.compile(r"\{([A-Za-z0-9_-]+)\}(.*)", re.DOTALL)
_HEADERS = {
    "clear": "cleartext-password",
    "cleartext": "cleartext-password",
    "crypt": "crypt-password",
    "nt": "nt-password",
    "nthash": "nt-password",
    "x-nthash": "nt-password",
    "x-orcllmv": "lm-password",
}
_UNUSABLE = {
    "lm-password": "LAN Manager hashes are not checked",
    "user-password": "it is what a request holds and proves nothing; write Cleartext-Password :=",
}


@dataclass(frozen=True, slots=True)
class Password:
    """A password with its kind, as `secret` of our objects; its text form does not show it."""

    kind: str
    value: str

    def __repr__(self) -> str:
        return f"Password({self.kind})"


@dataclass(slots=True, kw_only=True)
class Controls:
    """What the control items say; None and empty: nothing."""

    password: Password | None = None
    reject: bool = False
    accept: bool = False  # without a password
    simultaneous: int | None = None
    expires_at: float | None = None
    hours: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ControlReader:
    """Reads control items. `password_attribute` is one more name for a password in clear."""

    password_attribute: str
    zone: tzinfo
    findings: Findings

    def read(
        self, control: Sequence[Row], reply: Sequence[Row], owner: str, owners: Mapping[int, str]
    ) -> Controls:
        """Return what merged control and reply items say; a check among the replies is taken as it was meant.

        What cannot be used is told of `owner`, or of whose row it is.
        """
        controls = Controls()
        passwords: dict[str, Row] = {}
        for each in control:
            name = name_of(each.attribute)
            if name == self.password_attribute.lower() and name not in CONTROLS | {"crypt-password"}:
                name = "cleartext-password"
            if name in _LDAP or name.endswith("-password") or name == "password-with-header":
                passwords.setdefault(name, each)
            else:
                whose = owners.get(id(each), owner)
                if not self._one(controls, name, each, whose):
                    self._left_out(name, each, whose)
        for each in reply:
            if name_of(each.attribute) == "simultaneous-use":
                self._one(controls, "simultaneous-use", each, owners.get(id(each), owner))
        controls.password = self._password(passwords, owner)
        return controls

    def _one(self, controls: Controls, name: str, row: Row, owner: str) -> bool:
        """Take one item; tell whether it means something to us."""
        if name == "auth-type":
            kind = row.value.lower()
            controls.reject = controls.reject or kind == "reject"
            controls.accept = controls.accept or kind == "accept"
            return kind in ("reject", "accept", "local", "pap", "chap", "ms-chap", "mschap")
        if name == "simultaneous-use":
            if controls.simultaneous is None and _NUMBER.fullmatch(row.value.strip()):
                most = int(row.value)
                controls.simultaneous = most if 1 <= most <= 10_000 else None
            return controls.simultaneous is not None
        if name == "expiration":
            at = read_expiration(row.value, self.zone)
            if at is None:
                self.findings.add(Why.VALUE, owner, row.attribute, "no date such as 24 Dec 2026", row.line)
            elif controls.expires_at is None:
                controls.expires_at = at
            return True
        if name == "login-time":
            hours = read_login_time(row.value)
            if hours is None:  # there it is no hour at all
                controls.reject = True
                text = "no hours such as Wk0800-2000, so never"
                self.findings.add(Why.VALUE, owner, row.attribute, text, row.line)
            else:
                controls.hours = controls.hours or tuple(hours)
            return True
        return False

    def _left_out(self, name: str, row: Row, owner: str) -> None:
        if row.op not in ASSIGNS and row.op is not Operator.EQUALS:
            return  # a condition that was met, or one that was told before
        text = "nothing of ours is like it"
        if name.startswith("max-"):
            text = "what sqlcounter counts are allowances of a plan here"
        self.findings.add(Why.INTERNAL, owner, row.attribute, text, row.line)

    def _password(self, found: dict[str, Row], owner: str) -> Password | None:
        """Return the password that serves most methods."""
        made: dict[str, Password] = {}
        for name, row in found.items():
            password = None if row.dynamic else _read(name, row.value)
            if password is not None:
                made.setdefault(password.kind, password)
            else:
                text = _UNUSABLE.get(name, "it is not in a form that can be checked")
                self.findings.add(Why.PASSWORD, owner, row.attribute, text, row.line)
        for kind in ("cleartext", "nt-hash", *made):
            if kind in made:
                return made[kind]
        # An empty one is refused where objects are read, so that the last good one stays.
        return Password("cleartext", "") if found.keys() - _UNUSABLE.keys() else None


def _read(name: str, value: str) -> Password | None:
    """Return the password of an attribute, None where it is none that can be checked."""
    if name == "password-with-header":
        return _with_header(value)
    if not value or name in _UNUSABLE:
        return None
    if name == "cleartext-password":
        return Password("cleartext", value)
    if name == "crypt-password":
        return Password("crypt", value)
    if name == "nt-password":
        octets = _octets(value, 16)
        return None if octets is None else Password("nt-hash", octets.hex())
    if name == "pbkdf2-password":
        return Password("pbkdf2", value)
    octets = _octets(value)
    if octets is None:
        return None
    scheme = _SHA2.get(len(octets)) if name == "sha2-password" else _LDAP.get(name)
    return None if scheme is None else Password("ldap", f"{{{scheme}}}{b64encode(octets).decode()}")


def _with_header(value: str) -> Password | None:
    match = _HEADER.fullmatch(value)
    if match is None:
        return Password("cleartext", value) if value else None
    name = _HEADERS.get(match[1].lower())
    if name is not None:
        return _read(name, match[2])
    return Password("ldap", value)


def _octets(value: str, size: int | None = None) -> bytes | None:
    """Return octets written in hex, with or without 0x, or in base64; None where they are neither."""
    text = value.strip().removeprefix("0x")
    if re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", text) and (size is None or len(text) == 2 * size):
        return bytes.fromhex(text)
    try:
        octets = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    return octets if octets and (size is None or len(octets) == size) else None
