"""Rates as text: what people and platforms write, and the rate string of RouterOS.

The unit inside is bit/s, prefixes are decimal (k = 1,000). Every platform spelling is read once, here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from radius.grant import Rate

ACCEPTED = "a rate such as 100Mbps, 20M, 512 kbit/s, 2.5G or plain bit/s"

_MULTIPLIER = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "t": 1_000_000_000_000}
_RATE = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{1,12})?)\s*([kmgt]?)\s*(?:bps|bits?/s|bits?|b/s)?",
    re.ASCII | re.IGNORECASE,
)
_OCTETS = re.compile(r"B/s$")
_NAMES = (
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1_000),
)

MIKROTIK_FORM = "upload[/download] [burst [threshold [time [priority [minimum]]]]], in bit/s, k or M"
_MIKROTIK_RATE = re.compile(r"([0-9]{1,15})([kKmM]?)")
_MIKROTIK_TIME = re.compile(r"([0-9]{1,6})s?")
_NOTHING = Rate(download_bps=0, upload_bps=0)


def parse(text: str) -> int:
    """Return the bit/s that `text` says: `100Mbps`, `1G`, `512 kbit/s`, `2.5G`, `100000` (plain bit/s).

    Upper and lower case are the same, except that `B/s` is refused: it means octets. Raises ValueError,
    saying what is accepted, for anything else, for zero and for fractions of a bit.
    """
    stripped = text.strip()
    match = _RATE.fullmatch(stripped)
    if match is None or _OCTETS.search(stripped):
        raise ValueError(f"{text!r} is not {ACCEPTED}")
    rate = Decimal(match[1]) * _MULTIPLIER[match[2].lower()]
    if rate != rate.to_integral_value() or not 0 < rate < 2**63:
        raise ValueError(f"{text!r} is not a whole number of bit/s above 0; write {ACCEPTED}")
    return int(rate)


def from_kbps(kbps: int) -> int:
    """Return bit/s for an integer in kbit/s, the unit of the platform's integers; ValueError below 1."""
    if isinstance(kbps, bool) or kbps < 1:
        raise ValueError(f"{kbps!r} is not a rate in kbit/s of at least 1")
    return kbps * 1_000


def text(bps: int) -> str:
    """Return `bps` for people, exactly: `100 Mbit/s`, `2.5 Gbit/s`, `1500 bit/s` as `1.5 kbit/s`."""
    for name, size in _NAMES:
        if bps >= size and bps % (size // 1_000) == 0:
            whole, part = divmod(bps, size)
            fraction = f"{part * 1_000 // size:03d}".rstrip("0")
            return f"{whole}.{fraction} {name}" if fraction else f"{whole} {name}"
    return f"{bps} bit/s"


@dataclass(frozen=True, slots=True, kw_only=True)
class MikrotikRate:
    """What a RouterOS rate string means, defaults filled in, so that two strings compare by meaning.

    A zero in `rate` is RouterOS's "no limit", a zero in `burst` is "no burst"; `burst` is None where
    neither direction bursts, and then `threshold` is None and both times are 0.
    """

    rate: Rate
    burst: Rate | None = None
    threshold: Rate | None = None
    upload_burst_s: int = 0
    download_burst_s: int = 0
    priority: int = 8  # 1 is the highest
    minimum: Rate  # RouterOS calls it limit-at; equals `rate` where the string does not say it

    def text(self) -> str:
        """Return the shortest string that means this, upload first: `20M/100M`."""
        parts = [_pair(self.rate)]
        tail = self.priority != 8 or self.minimum != self.rate
        if self.burst is not None and self.threshold is not None:
            parts += [_pair(self.burst), _pair(self.threshold)]
            parts.append(f"{self.upload_burst_s}/{self.download_burst_s}")
        elif tail:
            parts += ["0/0", "0/0", "0/0"]
        if tail:
            parts += [str(self.priority), _pair(self.minimum)]
        return " ".join(parts)


def mikrotik_number(bps: int) -> str:
    """Return `bps` as RouterOS reads it: `M` and `k` only for exact multiples, else plain bit/s."""
    if bps and bps % 1_000_000 == 0:
        return f"{bps // 1_000_000}M"
    if bps and bps % 1_000 == 0:
        return f"{bps // 1_000}k"
    return str(bps)


def parse_mikrotik(text: str) -> MikrotikRate:
    """Return what a Mikrotik-Rate-Limit string means; rx, the first of each pair, is the upload.

    Defaults are those of the RouterOS manual: download as upload where it is left out, threshold as the
    rate, time 1 s, priority 8, minimum as the rate. Raises ValueError that names the wrong part.
    """
    parts = text.split()
    if not 1 <= len(parts) <= 6:
        raise ValueError(f"{text!r} is not {MIKROTIK_FORM}")
    rate = _rates(parts[0])
    burst = _rates(parts[1]) if len(parts) > 1 else _NOTHING
    threshold = _rates(parts[2]) if len(parts) > 2 else rate
    upload_s, download_s = _times(parts[3]) if len(parts) > 3 else (1, 1)
    priority = _priority(parts[4]) if len(parts) > 4 else 8
    minimum = _rates(parts[5]) if len(parts) > 5 else rate
    if rate.upload_bps and minimum.upload_bps > rate.upload_bps:
        raise ValueError(f"{text!r}: the minimum upload is above the upload")
    if rate.download_bps and minimum.download_bps > rate.download_bps:
        raise ValueError(f"{text!r}: the minimum download is above the download")
    if burst == _NOTHING:
        return MikrotikRate(rate=rate, priority=priority, minimum=minimum)
    return MikrotikRate(
        rate=rate,
        burst=burst,
        threshold=Rate(
            upload_bps=threshold.upload_bps if burst.upload_bps else 0,
            download_bps=threshold.download_bps if burst.download_bps else 0,
        ),
        upload_burst_s=upload_s if burst.upload_bps else 0,
        download_burst_s=download_s if burst.download_bps else 0,
        priority=priority,
        minimum=minimum,
    )


def _pair(rate: Rate) -> str:
    return f"{mikrotik_number(rate.upload_bps)}/{mikrotik_number(rate.download_bps)}"


def _rates(part: str) -> Rate:
    upload, _, download = part.partition("/")
    if "/" not in part:
        download = upload
    return Rate(upload_bps=_bps(upload), download_bps=_bps(download))


def _bps(number: str) -> int:
    match = _MIKROTIK_RATE.fullmatch(number)
    if match is not None:
        return int(match[1]) * _MULTIPLIER[match[2].lower()]
    if number[-1:] in ("G", "g") and number[:-1].isdecimal():
        # The manual knows k and M only, and accel-ppp reads G as ten times too much.
        raise ValueError(f"{number!r} uses G; write {int(number[:-1]) * 1_000}M")
    raise ValueError(f"{number!r} is not a whole number of bit/s, k or M")


def _times(part: str) -> tuple[int, int]:
    upload, _, download = part.partition("/")
    both = [_MIKROTIK_TIME.fullmatch(each) for each in (upload, download if "/" in part else upload)]
    if both[0] is None or both[1] is None:
        raise ValueError(f"{part!r} is not a burst time in seconds")
    return int(both[0][1]), int(both[1][1])


def _priority(part: str) -> int:
    if part not in ("1", "2", "3", "4", "5", "6", "7", "8"):
        raise ValueError(f"{part!r} is not a priority; 1 (highest) to 8")
    return int(part)
