"""A subscriber's VLAN on an access port of a Huawei switch, as the lines that are still missing."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.model import ServiceIntent, ServiceVerb
from drivers.vrp_text import Line, merged, text_of


class NotOurs(ValueError):
    """The intent cannot be met; the text says why."""


def service(intent: ServiceIntent, now: Sequence[Line]) -> str:
    """Return indented lines that bring the service about; empty if it is there. NotOurs if it cannot be.

    The port's description is the ownership marker. The VLAN itself is created and never removed: others may
    use it. Rates become `qos lr` in kbit/s, rounded up.
    """
    view = f"interface {intent.port}"
    if ((), view) not in now:
        raise NotOurs(f"there is no port {intent.port!r}")
    owner = next((line for views, line in now if views == (view,) and line.startswith("description ")), "")
    ours = owner == f"description {intent.key}"
    if owner and not ours:
        raise NotOurs(f"{intent.port} is not ours: {owner}; expected description {intent.key}")
    if not ours and intent.verb is ServiceVerb.REMOVE:
        return ""
    if not ours and intent.verb is not ServiceVerb.ADD:
        raise NotOurs(f"{intent.port} has no description {intent.key}")
    wanted = _wanted(intent, (view,))
    return text_of(each for each in wanted if merged(now, [each]) != list(now))


def _wanted(intent: ServiceIntent, view: tuple[str, ...]) -> list[Line]:
    lines: list[str]
    match intent.verb:
        case ServiceVerb.ADD:
            return _added(intent, view)
        case ServiceVerb.REMOVE:
            lines = [
                "undo port default vlan",
                "undo qos lr inbound",
                "undo qos lr outbound",
                "undo description",
            ]
        case ServiceVerb.SUSPEND:
            lines = ["shutdown"]
        case ServiceVerb.RESUME:
            lines = ["undo shutdown"]
        case _:
            raise NotOurs(f"a switch port cannot {intent.verb}")
    return [(view, line) for line in lines]


def _added(intent: ServiceIntent, view: tuple[str, ...]) -> list[Line]:
    if not intent.s_vlan or intent.c_vlan:
        raise NotOurs("an access port takes one VLAN: s_vlan, and no c_vlan")
    if not intent.key or any(letter in intent.key for letter in "?\n"):
        raise NotOurs("the key cannot be a description")
    lines = [f"description {intent.key}", "port link-type access", f"port default vlan {intent.s_vlan}"]
    rates = (("inbound", intent.upload_bps), ("outbound", intent.download_bps))
    lines += [f"qos lr {way} cir {-(-rate // 1000)}" for way, rate in rates if rate]
    return [((), f"vlan batch {intent.s_vlan}"), *((view, line) for line in lines)]
