"""Nokia SR OS (vendor 6527): subscriber and SLA profiles, QoS overrides in kbit/s, pools by name.

SR OS sets up no host for a reply that names both an address and its pool, or a name that is too long; an
unknown profile name it replaces by a default without a word.

A walled garden is a filter with a redirect action; Alc-Portal-Url only replaces the address in that action.
In a live session Alc-Remove-Override gives filter, SLA profile and rates back to the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from radius.codes import Vendor
from radius.errors import Unencodable
from radius.grant import Grant, Privilege, Rendered
from radius.packet import VSA, Packet
from radius.usage import Ipv6Counters, Usage, read_with_ipv6
from radius.vendors import parts
from radius.vendors.base import COMMON, Profile, check_rates, kbps, refuse_rate_text, vendor
from radius.vendors.live import Place, Words, content

ACCESS = vendor(Vendor.NOKIA_SR, 1, "Timetra-Access")
PROFILE_NAME = vendor(Vendor.NOKIA_SR, 4, "Timetra-Profile", longest=32)
DEFAULT_ACTION = vendor(Vendor.NOKIA_SR, 5, "Timetra-Default-Action")
PRIMARY_DNS = vendor(Vendor.NOKIA_SR, 9, "Alc-Primary-Dns")
SECONDARY_DNS = vendor(Vendor.NOKIA_SR, 10, "Alc-Secondary-Dns")
SUBSCRIBER_PROFILE = vendor(Vendor.NOKIA_SR, 12, "Alc-Subsc-Prof-Str", longest=16)
SLA_PROFILE = vendor(Vendor.NOKIA_SR, 13, "Alc-SLA-Prof-Str", longest=16)
RETAIL_SERVICE = vendor(Vendor.NOKIA_SR, 17, "Alc-Retail-Serv-Id")
IPV6_ADDRESS = vendor(Vendor.NOKIA_SR, 99, "Alc-Ipv6-Address")
IPV6_PRIMARY_DNS = vendor(Vendor.NOKIA_SR, 105, "Alc-Ipv6-Primary-Dns")
IPV6_SECONDARY_DNS = vendor(Vendor.NOKIA_SR, 106, "Alc-Ipv6-Secondary-Dns")
QOS_OVERRIDE = vendor(Vendor.NOKIA_SR, 126, "Alc-Subscriber-QoS-Override")
DELEGATED_POOL = vendor(Vendor.NOKIA_SR, 131, "Alc-Delegated-IPv6-Pool", longest=32)
SUBSCRIBER_FILTER = vendor(Vendor.NOKIA_SR, 134, "Alc-Subscriber-Filter")
PORTAL_URL = vendor(Vendor.NOKIA_SR, 177, "Alc-Portal-Url")
SLAAC_POOL = vendor(Vendor.NOKIA_SR, 181, "Alc-SLAAC-IPv6-Pool", longest=32)
REMOVE_OVERRIDE = vendor(Vendor.NOKIA_SR, 238, "Alc-Remove-Override")
POOL = replace(parts.FRAMED_POOL, longest=32)
ADDRESS_POOL = replace(parts.FRAMED_IPV6_POOL, longest=32)  # SR OS reads it as the pool of IA_NA

IPV6_COUNTERS = Ipv6Counters(
    vendor=Vendor.NOKIA_SR, input_octets=195, output_octets=198, input_gigawords=196, output_gigawords=199
)
_UPLOAD_COUNTERS = (19, 20)  # Alc-Acct-I-Inprof-Octets-64 and -Outprof-
_DOWNLOAD_COUNTERS = (21, 22)
# The first octet says what is counted: a queue or a policer. Others (applications, for example) would
# count the same traffic a second time.
_QUEUE_OR_POLICER = (0x00, 0x80)
_REMOVABLE = (SLA_PROFILE.oid, QOS_OVERRIDE.oid, SUBSCRIBER_FILTER.oid)
# A number that names a filter: 0 is none, -1 no change, -2 that of the SLA profile.
_FILTER = re.compile(r"Ingr-v[46]:[1-9]", re.ASCII | re.IGNORECASE)
_CONSOLE = 2
_DENY_ALL = 2


def _render(grant: Grant) -> Iterator[Rendered]:
    refuse_rate_text(grant, "nokia")
    yield from parts.service(grant)
    if grant.group is not None:
        yield SUBSCRIBER_PROFILE.text(grant.group, "group")
    if grant.qos_profile is not None:
        yield SLA_PROFILE.text(grant.qos_profile, "qos_profile")
    yield from _rate(grant)
    yield from _vrf(grant)
    yield from _filter(grant)
    yield from parts.ipv4(grant, pool=POOL)
    yield from _ipv6(grant)
    yield from parts.routes(grant)
    yield from parts.dns4(grant, PRIMARY_DNS, SECONDARY_DNS)
    yield from parts.dns6_pair(grant, IPV6_PRIMARY_DNS, IPV6_SECONDARY_DNS)
    yield from parts.timers(grant)


def _rate(grant: Grant) -> Iterator[Rendered]:
    """Yield overrides of ingress queue 1 and of the egress aggregate rate.

    They change the queues of the SLA profile and add none, so both may be sent together.
    """
    rate = check_rates(grant, QOS_OVERRIDE.name)
    if rate is None:
        return
    upload = f"i:q:1:pir={kbps(rate.upload_bps)}"
    if grant.committed is not None:
        upload += f",cir={kbps(grant.committed.upload_bps)}"
    yield QOS_OVERRIDE.text(upload, "rate")
    yield QOS_OVERRIDE.text(f"e:r:rate={kbps(rate.download_bps)}", "rate")


def _vrf(grant: Grant) -> Iterator[Rendered]:
    if grant.vrf is None:
        return
    if not (grant.vrf.isascii() and grant.vrf.isdecimal() and len(grant.vrf) <= 10):
        why = f"vrf {grant.vrf!r} is no service number"
        raise Unencodable(RETAIL_SERVICE.name, why, "give the number of the retail service, for example 1000")
    yield RETAIL_SERVICE.integer(int(grant.vrf), "vrf", 1)


def _filter(grant: Grant) -> Iterator[Rendered]:
    if grant.captive and not _FILTER.search(grant.filter_id or ""):
        why = f"filter_id {grant.filter_id!r} puts no filter before what the subscriber sends"
        raise Unencodable("captive", why, "the garden needs a filter_id such as Ingr-v4:20,Ingr-v6:20")
    yield from parts.filter_id(grant, SUBSCRIBER_FILTER)
    yield from parts.redirect_url(grant, PORTAL_URL)


def _ipv6(grant: Grant) -> Iterator[Rendered]:
    if grant.ipv6_prefix is not None and grant.ipv6_prefix.prefixlen != 64:
        raise Unencodable(parts.FRAMED_IPV6_PREFIX.name, f"{grant.ipv6_prefix}: SR OS takes a /64 only")
    if grant.ipv6_delegated is not None and not 48 <= grant.ipv6_delegated.prefixlen <= 64:
        why = f"{grant.ipv6_delegated}: SR OS takes /48 to /64 only"
        raise Unencodable(parts.DELEGATED_IPV6_PREFIX.name, why)
    yield from parts.ipv6_prefix(grant, pool=SLAAC_POOL)
    yield from parts.ipv6_address(grant, fixed=IPV6_ADDRESS, pool=ADDRESS_POOL)
    yield from parts.ipv6_delegated(grant, pool=DELEGATED_POOL)


def _place(each: Rendered) -> tuple[Place, bytes]:
    """An override takes the place of the one for the same queue or aggregate."""
    value = content(each)
    if each.oid == QOS_OVERRIDE.oid:
        target, _, setting = value.rpartition(b":")
        return (each.oid, target), setting
    return each.oid, value


def _begin(each: Rendered, _wanted: Grant) -> Rendered:
    """Say that there is no committed rate, too: an older override of it may be in force."""
    value = content(each).decode()
    if each.oid == QOS_OVERRIDE.oid and value.startswith("i:q:") and ",cir=" not in value:
        return QOS_OVERRIDE.text(f"{value},cir=-2", each.source)
    return each


def _end(each: Rendered, wanted: Grant) -> tuple[Rendered, ...] | None:
    if each.oid in _REMOVABLE:
        return (REMOVE_OVERRIDE.text(".".join(map(str, each.oid)), each.source),)
    # Outside the garden no filter asks for the address of the portal.
    return () if each.oid == PORTAL_URL.oid and not wanted.captive else None


def _staff(privilege: Privilege, group: str | None) -> Iterator[Rendered]:
    """Yield console access and the profile whose rules apply, nothing beyond them.

    Every box has `administrative` and `default` (show, ping and the like), but none between the two.
    """
    built_in = {Privilege.READ: "default", Privilege.FULL: "administrative"}
    name = group or built_in.get(privilege)
    if name is None:
        why = "SR OS has no profile of its own for writing without administering"
        raise Unencodable(PROFILE_NAME.name, why, "name a profile of the router in group")
    yield ACCESS.integer(_CONSOLE, "privilege")
    yield PROFILE_NAME.text(name, "privilege" if group is None else "group")
    yield DEFAULT_ACTION.integer(_DENY_ALL, "privilege")


def _half_said(grant: Grant) -> tuple[str, ...]:
    return () if grant.committed is None else ("committed.download_bps",)


def _usage(packet: Packet) -> Usage:
    """Return the counters; the sum over queues and policers where the standard octets are absent."""
    usage = read_with_ipv6(packet, IPV6_COUNTERS)
    if VSA not in packet.spots or (usage.upload_octets is not None and usage.download_octets is not None):
        return usage
    upload = _sum(packet, _UPLOAD_COUNTERS) if usage.upload_octets is None else usage.upload_octets
    download = _sum(packet, _DOWNLOAD_COUNTERS) if usage.download_octets is None else usage.download_octets
    return usage._replace(upload_octets=upload, download_octets=download)


def _sum(packet: Packet, kinds: tuple[int, int]) -> int | None:
    counters = [
        int.from_bytes(value[2:], "big")
        for vendor_number, kind, value in packet.vendor_attributes()
        if vendor_number == Vendor.NOKIA_SR and kind in kinds
        if len(value) == 10 and value[0] in _QUEUE_OR_POLICER
    ]
    return sum(counters) if counters else None


PROFILE: Profile = Profile(
    name="nokia",
    renders=COMMON
    | {
        "rate",
        "committed",
        "qos_profile",
        "group",
        "filter_id",
        "ipv6_pool",
        "ipv6_address",
        "ipv6_address_pool",
        "dns4",
        "dns6",
        "redirect_url",
    },
    rendering=_render,
    reading=_usage,
    half_said=_half_said,
    walls=("filter_id",),
    changes=frozenset({"rate", "committed", "qos_profile", "group", "filter_id", "redirect_url", "captive"}),
    words=Words(place=_place, begin=_begin, end=_end),
    # Nokia's own order of priority, one set in a message; 8 stands with the port, or with the name.
    identities=((44,), (87, 8), (1, 8)),
    logins=_staff,
)
