"""Juniper MX with Junos (vendor 4874, once ERX): tagged services, policies, CoS parameters.

CoS parameters carry the numbers of Junos' predefined variables: T02 shaping rate, T03 guaranteed rate,
T06 traffic-control profile. A dynamic profile with variables of its own may number them otherwise; such
plans use services. CoS shapes downloads only: an upload is limited by a service or a policy.

A walled garden is a service (or the filter that Filter-Id names). In a live session services are told apart
by the whole text that activated them, parameters included; Junos (16.1R4 and later) ends some before it
begins others, in whatever order they stand in the CoA-Request.
"""

from __future__ import annotations

from collections.abc import Iterator

from radius.codes import Vendor
from radius.errors import Unencodable
from radius.grant import Grant, Privilege, Rendered
from radius.packet import Packet
from radius.usage import Ipv6Counters, Usage, read_with_ipv6
from radius.vendors import parts
from radius.vendors.base import COMMON, Profile, check_rates, refuse_rate_text, vendor
from radius.vendors.live import Place, Words, content
from radius.vendors.templates import services

VIRTUAL_ROUTER = vendor(Vendor.JUNIPER_ERX, 1, "ERX-Virtual-Router-Name")
PRIMARY_DNS = vendor(Vendor.JUNIPER_ERX, 4, "ERX-Primary-Dns")
SECONDARY_DNS = vendor(Vendor.JUNIPER_ERX, 5, "ERX-Secondary-Dns")
INGRESS_POLICY = vendor(Vendor.JUNIPER_ERX, 10, "ERX-Ingress-Policy-Name")
EGRESS_POLICY = vendor(Vendor.JUNIPER_ERX, 11, "ERX-Egress-Policy-Name")
IPV6_PRIMARY_DNS = vendor(Vendor.JUNIPER_ERX, 47, "ERX-Ipv6-Primary-Dns")
IPV6_SECONDARY_DNS = vendor(Vendor.JUNIPER_ERX, 48, "ERX-Ipv6-Secondary-Dns")
SERVICE_ACTIVATE = vendor(Vendor.JUNIPER_ERX, 65, "ERX-Service-Activate")
SERVICE_DEACTIVATE = vendor(Vendor.JUNIPER_ERX, 66, "ERX-Service-Deactivate")
COS_PARAMETER = vendor(Vendor.JUNIPER_ERX, 108, "ERX-CoS-Shaping-Pmt-Type")
NDRA_PREFIX = vendor(Vendor.JUNIPER_ERX, 129, "ERX-IPv6-NdRa-Prefix")
NDRA_POOL = vendor(Vendor.JUNIPER_ERX, 157, "ERX-IPv6-NdRa-Pool-Name")
DELEGATED_POOL = vendor(Vendor.JUNIPER_ERX, 161, "ERX-IPv6-Delegated-Pool-Name")
CLIENT_PROFILE = vendor(Vendor.JUNIPER_ERX, 174, "ERX-Client-Profile-Name")
LOCAL_USER = vendor(Vendor.JUNIPER, 1, "Juniper-Local-User-Name")

IPV6_COUNTERS = Ipv6Counters(
    vendor=Vendor.JUNIPER_ERX, input_octets=151, output_octets=152, input_gigawords=155, output_gigawords=156
)
# Template accounts of Juniper's own examples; without such an account Junos falls back to `remote`.
_TEMPLATES = {Privilege.READ: "RO", Privilege.WRITE: "OP", Privilege.FULL: "SU"}
_MOST_TAGS = 31  # RFC 2868 section 3.1: 0x01 to 0x1f


