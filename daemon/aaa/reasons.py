"""Why a request was answered no, or not at all: stable slugs for traces, logs, metrics and events."""

from __future__ import annotations

from enum import StrEnum


class Deny(StrEnum):
    """Answered with Access-Reject."""

    NO_IDENTITY = "no-identity"
    UNKNOWN_USER = "unknown-user"
    NO_SECRET = "no-secret"
    SECRET_UNUSABLE = "secret-unusable"  # stored as a hash that this method cannot be checked against
    WRONG_PASSWORD = "wrong-password"
    MAC_MISMATCH = "mac-mismatch"
    NO_PASSWORD = "no-password"
    METHOD_UNSUPPORTED = "method-unsupported"
    ACCESS_REJECT = "access-reject"
    ACCESS_NONE = "access-none"
    CAPTIVE_UNSUPPORTED = "captive-unsupported"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    NO_PLAN = "no-plan"
    UNRENDERABLE = "unrenderable"

    @property
    def meaning(self) -> str:
        """One sentence for an operator."""
        return _MEANINGS[self]


class Drop(StrEnum):
    """Not answered."""

    UNKNOWN_NAS = "unknown-nas"
    UNKNOWN_CODE = "unknown-code"
    WRONG_PORT = "wrong-port"
    BAD_REQUEST_AUTHENTICATOR = "bad-request-authenticator"
    BAD_MESSAGE_AUTHENTICATOR = "bad-message-authenticator"
    NO_MESSAGE_AUTHENTICATOR = "no-message-authenticator"
    EAP_UNSIGNED = "eap-unsigned"
    PROXY_STATE_UNSIGNED = "proxy-state-unsigned"
    BAD_PASSWORD_ATTRIBUTE = "bad-password-attribute"
    BAD_STATUS_TYPE = "bad-status-type"
    IN_PROGRESS = "in-progress"
    SUPERSEDED = "superseded"
    HASHES_BUSY = "hashes-busy"
    JOURNAL_FULL = "journal-full"
    STORE_UNAVAILABLE = "store-unavailable"
    REPLY_TOO_LONG = "reply-too-long"
    INTERNAL_ERROR = "internal-error"


_MEANINGS = {
    Deny.NO_IDENTITY: "the request names nobody: no User-Name, MAC or line that this NAS is set to use",
    Deny.UNKNOWN_USER: "no subscriber of this tenant has that user name, MAC or line",
    Deny.NO_SECRET: "the subscriber has no password, and the identity alone does not prove it",
    Deny.SECRET_UNUSABLE: "the stored secret is a hash that this method cannot be checked against",
    Deny.WRONG_PASSWORD: "the password or response is wrong, or the NAS uses another shared secret",
    Deny.MAC_MISMATCH: "the user name is a MAC that is not the one which calls",
    Deny.NO_PASSWORD: "the request carries no password",
    Deny.METHOD_UNSUPPORTED: "the NAS asks for a method that this edge does not speak",
    Deny.ACCESS_REJECT: "the platform has set the access mode to reject",
    Deny.ACCESS_NONE: "the platform has set the access mode to none",
    Deny.CAPTIVE_UNSUPPORTED: "the access mode is captive, and the walled garden cannot be rendered",
    Deny.NOT_YET_VALID: "the subscription begins later",
    Deny.EXPIRED: "the subscription has ended",
    Deny.NO_PLAN: "the subscriber has no plan, or a plan that is not in the replica",
    Deny.UNRENDERABLE: "the plan does not fit the attributes of this NAS's vendor",
}
