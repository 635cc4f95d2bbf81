"""Validated bodies into records; what no single field shows is checked here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from sys import intern
from typing import TypeVar

from daemon.replica.records import (
    AccessMode,
    AttributeEdit,
    IdentitySource,
    Nas,
    Plan,
    Secret,
    SecretKind,
    Service,
    Staff,
    Subscriber,
    Tenant,
)
from daemon.sync import rule_builders
from daemon.sync.edits import EditText, EditWrong, encode
from daemon.sync.faults import Fault, Faults
from daemon.sync.normalise import VENDORS
from daemon.sync.problems import Path
from daemon.sync.rule_builders import once
from daemon.sync.secrets import shared_secret, shorthand, subscriber_secret
from daemon.sync.wire import (
    BurstBody,
    NasBody,
    PlanBody,
    SecretBody,
    ServiceBody,
    StaffBody,
    SubscriberBody,
    TenantBody,
)
from daemon.sync.wire_base import RateBody
from radius import rates, vendors
from radius.dictionary import Dictionary
from radius.grant import Access, Burst, Rate, Route

# Life-cycle words, for platforms that do not say the access mode; those that do are believed.
MODE_OF_STATUS = {
    word: mode
    for mode, words in (
        (AccessMode.ACTIVE, ("active",)),
        (AccessMode.REJECT, ("suspended", "blocked", "stopped", "disabled")),
        (
            AccessMode.NONE,
            (
                "prospect",
                "lead",
                "pending",
                "churned",
                "inactive",
                "cancelled",
                "canceled",
                "expired",
                "terminated",
                "hidden",
                "archived",
            ),
        ),
    )
    for word in words
}
_MODES = {mode.value: mode for mode in AccessMode}
_DEFAULT_IDENTITIES = (IdentitySource.USERNAME, IdentitySource.MAC)
_NOTHING = Secret(SecretKind.CLEARTEXT, b"")  # stands for one that is missing until that is told
_Item = TypeVar("_Item")


def tenant(key: str, body: TenantBody, faults: Faults) -> Tenant:
    """Return the record of a tenant."""
    return Tenant(
        id=key,
        name=body.name,
        reject_message=body.reject_message or "",
        timezone=body.timezone,
        garden=None if body.garden is None else rule_builders.garden(("garden",), body.garden, faults),
        treatments=rule_builders.treatments(body.treatments),
    )


def nas(
    tenant_id: str, key: str, body: NasBody, short: frozenset[str], dictionary: Dictionary, faults: Faults
) -> Nas:
    """Return the record of a NAS; `short` names the secrets that came as bare texts."""
    prefixes = _merged(body.address, body.prefixes, "address", faults)
    if not prefixes:
        faults.add((), "missing", None, "`address` or `prefixes`")

    def secret(name: str, given: SecretBody | None) -> Secret | None:
        return None if given is None else shared_secret((name,), given, name in short, faults)

    profile = vendors.find(body.vendor)
    own = shared_secret(("secret",), body.secret, "secret" in short, faults)
    return Nas(
        tenant=intern(tenant_id),
        id=key,
        prefixes=prefixes,
        secret=own,
        previous_secret=secret("previous_secret", body.previous_secret),
        vendor=body.vendor,
        coa_port=body.coa_port or (profile.coa_port if profile is not None else 3799),
        require_message_authenticator=body.require_message_authenticator,
        limit_proxy_state=body.limit_proxy_state,
        identities=tuple(IdentitySource(word) for word in body.identities or ()) or _DEFAULT_IDENTITIES,
        line_password=secret("line_password", body.line_password),
        strip_realm=body.strip_realm,
        site=body.site,
        coa=body.coa,
        coa_address=body.coa_address,
        coa_secret=secret("coa_secret", body.coa_secret),
        coa_message_authenticator=body.coa_message_authenticator,
        coa_event_timestamp=body.coa_event_timestamp,
        edits=_edits(body.attributes, dictionary, faults),
    )


def plan(tenant_id: str, key: str, body: PlanBody, dictionary: Dictionary, faults: Faults) -> Plan:
    """Return the record of a plan."""
    return Plan(
        tenant=intern(tenant_id),
        id=key,
        name=body.name,
        access=None if body.access is None else Access(body.access),
        service=_service((), body, _edits(body.attributes, dictionary, faults), faults),
        rules=rule_builders.rules(body, faults),
    )


def subscriber(
    tenant_id: str, key: str, body: SubscriberBody, dictionary: Dictionary, faults: Faults
) -> Subscriber:
    """Return the record of a subscriber."""
    if body.valid_from is not None and body.valid_until is not None and body.valid_from >= body.valid_until:
        faults.add(("valid_until",), "bad-time", body.valid_until, "a time after valid_from")
    if body.inner_vlan_id is not None and body.vlan_id is None:
        faults.add(("inner_vlan_id",), "missing", body.inner_vlan_id, "vlan_id, the outer VLAN, beside it")
    own = None
    if body.service is not None or body.attributes:
        edits = _edits(body.attributes, dictionary, faults)
        own = _service(("service",), body.service or ServiceBody(), edits, faults)
    return Subscriber(
        tenant=intern(tenant_id),
        id=key,
        access_mode=_access_mode(body, faults),
        plan=None if body.plan is None else intern(body.plan),
        usernames=_merged(body.username, body.usernames, "username", faults),
        secret=_secret(body.password, body.secret, faults),
        macs=_merged(body.mac, body.macs, "mac", faults),
        circuit_id=body.circuit_id,
        remote_id=body.remote_id,
        status=intern(body.status or ""),
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        ipv4_address=body.ipv4_address,
        ipv6_address=body.ipv6_address,
        ipv6_prefix=body.ipv6_prefix,
        ipv6_delegated=body.delegated_prefix,
        routes=_routes(body, faults),
        vlan_id=body.vlan_id,
        inner_vlan_id=body.inner_vlan_id,
        simultaneous_use=body.simultaneous_use,
        nases=once(("nases",), body.nases, faults),
        sites=once(("sites",), body.sites, faults),
        line_policy=body.line_policy,
        bonus_octets=body.bonus_octets,
        service=None if own == Service() else own,
    )


def staff(tenant_id: str, key: str, body: StaffBody, faults: Faults) -> Staff:
    """Return the record of a member of staff."""
    secret = _secret(body.password, body.secret, faults)
    if secret is None:
        faults.add((), "missing", None, "`password` or `secret`")
        secret = _NOTHING
    return Staff(
        tenant=intern(tenant_id),
        id=key,
        username=body.username,
        secret=secret,
        privilege=body.privilege,
        enabled=body.enabled,
        groups=_groups(body.groups, faults),
        nases=once(("nases",), body.nases, faults),
        sites=once(("sites",), body.sites, faults),
        valid_until=body.valid_until,
    )


def _groups(given: Mapping[str, str], faults: Faults) -> tuple[tuple[str, str], ...]:
    """Return the groups by vendor profile, in the order of the profiles' names."""
    groups: dict[str, str] = {}
    for word, group in given.items():
        name = VENDORS.get(word.lower(), word.lower())
        if vendors.find(name) is None:
            faults.add(("groups", word), "unknown-vendor", word, f"one of {', '.join(vendors.names())}")
        elif groups.setdefault(name, group) != group:
            faults.add(("groups", word), "said-twice", group, f"one group for vendor {name}")
    return tuple(sorted(groups.items()))


