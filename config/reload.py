"""What a reload means: which changed settings take effect in the running daemon, which need a restart."""

from __future__ import annotations

from dataclasses import dataclass

from config import fields
from config.settings import Settings


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """Names of changed settings, such as `log.level`, in the order of the file."""

    live: tuple[str, ...]
    restart: tuple[str, ...]


def diff(old: Settings, new: Settings) -> ReloadPlan:
    """Return what differs; `restart` holds what the running daemon goes on doing the old way."""
    changed = [each for each in fields.settings().values() if _value(old, each) != _value(new, each)]
    tables = [
        f"{family}.{name}"
        for family in fields.families()
        for name in {**getattr(old, family), **getattr(new, family)}
        if getattr(old, family).get(name) != getattr(new, family).get(name)
    ]
    return ReloadPlan(
        live=tuple(each.name for each in changed if each.live),
        restart=(*(each.name for each in changed if not each.live), *tables),
    )


def _value(settings: Settings, setting: fields.Setting) -> object:
    value: object = getattr(getattr(settings, setting.section), setting.key)
    return value
