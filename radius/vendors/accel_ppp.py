"""accel-ppp with its default shaper attribute: Filter-Id `download/upload` in kbit/s; VRF by vendor 55999.

The suffix `G` is never written: accel-ppp reads it as ten times too much. NAS-Port-Id, NAS-Port and
User-Name have side effects in an Accept and are not sent by this profile. There is no walled garden: the
attribute that redirects an IPoE session is whatever a site calls it, and for PPP there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from radius.codes import Vendor
from radius.errors import Unencodable
from radius.grant import Access, Grant, Rate, Rendered
from radius.vendors import parts
from radius.vendors.base import COMMON, Profile, check_rates, kbps, vendor
from radius.vendors.live import Words

VRF_NAME = vendor(Vendor.ACCEL_PPP, 1, "Accel-VRF-Name")

# A time range before the comma, then download and upload; both kbit/s, or with a suffix.
_LITERAL = re.compile(r"(?:([0-9]{1,9}),)?([0-9]{1,12})([kKmM]?)/([0-9]{1,12})([kKmM]?)")
_KBPS = {"": 1, "k": 1, "m": 1_000}


def _render(grant: Grant) -> Iterator[Rendered]:
    yield from parts.service(grant)
    yield from _rate(grant)
    if grant.vrf is not None:
        if grant.vrf.startswith("0"):
            raise Unencodable(VRF_NAME.name, f"vrf {grant.vrf!r}: accel-ppp takes a leading 0 for removal")
        yield VRF_NAME.text(grant.vrf, "vrf")
    yield from parts.ipv4(grant)
    # It reads neither Framed-IPv6-Address nor Framed-IPv6-Pool.
    if grant.ipv6_prefix is not None:
        yield from parts.ipv6_prefix(grant)
    if grant.ipv6_address is None:
        yield from parts.ipv6_address(grant)
    yield from parts.ipv6_delegated(grant)
    yield from parts.routes(grant)
    yield from parts.dns4(grant, parts.MS_PRIMARY_DNS, parts.MS_SECONDARY_DNS)
    yield from parts.dns6(grant)
    yield from parts.timers(grant)


def _rate(grant: Grant) -> Iterator[Rendered]:
    rate = check_rates(grant, parts.FILTER_ID.name)
    if grant.rate_text is not None:
        _check_text(grant.rate_text, rate)
        yield parts.FILTER_ID.text(grant.rate_text, "rate_text")
    elif rate is not None:
        yield parts.FILTER_ID.text(f"{kbps(rate.download_bps)}/{kbps(rate.upload_bps)}", "rate")


def _check_text(text: str, rate: Rate | None) -> None:
    meant = _read(text)
    if meant is None:
        remedy = "write download/upload in kbit/s, or with K or M"
        raise Unencodable(parts.FILTER_ID.name, f"rate_text {text!r} is no rate for accel-ppp", remedy)
    if rate is None or rate.download_bps == rate.upload_bps:
        return
    if meant[1:] == (kbps(rate.upload_bps), kbps(rate.download_bps)):
        why = f"rate_text {text!r} is the rate with upload and download swapped"
        raise Unencodable(parts.FILTER_ID.name, why, "accel-ppp wants the download first")


def _read(text: str) -> tuple[str, int, int] | None:
    """Return the time range, empty for none, the download and the upload in kbit/s; None for other texts."""
    match = _LITERAL.fullmatch(text)
    if match is None:
        return None
    return match[1] or "", int(match[2]) * _KBPS[match[3].lower()], int(match[4]) * _KBPS[match[5].lower()]


def _meaning(grant: Grant) -> object:
    if grant.rate_text is not None:
        return _read(grant.rate_text) or grant.rate_text
    if grant.rate is None:
        return None
    return "", kbps(grant.rate.download_bps), kbps(grant.rate.upload_bps)


def _begin(each: Rendered, wanted: Grant) -> Rendered | None:
    # A PPP session would keep, in the other VRF, the address that it has agreed on in this one.
    return None if each.oid == VRF_NAME.oid and wanted.access is Access.PPP else each


def _end(each: Rendered, wanted: Grant) -> tuple[Rendered, ...] | None:
    if each.oid != VRF_NAME.oid or wanted.access is Access.PPP:
        return None
    return (VRF_NAME.text("0", "vrf"),)


PROFILE: Profile = Profile(
    name="accel-ppp",
    renders=COMMON | {"rate", "ipv6_address_pool", "dns4", "dns6"},
    rendering=_render,
    walls=(),
    # A CoA-Request with Session-Timeout or Class would change nothing else; neither is ever sent here.
    changes=frozenset({"rate", "rate_text", "vrf"}),
    words=Words(begin=_begin, end=_end),
    meaning=_meaning,
    # All that are sent must match; `require-nas-identification` demands 32 or 4.
    identities=((44, 1, 32, 4), (44, 1)),
    logins=parts.staff,
)
