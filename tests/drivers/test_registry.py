"""Drivers are found by name; nothing is imported before, and a broken plugin harms only itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from drivers import registry
from drivers.base import Driver
from drivers.registry import IN_TREE, BadDriver

_PLUGINS = """
import sys
sys.path.insert(0, sys.argv[1])
from drivers import registry
found = {name: registry.find(name) for name in registry.names() if name in ("acme", "broken", "wrong", "frr")}
for name, driver in sorted(found.items()):
    print(name, type(driver).__name__, getattr(driver, "reason", ""))
"""


def test_every_driver_of_the_tree_is_what_its_line_says() -> None:
    for name, module in IN_TREE:
        driver = registry.find(name)
        assert isinstance(driver, Driver)
        assert driver.name == name
        assert registry.source(name) == module
    assert registry.names()[: len(IN_TREE)] == tuple(name for name, _ in IN_TREE)
    assert registry.find("no-such") is None
    assert registry.source("no-such") == ""


def test_names_cost_no_import() -> None:
    code = "import sys; from drivers import registry; registry.names(); print('asyncssh' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_drivers_of_other_packages_are_found_and_bad_ones_explained(tmp_path: Path) -> None:
    (tmp_path / "acme_edge.py").write_text("from drivers.emulator.acme import DRIVER\n")
    (tmp_path / "broken_edge.py").write_text("import nothing_of_that_name\n")
    info = tmp_path / "acme_edge-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-edge\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[dotmac_edge.drivers]\nacme = acme_edge:DRIVER\nbroken = broken_edge:DRIVER\n"
        "wrong = acme_edge:__name__\nfrr = acme_edge:DRIVER\n"
    )
    command = [sys.executable, "-c", _PLUGINS, str(tmp_path)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].split() == ["acme", "Driver"]
    assert lines[1].startswith("broken BadDriver cannot be imported: ModuleNotFoundError")
    assert lines[2].split() == ["frr", "Driver"]  # the tree's own, whatever others bring
    assert lines[3].startswith("wrong BadDriver expected a drivers.base.Driver, got str")
    assert BadDriver.__doc__
