"""The page about writing drivers: its code is run, and its table names every hook there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from drivers.emulator.sample import SampleRouter
from drivers.hooks import Hooks
from drivers.redact import Secret
from drivers.target import Credentials
from tests.drivers.beds import PASSWORD, QUICK, USER, run, serving, target_of

PAGE = (Path(__file__).parents[2] / "docs" / "extending-drivers.md").read_text()


def _snippets() -> list[dict[str, Any]]:
    spaces = []
    for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        space: dict[str, Any] = {}
        exec(compile(code, "extending-drivers.md", "exec", dont_inherit=True), space)
        spaces.append(space)
    return spaces


def test_the_reading_driver_of_the_page_reads() -> None:
    async def work() -> None:
        driver = _snippets()[0]["DRIVER"]
        async with serving(SampleRouter()) as emulator, driver.session(target_of(emulator)) as session:
            assert "set ntp 192.0.2.1" in (await session.get_config()).text
            assert not session.capabilities.writes

    run(work)


def test_the_kit_is_called_as_the_page_says() -> None:
    async def work() -> None:
        async with serving(SampleRouter(scale=20)) as emulator:
            target = target_of(emulator, credentials=Credentials(USER, Secret(PASSWORD)), deadlines=QUICK)
            report = await _snippets()[1]["check"](target)
            assert report.may_write, report.failed

    run(work)


def test_every_hook_is_in_the_table() -> None:
    hooks = {name for name in vars(Hooks) if re.fullmatch(r"_[a-z]+", name)} - {"_cannot"}
    assert (
        hooks == set(re.findall(r"`(_[a-z]+)(?:\([^`]*\))?`", PAGE.partition("Class attributes")[0])) & hooks
    )
    assert len(hooks) >= 19
