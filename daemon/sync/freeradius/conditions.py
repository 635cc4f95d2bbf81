"""Whether a block applies, without a request to look at: what of its checks always, never or perhaps holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import Block, Operator, Row
from daemon.sync.freeradius.merge import name_of

ASSIGNS = frozenset({Operator.SET, Operator.ADD})
# FreeRADIUS never compares these with the request.
_SKIPPED = frozenset(
    {
        "auth-type",
        "autz-type",
        "acct-type",
        "session-type",
        "post-auth-type",
        "crypt-password",
        "strip-user-name",
    }
)
# Server attributes: no request holds one, so a comparison with one is never true.
CONTROLS = frozenset(
    {
        "cleartext-password",
        "user-password",
        "password-with-header",
        "nt-password",
        "lm-password",
        "md5-password",
        "smd5-password",
        "sha-password",
        "sha1-password",
        "ssha-password",
        "ssha1-password",
        "sha2-password",
        "ssha2-224-password",
        "ssha2-256-password",
        "ssha2-384-password",
        "ssha2-512-password",
        "pbkdf2-password",
        "simultaneous-use",
        "login-time",
        "fall-through",
        "user-profile",
        "pool-name",
        "max-daily-session",
        "max-all-session",
        "max-monthly-session",
        "proxy-to-realm",
    }
)
# What every login of a subscriber shows: the profile renders the replies for it.
_USUAL = {"service-type": ("framed-user", "framed", "2"), "framed-protocol": ("ppp", "1")}


class Unkept(StrEnum):
    """What becomes of a user with a condition that we cannot keep."""

    REFUSE = "refuse"  # as if it did not hold: no login rather than one from anywhere
    IGNORE = "ignore"  # as if it held


@dataclass(slots=True)
class Conditions:
    """Decides for the blocks of one login; `nases` gathers where it may connect."""

    login: str
    unkept: Unkept
    nas_ids: Mapping[str, str]  # by the address that NAS-IP-Address has
    findings: Findings
    nases: list[str]

    def holds(self, block: Block) -> bool:
        """Tell whether a block applies to this login."""
        return all(self._holds(block, each) for each in block.checks)

    def _holds(self, block: Block, check: Row) -> bool:
        name = name_of(check.attribute)
        if check.op in ASSIGNS or name in _SKIPPED or name == "expiration":
            return True
        if name in CONTROLS:
            if check.op is Operator.EXISTS_NOT:
                return True
            owner = block.label if block.shared else self.login
            text = f"with {check.op} it is compared with the request and never holds; write :="
            self.findings.add(Why.OPERATOR, owner, check.attribute, text, check.line)
            return False
        if name == "user-name" and check.op in (Operator.IS, Operator.EQUALS):
            return check.value == self.login
        if name in _USUAL and check.op in (Operator.IS, Operator.EQUALS):
            return check.value.lower() in _USUAL[name]
        return self._unkept(block, check, name)

    def _unkept(self, block: Block, check: Row, name: str) -> bool:
        if block.shared:
            text = f"a condition ({check.op}) on the request: such a group or entry gives nothing"
            self.findings.add(Why.CONDITION, block.label, check.attribute, text, check.line)
            return False
        known = self.nas_ids.get(check.value)
        if name == "nas-ip-address" and check.op in (Operator.IS, Operator.EQUALS) and known is not None:
            self.nases.append(known)
            return True
        refuse = self.unkept is Unkept.REFUSE
        text = f"a condition ({check.op}) on the request that is not kept; the login is " + (
            "refused" if refuse else "accepted without it"
        )
        self.findings.add(Why.CONDITION, self.login, check.attribute, text, check.line)
        return not refuse