def _access_mode(body: SubscriberBody, faults: Faults) -> AccessMode:
    if body.access_mode is not None:
        return _MODES[body.access_mode]
    if body.status is None:
        faults.add((), "missing", None, f"`access_mode`: {', '.join(_MODES)}")
        return AccessMode.NONE
    mode = MODE_OF_STATUS.get(body.status.lower())
    if mode is None:
        known = ", ".join(MODE_OF_STATUS)
        hint = "or say the decision itself in access_mode"
        faults.add(("status",), "unknown-status", body.status, f"one of {known}", hint)
        return AccessMode.NONE
    return mode


def _secret(password: str | None, given: SecretBody | None, faults: Faults) -> Secret | None:
    if password is not None:
        if given is not None:
            faults.add_hidden(("password",), "said-twice", "either `password` or `secret`")
        return shorthand(("password",), password, faults)
    return None if given is None else subscriber_secret(("secret",), given, faults)


def _routes(body: SubscriberBody, faults: Faults) -> tuple[Route, ...]:
    for index, each in enumerate(body.routes):
        if each.gateway is not None and each.gateway.version != each.prefix.version:
            faults.add(
                ("routes", index, "gateway"),
                "bad-address",
                str(each.gateway),
                "a gateway of the prefix's family",
            )
    return tuple(Route(prefix=each.prefix, gateway=each.gateway, metric=each.metric) for each in body.routes)


def _merged(one: _Item | None, several: Sequence[_Item], name: str, faults: Faults) -> tuple[_Item, ...]:
    """Return the items of the singular and the plural field, each once."""
    items = list(several) if one is None else [one, *several]
    unique = tuple(dict.fromkeys(items))
    if len(set(several)) != len(several):
        faults.add((f"{name}s" if name != "address" else "prefixes",), "repeated", several, "each entry once")
    return unique


