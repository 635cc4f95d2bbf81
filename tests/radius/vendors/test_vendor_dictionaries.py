"""Everything that the profiles say, read with two dictionaries: ours, and FreeRADIUS's where it is installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from radius.codes import Code
from radius.definitions import Dictionary, Type
from radius.dictionary import read
from radius.grant import Access, Grant, Privilege, Rendered
from radius.tree import decode
from radius.vendors import names
from tests.radius.vendors.plans import COMMITTED, RATE, dictionary, packet, profile_of
from tests.radius.vendors.test_vendor_captive import GARDENS
from tests.radius.vendors.test_vendor_change import SOME, WITH_A_RATE
from tests.radius.vendors.test_vendor_golden import FIXED_REPLIES

PACKAGE = Path("/usr/share/freeradius")
NOT_IN_PACKAGE = {"Accel-VRF-Name"}
Said = tuple[Code, tuple[Rendered, ...]]


def sayings(name: str) -> list[Said]:
    """Return the logins, gardens, changes and staff logins of one vendor."""
    profile = profile_of(name)
    grants = [FIXED_REPLIES[name][0], Grant(volume_octets=50_000_000_000)]
    grants += [GARDENS[name][0]] if name in GARDENS else []
    said = [(Code.ACCESS_ACCEPT, profile.render(grant)) for grant in grants]
    said += [(Code.ACCESS_ACCEPT, profile.staff(privilege, "noc")) for privilege in Privilege]
    for field in sorted(profile.changes - {"captive"}):
        beside = {each: SOME[each][0] for each in WITH_A_RATE.get(field, ())}
        before, after = (Grant(access=Access.IPOE, **{**beside, field: value}) for value in SOME[field])
        change = profile.change(before, after)
        assert change
        said.append((Code.COA_REQUEST, change))
    ended = profile.change(Grant(rate=RATE, committed=COMMITTED, services=("A",)), Grant(services=("B",)))
    return said + ([(Code.COA_REQUEST, ended)] if ended else [])


def read_with(known: Dictionary, said: Said) -> list[str]:
    """Return the attributes by name; each has to be known, and to hold a value of its type."""
    lines = []
    for each in decode(packet(*said), known):
        assert not each.invalid
        assert not each.definition.name.startswith("Attr-")
        assert each.definition.type is not Type.OCTETS
        lines.append(each.text())
    return lines


@cache
def package() -> Dictionary:
    return read(PACKAGE / "dictionary")


@pytest.mark.parametrize("name", names())
def test_every_attribute_is_known_and_of_its_type(name: str) -> None:
    for said in sayings(name):
        assert len(read_with(dictionary(), said)) == len(said[1])


@pytest.mark.skipif(not PACKAGE.is_dir(), reason="Debian's freeradius-common is not installed")
@pytest.mark.parametrize("name", names())
def test_freeradius_reads_the_same(name: str) -> None:
    for said in sayings(name):
        theirs = [line for line in read_with(dictionary(), said) if line.split(" ")[0] not in NOT_IN_PACKAGE]
        known = (said[0], tuple(each for each in said[1] if each.oid[:2] != (26, 55999)))
        assert read_with(package(), known) == theirs
