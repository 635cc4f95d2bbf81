"""The house rules that no linter knows: sizes, docstrings, names of packages, what an import costs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("radius", "config", "ipam", "drivers", "daemon")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST_MODULE = 400
# The composition root reads from top to bottom: every part is built, started and stopped there, and nowhere else.
LONGER: dict[str, int] = {}
TEXTS = (".py", ".md", ".toml", ".yml", ".yaml", ".sh", ".c", ".service", ".conf", "")
# Absolute paths of somebody's machine have no place in a tree that others clone.
FOREIGN = re.compile(r"(?<![\w.}])/(?:work|home|Users)/\w")

_BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"uvloop", "scapy"}:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
        return None

sys.meta_path.insert(0, Blocker())
import daemon.app
print(daemon.app.__name__)
"""


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def sources() -> list[Path]:
    """Return the text files of the tree: what git knows or would take up, generated ones included."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.suffix in TEXTS and path.is_file()]


def python(code: str) -> str:
    """Run code in an interpreter of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_tree_is_looked_at() -> None:
    assert len(MODULES) > 80
    assert ROOT / "README.md" in sources()


def test_no_module_is_too_long() -> None:
    sizes = {relative(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: size for name, size in sizes.items() if size > LONGER.get(name, LONGEST_MODULE)} == {}


def test_each_module_says_what_it_is() -> None:
    assert [
        relative(path) for path in MODULES if ast.get_docstring(ast.parse(path.read_text())) is None
    ] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_nobody_else_provides_our_packages(package: str) -> None:
    assert set(packages_distributions()[package]) == {"dotmac-edge"}


def test_the_daemon_does_not_import_scapy() -> None:
    assert python("import sys, daemon.app; print('scapy' in sys.modules)") == "False"


def test_the_daemon_can_do_without_uvloop_and_scapy() -> None:
    assert python(_BLOCKED) == "daemon.app"


def test_help_does_not_import_the_daemon() -> None:
    code = "import sys, daemon.cli.main; print([n for n in ('daemon.app', 'httpx', 'sqlalchemy') if n in sys.modules])"
    assert python(code) == "[]"


def test_no_file_names_a_machine() -> None:
    own = Path(__file__)
    found = [
        relative(path)
        for path in sources()
        if path != own and FOREIGN.search(path.read_text(errors="replace"))
    ]
    assert found == []
