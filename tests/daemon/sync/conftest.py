"""What the tests of data coming in share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from daemon.replica.index import Index
from daemon.replica.records import Record
from daemon.sync.check import Checked, check
from daemon.sync.document import read
from daemon.sync.records import to_record
from radius.dictionary import Dictionary, shipped


@pytest.fixture(scope="session")
def dictionary() -> Dictionary:
    return shipped()


@pytest.fixture
def record(dictionary: Dictionary) -> Callable[[str, dict[str, Any]], Record]:
    def make(kind: str, body: dict[str, Any]) -> Record:
        return to_record(kind, "demo", "x", body, dictionary)

    return make


@pytest.fixture
def checked(dictionary: Dictionary) -> Callable[..., Checked]:
    def run(text: str, name: str = "provider.yaml", index: Index | None = None, **options: Any) -> Checked:
        return check(read(text.encode(), name), index or Index(), dictionary, **options)

    return run
