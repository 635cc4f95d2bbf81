"""The OpenAPI document of the API port: `python -m daemon.api.document > docs/openapi.json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, cast

from daemon.api.application import api_app
from daemon.api.security.desk import Security
from daemon.api.services import Services


class _Nothing:
    """Stands for the owners of the facts: routes are made of them, and none is asked."""

    def __getattr__(self, name: str) -> _Nothing:
        return _Nothing()

    def __iter__(self) -> Iterator[_Nothing]:
        return iter(())


def document() -> dict[str, Any]:
    """Return the document of this version."""
    services, security = cast("Services", _Nothing()), cast("Security", _Nothing())
    made = api_app(services, version("dotmac-edge"), security).openapi()
    for schema in made["components"]["schemas"].values():
        if "enum" in schema:
            schema.pop("description", None)  # that of the class, which a compiled one has not
    return made


def text() -> str:
    """Return the document as the file has it."""
    return json.dumps(document(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
