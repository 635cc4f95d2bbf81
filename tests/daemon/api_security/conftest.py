"""One filled daemon for the tests that only ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.daemon.api_security.stage import Stage, stage


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A daemon whose two tenants have everything."""
    with stage(tmp_path_factory.mktemp("api")) as made:
        made.fill()
        yield made
