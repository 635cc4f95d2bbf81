"""Rates as text: platform spellings, and the rate string of RouterOS compared by meaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radius import rates
from radius.grant import Rate
from radius.rates import MikrotikRate, mikrotik_number, parse_mikrotik

BPS = st.integers(1, 400_000_000_000)
PAIRS = st.builds(Rate, download_bps=BPS, upload_bps=BPS)


@pytest.mark.parametrize(
    ("written", "bps"),
    [
        ("100Mbps", 100_000_000),
        ("1G", 1_000_000_000),
        ("1Gbps", 1_000_000_000),
        ("20M", 20_000_000),
        ("512k", 512_000),
        ("512 kbit/s", 512_000),
        ("2.5G", 2_500_000_000),
        ("100000", 100_000),
        (" 10 MBPS ", 10_000_000),
        ("100 Mb/s", 100_000_000),
        ("1T", 1_000_000_000_000),
        ("0.5k", 500),
        ("1 bit/s", 1),
    ],
)
def test_reads_every_published_spelling(written: str, bps: int) -> None:
    assert rates.parse(written) == bps


@pytest.mark.parametrize(
    "written",
    [
        "",
        "fast",
        "0",
        "0M",
        "-5M",
        "1.5",
        "1,5M",
        "10MB/s",
        "10 MiB",
        "1e6",
        "M",
        "9" * 19,
        "10M/20M",
        "1Kb ps",
    ],
)
def test_refuses_what_is_no_rate_and_says_what_is(written: str) -> None:
    with pytest.raises(ValueError, match="100Mbps"):
        rates.parse(written)


def test_platform_integers_are_kbit_per_second() -> None:
    assert rates.from_kbps(100_000) == 100_000_000


@pytest.mark.parametrize("kbps", [0, -1, True])
def test_refuses_platform_integers_that_are_no_rate(kbps: int) -> None:
    with pytest.raises(ValueError, match="kbit/s"):
        rates.from_kbps(kbps)


@pytest.mark.parametrize(
    ("bps", "said"),
    [
        (100_000_000, "100 Mbit/s"),
        (2_500_000_000, "2.5 Gbit/s"),
        (512_000, "512 kbit/s"),
        (1_500, "1.5 kbit/s"),
        (999, "999 bit/s"),
        (1_000_001, "1000.001 kbit/s"),
        (4_294_967_295, "4294967.295 kbit/s"),
        (0, "0 bit/s"),
    ],
)
def test_says_rates_for_people(bps: int, said: str) -> None:
    assert rates.text(bps) == said


@given(BPS)
def test_text_for_people_is_exact(bps: int) -> None:
    assert rates.parse(rates.text(bps)) == bps


@pytest.mark.parametrize(
    ("bps", "number"),
    [(1_000, "1k"), (1_500, "1500"), (1_000_000_000, "1000M"), (2_500_000, "2500k"), (0, "0"), (7, "7")],
)
def test_mikrotik_units_are_used_for_exact_multiples_only(bps: int, number: str) -> None:
    assert mikrotik_number(bps) == number


def rate(upload: int, download: int) -> Rate:
    return Rate(upload_bps=upload, download_bps=download)


@pytest.mark.parametrize(
    ("string", "meaning"),
    [
        ("128k", MikrotikRate(rate=rate(128_000, 128_000), minimum=rate(128_000, 128_000))),
        ("64k/128M", MikrotikRate(rate=rate(64_000, 128_000_000), minimum=rate(64_000, 128_000_000))),
        (
            "64k 256k",
            MikrotikRate(
                rate=rate(64_000, 64_000),
                burst=rate(256_000, 256_000),
                threshold=rate(64_000, 64_000),
                upload_burst_s=1,
                download_burst_s=1,
                minimum=rate(64_000, 64_000),
            ),
        ),
        (
            "64k/64k 256k/256k 128k/128k 10/10",
            MikrotikRate(
                rate=rate(64_000, 64_000),
                burst=rate(256_000, 256_000),
                threshold=rate(128_000, 128_000),
                upload_burst_s=10,
                download_burst_s=10,
                minimum=rate(64_000, 64_000),
            ),
        ),
        (
            "10M/50M 0/0 0/0 0/0 8 2M/10M",
            MikrotikRate(rate=rate(10_000_000, 50_000_000), minimum=rate(2_000_000, 10_000_000)),
        ),
        (
            "1M/2M 0/4M 1M/2M 5s/6s 3",
            MikrotikRate(
                rate=rate(1_000_000, 2_000_000),
                burst=rate(0, 4_000_000),
                threshold=rate(0, 2_000_000),
                download_burst_s=6,
                priority=3,
                minimum=rate(1_000_000, 2_000_000),
            ),
        ),
    ],
)
def test_reads_rate_strings_as_the_routeros_manual_says(string: str, meaning: MikrotikRate) -> None:
    assert parse_mikrotik(string) == meaning


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("20M/100M", "20000k/100000000"),
        ("10M", "10M/10M 0/0 0/0 0/0 8 10M/10M"),
        ("1M 2M", "1M/1M 2M/2M 1M/1M 1/1"),
    ],
)
def test_strings_of_one_meaning_compare_equal(one: str, other: str) -> None:
    assert parse_mikrotik(one) == parse_mikrotik(other)


@pytest.mark.parametrize(
    ("string", "said"),
    [
        ("", "upload"),
        ("1G/1G", "1000M"),
        ("1.5M", "whole number"),
        ("10M/", "whole number"),
        ("fast/slow", "whole number"),
        ("1M 2M 1M x", "burst time"),
        ("1M 2M 1M 1 9", "priority"),
        ("1M 2M 1M 1 8 2M", "minimum"),
        ("2M/1M 0 0 0 8 1M/2M", "minimum download"),
        ("1M 1M 1M 1 8 1M 1M", "upload"),
    ],
)
def test_refuses_wrong_rate_strings_and_names_the_part(string: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_mikrotik(string)


@given(
    PAIRS, st.none() | st.tuples(PAIRS, PAIRS, st.integers(1, 3_600)), st.integers(1, 8), st.integers(1, 100)
)
def test_rate_strings_survive_a_round_trip(
    limit: Rate, burst: tuple[Rate, Rate, int] | None, priority: int, divisor: int
) -> None:
    meant = MikrotikRate(
        rate=limit,
        burst=burst[0] if burst else None,
        threshold=burst[1] if burst else None,
        upload_burst_s=burst[2] if burst else 0,
        download_burst_s=burst[2] if burst else 0,
        priority=priority,
        minimum=rate(limit.upload_bps // divisor, limit.download_bps // divisor),
    )
    assert parse_mikrotik(meant.text()) == meant
