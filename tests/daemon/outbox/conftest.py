"""A store that knows where its file is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.conftest import Store


class PlacedStore(Store):
    """A store and its path."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


@pytest.fixture
def store(tmp_path: Path) -> PlacedStore:
    """A store that is not running yet."""
    return PlacedStore(tmp_path / "edge.db")
