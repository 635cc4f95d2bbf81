"""Our dictionaries against those of Debian's freeradius-common, which are read unmodified."""

from __future__ import annotations

from pathlib import Path

import pytest

from radius.dictionary import SHIPPED, AttributeDef, Dictionary, Type, read, shipped
from radius.errors import DictionaryError

PACKAGE = Path("/usr/share/freeradius")
pytestmark = pytest.mark.skipif(
    not PACKAGE.is_dir(),
    reason="Debian's freeradius-common is not installed: apt-get install freeradius-common",
)

# Files that FreeRADIUS, too, refuses to read on their own; the text is what they lack.
LACKING = {
    "dictionary.freeradius.evs5": "VENDOR FreeRADIUS 11344\n",
    # Gives values to an attribute that is commented out: radclient refuses it in the same words.
    "dictionary.freedhcp": "ATTRIBUTE FreeDHCP-Opcode 256 byte\n",
}

# Ours, and why the package does not have it.
NOT_IN_PACKAGE = {
    "UBNT-Data-Rate-DL": "newer than Debian's release",
    "UBNT-Data-Rate-DL-Burst": "newer than Debian's release",
    "UBNT-Data-Rate-UL": "newer than Debian's release",
    "UBNT-Data-Rate-UL-Burst": "newer than Debian's release",
    "UBNT-Tunnel-Password-Entry": "newer than Debian's release",
    "UBNT-Tunnel-Password": "newer than Debian's release",
    "UBNT-Tunnel-Password-Keyid": "newer than Debian's release",
    "UBNT-Station-Keyid": "newer than Debian's release",
    "Accel-VRF-Name": "comes with accel-ppp",
}

# Which of the package's files each of ours has to match completely.
SOURCES = {
    "adsl-forum": "rfc4679",
    "nokia": "alcatel.sr",
    "redback": "ericsson.ab",
    "ascend": "ascend",
    "cambium": "cambium",
    "cisco": "cisco",
    "erx": "erx",
    "huawei": "huawei",
    "juniper": "juniper",
    "lucent": "lucent",
    "microsoft": "microsoft",
    "mikrotik": "mikrotik",
    "starent": "starent",
    "usr": "usr",
    "wimax": "wimax",
    "wispr": "wispr",
    "zte": "zte",
}
# fmt: off
RFCS = (
    2865, 2866, 2867, 2868, 2869, 3162, 3576, 3580, 4072, 4372, 4603, 4675, 4679, 4818, 4849, 5090,
    5176, 5447, 5580, 5607, 5904, 6519, 6572, 6677, 6911, 6929, 6930, 7055, 7155, 7268, 7499, 7930,
    8045, 8559,
)
# fmt: on


def facts(definition: AttributeDef) -> tuple[object, ...]:
    return (
        definition.name,
        definition.oid,
        definition.type,
        definition.length,
        definition.has_tag,
        definition.encrypt,
        definition.concat,
        definition.array,
        definition.flags,
        definition.vendor,
    )


@pytest.fixture(scope="module")
def package() -> Dictionary:
    return read(PACKAGE / "dictionary")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Dictionary:
    """Return what the package's vendor files build upon: the RFCs and the server's own attributes."""
    path: Path = tmp_path_factory.mktemp("base") / "dictionary"
    # RFC 5090 and IANA's file give Digest-Response different numbers; FreeRADIUS does not read the former.
    names = [f"rfc{number}" for number in RFCS if number != 5090] + ["iana", "freeradius.internal"]
    path.write_text("".join(f"$INCLUDE {PACKAGE}/dictionary.{name}\n" for name in names))
    return read(path)


def test_reads_the_package_as_a_whole(package: Dictionary) -> None:
    assert len(package) > 7000
    assert len(list(package.vendors())) > 150


