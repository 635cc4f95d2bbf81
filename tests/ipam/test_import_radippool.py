"""FreeRADIUS' radippool: dumps of both databases and CSV bring the same records; half a dump brings none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv6Address, ip_network
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.imports import radippool
from ipam.imports.radippool import Options
from ipam.imports.records import Imported, LeaseRecord, RangeRecord, Refused, Source, Standing

MYSQL = r"""-- MySQL dump 10.13  Distrib 8.0.39, for Linux (x86_64)
--
-- Host: localhost    Database: radius
/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
DROP TABLE IF EXISTS `radcheck`;
CREATE TABLE `radcheck` (`id` int NOT NULL, `value` varchar(253) NOT NULL DEFAULT '', PRIMARY KEY (`id`));
INSERT INTO `radcheck` VALUES (1,'a;b'),(2,'it''s \'; INSERT INTO `radippool` VALUES (9)');
DROP TABLE IF EXISTS `radippool`;
CREATE TABLE `radippool` (
  `id` int unsigned NOT NULL AUTO_INCREMENT,
  `pool_name` varchar(30) NOT NULL,
  `framedipaddress` varchar(15) NOT NULL DEFAULT '',
  `nasipaddress` varchar(15) NOT NULL DEFAULT '',
  `calledstationid` varchar(30) NOT NULL DEFAULT '',
  `callingstationid` varchar(30) NOT NULL DEFAULT '',
  `expiry_time` datetime DEFAULT NULL,
  `username` varchar(64) NOT NULL DEFAULT '',
  `pool_key` varchar(30) NOT NULL DEFAULT '',
  PRIMARY KEY (`id`),
  KEY `radippool_poolname_expire` (`pool_name`,`expiry_time`)
) ENGINE=InnoDB AUTO_INCREMENT=5 DEFAULT CHARSET=utf8mb4;
/*!40000 ALTER TABLE `radippool` DISABLE KEYS */;
INSERT INTO `radippool` VALUES (1,'main','10.0.0.1','','','','0000-00-00 00:00:00','','0'),(2,'main','10.0.0.2',
'192.0.2.1','bras1','aa:bb','2026-01-02 00:00:00','o\'brien, \"x\"','7');
INSERT INTO `radippool` VALUES (3,'main','10.0.0.4','','','',NULL,'',''),
(4,'guests','10.9.0.1','','','','2026-01-01 00:00:00','','');
UNLOCK TABLES;
-- Dump completed on 2026-01-02  3:04:05
"""

POSTGRES = """--
-- PostgreSQL database dump
--
\\restrict jT5x9
SET statement_timeout = 0;
CREATE FUNCTION public.fr_allocate(v_pool character varying) RETURNS inet
    LANGUAGE plpgsql
    AS $$
DECLARE it's text; -- an odd number of quotes in a body
BEGIN
    INSERT INTO radippool VALUES (1);
