"""JSON in one form only, so that both sides make the same octets of a value: for digests and signatures."""

from __future__ import annotations

import json

from daemon.sync.feed.model import Json


def canonical(value: Json) -> bytes:
    """Return a value as JSON with sorted keys, without white space, in UTF-8.

    Half a surrogate pair, which JSON can say and UTF-8 cannot, is written as its own three octets.
    Raises TypeError for what is no JSON, RecursionError for what is nested too deep.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")
