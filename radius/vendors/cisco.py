"""Cisco IOS-XE with ISG (vendor 9): policy maps, ISG services and parameters as Cisco-AVPair.

Checked against Cisco's ISG guide: the names `sub-qos-policy-in` and `-out`, `add-class` with `shape` and
`police` in bit/s on class-default, and `A` before a service in Cisco-Account-Info. From practice only:
the `ip:` before `qos-policy`, which the guide sometimes leaves out, and Delegated-IPv6-Prefix-Pool.

A walled garden is an ISG service with a Layer 4 redirect, or a filter. A redirect URL stays unsaid: ISG
redirects to a server group that the service names. In a live session Cisco-Command-Code starts (0x0b) and
stops (0x0c) services, several in one CoA-Request (Cisco's Multiservice Activation and Deactivation).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from radius.codes import Vendor
from radius.errors import Unencodable
from radius.grant import Grant, Privilege, Rendered
from radius.vendors import parts
from radius.vendors.base import COMMON, Profile, check_rates, refuse_rate_text, vendor
from radius.vendors.live import Place, Words, content
from radius.vendors.templates import services

AVPAIR = vendor(Vendor.CISCO, 1, "Cisco-AVPair")
ACCOUNT_INFO = vendor(Vendor.CISCO, 250, "Cisco-Account-Info")
COMMAND_CODE = vendor(Vendor.CISCO, 252, "Cisco-Command-Code")

_ACTIVATE = "\x0b"
_DEACTIVATE = "\x0c"
# Without `privilege` commands on the router level 7 may do what level 1 may: it fails closed.
_LEVELS = {Privilege.READ: 1, Privilege.WRITE: 7, Privilege.FULL: 15}
_LOOPBACK = re.compile(r"Loopback[0-9]{1,10}", re.ASCII | re.IGNORECASE)


def _render(grant: Grant) -> Iterator[Rendered]:
    refuse_rate_text(grant, "cisco")
    yield from parts.service(grant)
    for service in services(grant, ACCOUNT_INFO.name):
        yield ACCOUNT_INFO.text(service, "services", before="A")
    yield from _rate(grant)
    yield from _vrf(grant)
    yield from parts.filter_id(grant)
    yield from parts.ipv4(grant)
    yield from parts.ipv6_prefix(grant)
    yield from parts.ipv6_address(grant)
    yield from parts.ipv6_delegated(grant)
    yield from parts.routes(grant)
    yield from parts.dns4(grant, parts.MS_PRIMARY_DNS, parts.MS_SECONDARY_DNS)
    yield from parts.dns6(grant)
    yield from parts.timers(grant)


def _rate(grant: Grant) -> Iterator[Rendered]:
    """Yield policy names, and numbers for a direction that neither a policy nor a service limits.

    The router applies numbers only where a QoS policy is already active in that direction, for example
    from the virtual template.
    """
    rate = check_rates(grant, AVPAIR.name)
    numbers = None if grant.services else rate
    source, policy = _policy(grant, "upload_policy", grant.upload_policy)
    if policy is not None:
        yield AVPAIR.text(policy, source, before="ip:sub-qos-policy-in=")
    elif numbers is not None:
        # A router cannot shape what it receives.
        actions = f"(class-default),police({numbers.upload_bps})"
        yield AVPAIR.text(f"ip:qos-policy-in=add-class(sub,{actions})", "rate")
    source, policy = _policy(grant, "download_policy", grant.download_policy)
    if policy is not None:
        yield AVPAIR.text(policy, source, before="ip:sub-qos-policy-out=")
    elif numbers is not None:
        actions = f"(class-default),shape({numbers.download_bps})"
        yield AVPAIR.text(f"ip:qos-policy-out=add-class(sub,{actions})", "rate")


def _policy(grant: Grant, source: str, policy: str | None) -> tuple[str, str | None]:
    return ("qos_profile", grant.qos_profile) if policy is None else (source, policy)


def _vrf(grant: Grant) -> Iterator[Rendered]:
    """Yield the VRF and the interface that lends its address, without which IPCP does not come up."""
    if grant.vrf is None:
        return
    if grant.group is None or not _LOOPBACK.fullmatch(grant.group):
        why = "a session in a VRF borrows the address of an interface in that VRF"
        raise Unencodable(AVPAIR.name, why, "name it in the plan's group, for example Loopback10")
    yield AVPAIR.text(grant.vrf, "vrf", before="ip:vrf-id=")
    yield AVPAIR.text(grant.group, "group", before="ip:ip-unnumbered=")


def _place(each: Rendered) -> tuple[Place, bytes]:
    """Services stand side by side; parameters are told apart by the name before the equals sign."""
    value = content(each)
    if each.oid == ACCOUNT_INFO.oid:
        return (each.oid, value), b""
    if each.oid == AVPAIR.oid:
        name, _, setting = value.partition(b"=")
        return (each.oid, name), setting
    return each.oid, value


def _begin(each: Rendered, _wanted: Grant) -> Rendered:
    return _command(each, _ACTIVATE) if each.oid == ACCOUNT_INFO.oid else each


def _end(each: Rendered, _wanted: Grant) -> tuple[Rendered, ...] | None:
    return (_command(each, _DEACTIVATE),) if each.oid == ACCOUNT_INFO.oid else None


def _command(account_info: Rendered, code: str) -> Rendered:
    service = content(account_info)[1:].decode()  # after the A
    return COMMAND_CODE.text(service, account_info.source, before=code)


def _staff(privilege: Privilege, _group: str | None) -> Iterator[Rendered]:
    """Yield a prompt and its level: 1 reads, 15 does everything, 7 what the router's configuration lets it."""
    yield parts.SERVICE_TYPE.integer(parts.NAS_PROMPT, "privilege")
    yield AVPAIR.text(str(_LEVELS[privilege]), "privilege", before="shell:priv-lvl=")


def _half_said(grant: Grant) -> tuple[str, ...]:
    return ("group",) if grant.group is not None and grant.vrf is None else ()


PROFILE: Profile = Profile(
    name="cisco",
    coa_port=1700,
    renders=COMMON
    | {
        "rate",
        "download_policy",
        "upload_policy",
        "qos_profile",
        "services",
        "group",
        "filter_id",
        "ipv6_pool",
        "ipv6_address",
        "ipv6_address_pool",
        "dns4",
        "dns6",
    },
    rendering=_render,
    half_said=_half_said,
    walls=("services", "filter_id"),
    changes=frozenset({"rate", "download_policy", "upload_policy", "qos_profile", "services", "captive"}),
    words=Words(place=_place, begin=_begin, end=_end),
    # All identifiers that are sent must match, and an address may be another subscriber's in another VRF.
    identities=((44,),),
    logins=_staff,
)
