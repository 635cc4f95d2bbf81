"""Which drivers there are: those in the tree, named by hand, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from drivers.base import Driver

API = 1
GROUP = "dotmac_edge.drivers"

# name of the driver, module that holds its DRIVER. A module is imported when its driver is asked for.
IN_TREE: tuple[tuple[str, str], ...] = (
    ("accel-ppp", "drivers.accel_ppp"),
    ("eos", "drivers.eos"),
    ("frr", "drivers.frr"),
    ("ios", "drivers.ios"),
    ("iosxr", "drivers.iosxr"),
    ("junos", "drivers.junos"),
    ("linux", "drivers.linux"),
    ("routeros", "drivers.routeros"),
    ("sros", "drivers.sros"),
    ("vrp5", "drivers.vrp5"),
    ("vrp8", "drivers.vrp8"),
    ("vyos", "drivers.vyos"),
)


@dataclass(frozen=True, slots=True)
class BadDriver:
    """A driver that is announced and cannot be used; `reason` is for people."""

    name: str
    source: str
    reason: str


def names() -> tuple[str, ...]:
    """Return the names of all drivers, those in the tree first. Nothing is imported."""
    own = [name for name, _ in IN_TREE]
    return (*own, *sorted({point.name for point in _points()} - set(own)))


def source(name: str) -> str:
    """Return where a driver comes from: its module, with the distribution for one from outside; empty if unknown."""
    for known, module in IN_TREE:
        if known == name:
            return module
    point = next((each for each in _points() if each.name == name), None)
    if point is None:
        return ""
    return f"{point.value} ({point.dist.name})" if point.dist else point.value


def find(name: str) -> Driver | BadDriver | None:
    """Return the driver of this name, why it cannot be used, or None. A broken plugin harms only itself."""
    for known, module in IN_TREE:
        if known == name:
            driver = import_module(module).DRIVER
            assert isinstance(driver, Driver)
            return driver
    point = next((each for each in _points() if each.name == name), None)
    return None if point is None else _loaded(point)


def _points() -> Iterator[EntryPoint]:
    own = {name for name, _ in IN_TREE}
    return (point for point in entry_points(group=GROUP) if point.name not in own)


def _loaded(point: EntryPoint) -> Driver | BadDriver:
    try:
        found = point.load()
    except Exception as error:  # noqa: BLE001 - a stranger's import may raise anything
        return BadDriver(point.name, point.value, f"cannot be imported: {type(error).__name__}: {error}")
    if not isinstance(found, Driver):
        return BadDriver(
            point.name, point.value, f"expected a drivers.base.Driver, got {type(found).__name__}"
        )
    if found.api != API:
        return BadDriver(point.name, point.value, f"speaks driver API {found.api}, this is {API}")
    if found.name != point.name:
        return BadDriver(point.name, point.value, f"calls itself {found.name!r}")
    return found
