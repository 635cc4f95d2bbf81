"""The walled garden of each vendor, and that nobody gets one that is not there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from radius.errors import Unencodable
from radius.grant import Access, Grant, Rate
from radius.vendors import names
from tests.radius.vendors import peer
from tests.radius.vendors.plans import FIXED, octets, profile_of, told

PORTAL = "https://pay.isp.example/"
GARDEN = Grant(
    captive=True,
    redirect_url=PORTAL,
    rate=Rate(download_bps=1_000_000, upload_bps=256_000),
    session_timeout_s=300,
)
FILTERED = replace(GARDEN, filter_id="GARDEN")
SERVICED = replace(GARDEN, services=("GARDEN({download_m})",))
LISTED = replace(GARDEN, address_list="suspended")
NOKIA = replace(GARDEN, filter_id="Ingr-v4:20,Ingr-v6:21")

URL = PORTAL.encode()
PPP = ["Service-Type = Framed-User", "Framed-Protocol = PPP"]
TIMEOUT = "Session-Timeout = 300"

# What the reply says, and the octets of what walls the session in.
GARDENS: dict[str, tuple[Grant, list[str], list[str]]] = {
    "standard": (FILTERED, [*PPP, "Filter-Id = GARDEN", TIMEOUT], ["0b08" + b"GARDEN".hex()]),
    "mikrotik": (
        LISTED,
        [*PPP, "Mikrotik-Rate-Limit = 256k/1M", "Mikrotik-Address-List = suspended", TIMEOUT],
        ["1a1100003a8c130b" + b"suspended".hex()],
    ),
    "cisco": (
        SERVICED,
        [*PPP, "Cisco-Account-Info = AGARDEN(1)", TIMEOUT],
        ["1a1200000009fa0c" + b"AGARDEN(1)".hex()],
    ),
    "juniper": (
        SERVICED,
        [*PPP, "ERX-Service-Activate:1 = GARDEN(1)", TIMEOUT],
        ["1a120000130a410c01" + b"GARDEN(1)".hex()],
    ),
    "huawei": (
        FILTERED,
        [
            *PPP,
            "Huawei-Input-Average-Rate = 256000",
            "Huawei-Input-Peak-Rate = 256000",
            "Huawei-Output-Average-Rate = 1000000",
            "Huawei-Output-Peak-Rate = 1000000",
            "Filter-Id = GARDEN",
            f"Huawei-HTTP-Redirect-URL = {PORTAL}",
            TIMEOUT,
        ],
        ["0b08" + b"GARDEN".hex(), "1a20000007db8c1a" + URL.hex()],
    ),
    "nokia": (
        NOKIA,
        [
            *PPP,
            "Alc-Subscriber-QoS-Override = i:q:1:pir=256",
            "Alc-Subscriber-QoS-Override = e:r:rate=1000",
            "Alc-Subscriber-Filter = Ingr-v4:20,Ingr-v6:21",
            f"Alc-Portal-Url = {PORTAL}",
            TIMEOUT,
        ],
        ["1a1d0000197f8617" + b"Ingr-v4:20,Ingr-v6:21".hex(), "1a200000197fb11a" + URL.hex()],
    ),
    "wispr": (
        FILTERED,
        [
            "WISPr-Bandwidth-Max-Up = 256000",
            "WISPr-Bandwidth-Max-Down = 1000000",
            f"WISPr-Redirection-URL = {PORTAL}",
            *PPP,
            "Filter-Id = GARDEN",
            TIMEOUT,
        ],
        ["1a200000372a041a" + URL.hex(), "0b08" + b"GARDEN".hex()],
    ),
}
WALLED = sorted(GARDENS)
WALLS = {"address_list", "filter_id", "services", "redirect_url"}


def refusal(name: str, grant: Grant) -> Unencodable:
    with pytest.raises(Unencodable) as caught:
        profile_of(name).render(grant)
    return caught.value


def test_every_vendor_but_accel_ppp_has_a_garden() -> None:
    assert set(names()) - set(GARDENS) == {"accel-ppp"}


@pytest.mark.parametrize("name", WALLED)
def test_the_garden_says_this(name: str) -> None:
    grant, said, walls = GARDENS[name]
    rendered = profile_of(name).render(grant)
    assert told(rendered) == said
    assert octets(tuple(each for each in rendered if each.source in WALLS)) == walls
    assert "captive" not in profile_of(name).unsaid(grant)


@pytest.mark.parametrize("name", ["huawei", "nokia", "wispr"])
def test_pyrad_reads_the_portal(name: str) -> None:
    reply = peer.read(profile_of(name).render(GARDENS[name][0]))
    attribute = {"huawei": "Huawei-HTTP-Redirect-URL", "nokia": "Alc-Portal-Url"}.get(
        name, "WISPr-Redirection-URL"
    )
    assert reply[attribute] == [PORTAL]


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("standard", "the garden needs a filter_id"),
        ("mikrotik", "the garden needs an address_list or a filter_id"),
        ("cisco", "the garden needs services or a filter_id"),
        ("juniper", "the garden needs services or a filter_id"),
        ("huawei", "the garden needs a filter_id"),
        ("nokia", "the garden needs a filter_id"),
        ("wispr", "the garden needs a filter_id"),
        ("accel-ppp", "reject such subscribers on this NAS instead"),
    ],
)
def test_a_garden_without_a_wall_is_refused_and_says_what_it_needs(name: str, needed: str) -> None:
    error = refusal(name, GARDEN)
    assert (error.attribute, error.remedy) == ("captive", needed)


# A portal, a pool, a slow rate or a short session keep nobody in.
NO_WALLS = replace(FIXED, captive=True, redirect_url=PORTAL, ipv4_pool="GARDEN", group="1000")


@pytest.mark.parametrize("name", names())
def test_what_a_plan_has_anyway_is_no_wall(name: str) -> None:
    assert refusal(name, NO_WALLS).attribute == "captive"
    profile_of(name).render(replace(NO_WALLS, captive=False))


@pytest.mark.parametrize("name", ["standard", "cisco", "juniper", "huawei", "nokia", "wispr", "accel-ppp"])
def test_the_wall_of_another_vendor_is_no_wall(name: str) -> None:
    assert refusal(name, LISTED).attribute == "captive"


@pytest.mark.parametrize("name", ["standard", "mikrotik", "huawei", "nokia", "wispr", "accel-ppp"])
def test_services_wall_nobody_in_where_there_are_none(name: str) -> None:
    assert refusal(name, SERVICED).attribute == "captive"


@pytest.mark.parametrize("name", names())
def test_an_empty_name_is_no_wall(name: str) -> None:
    with pytest.raises(Unencodable):
        profile_of(name).render(replace(GARDEN, filter_id="", address_list="", services=()))


@pytest.mark.parametrize("text", ["GARDEN", "Ingr-v4:0", "Ingr-v4:-1", "Ingr-v4:-2,Egr-v4:20", "Egr-v4:20"])
def test_a_filter_that_sr_os_would_not_put_up_is_no_wall(text: str) -> None:
    error = refusal("nokia", replace(GARDEN, filter_id=text))
    assert (error.attribute, repr(text) in error.why) == ("captive", True)
    profile_of("nokia").render(Grant(filter_id=text))


def test_a_hotspot_is_told_the_portal_and_a_ppp_session_has_no_use_for_it() -> None:
    profile = profile_of("mikrotik")
    hotspot = replace(LISTED, access=Access.IPOE)
    assert f"WISPr-Redirection-URL = {PORTAL}" in told(profile.render(hotspot))
    assert "redirect_url" not in profile.unsaid(hotspot)
    assert not any(line.startswith("WISPr") for line in told(profile.render(LISTED)))
    assert profile.unsaid(LISTED) == ("redirect_url",)


@pytest.mark.parametrize("name", ["standard", "cisco", "juniper"])
def test_a_vendor_without_an_attribute_for_the_portal_says_so(name: str) -> None:
    assert "redirect_url" in profile_of(name).unsaid(GARDENS[name][0])


def test_the_portal_has_to_fit() -> None:
    grant = replace(FILTERED, redirect_url="https://pay.isp.example/" + "x" * 224)
    assert refusal("huawei", grant).attribute == "Huawei-HTTP-Redirect-URL"


@pytest.mark.parametrize(
    ("volume", "low", "high"), [(1, 1, 0), (2**32 - 1, 2**32 - 1, 0), (50_000_000_000, 2_755_359_744, 11)]
)
def test_mikrotik_is_told_the_volume_in_two_parts(volume: int, low: int, high: int) -> None:
    rendered = profile_of("mikrotik").render(Grant(volume_octets=volume))
    reply = peer.read(rendered)
    assert reply["Mikrotik-Total-Limit"] == [low]
    assert reply["Mikrotik-Total-Limit-Gigawords"] == [high]
    assert octets(rendered[-2:]) == [f"1a0c00003a8c1106{low:08x}", f"1a0c00003a8c1206{high:08x}"]


@pytest.mark.parametrize(("volume", "kilobytes"), [(1, 1), (1_024, 1), (2_047, 1), (10 * 2**30, 10 * 2**20)])
def test_huawei_is_told_the_volume_in_whole_kilobytes(volume: int, kilobytes: int) -> None:
    rendered = profile_of("huawei").render(Grant(volume_octets=volume))
    assert peer.read(rendered)["Huawei-Remanent-Volume"] == [kilobytes]
    assert octets(rendered[-1:]) == [f"1a0c000007db0f06{kilobytes:08x}"]


def test_huawei_counts_to_four_tebibytes_and_more_is_left_to_the_daemon() -> None:
    most = (2**32 - 1) * 1_024 - 1
    profile = profile_of("huawei")
    assert peer.read(profile.render(Grant(volume_octets=most)))["Huawei-Remanent-Volume"] == [2**32 - 2]
    # One more would read as no limit at all.
    beyond = Grant(volume_octets=most + 1)
    assert "Huawei-Remanent-Volume" not in peer.read(profile.render(beyond))
    assert (profile.unsaid(Grant(volume_octets=most)), profile.unsaid(beyond)) == ((), ("volume_octets",))


@pytest.mark.parametrize("name", ["mikrotik", "huawei"])
@pytest.mark.parametrize("volume", [0, -1])
def test_no_volume_left_is_never_sent_as_no_limit(name: str, volume: int) -> None:
    assert "volume_octets" in refusal(name, Grant(volume_octets=volume)).why


@pytest.mark.parametrize("name", sorted(set(names()) - {"mikrotik", "huawei"}))
def test_the_others_leave_the_volume_unsaid(name: str) -> None:
    assert profile_of(name).unsaid(Grant(volume_octets=1)) == ("volume_octets",)
