"""Huawei ME60, NE40E and NetEngine (vendor 2011, attribute numbering "1.1"): rates in bit/s.

H3C and older boxes number the same attributes otherwise; they need another profile. Both directions and
both rates are always sent: a box that is told half of a change keeps the old other half.

A walled garden is the user group or ACL that Filter-Id names; Huawei-HTTP-Redirect-URL sends browsers to
the portal, but keeps nothing else in.
"""

from __future__ import annotations

from collections.abc import Iterator

from radius.codes import Vendor
from radius.errors import Unencodable
from radius.grant import Grant, Privilege, Rendered
from radius.packet import Packet
from radius.usage import Ipv6Counters, Usage, read_with_ipv6
from radius.vendors import parts
from radius.vendors.base import COMMON, MOST_32_BIT, Profile, check_rates, refuse_rate_text, vendor
from radius.vendors.live import Place, Words, content

INPUT_CIR = vendor(Vendor.HUAWEI, 2, "Huawei-Input-Average-Rate")
INPUT_PIR = vendor(Vendor.HUAWEI, 3, "Huawei-Input-Peak-Rate")
OUTPUT_CIR = vendor(Vendor.HUAWEI, 5, "Huawei-Output-Average-Rate")
OUTPUT_PIR = vendor(Vendor.HUAWEI, 6, "Huawei-Output-Peak-Rate")
REMANENT_VOLUME = vendor(Vendor.HUAWEI, 15, "Huawei-Remanent-Volume")
EXEC_PRIVILEGE = vendor(Vendor.HUAWEI, 29, "Huawei-Exec-Privilege")
QOS_PROFILE_NAME = vendor(Vendor.HUAWEI, 31, "Huawei-Qos-Profile-Name", longest=63)
VPN_INSTANCE = vendor(Vendor.HUAWEI, 94, "Huawei-VPN-Instance")
PRIMARY_DNS = vendor(Vendor.HUAWEI, 135, "Huawei-Primary-DNS")
SECONDARY_DNS = vendor(Vendor.HUAWEI, 136, "Huawei-Secondary-DNS")
HTTP_REDIRECT_URL = vendor(Vendor.HUAWEI, 140, "Huawei-HTTP-Redirect-URL")
IPV6_DNS = vendor(Vendor.HUAWEI, 154, "Huawei-DNS-Server-IPv6-address")
IPV6_ADDRESS = vendor(Vendor.HUAWEI, 158, "Huawei-Framed-IPv6-Address")
DELEGATED_POOL = vendor(Vendor.HUAWEI, 191, "Huawei-Delegated-IPv6-Prefix-Pool")

IPV6_COUNTERS = Ipv6Counters(
    vendor=Vendor.HUAWEI, input_octets=144, output_octets=145, input_gigawords=148, output_gigawords=149
)
_RATES = (INPUT_CIR.oid, INPUT_PIR.oid, OUTPUT_CIR.oid, OUTPUT_PIR.oid)
_UNLIMITED = MOST_32_BIT
# Monitoring, configuration, management. Boxes with levels up to 15 give 3 the same as 15; those with levels
# up to 3 ignore anything above.
_LEVELS = {Privilege.READ: 1, Privilege.WRITE: 2, Privilege.FULL: 3}


def _render(grant: Grant) -> Iterator[Rendered]:
    refuse_rate_text(grant, "huawei")
    yield from parts.service(grant)
    yield from _rate(grant)
    if grant.vrf is not None:
        yield VPN_INSTANCE.text(grant.vrf, "vrf")
    yield from parts.filter_id(grant)
    yield from parts.redirect_url(grant, HTTP_REDIRECT_URL)
    yield from parts.ipv4(grant)
    yield from parts.ipv6_prefix(grant)
    yield from parts.ipv6_address(grant, fixed=IPV6_ADDRESS)
    yield from parts.ipv6_delegated(grant, pool=DELEGATED_POOL)
    yield from parts.routes(grant)
    yield from parts.dns4(grant, PRIMARY_DNS, SECONDARY_DNS)
    yield from parts.dns6(grant, IPV6_DNS)
    yield from parts.timers(grant)
    yield from _volume(grant)


def _rate(grant: Grant) -> Iterator[Rendered]:
    """Yield the QoS profile, else CIR and PIR: what is guaranteed, and what is possible at most.

    CIR is the committed rate, or else the rate; PIR is the burst rate, or else the rate. There is no
    time limit to a burst here.
    """
    rate = check_rates(grant, OUTPUT_CIR.name)
    if grant.qos_profile is not None:
        # The box looks names up in lower case by default; an unknown one takes the user offline.
        yield QOS_PROFILE_NAME.text(grant.qos_profile, "qos_profile")
    elif rate is not None:
        least = grant.committed or rate
        most = grant.burst.rate if grant.burst else rate
        yield INPUT_CIR.bits_per_second(least.upload_bps, "rate")
        yield INPUT_PIR.bits_per_second(most.upload_bps, "rate")
        yield OUTPUT_CIR.bits_per_second(least.download_bps, "rate")
        yield OUTPUT_PIR.bits_per_second(most.download_bps, "rate")


def _volume(grant: Grant) -> Iterator[Rendered]:
    """Yield the volume left in kilobytes of 1,024 octets, unless it is more than the box can count.

    Zero would end the session at once, so what is less than a kilobyte is one.
    """
    volume = grant.volume_octets
    if volume is None or _too_much(volume):
        return
    if volume < 1:
        raise Unencodable(REMANENT_VOLUME.name, f"volume_octets is {volume}", "at least 1 is needed")
    yield REMANENT_VOLUME.integer(max(volume // 1_024, 1), "volume_octets")


def _too_much(volume: int) -> bool:
    return volume // 1_024 >= _UNLIMITED


def _place(each: Rendered) -> tuple[Place, bytes]:
    """The four rates are one thing: a change of one is sent with the others."""
    return (_RATES if each.oid in _RATES else each.oid), content(each)


def _staff(privilege: Privilege, _group: str | None) -> Iterator[Rendered]:
    yield parts.SERVICE_TYPE.integer(parts.ADMINISTRATIVE, "privilege")
    yield EXEC_PRIVILEGE.integer(_LEVELS[privilege], "privilege")


def _half_said(grant: Grant) -> tuple[str, ...]:
    return ("volume_octets",) if grant.volume_octets is not None and _too_much(grant.volume_octets) else ()


def _usage(packet: Packet) -> Usage:
    return read_with_ipv6(packet, IPV6_COUNTERS)


PROFILE: Profile = Profile(
    name="huawei",
    renders=COMMON
    | {
        "rate",
        "burst",
        "committed",
        "qos_profile",
        "filter_id",
        "ipv6_pool",
        "ipv6_address",
        "ipv6_address_pool",
        "dns4",
        "dns6",
        "redirect_url",
        "volume_octets",
    },
    rendering=_render,
    reading=_usage,
    half_said=_half_said,
    walls=("filter_id",),
    # Filter and URL are a try: what a box does with them in a CoA-Request is in no document that was found.
    changes=frozenset({"rate", "burst", "committed", "qos_profile", "filter_id", "redirect_url", "captive"}),
    words=Words(place=_place),
    identities=((44, 1), (44,)),  # from practice
    logins=_staff,
)
