"""Comparing digests with the platform, and reading again the buckets that differ, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.sync.feed.link import Link, LinkFailed
from daemon.sync.feed.model import Applied, Digests, Feed
from daemon.sync.feed.signing import Keys
from daemon.sync.feed.wire import MOST_OCTETS
from daemon.sync.feed.wire_answers import BucketObjects, digests_json, read_bucket, read_differing
from daemon.sync.feed.wire_json import Malformed


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it. `whole`: both sides were compared, and are the same now; `snapshot`: too much differs."""

    whole: bool
    repaired: int = 0
    snapshot: bool = False


class Repairer:
    """Compares one feed over one link. Nothing else may be applied to the feed meanwhile."""

    def __init__(self, link: Link, feed: Feed, path: str, keys: Keys, most: int) -> None:
        self._link = link
        self._feed = feed
        self._path = path
        self._keys = keys
        self._most = most

    async def check(self) -> Checked:
        """Compare and repair. Raises LinkFailed, StoreUnavailable."""
        if self._feed.brake is not None:
            return Checked(whole=False)  # what is served is not what came, as long as that is held
        ours = await self._feed.digests()
        answer = await self._link.ask(
            "POST", f"{self._path}/digests", body=digests_json(ours), most=MOST_OCTETS
        )
        if answer.status != 200:
            return Checked(whole=False)  # it cannot tell for our position: changes will say why
        differing = read_differing(answer.body)
        if isinstance(differing, Malformed):
            raise LinkFailed(f"the answer to digests cannot be read: {differing}")
        if (differing.epoch, differing.rev) != ours.position:
            return Checked(whole=False)
        if len(differing.buckets) > self._most:
            return Checked(whole=False, snapshot=True)
        repaired = 0
        for bucket in differing.buckets:
            if not await self._repair(bucket, ours):
                return Checked(whole=False, repaired=repaired)
            repaired += 1
        return Checked(whole=True, repaired=repaired)

    async def _repair(self, bucket: int, ours: Digests) -> bool:
        epoch, rev = ours.position
        params: dict[str, str | int] = {"bucket": bucket, "epoch": epoch, "rev": rev}
        answer = await self._link.ask("GET", f"{self._path}/objects", params=params)
        if answer.status != 200:
            return False
        found = read_bucket(answer.body)
        if isinstance(found, Malformed):
            raise LinkFailed(f"the objects of a bucket cannot be read: {found}")
        if (found.bucket, found.proof.epoch, found.rev) != (bucket, epoch, rev):
            return False
        self._see_proof(found)
        done = await self._feed.repair(bucket, rev, found.items)
        return isinstance(done, Applied)

    def _see_proof(self, found: BucketObjects) -> None:
        if found.proof.feed != self._feed.name:
            raise LinkFailed("the objects of a bucket are of another feed")
        why = self._keys.refuse(found.proof)
        if why is not None:
            raise LinkFailed(f"the objects of a bucket are not taken: {why}")
