"""RouterOS console text: quoting that survives scripts, lines that compare, changes that are followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.routeros_text import BadChange, merged, parse, quote, unquote, words

EXPORT = """# 2026-11-21 10:00:00 by RouterOS 7.16
/interface vlan add interface=ether1 name=v7 vlan-id=7
/ip firewall address-list add address=192.0.2.1 comment="a b" list=x
/system identity set name=bng1
/interface ethernet set [ find default-name=ether1 ] name=wan
"""


@given(st.text())
def test_a_quoted_value_comes_back(value: str) -> None:
    quoted = quote(value.encode(errors="surrogatepass").decode(errors="replace"))
    assert quoted.isascii()
    assert unquote(quoted) == value.encode(errors="surrogatepass").decode(errors="replace")
    assert words(f"add name={quoted} x=1") == ["add", f"name={quoted}", "x=1"]


def test_what_means_something_in_a_script_is_escaped() -> None:
    assert quote('a"$x\\?\n;[b]') == '"a\\"\\$x\\\\\\?\\0A;[b]"'


def test_paths_with_spaces_slashes_and_menus_are_the_same() -> None:
    one = parse("/ip firewall address-list add list=x address=192.0.2.1")
    assert one == parse("/ip/firewall/address-list/add list=x address=192.0.2.1")
    assert one == parse("/ip firewall address-list\nadd list=x \\\n    address=192.0.2.1\n")


def _diff(change: str) -> tuple[set[str], set[str]]:
    before, after = merged(EXPORT, change)
    return set(before) - set(after), set(after) - set(before)


def test_a_change_is_followed_and_is_nothing_the_second_time() -> None:
    assert _diff("/interface vlan add name=v7 interface=ether1 disabled=no") == (set(), set())
    assert _diff("/system identity set name=bng2") == (
        {"/system/identity set name=bng1"},
        {"/system/identity set name=bng2"},
    )
    gone, come = _diff('/ip firewall address-list remove [find where comment="a b" and list=x]')
    assert (len(gone), come) == (1, set())
    gone, come = _diff("/interface vlan set [find name=v7] vlan-id=8")
    assert come == {"/interface/vlan add interface=ether1 name=v7 vlan-id=8"}
    gone, come = _diff("/interface ethernet set [find default-name=ether1] name=lan")
    assert come == {"/interface/ethernet set [find default-name=ether1] name=lan"}


@pytest.mark.parametrize(
    "line",
    [
        "/system reboot",
        ":put 1",
        "/ip address remove 0",
        "/ip address remove [find]",
        "/ip address set [:put 1] x=1",
        '/system identity set name="open',
        "/ppp secret set [find name=x] disabled=yes",
    ],
)
def test_what_cannot_be_followed_is_refused(line: str) -> None:
    with pytest.raises(BadChange):
        merged(EXPORT, line)
