"""A session on a NAS as the vendors' documents describe it: what it has, and what a CoA-Request makes of it."""

from __future__ import annotations

import re

from radius.grant import Rendered
from radius.rates import parse_mikrotik

# Session-Timeout, Idle-Timeout, Acct-Interim-Interval and volumes: no change of them is ever asked for.
PASSING = {(27,), (28,), (85,), (26, 14988, 17), (26, 14988, 18), (26, 2011, 15)}
CISCO_AVPAIR, CISCO_SERVICE, CISCO_COMMAND = (26, 9, 1), (26, 9, 250), (26, 9, 252)
ERX_ACTIVATE, ERX_DEACTIVATE, ERX_COS = (26, 4874, 65), (26, 4874, 66), (26, 4874, 108)
ALC_OVERRIDE, ALC_PORTAL, ALC_REMOVE = (26, 6527, 126), (26, 6527, 177), (26, 6527, 238)
ACCEL_VRF = (26, 55999, 1)
MIKROTIK_RATE, FILTER_ID = (26, 14988, 8), (11,)
ACCEL_RATE = re.compile(r"[0-9]+M?/[0-9]+M?")

Setting = tuple[tuple[int, ...], str]


class LiveSession:
    """What one session has, each thing once: `settings` by attribute and target, and the active services."""

    def __init__(self, accept: tuple[Rendered, ...]) -> None:
        self.settings: dict[Setting, list[str]] = {}
        self.services: set[str] = set()
        for each in accept:
            if each.oid not in PASSING:
                self._take(each.oid, text_of(each), fresh=False)

    def change(self, request: tuple[Rendered, ...]) -> None:
        """Apply a CoA-Request: an attribute replaces what the session had for the same target."""
        seen: set[Setting] = set()
        for each in request:
            value = text_of(each)
            if each.oid == CISCO_COMMAND:
                self._command(value)
            elif each.oid == ERX_DEACTIVATE:
                self.services.remove(value)
            elif each.oid == ALC_REMOVE:
                kind = tuple(int(part) for part in value.split("."))
                self.settings = {key: kept for key, kept in self.settings.items() if key[0] != kind}
            elif each.oid == ACCEL_VRF and value.startswith("0"):
                del self.settings[each.oid, ""]
            else:
                key = (each.oid, target_of(each.oid, value)[0])
                self._take(each.oid, value, fresh=key not in seen)
                seen.add(key)

    def _command(self, value: str) -> None:
        if value[0] == "\x0b":
            self.services.add(value[1:])
        else:
            assert value[0] == "\x0c"
            self.services.remove(value[1:])

    def _take(self, oid: tuple[int, ...], value: str, *, fresh: bool) -> None:
        if oid == CISCO_SERVICE:
            self.services.add(value.removeprefix("A"))
        elif oid == ERX_ACTIVATE:
            self.services.add(value[1:])
        else:
            target, setting = target_of(oid, value)
            held = self.settings.setdefault((oid, target), [])
            if fresh:
                held.clear()
            held.append(setting)


def text_of(each: Rendered) -> str:
    """Return the value of an attribute, one character for each octet."""
    return each.octets[2 if len(each.oid) == 1 else 8 :].decode("latin-1")


def target_of(oid: tuple[int, ...], value: str) -> tuple[str, str]:
    """Return what the attribute sets, where one type can set several things, and to what."""
    if oid == CISCO_AVPAIR:
        name, _, setting = value.partition("=")
        return name, setting
    if oid == ERX_COS:
        name, _, setting = value.partition(" ")
        return name, setting
    if oid == ALC_OVERRIDE:
        target, _, setting = value.rpartition(":")
        return target, setting.removesuffix(",cir=-2")
    if oid == MIKROTIK_RATE:
        return "", str(parse_mikrotik(value))
    if oid == FILTER_ID and ACCEL_RATE.fullmatch(value):
        return "", value.replace("M", "000")
    return "", value
