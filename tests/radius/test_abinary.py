"""Ascend filters; radclient says the same octets."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius import abinary, values
from radius.dictionary import shipped
from radius.errors import Unencodable

SAMPLES = {
    "ip in forward tcp est": "01010100" + "00" * 10 + "0601" + "00" * 16,
    "ip out drop srcip 10.1.2.0/24 dstip 192.168.0.1/32 udp srcport > 1023 dstport = 53": (
        "010000000a010200c0a800011820110003ff003503020000" + "00" * 8
    ),
    "ip in drop tcp srcport < 25 dstport != 80": "01000100" + "00" * 10 + "060000190050010400" + "00" * 9,
    "ip in forward dstip 10.0.0.0/8 icmp": "01010100000000000a00000000080100" + "00" * 16,
    "ip in forward": "010101" + "00" * 29,
    "ipv6 in redirect srcip 2001:db8::/32 89": "0320010020010db8" + "00" * 28 + "20005900" + "00" * 16,
}


@pytest.mark.parametrize(("text", "octets"), SAMPLES.items())
def test_a_filter_is_text_and_octets(text: str, octets: str) -> None:
    assert abinary.parse(text).hex() == octets
    assert abinary.parse(abinary.text(bytes.fromhex(octets)) or "").hex() == octets


@pytest.mark.skipif(shutil.which("radclient") is None, reason="radclient is not installed: freeradius-utils")
@pytest.mark.parametrize("text", [text for text in SAMPLES if text.startswith("ip ")])
def test_radclient_sends_the_same_octets(text: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        process = subprocess.Popen(
            ["radclient", "-r", "1", "-t", "0.1", address, "auth", "s"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        process.stdin.write(f'Ascend-Data-Filter = "{text}"\n'.encode())
        process.stdin.close()
        packet = server.recv(4096)
        process.wait(10)
    assert packet[28:].hex() == abinary.parse(text).hex()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ip sideways forward", "in.out forward.drop"),
        ("ipx in drop", "expected"),
        ("ip in drop srcip 2001:db8::/32", "an IPv4 network expected"),
        ("ip in drop tcp dstport = http", "a comparison .* and a port number expected"),
        ("ip in drop tcp dstport = 65536", "a port from 0 to 65535 expected"),
        ("ip in drop 256", "a protocol from 0 to 255 expected"),
        ("ip in drop srcip", "srcip does not fit"),
    ],
)
def test_says_what_is_wrong_with_a_filter(text: str, message: str) -> None:
    definition = shipped().by_name("Ascend-Data-Filter")
    assert definition is not None
    with pytest.raises(Unencodable, match=message):
        values.parse(text, definition)


@given(st.binary(max_size=60) | st.binary(min_size=32, max_size=32).map(lambda octets: b"\x01" + octets[1:]))
def test_text_of_a_filter_loses_nothing(octets: bytes) -> None:
    text = abinary.text(octets)
    assert text is None or abinary.parse(text) == octets
