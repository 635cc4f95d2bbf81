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
    ACCESS_CAPTIVE = "access-captive"
    CAPTIVE_UNSUPPORTED = "captive-unsupported"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    NO_PLAN = "no-plan"
    ISOLATED = "isolated"
    OUTSIDE_HOURS = "outside-hours"
    WRONG_NAS = "wrong-nas"
    WRONG_SITE = "wrong-site"
    CIRCUIT_MISMATCH = "circuit-mismatch"
    VLAN_MISMATCH = "vlan-mismatch"
    PORT_MISMATCH = "port-mismatch"
    TOO_MANY_SESSIONS = "too-many-sessions"
    OCTETS_USED_UP = "octets-used-up"
    TIME_USED_UP = "time-used-up"
    RETRY_LOOP = "retry-loop"
    UNRENDERABLE = "unrenderable"
    POOL_EXHAUSTED = "pool-exhausted"
    POOL_WAITING = "pool-waiting"
    POOL_DRAINING = "pool-draining"
    POOL_DISABLED = "pool-disabled"
    POOL_UNKNOWN = "pool-unknown"
    POOL_OF_OTHER_TENANT = "pool-of-other-tenant"
    POOL_OF_OTHER_KIND = "pool-of-other-kind"
    NO_BLOCK = "no-block-of-this-node"
    STORE_BEHIND = "store-behind"
    ADDRESS_CONFLICT = "address-conflict"
    STAFF_DISABLED = "staff-disabled"
    STAFF_EXPIRED = "staff-expired"

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
    DISK_FULL = "disk-full"  # what the platform has not acknowledged leaves no room for more
    STORE_UNAVAILABLE = "store-unavailable"
    REPLY_TOO_LONG = "reply-too-long"
    NAS_OVERLOAD = "nas-overload"  # more requests waited of this NAS than its share of the queue
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
    Deny.ACCESS_CAPTIVE: "the platform has set the access mode to captive",
    Deny.CAPTIVE_UNSUPPORTED: "a walled garden is due, but there is none or this NAS's vendor cannot build it",
    Deny.NOT_YET_VALID: "the subscription begins later",
    Deny.EXPIRED: "the subscription has ended",
    Deny.NO_PLAN: "the subscriber has no plan, or a plan that is not in the replica",
    Deny.ISOLATED: "the platform was not heard of for so long that its provider wants no logins on old data",
    Deny.OUTSIDE_HOURS: "the plan does not allow a login at this hour",
    Deny.WRONG_NAS: "the subscriber or its plan may not connect at this NAS",
    Deny.WRONG_SITE: "the subscriber or its plan may not connect at this NAS's site",
    Deny.CIRCUIT_MISMATCH: "the access line is not the one that the subscriber is tied to",
    Deny.VLAN_MISMATCH: "the VLAN is not the one that the subscriber is tied to",
    Deny.PORT_MISMATCH: "the port is not the one that the subscriber is tied to",
    Deny.TOO_MANY_SESSIONS: "as many sessions as allowed are online from other equipment",
    Deny.OCTETS_USED_UP: "an allowance of octets is used up",
    Deny.TIME_USED_UP: "an allowance of time is used up",
    Deny.RETRY_LOOP: "the same login was refused again and again; it is looked at again after a pause",
    Deny.POOL_EXHAUSTED: "the pools for this login, and the fallbacks that they name, have no lease left",
    Deny.POOL_WAITING: "what the pools have left is held for its last owners or in quarantine",
    Deny.POOL_DRAINING: "the pool is being drained: its leases go on, none begins",
    Deny.POOL_DISABLED: "the pool is disabled",
    Deny.POOL_UNKNOWN: "a selector names a pool that does not exist",
    Deny.POOL_OF_OTHER_TENANT: "a selector names a pool that only another tenant has",
    Deny.POOL_OF_OTHER_KIND: "a selector names a pool of another kind",
    Deny.NO_BLOCK: "this node owns no block of the pool, and could get none from the shared store",
    Deny.STORE_BEHIND: "too many leases wait to be written: the store is too slow, or refuses",
    Deny.ADDRESS_CONFLICT: "an address that is this subscriber's alone is in use by somebody else",
    Deny.STAFF_DISABLED: "this member of staff may not log in any more",
    Deny.STAFF_EXPIRED: "this member of staff's time is over",
    Deny.UNRENDERABLE: "the plan does not fit the attributes of this NAS's vendor",
}