def _edits(given: Sequence[EditText], dictionary: Dictionary, faults: Faults) -> tuple[AttributeEdit, ...]:
    edits = []
    for index, each in enumerate(given):
        made = encode(each, dictionary)
        if isinstance(made, EditWrong):
            faults.found.append(Fault(("attributes", index), made.slug, made.got, made.expected, made.hint))
        else:
            edits.append(made)
    return tuple(edits)


def _service(path: Path, body: ServiceBody, edits: tuple[AttributeEdit, ...], faults: Faults) -> Service:
    rate = _rate(path, body, faults)
    burst = None if body.burst is None else _burst((*path, "burst"), body.burst, rate, faults)
    committed = (
        None if body.committed is None else _committed((*path, "committed"), body.committed, rate, faults)
    )
    if body.mikrotik_rate_limit is not None:
        try:
            rates.parse_mikrotik(body.mikrotik_rate_limit)
        except ValueError:
            where = (*path, "mikrotik_rate_limit")
            faults.add(where, "bad-rate", body.mikrotik_rate_limit, rates.MIKROTIK_FORM)
    return Service(
        rate=rate,
        burst=burst,
        committed=committed,
        priority=body.priority,
        rate_text=body.mikrotik_rate_limit,
        download_policy=body.download_policy,
        upload_policy=body.upload_policy,
        qos_profile=body.qos_profile,
        services=tuple(body.services),
        group=body.group,
        address_list=body.address_list,
        filter_id=body.filter_id,
        vrf=body.vrf,
        ipv4_pool=body.ipv4_pool,
        ipv6_pool=body.ipv6_pool,
        ipv6_address_pool=body.ipv6_address_pool,
        ipv6_delegated_pool=body.delegated_pool,
        dns4=tuple(each for each in body.dns if isinstance(each, IPv4Address)),
        dns6=tuple(each for each in body.dns if isinstance(each, IPv6Address)),
        session_timeout_s=body.session_timeout_s,
        idle_timeout_s=body.idle_timeout_s,
        interim_interval_s=body.interim_interval_s,
        edits=edits,
    )


def _rate(path: Path, body: ServiceBody, faults: Faults) -> Rate | None:
    download = _one_rate(path, "download", body.download, body.download_kbps, faults)
    upload = _one_rate(path, "upload", body.upload, body.upload_kbps, faults)
    if download is None and upload is None:
        return None
    if download is None or upload is None:
        said, absent = ("upload", "download") if download is None else ("download", "upload")
        faults.add((*path, said), "missing", said, f"`{absent}` beside it")
        return None
    return Rate(download_bps=download, upload_bps=upload)


def _one_rate(path: Path, name: str, bps: int | None, kbps: int | None, faults: Faults) -> int | None:
    if kbps is None:
        return bps
    if bps is not None and bps != rates.from_kbps(kbps):
        faults.add((*path, f"{name}_kbps"), "said-twice", kbps, f"the same as `{name}`, or only one of them")
    return rates.from_kbps(kbps)


def _burst(path: Path, body: BurstBody, rate: Rate | None, faults: Faults) -> Burst | None:
    if rate is None:
        faults.add(path, "missing", None, "`download` and `upload` beside the burst")
        return None
    for name, burst_bps, bps in (
        ("download", body.download, rate.download_bps),
        ("upload", body.upload, rate.upload_bps),
    ):
        if burst_bps < bps:
            faults.add(
                (*path, name), "bad-rate", rates.text(burst_bps), f"at least {rates.text(bps)}, the rate"
            )
    threshold_download, threshold_upload = body.threshold_download, body.threshold_upload
    return Burst(
        rate=Rate(download_bps=body.download, upload_bps=body.upload),
        threshold=Rate(
            download_bps=rate.download_bps if threshold_download is None else threshold_download,
            upload_bps=rate.upload_bps if threshold_upload is None else threshold_upload,
        ),
        seconds=body.seconds,
    )


def _committed(path: Path, body: RateBody, rate: Rate | None, faults: Faults) -> Rate | None:
    if rate is None:
        faults.add(path, "missing", None, "`download` and `upload` beside the committed rate")
        return None
    for name, committed_bps, bps in (
        ("download", body.download, rate.download_bps),
        ("upload", body.upload, rate.upload_bps),
    ):
        if committed_bps > bps:
            faults.add(
                (*path, name), "bad-rate", rates.text(committed_bps), f"at most {rates.text(bps)}, the rate"
            )
    return Rate(download_bps=body.download, upload_bps=body.upload)
