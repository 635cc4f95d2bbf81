"""What the replica holds: frozen records, already validated and normalised.

`sync.wire` makes them from the platform's objects; nothing else does. Rates are bit/s, upload and download
are seen from the subscriber, times are seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from daemon.replica.pools import PoolSpec, SelectorSpec
from daemon.replica.rules import NO_RULES, Garden, LinePolicy, Rules, Treatment
from radius.grant import Access, Burst, Privilege, Rate, Route

Network = IPv4Network | IPv6Network


class AccessMode(StrEnum):
    """What the platform has decided about a subscriber."""

    ACTIVE = "active"
    CAPTIVE = "captive"
    REJECT = "reject"
    NONE = "none"


class SecretKind(StrEnum):
    """What the stored secret is; all but `cleartext` and `nt-hash` can prove PAP only."""

    CLEARTEXT = "cleartext"
    NT_HASH = "nt-hash"
    CRYPT = "crypt"  # $1$ $2*$ $5$ $6$ $y$ and old DES
    LDAP = "ldap"  # {SSHA}, {SHA}, {SMD5}, {SHA256}, {SSHA512} and so on
    PBKDF2 = "pbkdf2"


class IdentitySource(StrEnum):
    """Where a NAS's requests say who wants to connect; a NAS lists the ones to try, in order."""

    USERNAME = "username"
    MAC = "mac"  # User-Name is a MAC in any notation
    CALLING_STATION = "calling-station-id"
    CIRCUIT = "circuit-id"
    REMOTE = "remote-id"


class EditOp(StrEnum):
    """What a raw attribute edit does to the rendered reply."""

    ADD = "add"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class AttributeEdit:
    """One raw attribute to add, replace or remove; `octets` is the whole attribute, empty for remove."""

    op: EditOp
    name: str
    oid: tuple[int, ...]
    octets: bytes = b""


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or shared secret; its text form never shows it."""

    kind: SecretKind
    value: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"<{self.kind} secret>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """A provider served by this edge."""

    id: str
    name: str = ""
    reject_message: str = ""  # Reply-Message of every reject; empty: none
    timezone: str = "UTC"  # IANA name; hours, days and months are local to it
    garden: Garden | None = None
    treatments: tuple[tuple[str, Treatment], ...] = ()  # by reason slug; a plan's own win


@dataclass(frozen=True, slots=True, kw_only=True)
class Nas:
    """A box, or a range of boxes, that sends us RADIUS."""

    tenant: str
    id: str
    prefixes: tuple[Network, ...]
    secret: Secret
    previous_secret: Secret | None = None  # still accepted during a rotation
    vendor: str = "standard"
    coa_port: int = 3799
    require_message_authenticator: bool = False
    limit_proxy_state: bool = True  # drop Proxy-State without Message-Authenticator (CVE-2024-3596)
    identities: tuple[IdentitySource, ...] = (IdentitySource.USERNAME, IdentitySource.MAC)
    line_password: Secret | None = None  # what the NAS sends for MAC and line identities
    strip_realm: bool = False  # look up `user` when `user@realm` comes
    site: str | None = None
    coa: bool = True  # False: this NAS takes no CoA or Disconnect from us
    coa_address: IPv4Address | IPv6Address | None = None  # None: where its packets come from
    coa_secret: Secret | None = None  # None: the secret of its own requests
    coa_message_authenticator: bool = True
    coa_event_timestamp: bool = True
    edits: tuple[AttributeEdit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What plans and subscribers may both say; a subscriber's value wins over its plan's."""

    rate: Rate | None = None
    burst: Burst | None = None
    committed: Rate | None = None
    priority: int | None = None
    rate_text: str | None = None
    download_policy: str | None = None
    upload_policy: str | None = None
    qos_profile: str | None = None
    services: tuple[str, ...] = ()
    group: str | None = None
    address_list: str | None = None
    filter_id: str | None = None
    vrf: str | None = None
    ipv4_pool: str | None = None
    ipv6_pool: str | None = None
    ipv6_address_pool: str | None = None
    ipv6_delegated_pool: str | None = None
    dns4: tuple[IPv4Address, ...] = ()
    dns6: tuple[IPv6Address, ...] = ()
    session_timeout_s: int | None = None
    idle_timeout_s: int | None = None
    interim_interval_s: int | None = None
    edits: tuple[AttributeEdit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is sold: rates, pools, limits. `access` None means: as the request says."""

    tenant: str
    id: str
    name: str = ""
    access: Access | None = None
    service: Service = Service()
    rules: Rules = NO_RULES
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note once whether nothing but the access mode decides on this plan's logins."""
        object.__setattr__(self, "plain", self.rules == NO_RULES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A service line that may connect.

    `service` holds the subscriber's own overrides, None for most; `personal` tells whether anything in the
    reply depends on more than the plan.
    """

    tenant: str
    id: str
    access_mode: AccessMode
    plan: str | None
    usernames: tuple[str, ...] = ()
    secret: Secret | None = None
    macs: tuple[str, ...] = ()  # canonical: aa:bb:cc:dd:ee:ff
    circuit_id: str | None = None
    remote_id: str | None = None
    status: str = ""  # the platform's word, for information
    valid_from: float | None = None
    valid_until: float | None = None
    ipv4_address: IPv4Address | None = None
    ipv6_address: IPv6Address | None = None
    ipv6_prefix: IPv6Network | None = None
    ipv6_delegated: IPv6Network | None = None
    routes: tuple[Route, ...] = ()
    vlan_id: int | None = None
    inner_vlan_id: int | None = None
    simultaneous_use: int | None = None
    nases: tuple[str, ...] = ()  # may connect there only; empty: as the plan says
    sites: tuple[str, ...] = ()
    line_policy: LinePolicy | None = None
    bonus_octets: int = 0  # on top of each of the plan's allowances of octets
    service: Service | None = None
    personal: bool = field(init=False, repr=False, compare=False)
    plain: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note once whether this subscriber's reply differs from that of others on the same plan."""
        object.__setattr__(
            self,
            "personal",
            self.service is not None
            or self.ipv4_address is not None
            or self.ipv6_address is not None
            or self.ipv6_prefix is not None
            or self.ipv6_delegated is not None
            or bool(self.routes)
            or self.vlan_id is not None
            or self.inner_vlan_id is not None
            or self.valid_until is not None,
        )
        object.__setattr__(
            self,
            "plain",
            self.access_mode is AccessMode.ACTIVE
            and self.valid_from is None
            and self.valid_until is None
            and self.simultaneous_use is None
            and not self.nases
            and not self.sites
            and self.circuit_id is None
            and self.remote_id is None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """Somebody who may log in to devices. `groups` names the vendor's own profile where `privilege` does not fit."""

    tenant: str
    id: str
    username: str
    secret: Secret
    privilege: Privilege = Privilege.READ
    enabled: bool = True
    groups: tuple[tuple[str, str], ...] = ()  # vendor profile name -> group or local user name on the device
    nases: tuple[str, ...] = ()  # empty: all of the tenant
    sites: tuple[str, ...] = ()
    valid_until: float | None = None


Record = Tenant | Nas | Plan | Subscriber | Staff | PoolSpec | SelectorSpec
