"""NetBox, phpIPAM and plain CSV: what their exports say, what is noted, and what makes an import impossible."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.imports import netbox, phpipam, plain
from ipam.imports.json_rows import Envelope, objects
from ipam.imports.records import Imported, PrefixState, Refused, Source, Standing

Read = Callable[[Iterable[Source]], Imported | Refused]


def sources(*texts: str) -> list[Source]:
    return [
        Source(f"file{number}", text.splitlines(keepends=True)) for number, text in enumerate(texts, start=1)
    ]


def imported(read: Read, *texts: str) -> Imported:
    found = read(sources(*texts))
    assert isinstance(found, Imported), found
    return found


def refused(read: Read, *texts: str) -> list[str]:
    found = read(sources(*texts))
    assert isinstance(found, Refused), found
    return [str(each) for each in found.problems]


PREFIXES_CSV = """Prefix,Status,Children,VRF,Tenant,Scope,Role,Pool,Description
10.0.0.0/8,Container,2,Global,,,,False,everything
10.1.0.0/16,Active,0,customers,Acme,Lagos,dynamic,True,"PPPoE, north"
2001:db8::/32,Reserved,0,,,,,,
"""
PREFIXES_JSON = {
    "count": 3,
    "next": None,
    "previous": None,
    "results": [
        {
            "id": 1,
            "family": {"value": 4, "label": "IPv4"},
            "prefix": "10.0.0.0/8",
            "vrf": None,
            "status": {"value": "container", "label": "Container"},
            "is_pool": False,
            "description": "everything",
        },
        {
            "id": 2,
            "prefix": "10.1.0.0/16",
            "vrf": {
                "id": 3,
                "url": "https://netbox/api/",
                "display": "customers (65000:1)",
                "name": "customers",
            },
            "tenant": {"id": 1, "display": "Acme", "name": "Acme", "slug": "acme"},
            "scope": {"id": 9, "name": "Lagos"},
            "role": {"id": 2, "name": "dynamic", "slug": "dynamic"},
            "status": {"value": "active", "label": "Active"},
            "is_pool": True,
            "description": "PPPoE, north",
        },
        {"id": 3, "prefix": "2001:db8::/32", "vrf": None, "status": {"value": "reserved"}, "is_pool": None},
    ],
}


@pytest.mark.parametrize(
    "text",
    [
        PREFIXES_CSV,
        PREFIXES_CSV.replace(",", ";").replace("PPPoE;", "PPPoE,"),
        "\ufeff\n" + PREFIXES_CSV.replace("\n", "\r\n"),
        json.dumps(PREFIXES_JSON),
        json.dumps(PREFIXES_JSON, indent=2),
        json.dumps(PREFIXES_JSON["results"]),
    ],
    ids=["csv", "semicolons", "bom", "json", "pretty", "list"],
)
def test_netbox_prefixes_are_the_same_in_every_form(text: str) -> None:
    container, pool, reserved = imported(netbox.read, text).prefixes
    assert (str(container.prefix), container.state, container.vrf) == (
        "10.0.0.0/8",
        PrefixState.CONTAINER,
        "",
    )
    assert (str(pool.prefix), pool.vrf, pool.tenant, pool.site) == (
        "10.1.0.0/16",
        "customers",
        "Acme",
        "Lagos",
    )
    assert (pool.role, pool.whole, pool.description) == ("dynamic", True, "PPPoE, north")
    assert (str(reserved.prefix), reserved.state) == ("2001:db8::/32", PrefixState.RESERVED)


ADDRESSES = [
    {
        "address": "10.1.0.1/16",
        "status": {"value": "active"},
        "dns_name": "",
        "assigned_object": {"display": "ge-0/0/0", "name": "ge-0/0/0", "device": {"name": "bng1"}},
    },
    {"address": "10.1.0.2/16", "status": {"value": "reserved"}, "dns_name": "spare.example"},
    {"address": "10.1.0.3/16", "status": {"value": "deprecated"}},
    {"address": "10.1.0.4/16", "status": {"value": "dhcp"}},
    {"address": "2001:db8::1/64", "status": {"value": "active"}, "description": "loopback"},
]


def test_netbox_addresses_become_reservations_and_dynamic_ones_are_noted() -> None:
    found = imported(netbox.read, json.dumps(ADDRESSES))
    assert [(str(each.block), each.standing, each.owner) for each in found.reservations] == [
        ("10.1.0.1/32", Standing.FIXED, "bng1 ge-0/0/0"),
        ("10.1.0.2/32", Standing.RESERVED, "spare.example"),
        ("10.1.0.3/32", Standing.DISABLED, ""),
        ("2001:db8::1/128", Standing.FIXED, "loopback"),
    ]
    assert [each.got for each in found.notes] == ["dhcp"]


def test_netbox_ranges_become_pools_or_reservations() -> None:
    text = (
        "start_address,end_address,status,role,vrf\n"
        "10.1.1.0/16,10.1.2.255/16,active,pppoe,customers\n"
        "10.1.3.0/16,10.1.3.9/16,reserved,,customers\n"
        "10.2.0.1/24,10.2.0.9/24,active,,\n"
    )
    found = imported(netbox.read, text)
    assert [(each.pool, str(each.first), str(each.last), each.vrf) for each in found.ranges] == [
        ("10.2.0.1-10.2.0.9", "10.2.0.1", "10.2.0.9", ""),
        ("pppoe", "10.1.1.0", "10.1.2.255", "customers"),
    ]
    assert [(str(each.block), str(each.last)) for each in found.reservations] == [
        ("10.1.3.0/32", "10.1.3.9/32")
    ]


def test_one_page_of_an_answer_is_refused() -> None:
    more = {**PREFIXES_JSON, "count": 400, "next": "https://netbox/api/ipam/prefixes/?offset=3"}
    said = refused(netbox.read, json.dumps(more))
    assert said == [
        "file1: next: got 3 of 400 objects; expected all of them; export with limit=0, or join the pages"
    ]
    short = {**PREFIXES_JSON, "count": 4}
    assert "3 of 4 objects" in refused(netbox.read, json.dumps(short))[0]


def test_a_state_that_somebody_added_is_refused_not_guessed() -> None:
    said = refused(netbox.read, "prefix,status\n10.0.0.0/8,Planned\n", "address,status\n10.0.0.1/8,Sold\n")
    assert said[0].startswith(
        "file1:2: status: got Planned; expected container, active, reserved, deprecated; "
    )
    assert said[1].startswith(
        "file2:2: status: got Sold; expected active, reserved, deprecated, dhcp, slaac; "
    )


def test_the_same_prefix_twice_in_a_vrf_names_both_places() -> None:
    said = refused(netbox.read, "prefix,vrf\n10.0.0.0/8,a\n10.0.0.0/8,b\n10.0.0.0/8,a\n")
    assert len(said) == 1
    assert said[0].startswith("file1:4: address: got 10.0.0.0/8; expected each block once in a VRF")
    assert "file1:2 already" in said[0]


@given(st.integers(1, len(json.dumps(PREFIXES_JSON)) - 1))
def test_json_that_is_cut_off_brings_nothing(cut: int) -> None:
    assert refused(netbox.read, json.dumps(PREFIXES_JSON, indent=1)[:cut])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"prefix": "10.0.0.0/8"}, 3]', "an object in the list"),
        ('[{"prefix": "10.0.0.0/8"} {"prefix": "10.0.0.0/8"}]', "a comma or the end of the list"),
        ('[{"prefix": "10.0.0.0/8"},]', "an object after the comma"),
        ('[{"prefix": "10.0.0.0/8"}] more', "nothing after the end"),
        ('{"detail": "Invalid token"}', "a list under one of results, data, items"),
        ('[\n{"prefix":\n nope}]', "JSON"),
        ('[{"subnet": "10.0.0.0"}]', "a column prefix or start_address or address or ip_address"),
        ("name,serial\nbng1,x\n", "a column prefix or start_address"),
        ("prefix,prefix\n10.0.0.0/8,1\n", "a header that names each column once"),
        ('prefix,status\n10.0.0.0/8,"active\n', "CSV"),
        ("", "a CSV with a header, or JSON"),
    ],
)
def test_a_broken_file_says_what_was_expected(text: str, said: str) -> None:
    assert said in refused(netbox.read, text)[0]


def test_the_place_of_a_problem_in_json_is_its_line() -> None:
    text = json.dumps([{"prefix": "10.0.0.0/8"}, {"prefix": "ten"}], indent=2)
    assert refused(netbox.read, text)[0].startswith("file1:5: prefix: got ten")


def test_a_large_json_is_read_object_by_object() -> None:
    def lines() -> Iterable[str]:
        yield '{"results": [\n'
        for number in range(30_000):
            comma = "," if number else ""
            yield f'{comma}{{"prefix": "10.{number >> 8}.{number & 255}.0/24", "description": "{"x" * 50}"}}\n'
        yield '], "count": 30000}\n'

    found = netbox.read([Source("big.json", lines())])
    assert isinstance(found, Imported)
    assert len(found.prefixes) == 30_000


def test_a_number_that_is_cut_by_the_window_is_read_whole() -> None:
    lines = ['{"results": [' + " " * 70_000 + '], "count": 1', "2}"]
    found = netbox.read([Source("answer.json", lines)])
    assert isinstance(found, Refused)
    assert found.problems[0].got == "0 of 12 objects"


def test_a_field_cannot_steer_the_terminal_of_its_reader() -> None:
    said = refused(netbox.read, '[{"prefix": "\\u001b[2Jx"}]')
    assert "\x1b" not in said[0]


SUBNETS = {
    "code": 200,
    "success": True,
    "data": [
        {"id": "1", "subnet": "", "mask": "", "description": "folder", "isFolder": "1", "vrfId": None},
        {
            "id": "2",
            "subnet": "10.1.0.0",
            "mask": "16",
            "description": "north",
            "isFolder": "0",
            "vrfId": "3",
        },
        {"id": "4", "subnet": "2001:db8::", "mask": "32", "isFolder": "0", "vrfId": "0"},
    ],
}
IP_ADDRESSES = {
    "code": 200,
    "success": 1,
    "data": [
        {"id": "7", "subnetId": "2", "ip": "10.1.0.1", "tag": "2", "owner": "anna", "hostname": "cpe1"},
        {"id": "8", "subnetId": "2", "ip": "167837698", "tag": "3", "owner": None, "hostname": "kept"},
        {"id": "9", "subnetId": "2", "ip": "10.1.0.3", "tag": "4"},
        {"id": "10", "subnetId": "4", "ip": "2001:db8::9", "tag": "1", "owner": "ben"},
    ],
}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_phpipam_addresses_have_the_vrf_of_their_subnet_whatever_comes_first(order: tuple[int, int]) -> None:
    texts = [json.dumps(SUBNETS), json.dumps(IP_ADDRESSES)]
    found = imported(phpipam.read, *(texts[each] for each in order))
    assert [(str(each.prefix), each.vrf) for each in found.prefixes] == [
        ("10.1.0.0/16", "3"),
        ("2001:db8::/32", ""),
    ]
    assert [(str(each.block), each.vrf, each.standing, each.owner) for each in found.reservations] == [
        ("10.1.0.1/32", "3", Standing.FIXED, "anna"),
        ("10.1.0.2/32", "3", Standing.RESERVED, "kept"),
        ("2001:db8::9/128", "", Standing.FIXED, "ben"),
    ]
    assert {each.got for each in found.notes} == {"1", "4"}


@pytest.mark.parametrize("mask", ["24", "/24", "255.255.255.0"])
def test_phpipam_writes_masks_in_three_ways(mask: str) -> None:
    found = imported(phpipam.read, f"Section,Subnet,Mask,VRF\nCustomers,10.0.0.0,{mask},default\n")
    assert [(str(each.prefix), each.role, each.vrf) for each in found.prefixes] == [
        ("10.0.0.0/24", "Customers", "")
    ]


def test_phpipam_csv_of_addresses_is_read_by_the_names_for_people() -> None:
    found = imported(
        phpipam.read, "IP address;IP state;Description;Hostname;Owner\n10.0.0.5;Reserved;x;h;anna\n"
    )
    assert [(str(each.block), each.owner) for each in found.reservations] == [("10.0.0.5/32", "anna")]


def test_phpipam_problems_are_all_said() -> None:
    bad = "ip,tag,subnetId\n10.0.0,2,2\n10.0.0.1,Sold,2\n10.0.0.2,2,99\n"
    said = refused(phpipam.read, json.dumps(SUBNETS), bad, "subnet,mask\n10.0.0.1,24\n10.0.0.0,\n")
    assert [each.split(";")[0] for each in said] == [
        "file2:2: ip: got 10.0.0",
        "file2:3: tag: got sold",
        "file3:2: subnet: got 10.0.0.1/24",
        "file3:3: subnet: got 10.0.0.0",
        "file2:4: subnetid: got 99",
    ]
    assert "subnet of these files" in said[-1]


def test_an_answer_of_phpipam_without_success_is_refused() -> None:
    text = json.dumps({"code": 403, "success": False, "message": "Invalid username"})
    assert "Invalid username" in refused(phpipam.read, text)[0]


PLAIN = """address,status,owner,description,pool,vrf,until
10.0.0.0/8,container,,all,,,
10.1.0.0/24,pool,,,main,,
10.1.1.4-10.1.1.9,pool,,,main,,
10.1.2.1,free,,,main,,
10.1.2.2,leased,anna,,main,,2026-01-02T00:00:00Z
10.1.2.3,leased,ben,,main,,
10.9.0.1,static,carl,web server,,,
10.8.0.0/29,fixed,dora,routed block,,,
10.9.0.5-10.9.0.7,excluded,,,,,
2001:db8::/56,leased,anna,,pd,,1767312000
"""


def test_a_plain_csv_says_all_kinds() -> None:
    found = imported(plain.read, PLAIN)
    assert [(str(each.prefix), each.state) for each in found.prefixes] == [
        ("10.0.0.0/8", PrefixState.CONTAINER)
    ]
    assert [(each.pool, str(each.first), str(each.last), each.length) for each in found.ranges] == [
        ("main", "10.1.0.0", "10.1.0.255", 32),
        ("main", "10.1.1.4", "10.1.1.9", 32),
        ("main", "10.1.2.1", "10.1.2.3", 32),
        ("pd", "2001:db8::", "2001:db8:0:ff:ffff:ffff:ffff:ffff", 56),
    ]
    assert [(str(each.block), each.owner, each.until) for each in found.leases] == [
        ("10.1.2.2/32", "anna", 1_767_312_000.0),
        ("10.1.2.3/32", "ben", None),
        ("2001:db8::/56", "anna", 1_767_312_000.0),
    ]
    assert [(str(each.block), str(each.last), each.standing, each.owner) for each in found.reservations] == [
        ("10.9.0.1/32", "10.9.0.1/32", Standing.FIXED, "carl"),
        ("10.8.0.0/29", "10.8.0.0/29", Standing.FIXED, "dora"),
        ("10.9.0.5/32", "10.9.0.7/32", Standing.DISABLED, ""),
    ]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("10.0.0.1/24,reserved,,,,,", "address"),
        ("10.0.0.9-10.0.0.1,pool,,,main,,", "address"),
        ("10.0.0.1-2001:db8::1,pool,,,main,,", "address"),
        ("bng1,reserved,,,,,", "address"),
        ("10.0.0.1,sold,,,,,", "status"),
        ("10.0.0.1,fixed,,,,,", "owner"),
        ("10.0.0.1,free,,,,,", "pool"),
        ("10.0.0.1,leased,anna,,main,,soon", "until"),
        ("10.0.0.1-10.0.0.4,leased,anna,,main,,", "status"),
        ("10.0.0.1-10.0.0.4,active,,,,,", "status"),
    ],
)
def test_a_row_that_cannot_be_mapped_names_its_field(row: str, field: str) -> None:
    said = refused(plain.read, PLAIN + row + "\n")
    assert [each.split(":")[1:3] for each in said] == [["12", f" {field}"]]


def test_unknown_columns_are_noted_once() -> None:
    found = imported(plain.read, "address,status,colour\n10.0.0.1,reserved,red\n10.0.0.2,reserved,blue\n")
    assert [each.field for each in found.notes] == ["colour"]


@given(
    st.lists(st.fixed_dictionaries({"prefix": st.text(max_size=12), "vrf": st.text(max_size=8)}), max_size=6),
    st.integers(0, 4),
)
def test_json_is_read_as_the_library_reads_it(values: list[dict[str, Any]], indent: int) -> None:
    """Whatever the layout, and however the lines are cut."""
    text = json.dumps({"success": True, "data": values}, indent=indent or None)
    cut = [text[spot : spot + 7] for spot in range(0, len(text), 7)]
    assert [each for _, each in objects(Source("x", cut), Envelope())] == values
