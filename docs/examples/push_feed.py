"""A platform's side of a pushed feed: send all objects of a file to an edge, as one snapshot. Run it, or read it.

    EDGE_KEY=k1f2.secret python docs/examples/push_feed.py https://pop7.example pop7 objects.json --epoch e1 --rev 7

The file is a JSON list of {"kind", "id", "body"}. Pages may be sent again, and so may everything: an edge that is told
twice is where it was when it was told once.
"""  # noqa: INP001 - an example, in no package

from __future__ import annotations

import argparse
import hashlib
import json
import os
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PAGE = 500  # an edge takes 1,000 items a page, and 1 MiB
SCHEMA = 1


def canonical(value: Any) -> bytes:
    """Return the one form of JSON that is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def trailer_of(objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return what the edge compares with what it got: objects by kind, and a digest for each of 256 buckets."""
    buckets = [0] * 256
    counts: Counter[str] = Counter()
    for each in objects:
        kind, name = each["kind"], each["id"]
        digest = hashlib.sha256(canonical([kind, name, SCHEMA, each["body"]])).digest()[:16]
        bucket = hashlib.sha256(f"{kind}/{name}".encode()).digest()[0]
        buckets[bucket] ^= int.from_bytes(digest, "big")
        counts[kind] += 1
    return {"counts": dict(counts), "digests": [each.to_bytes(16, "big").hex() for each in buckets]}


def post(url: str, key: str, octets: bytes, media_type: str = "application/json") -> Any:
    """Send something and return the answer; urllib.error.HTTPError where it is refused."""
    request = urllib.request.Request(url, octets, {"X-Api-Key": key, "Content-Type": media_type})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the address is the operator's
        return json.load(answer)


def push(edge: str, feed: str, key: str, epoch: str, rev: int, objects: list[dict[str, Any]]) -> Any:
    """Send a snapshot; return where the feed is then."""
    base = f"{edge}/api/v1/sync/feeds/{feed}/snapshots"
    begun = post(base, key, canonical({"epoch": epoch, "start_rev": rev}))
    page = f"{base}/{begun['snapshot']}/pages?cursor="
    for first in range(0, len(objects), PAGE):
        lines = [
            canonical(
                {"k": each["kind"], "id": each["id"], "op": "put", "schema": SCHEMA, "body": each["body"]}
            )
            for each in objects[first : first + PAGE]
        ]
        post(f"{page}{first + PAGE}", key, b"\n".join(lines), "application/x-ndjson")
    return post(f"{base}/{begun['snapshot']}/finish", key, canonical(trailer_of(objects)))


def main() -> None:
    """Push one file."""
    parser = argparse.ArgumentParser(description="Push all objects of a file to an edge.")
    parser.add_argument("edge", help="such as https://pop7.example:8443")
    parser.add_argument("feed")
    parser.add_argument("file")
    parser.add_argument("--epoch", required=True, help="a name for this numbering")
    parser.add_argument("--rev", type=int, required=True, help="the revision as of which the file is")
    asked = parser.parse_args()
    read = json.loads(Path(asked.file).read_text(encoding="utf-8"))
    objects = [each | {"body": each.get("body") or {}} for each in read]
    done = push(asked.edge, asked.feed, os.environ["EDGE_KEY"], asked.epoch, asked.rev, objects)
    print(f"{asked.feed} is at {done['position']['epoch']}:{done['position']['rev']}")  # noqa: T201
    for each in done["nacks"]:
        print(f"refused: {each['kind']} {each['id']}: {each['detail']}")  # noqa: T201


if __name__ == "__main__":
    main()