def test_reads_each_file_of_the_package(base: Dictionary, tmp_path: Path) -> None:
    alone, failed = 0, {}
    for path in sorted(PACKAGE.glob("dictionary*")):
        try:
            read(path)
            alone += 1
            continue
        except DictionaryError:
            pass
        (tmp_path / "dictionary").write_text(f"{LACKING.get(path.name, '')}$INCLUDE {path}\n")
        try:
            read(tmp_path / "dictionary", base)
        except DictionaryError as error:
            failed[path.name] = str(error)
    assert failed == {}
    assert alone > 200


def test_a_file_that_freeradius_refuses_is_refused(base: Dictionary) -> None:
    for name, message in (("freeradius.evs5", "VENDOR FreeRADIUS expected"), ("freedhcp", "FreeDHCP-Opcode")):
        with pytest.raises(DictionaryError, match=message):
            read(PACKAGE / f"dictionary.{name}", base)


def test_our_attributes_are_the_package_s(package: Dictionary) -> None:
    digest = read(PACKAGE / "dictionary.rfc5090")  # not part of the package's own whole
    missing, different = set(), []
    for ours in shipped():
        theirs = digest.by_name(ours.name) or package.by_name(ours.name)
        if theirs is None:
            missing.add(ours.name)
        elif facts(ours) != facts(theirs):
            different.append((facts(ours), facts(theirs)))
    assert missing == set(NOT_IN_PACKAGE)
    assert different == []


def test_our_values_are_the_package_s(package: Dictionary) -> None:
    digest = read(PACKAGE / "dictionary.rfc5090")
    different = []
    for ours in shipped():
        theirs = digest.by_name(ours.name) or package.by_name(ours.name)
        numbers = {} if theirs is None else theirs.value_numbers
        for name, number in ours.value_numbers.items():
            if numbers.get(name) != number:
                different.append((ours.name, name, number, numbers.get(name)))
    assert different == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_vendor_file_of_ours_lacks_nothing(name: str, base: Dictionary) -> None:
    theirs = read(PACKAGE / f"dictionary.{SOURCES[name]}", base)
    ours = shipped()
    known = {each.name for each in base if each.vendor is None}
    lacking = [each.name for each in theirs if each.name not in known and ours.by_name(each.name) is None]
    assert lacking == []


@pytest.mark.parametrize("number", RFCS)
def test_no_attribute_of_an_rfc_is_lacking(number: int) -> None:
    lines = (PACKAGE / f"dictionary.rfc{number}").read_text().splitlines()
    names = [line.split()[1] for line in lines if line.startswith("ATTRIBUTE")]
    ours = shipped()
    assert [name for name in names if ours.by_name(name) is None] == []


@pytest.mark.parametrize(
    ("vendor", "number", "sizes"),
    [
        ("Mikrotik", 14988, (1, 1, False)),
        ("USR", 429, (4, 0, False)),
        ("Lucent", 4846, (2, 1, False)),
        ("Starent", 8164, (2, 2, False)),
        ("WiMAX", 24757, (1, 1, True)),
        ("UBNT", 41112, (1, 1, False)),
        ("Accel-PPP", 55999, (1, 1, False)),
    ],
)
def test_our_vendors_have_their_formats(vendor: str, number: int, sizes: tuple[int, int, bool]) -> None:
    found = shipped().vendor(number)
    assert found is not None
    assert (found.name, (found.type_size, found.length_size, found.continuation)) == (vendor, sizes)


def test_every_file_of_ours_is_included() -> None:
    included = {line.split()[1] for line in SHIPPED.read_text().splitlines() if line.startswith("$INCLUDE")}
    assert included == {path.name for path in SHIPPED.parent.iterdir()} - {"dictionary"}


def test_our_files_say_what_they_hold() -> None:
    for path in SHIPPED.parent.iterdir():
        assert path.read_text().startswith("# "), path.name


def test_no_container_of_ours_is_hidden() -> None:
    """Hiding goes around one value; a hidden TLV would never be taken apart."""
    assert [each.name for each in shipped() if each.type is Type.TLV and each.encrypt] == []