END
$$;
CREATE TABLE public.radippool (
    id bigint NOT NULL,
    pool_name text NOT NULL,
    framedipaddress inet NOT NULL,
    nasipaddress text DEFAULT ''::text NOT NULL,
    calledstationid text DEFAULT ''::text NOT NULL,
    callingstationid text DEFAULT ''::text NOT NULL,
    expiry_time timestamp without time zone DEFAULT 'now'::timestamp without time zone NOT NULL,
    username text DEFAULT ''::text,
    pool_key text DEFAULT ''::text NOT NULL
);
"""

COPY = (
    POSTGRES
    + "COPY public.radcheck (id, value) FROM stdin;\n1\tnot ours;\n\\.\n"
    + "COPY public.radippool (id, pool_name, framedipaddress, nasipaddress, calledstationid, callingstationid, "
    + "expiry_time, username, pool_key) FROM stdin;\n"
    + "1\tmain\t10.0.0.1\t\t\t\t-infinity\t\t0\n"
    + '2\tmain\t10.0.0.2\t192.0.2.1\tbras1\taa:bb\t2026-01-02 00:00:00\to\'brien, "x"\t7\n'
    + "3\tmain\t10.0.0.4\t\t\t\t\\N\t\\N\t\n"
    + "4\tguests\t10.9.0.1\t\t\t\t2026-01-01 00:00:00\t\t\n"
    + "\\.\n\n-- PostgreSQL database dump complete\n"
)

INSERTS = (
    POSTGRES
    + "INSERT INTO public.radippool VALUES (1, 'main', '10.0.0.1', '', '', '', '-infinity', '', '0');\n"
    + "INSERT INTO public.radippool VALUES (2, 'main', '10.0.0.2', '192.0.2.1', 'bras1', 'aa:bb', "
    + "'2026-01-02 00:00:00', 'o''brien, \"x\"', '7');\n"
    + "INSERT INTO public.radippool (pool_name, framedipaddress, expiry_time) VALUES "
    + "('main', '10.0.0.4'::inet, NULL), ('guests', E'10.9.0.1', '2026-01-01 00:00:00'::timestamp) "
    + "ON CONFLICT DO NOTHING;\n-- PostgreSQL database dump complete\n"
)

CSV = '''pool_name,framedipaddress,nasipaddress,callingstationid,expiry_time,username,pool_key
main,10.0.0.1,,,,,0
main,10.0.0.2,192.0.2.1,aa:bb,2026-01-02 00:00:00,"o'brien, ""x""",7
main,10.0.0.4,,,,,
guests,10.9.0.1,,,2026-01-01 00:00:00,,
'''


CUT_OFF = "quote fields that hold the delimiter; is the file cut off?"


def source(text: str, name: str = "dump.sql") -> Source:
    return Source(name, text.splitlines(keepends=True))


def imported(text: str, options: Options | None = None) -> Imported:
    found = radippool.read([source(text)], options)
    assert isinstance(found, Imported), found
    return found


def refused(text: str, options: Options | None = None) -> Refused:
    found = radippool.read([source(text)], options)
    assert isinstance(found, Refused), found
    return found


def ends(ranges: Iterable[RangeRecord]) -> list[tuple[str, str, str]]:
    return [(each.pool, str(each.first), str(each.last)) for each in ranges]


@pytest.mark.parametrize("dump", [MYSQL, COPY, INSERTS, CSV], ids=["mysql", "copy", "inserts", "csv"])
def test_every_form_brings_the_same_book(dump: str) -> None:
    found = imported(dump)
    assert ends(found.ranges) == [
        ("guests", "10.9.0.1", "10.9.0.1"),
        ("main", "10.0.0.1", "10.0.0.2"),
        ("main", "10.0.0.4", "10.0.0.4"),
    ]
    assert found.leases == (
        LeaseRecord(
            block=ip_network("10.0.0.2/32"),
            owner='o\'brien, "x"',
            until=datetime(2026, 1, 2, tzinfo=UTC).timestamp(),
            pool="main",
            key="7",
            circuit="aa:bb",
            nas="192.0.2.1",
        ),
    )
    assert (found.prefixes, found.reservations) == ((), ())


VERSION_4 = """INSERT INTO radippool (pool_name, address, owner, gateway, expiry_time, status) VALUES
('main', '10.0.0.1', 'anna', 'bras1', '2026-01-02 00:00:00', 'dynamic'),
('main', '10.0.0.2', 'ben', '', NULL, 'static'),
('main', '10.0.0.3', '', '', NULL, 'declined'),
('main', '10.0.0.4', '', '', NULL, 'disabled'),
('pd', '2001:db8::/56', 'anna', 'bras1', 'infinity', 'dynamic'),
('pd', '2001:db8:0:100::/56', '', '', NULL, 'dynamic');
"""


def test_states_and_delegated_prefixes_of_version_4_are_kept() -> None:
    found = imported(VERSION_4)
    assert [(str(each.block), each.standing, each.owner) for each in found.reservations] == [
        ("10.0.0.2/32", Standing.FIXED, "ben"),
        ("10.0.0.3/32", Standing.DECLINED, ""),
        ("10.0.0.4/32", Standing.DISABLED, ""),
    ]
    assert found.ranges == (
        RangeRecord(pool="main", first=IPv4Address("10.0.0.1"), last=IPv4Address("10.0.0.4"), length=32),
        RangeRecord(
            pool="pd",
            first=IPv6Address("2001:db8::"),
            last=IPv6Address("2001:db8:0:1ff:ffff:ffff:ffff:ffff"),
            length=56,
        ),
    )
    assert [(str(each.block), each.until, each.nas) for each in found.leases] == [
        ("10.0.0.1/32", datetime(2026, 1, 2, tzinfo=UTC).timestamp(), "bras1"),
        ("2001:db8::/56", None, "bras1"),
    ]


def test_times_without_a_zone_are_of_the_zone_that_is_named() -> None:
    lagos = timezone(timedelta(hours=1))
    shifted = imported(CSV, Options(zone=lagos)).leases[0].until
    assert shifted == datetime(2026, 1, 2, tzinfo=lagos).timestamp()
    with_zone = CSV.replace("2026-01-02 00:00:00", "2026-01-02 00:00:00.5+03")
    assert imported(with_zone, Options(zone=lagos)).leases[0].until == pytest.approx(
        datetime(2026, 1, 1, 21, tzinfo=UTC).timestamp() + 0.5
    )


def test_all_problems_are_said_with_their_places_and_nothing_is_taken() -> None:
    text = CSV + "main,10.0.0,,,,,\n,10.0.0.9,,,,,\nmain,10.0.0.8,,,tomorrow,,\nmain,10.0.0.7,,\n"
    found = refused(text)
    assert found.count == 4
    assert [str(each) for each in found.problems] == [
        "dump.sql:6: framedipaddress: got 10.0.0; expected an address or a prefix",
        "dump.sql:7: pool_name: got nothing; expected the name of a pool",
        "dump.sql:8: expiry_time: got tomorrow; expected a time such as 2026-01-31 12:00:00, NULL or epoch seconds",
        "dump.sql:9: got 4 fields; expected 7 fields as in the header; " + CUT_OFF,
    ]


@pytest.mark.parametrize("dump", [MYSQL, COPY, INSERTS], ids=["mysql", "copy", "inserts"])
def test_a_dump_that_is_cut_off_anywhere_brings_nothing(dump: str) -> None:
    for cut in range(1, dump.rindex("-- ") + 6):
        assert isinstance(radippool.read([source(dump[:cut])]), Refused), dump[:cut][-60:]


def test_an_address_that_stands_twice_is_refused_with_both_places() -> None:
    found = refused(CSV + "guests,10.0.0.2,,,,,\n")
    assert "".join(map(str, found.problems)) == (
        "dump.sql:6: pool: got 10.0.0.2 in pool main and in pool guests; expected each address in one pool of a VRF; "
        "the other is in the rows from dump.sql:2; remove one of the two, or name a VRF for one of the pools"
    )
    apart = imported(CSV + "guests,10.0.0.2,,,,,\n", Options(vrf_of=lambda pool: pool))
    assert {each.vrf for each in apart.ranges} == {"main", "guests"}


def test_two_leases_of_one_address_are_refused() -> None:
    found = refused(CSV + "main,10.0.0.2,,cc:dd,2026-01-03 00:00:00,carl,\n")
    assert any("dump.sql:3 already" in str(each) for each in found.problems)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DROP TABLE `users`;\n", "the table radippool"),
        ("INSERT INTO radippool VALUES (1,'main','10.0.0.1');\n", "CREATE TABLE before it"),
        ("INSERT INTO radippool (a, b) VALUES (1);\n", "2: a, b"),
        ("INSERT INTO radippool (pool_name) VALUES (now());\n", "a string, a number or NULL"),
        ("INSERT INTO radippool (pool_name) SELECT 'x';\n", "VALUES"),
        ("COPY radippool (pool_name) FROM stdin WITH (FORMAT csv);\n", "text format"),
        ("", "a CSV with a header"),
        ("\n\n", "a CSV with a header"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(text: str, said: str) -> None:
    assert said in str(refused(text).problems[0])


def test_columns_that_are_not_taken_over_are_noted() -> None:
    found = imported(CSV.replace("pool_key", "port").replace("aa:bb", "aa:bc"))
    assert [each.field for each in found.notes] == ["port"]


def test_problems_are_counted_beyond_those_that_are_kept() -> None:
    found = refused("pool_name,address\n" + "main,x\n" * 1_500)
    assert (found.count, len(found.problems)) == (1_500, 1_000)


def test_a_million_addresses_become_few_ranges() -> None:
    def lines() -> Iterable[str]:
        yield "pool_name,framedipaddress,expiry_time\n"
        for number in range(100_000):
            yield f"main,{IPv4Address(0x0A000000 + number)},\n"

    found = radippool.read([Source("big.csv", lines())])
    assert isinstance(found, Imported)
    assert ends(found.ranges) == [("main", "10.0.0.0", "10.1.134.159")]


@given(st.lists(st.integers(0, 60), unique=True, min_size=1), st.integers())
def test_ranges_hold_each_address_once_whatever_the_order(numbers: list[int], seed: int) -> None:
    Random(seed).shuffle(numbers)
    text = "pool_name,address\n" + "".join(f"main,10.0.0.{number}\n" for number in numbers)
    found = imported(text)
    held = [
        value for each in found.ranges for value in range(int(each.first) & 0xFF, (int(each.last) & 0xFF) + 1)
    ]
    assert held == sorted(numbers)
    assert len(found.ranges) == sum(number + 1 not in numbers for number in numbers)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40))
def test_any_user_name_survives_a_dump(name: str) -> None:
    """Quoted as mysqldump and pg_dump do."""
    kept = name.strip()
    my = name
    for plain, escaped in (
        ("\\", "\\\\"),
        ("'", "\\'"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\x1a", "\\Z"),
    ):
        my = my.replace(plain, escaped)
    copied = name.replace("\\", "\\\\")
    for plain, letter in zip("\b\f\n\r\t\v", "bfnrtv", strict=True):
        copied = copied.replace(plain, "\\" + letter)
    head = "(pool_name, address, expiry_time, owner)"
    dumps = [
        f"/*!40101 SET NAMES utf8 */;\nINSERT INTO `radippool` {head} VALUES ('a','10.0.0.1','9',\n'{my}');\n",
        f"INSERT INTO radippool {head} VALUES ('a','10.0.0.1','9','{name.replace(chr(39), chr(39) * 2)}');\n",
        f"COPY radippool {head} FROM stdin;\na\t10.0.0.1\t9\t{copied}\n\\.\n",
    ]
    for dump in dumps:
        # A file is split at line feeds alone.
        lines = [line + "\n" for line in dump.split("\n")]
        found = radippool.read([Source("dump.sql", lines)])
        assert isinstance(found, Imported), found
        owners = [each.owner.strip() for each in found.leases]
        assert owners == ([kept] if name else [])
