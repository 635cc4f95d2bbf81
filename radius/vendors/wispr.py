"""WISPr attributes (vendor 14122), bit/s: hotspots and access points, also of Ubiquiti and Cambium.

WISPr-Redirection-URL is no wall: it names the page that a browser is sent to once, after the login (so say
RouterOS's manual and CoovaChilli's code). What walls a session in is a filter of the access point.
"""

from __future__ import annotations

from collections.abc import Iterator

from radius.codes import Vendor
from radius.grant import Grant, Rendered
from radius.vendors import parts
from radius.vendors.base import COMMON, Profile, check_rates, refuse_rate_text, refuse_vrf, vendor
from radius.vendors.standard import RENDERS, attributes, unsaid_dns

MIN_UP = vendor(Vendor.WISPR, 5, "WISPr-Bandwidth-Min-Up")
MIN_DOWN = vendor(Vendor.WISPR, 6, "WISPr-Bandwidth-Min-Down")
MAX_UP = vendor(Vendor.WISPR, 7, "WISPr-Bandwidth-Max-Up")
MAX_DOWN = vendor(Vendor.WISPR, 8, "WISPr-Bandwidth-Max-Down")


def _render(grant: Grant) -> Iterator[Rendered]:
    refuse_rate_text(grant, "wispr")
    refuse_vrf(grant, "wispr")
    rate = check_rates(grant, MAX_DOWN.name)
    if rate is not None:
        yield MAX_UP.bits_per_second(rate.upload_bps, "rate")
        yield MAX_DOWN.bits_per_second(rate.download_bps, "rate")
    if grant.committed is not None:
        yield MIN_UP.bits_per_second(grant.committed.upload_bps, "committed")
        yield MIN_DOWN.bits_per_second(grant.committed.download_bps, "committed")
    yield from parts.redirect_url(grant, parts.WISPR_REDIRECTION_URL)
    yield from attributes(grant)


PROFILE: Profile = Profile(
    name="wispr",
    renders=COMMON | RENDERS | {"rate", "committed", "redirect_url", "dns4"},
    rendering=_render,
    half_said=unsaid_dns,
    walls=("filter_id",),
    # FortiGate and CoovaChilli change the bandwidth of a live session; of filters nothing is known.
    changes=frozenset({"rate", "committed"}),
    identities=((1, 44), (1, 31)),  # CoovaChilli requires User-Name
    logins=parts.staff,
)
