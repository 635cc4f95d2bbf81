"""The index finds staff by user name and knows the zone of each tenant, through every change."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from zoneinfo import ZoneInfo

import pytest

from daemon.replica import index as module
from daemon.replica.codec import KINDS
from daemon.replica.index import Index
from daemon.replica.records import Secret, SecretKind, Staff, Tenant


def nora(key: str = "n1", username: str = "nora") -> Staff:
    return Staff(tenant="demo", id=key, username=username, secret=Secret(SecretKind.CLEARTEXT, b"p"))


@pytest.fixture
def index() -> Index:
    made = Index()
    made.put(Tenant(id="demo", timezone="Europe/Berlin"))
    return made


def test_staff_are_found_by_user_name_and_counted(index: Index) -> None:
    index.put(nora())
    assert index.tenants["demo"].staff == {b"nora": nora()}
    assert list(index.count()) == list(KINDS)
    assert index.count()["staff"] == 1
    assert list(index.records()) == [Tenant(id="demo", timezone="Europe/Berlin"), nora()]


def test_another_user_name_replaces_the_old_one(index: Index) -> None:
    index.put(nora())
    index.put(nora(username="norbert"))
    assert set(index.tenants["demo"].staff) == {b"norbert"}


def test_a_user_name_that_was_taken_over_stays_with_its_new_owner(index: Index) -> None:
    index.put(nora())
    index.put(nora("n2"))
    index.remove(Staff, "demo", "n1")
    index.remove(Staff, "demo", "nobody")
    assert index.tenants["demo"].staff == {b"nora": nora("n2")}
    index.remove(Staff, "demo", "n2")
    assert index.count()["staff"] == 0
    assert index.tenants["demo"].staff == {}


def test_the_zone_follows_the_tenant(index: Index) -> None:
    assert index.tenants["demo"].zone == ZoneInfo("Europe/Berlin")
    index.put(nora())
    index.put(Tenant(id="demo", timezone="Asia/Tokyo"))
    assert index.tenants["demo"].zone == ZoneInfo("Asia/Tokyo")
    assert index.count()["staff"] == 1


@pytest.mark.parametrize("name", ["Mars/Olympus", "../UTC", "", "Europe"])
def test_a_zone_that_this_machine_does_not_know_is_utc(index: Index, name: str) -> None:
    index.put(Tenant(id="demo", timezone=name))
    assert index.tenants["demo"].zone.key == "UTC"


def test_utc_needs_no_files() -> None:
    zone = ZoneInfo.from_file(BytesIO(module._UTC_FILE), key="UTC")
    at = datetime.fromtimestamp(1_700_000_000, zone)
    assert at.utcoffset() == datetime.now(UTC).utcoffset()
    assert (at.tzname(), at.hour) == ("UTC", 22)
