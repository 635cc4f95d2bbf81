"""How good the system's clock is, as the kernel knows it from whoever disciplines it (NTP, PTP)."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from ipam.kinds import ClockQuality

POLL_S = 60.0
"""How often to look."""
_STA_UNSYNC = 0x0040  # linux/timex.h
_TIME_ERROR = 5


class _Timeval(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("fraction", ctypes.c_long))


class _Timex(ctypes.Structure):
    """`struct timex` of linux/timex.h, with the reserved words at its end."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timeval),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@dataclass(frozen=True, slots=True)
class ClockState:
    """What the kernel says. `error_s` is the greatest error that it thinks possible, None where it is not known."""

    quality: ClockQuality
    error_s: float | None


def judge(state: int, status: int, maxerror_us: int) -> ClockState:
    """Return what the answer of adjtimex(2) means: its return value, `status` and `maxerror` (microseconds)."""
    if state < 0:
        return ClockState(ClockQuality.UNKNOWN, None)
    error_s = maxerror_us / 1e6
    if state == _TIME_ERROR or status & _STA_UNSYNC:
        return ClockState(ClockQuality.UNSYNCHRONISED, error_s)
    return ClockState(ClockQuality.SYNCHRONISED, error_s)


def read() -> ClockState:
    """Ask the kernel; nothing is changed, no privilege is needed. Elsewhere than on Linux it is not known."""
    if not sys.platform.startswith("linux"):
        return ClockState(ClockQuality.UNKNOWN, None)
    asked = _Timex()  # modes 0: only look
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
    except (OSError, AttributeError):
        return ClockState(ClockQuality.UNKNOWN, None)
    return judge(int(state), asked.status, asked.maxerror)
