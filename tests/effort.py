"""How hard random tests try: briefly in every run, long with `make soak`."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("DOTMAC_EDGE_THOROUGH"))


def effort(few: int, many: int) -> int:
    """Return how often to try."""
    return many if THOROUGH else few
