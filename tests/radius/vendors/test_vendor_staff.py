"""Logins of staff to the devices themselves: what each vendor is told for reading, writing, administering."""

from __future__ import annotations

import pytest

from radius.errors import Unencodable
from radius.grant import Privilege
from radius.vendors import names
from tests.radius.vendors import peer
from tests.radius.vendors.plans import octets, profile_of, told

PROMPT = "Service-Type = NAS-Prompt-User"
ADMINISTRATIVE = "Service-Type = Administrative-User"
PLAIN = ([PROMPT], [ADMINISTRATIVE], [ADMINISTRATIVE])
READ, WRITE, FULL = Privilege.READ, Privilege.WRITE, Privilege.FULL

# For read, write and full.
TOLD: dict[str, tuple[list[str], ...]] = {
    "standard": PLAIN,
    "wispr": PLAIN,
    "accel-ppp": PLAIN,
    "mikrotik": (["Mikrotik-Group = read"], ["Mikrotik-Group = write"], ["Mikrotik-Group = full"]),
    "cisco": tuple([PROMPT, f"Cisco-AVPair = shell:priv-lvl={level}"] for level in (1, 7, 15)),
    "juniper": tuple([f"Juniper-Local-User-Name = {name}"] for name in ("RO", "OP", "SU")),
    "huawei": tuple([ADMINISTRATIVE, f"Huawei-Exec-Privilege = {level}"] for level in (1, 2, 3)),
}


@pytest.mark.parametrize("name", sorted(TOLD))
def test_each_privilege_has_its_words(name: str) -> None:
    assert tuple(told(profile_of(name).staff(privilege, None)) for privilege in Privilege) == TOLD[name]


def test_sr_os_is_told_what_it_demands_and_permits_nothing_else() -> None:
    access, nothing_else = "Timetra-Access = console", "Timetra-Default-Action = deny-all"
    profile = profile_of("nokia")
    assert told(profile.staff(READ, None)) == [access, "Timetra-Profile = default", nothing_else]
    assert told(profile.staff(FULL, None)) == [access, "Timetra-Profile = administrative", nothing_else]
    assert told(profile.staff(WRITE, "noc")) == [access, "Timetra-Profile = noc", nothing_else]
    with pytest.raises(Unencodable, match="group"):
        profile.staff(WRITE, None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("standard", ["060600000006"]),
        ("mikrotik", ["1a0c00003a8c0306" + b"full".hex()]),
        ("cisco", ["060600000007", "1a1900000009011373" + b"hell:priv-lvl=15".hex()]),
        ("juniper", ["1a0a00000a4c0104" + b"SU".hex()]),
        ("huawei", ["060600000006", "1a0c000007db1d0600000003"]),
        (
            "nokia",
            [
                "1a0c0000197f010600000002",
                "1a160000197f0410" + b"administrative".hex(),
                "1a0c0000197f050600000002",
            ],
        ),
        ("accel-ppp", ["060600000006"]),
        ("wispr", ["060600000006"]),
    ],
)
def test_full_privilege_is_these_octets(name: str, said: list[str]) -> None:
    assert octets(profile_of(name).staff(FULL, None)) == said


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("mikrotik", "Mikrotik-Group"),
        ("juniper", "Juniper-Local-User-Name"),
        ("nokia", "Timetra-Profile"),
    ],
)
@pytest.mark.parametrize("privilege", Privilege)
def test_a_group_names_the_role_on_the_device(name: str, attribute: str, privilege: Privilege) -> None:
    assert peer.read(profile_of(name).staff(privilege, "noc"))[attribute] == ["noc"]


@pytest.mark.parametrize("name", ["standard", "cisco", "huawei", "accel-ppp", "wispr"])
@pytest.mark.parametrize("privilege", Privilege)
def test_a_group_changes_nothing_where_devices_have_none(name: str, privilege: Privilege) -> None:
    profile = profile_of(name)
    assert profile.staff(privilege, "noc") == profile.staff(privilege, None)


@pytest.mark.parametrize("name", ["mikrotik", "juniper", "nokia"])
@pytest.mark.parametrize("group", ["n\noc", "x" * 248])
def test_a_group_that_does_not_fit_is_refused(name: str, group: str) -> None:
    with pytest.raises(Unencodable):
        profile_of(name).staff(READ, group)


@pytest.mark.parametrize("name", names())
def test_staff_is_never_framed(name: str) -> None:
    for line in told(profile_of(name).staff(FULL, "noc")):
        assert "Framed" not in line