def _render(grant: Grant) -> Iterator[Rendered]:
    refuse_rate_text(grant, "juniper")
    yield from parts.service(grant)
    yield from _services(grant)
    yield from _rate(grant)
    if grant.group is not None:
        yield CLIENT_PROFILE.text(grant.group, "group")
    if grant.vrf is not None:
        # Logical system, then routing instance.
        yield VIRTUAL_ROUTER.text(grant.vrf, "vrf", before="" if ":" in grant.vrf else "default:")
    yield from parts.filter_id(grant)
    yield from parts.ipv4(grant)
    yield from parts.ipv6_prefix(grant, fixed=NDRA_PREFIX, pool=NDRA_POOL)
    # On Junos, Framed-IPv6-Pool is the pool of DHCPv6 addresses.
    yield from parts.ipv6_address(grant, pool=parts.FRAMED_IPV6_POOL)
    yield from parts.ipv6_delegated(grant, pool=DELEGATED_POOL)
    yield from parts.routes(grant)
    yield from parts.dns4(grant, PRIMARY_DNS, SECONDARY_DNS)
    yield from parts.dns6_pair(grant, IPV6_PRIMARY_DNS, IPV6_SECONDARY_DNS)
    yield from parts.timers(grant)


def _services(grant: Grant) -> Iterator[Rendered]:
    if len(grant.services) > _MOST_TAGS:
        raise Unencodable(SERVICE_ACTIVATE.name, f"{len(grant.services)} services, {_MOST_TAGS} have a tag")
    for tag, service in enumerate(services(grant, SERVICE_ACTIVATE.name), 1):
        yield SERVICE_ACTIVATE.text(service, "services", tag=tag)


def _rate(grant: Grant) -> Iterator[Rendered]:
    rate = check_rates(grant, COS_PARAMETER.name)
    if grant.upload_policy is not None:
        yield INGRESS_POLICY.text(grant.upload_policy, "upload_policy")
    if grant.download_policy is not None:
        yield EGRESS_POLICY.text(grant.download_policy, "download_policy")
    if grant.qos_profile is not None:
        yield COS_PARAMETER.text(grant.qos_profile, "qos_profile", before="T06 ")
    elif rate is not None and grant.download_policy is None and not grant.services:
        yield COS_PARAMETER.text(_number(rate.download_bps), "rate", before="T02 ")
        if grant.committed is not None:
            yield COS_PARAMETER.text(_number(grant.committed.download_bps), "committed", before="T03 ")


def _number(bps: int) -> str:
    if bps % 1_000_000 == 0:
        return f"{bps // 1_000_000}m"
    return f"{bps // 1_000}k" if bps % 1_000 == 0 else str(bps)


def _place(each: Rendered) -> tuple[Place, bytes]:
    """Services stand side by side, whatever their tags; CoS parameters are told apart by their T number."""
    value = content(each)
    if each.oid == SERVICE_ACTIVATE.oid:
        return (each.oid, value[1:]), b""
    if each.oid == COS_PARAMETER.oid:
        name, _, setting = value.partition(b" ")
        return (each.oid, name), setting
    return each.oid, value


def _end(each: Rendered, _wanted: Grant) -> tuple[Rendered, ...] | None:
    if each.oid != SERVICE_ACTIVATE.oid:
        return None
    return (SERVICE_DEACTIVATE.text(content(each)[1:].decode(), each.source),)


def _staff(privilege: Privilege, group: str | None) -> Iterator[Rendered]:
    """Yield the template account on the device whose login class applies."""
    if group is None:
        yield LOCAL_USER.text(_TEMPLATES[privilege], "privilege")
    else:
        yield LOCAL_USER.text(group, "group")


def _half_said(grant: Grant) -> tuple[str, ...]:
    if grant.services or grant.upload_policy is not None or grant.rate is None:
        return ()
    return ("rate.upload_bps",)


def _usage(packet: Packet) -> Usage:
    return read_with_ipv6(packet, IPV6_COUNTERS)


PROFILE: Profile = Profile(
    name="juniper",
    renders=COMMON
    | {
        "rate",
        "committed",
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
    reading=_usage,
    half_said=_half_said,
    walls=("services", "filter_id"),
    # Juniper's tables of attributes with dynamic CoA support; Filter-Id, DNS and routing instance are not
    # among them.
    changes=frozenset(
        {"rate", "committed", "download_policy", "upload_policy", "qos_profile", "services", "captive"}
    ),
    words=Words(place=_place, end=_end),
    identities=((44,),),  # it must be there (else NAK 402), and an attribute too many is a NAK 401
    logins=_staff,
)
