"""A reply made ready to be sent: a grant rendered for one NAS, with its timers spread.

Sessions that began together would report, and end, together for ever; so the interim interval and the
session timeout come in eight versions that differ by a few per cent, picked by the session's number.
"""

from __future__ import annotations

from dataclasses import dataclass

from daemon.aaa.lease_attributes import without_pools
from daemon.replica.records import AttributeEdit, EditOp
from ipam.kinds import Kind
from radius.codes import Attr
from radius.grant import Grant, Rendered
from radius.packet import attribute
from radius.vendors.base import VendorProfile

_SPREAD = 8
_INTERIM = (int(Attr.ACCT_INTERIM_INTERVAL),)
_TIMEOUT = (int(Attr.SESSION_TIMEOUT),)
_WALLS = frozenset({"address_list", "filter_id", "services"})
_LEAST_INTERIM_S = 60  # RFC 2869 section 5.16
NOTHING: frozenset[Kind] = frozenset()


@dataclass(frozen=True, slots=True)
class Prepared:
    """The grant, its attributes with where each came from, and their octets in eight versions."""

    grant: Grant
    rendered: tuple[Rendered, ...]
    versions: tuple[bytes, ...]
    spread: float  # 0.1: timers differ by up to ten per cent

    def octets(self, uid: int) -> bytes:
        """Return the attributes for the session with that number."""
        return self.versions[uid & (_SPREAD - 1)]

    def sent(self, uid: int) -> tuple[Rendered, ...]:
        """Return the attributes as that session got them."""
        return tuple(_spread(each, uid & (_SPREAD - 1), self.spread) for each in self.rendered)


def prepare(
    grant: Grant,
    profile: VendorProfile,
    spread: float,
    *edits: tuple[str, tuple[AttributeEdit, ...]],
    leased: frozenset[Kind] = NOTHING,
) -> Prepared:
    """Return the reply for a grant: the vendor's attributes, then the raw edits of NAS, plan, subscriber.

    Of `leased` kinds the NAS's own pools are not named: each login adds the attributes of its leases. Raises
    Unencodable where the vendor cannot say what is granted.
    """
    rendered = list(profile.render(without_pools(grant, leased) if leased else grant))
    wall = {each.oid for each in rendered if grant.captive and each.source in _WALLS}
    for source, changes in edits:
        for edit in changes:
            if edit.oid in wall:
                continue  # a raw edit for all sessions of a NAS must not open the walled garden
            if edit.op is not EditOp.ADD:
                rendered = [each for each in rendered if each.oid != edit.oid]
            if edit.op is not EditOp.REMOVE:
                rendered.append(Rendered(edit.oid, edit.octets, f"{edit.op} by {source}"))
    plain = b"".join(each.octets for each in rendered)
    if spread and any(_spreads(each) for each in rendered):
        versions = tuple(
            b"".join(_spread(each, version, spread).octets for each in rendered) for version in range(_SPREAD)
        )
    else:
        versions = (plain,) * _SPREAD
    return Prepared(grant, tuple(rendered), versions, spread)


def _spreads(rendered: Rendered) -> bool:
    """Tell whether an attribute is a timer of the grant; one from a raw edit goes as it was given."""
    if rendered.oid == _INTERIM:
        return rendered.source == "interim_interval_s"
    return rendered.oid == _TIMEOUT and rendered.source == "session_timeout_s"


def _spread(rendered: Rendered, version: int, spread: float) -> Rendered:
    """Return a timer for one version: interims around their value, a timeout never above it."""
    if not spread or not _spreads(rendered):
        return rendered
    seconds = int.from_bytes(rendered.octets[2:6], "big")
    if rendered.oid == _INTERIM:
        seconds = max(_LEAST_INTERIM_S, round(seconds * (1 + spread * (2 * version / (_SPREAD - 1) - 1))))
    else:
        seconds = max(1, round(seconds * (1 - spread * version / (_SPREAD - 1))))
    return Rendered(rendered.oid, attribute(rendered.oid[0], seconds.to_bytes(4, "big")), rendered.source)
