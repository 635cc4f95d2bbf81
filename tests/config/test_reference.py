"""What is written about the settings is what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from config import fields, reference
from config.load import load

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == reference.render(), "run: python -m config.reference > docs/config.md"


def test_the_module_prints_the_page() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "config.reference"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PAGE.parents[1],
    )
    assert done.stdout == reference.render()


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_each_block_of_the_page_loads(block: str, tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(block)
    assert load(tmp_path / "edge.toml", {}).settings.edge.name == "edge"


def test_the_example_listens_on_loopback_only() -> None:
    loaded = load(Path(str(files("config") / "examples" / "edge.toml")), {})
    settings = loaded.settings
    assert settings.radius.auth_addresses == (("127.0.0.1", 18120),)
    assert settings.radius.acct_addresses == (("127.0.0.1", 18130),)
    assert settings.api.address == ("127.0.0.1", 18080)
    assert settings.edge.state_dir == Path("var")
    assert settings.api.admin_socket == Path("var/admin.sock")
    assert [each.name for each in loaded.data_files] == ["provider.yaml"]
    assert settings.log.format == "console"
    assert {name for name, source in loaded.sources.items() if source != "default"} == {
        "edge.state_dir",
        "log.format",
        "radius.auth_listen",
        "radius.acct_listen",
        "api.listen",
        "api.admin_socket",
        "data.files",
    }


def test_every_setting_says_why_and_what_it_takes() -> None:
    for setting in fields.settings().values():
        assert len(setting.description) > 20, setting.name
        assert setting.expected, setting.name
