"""A feed that the edge asks for: it dials out, reads a snapshot where it must, and follows the changes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from urllib.parse import quote

import httpx

from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.sync.feed.link import Answer, Link, LinkFailed, certificate_until
from daemon.sync.feed.model import Batch, LineFeed, Refusal, Refused, Superseded
from daemon.sync.feed.pull_options import PullOptions, PullState, PullStatus
from daemon.sync.feed.pull_progress import Progress, Tell
from daemon.sync.feed.pull_repair import Repairer
from daemon.sync.feed.pull_snapshot import Again, SnapshotReader
from daemon.sync.feed.signing import NO_KEYS, Keys
from daemon.sync.feed.wake import Wake, Woken
from daemon.sync.feed.wire import MOST_OCTETS, reading_batch
from daemon.sync.feed.wire_answers import (
    Hello,
    Welcome,
    ack_json,
    hello_json,
    read_gone,
    read_received,
    read_welcome,
)
from daemon.sync.feed.wire_json import Malformed

_MOST_STRAYS = 3  # gaps and foreign epochs in a row, before it is taken for a platform that cannot count
_PROMPT_S = 2.0  # an answer that came so soon was not held: its middle is when the platform read its clock


class PullSource:
    """Keeps one feed up to date from one platform. Implements `FeedSource`.

    `random` returns numbers in [0, 1); `keys` are those that the objects of a bucket must be signed with, too.
    `transport` is for tests that have no network between.
    """

    def __init__(
        self,
        feed: LineFeed,
        options: PullOptions,
        hello: Hello,
        clock: Clock,
        random: Callable[[], float],
        tell: Tell,
        keys: Keys = NO_KEYS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = f"pull {feed.name}"
        self._feed = feed
        self._options = options
        self._hello = hello
        self._clock = clock
        self._random = random
        self._keys = keys
        self._transport = transport
        self._path = f"v1/edge/feeds/{quote(feed.name, safe='/')}"
        self._progress = Progress(feed.name, feed.tenant, options, clock, tell)
        self._wake = Wake()
        self._resync = False
        self._epoch = ""  # that the platform has now
        self._strays = 0
        self._check_at = 0.0  # monotonic, as the next two
        self._acked_at: float | None = None
        self._acked: object = None
        self._braked_at: float | None = None

    def __repr__(self) -> str:
        return f"<PullSource {self._feed.name} {self.status.state}>"

    @property
    def status(self) -> PullStatus:
        """Return how it stands."""
        return self._progress.status

    def resync(self) -> None:
        """Read everything again as soon as possible."""
        self._resync, self._braked_at = True, None
        self._wake.ring()

    async def run(self) -> None:
        """Keep the feed up to date, for ever."""
        try:
            while True:
                failed = await self._one_connection()
                pause_s = self._options.backoff.pause_s(
                    self.status.failures + 1, self._random(), failed.after_s
                )
                self._progress.failed(str(failed), pause_s)
                await self._pause(pause_s)
        finally:
            self._progress.be(PullState.STOPPED)

    async def _one_connection(self) -> LinkFailed:
        """Work until it comes to nothing; return why."""
        self._progress.be(PullState.CONNECTING)
        try:
            async with Link(self._options.link, self._clock, self._transport) as link:
                await self._work(link)
        except LinkFailed as failed:
            return failed
        except (StoreUnavailable, Superseded) as error:
            return LinkFailed(str(error))
        raise AssertionError("work does not end by itself")

    async def _work(self, link: Link) -> None:
        welcome = await self._greet(link)
        status = await self._feed.status()
        if status.wants_snapshot or (status.staging is not None and status.brake is None):
            self._resync = True  # the latter: one that an end of the daemon has cut short
        while True:
            position = self._feed.position
            if self._braked_at is not None and self._feed.brake is None:
                self._braked_at, self._resync = None, False  # the snapshot that was held is served
            if self._resync or position is None or position.epoch != welcome.epoch:
                # Asked again: changes are read from that head on afterwards, so that it must not be an old one.
                welcome = await self._greet(link)
                await self._snapshot(link, welcome)
            elif self._clock.monotonic() >= self._check_at:
                await self._check(link)
            elif self._options.stream:
                await self._follow_stream(link)
            else:
                await self._poll(link)
            if self._epoch != welcome.epoch:
                welcome = await self._greet(link)

    async def _greet(self, link: Link) -> Welcome:
        at = self._clock.wall()
        body = hello_json(self._hello, self._feed.name, self._feed.position, at)
        answer = await link.ask("POST", "v1/edge/hello", body=body, most=MOST_OCTETS)
        if answer.status != 200:
            raise LinkFailed(f"the platform answered {answer.status} to hello")
        welcome = read_welcome(answer.body, self._feed.name)
        if isinstance(welcome, Malformed):
            raise LinkFailed(f"the answer to hello cannot be read: {welcome}")
        if _older(self._hello.version, welcome.min_version):
            raise LinkFailed(
                f"the platform wants version {welcome.min_version[:40]} of the edge; this is {self._hello.version}"
            )
        position = self._feed.position
        back = position is not None and position.epoch == welcome.epoch and welcome.head < position.rev
        if back and position is not None and not self._resync:
            raise LinkFailed(
                f"the platform is at revision {welcome.head} of an epoch of which {position.rev} is applied here: "
                f"it was set back, and needs a new epoch; `dotmac-edge sync resync {self._feed.name}` takes it as it is"
            )
        self._epoch = welcome.epoch
        self._progress.connected(certificate_until(self._options.link))
        self._progress.clock_seen(welcome.server_time, answer.asked_at, answer.at)
        return welcome

    async def _pause(self, pause_s: float) -> None:
        try:
            async with self._wake.held():
                await self._clock.sleep(pause_s)
        except Woken:
            return

    # Snapshot and digests.

    async def _snapshot(self, link: Link, welcome: Welcome) -> None:
        if self._feed.brake is not None and not self._brake_is_old():
            self._progress.be(PullState.BRAKED)
            await self._pause(self._options.brake_pause_s)
            return
        self._progress.be(PullState.SNAPSHOT)
        self._resync = False
        reader = SnapshotReader(link, self._feed, f"{self._path}/snapshot", self._clock, self._progress)
        try:
            done = await reader.read(welcome, lambda: self._resync)
        except (LinkFailed, StoreUnavailable, Superseded):
            self._resync = self._resync or self._feed.position is not None
            raise
        if isinstance(done, Again):
            self._resync = True
            if not done.asked:
                raise LinkFailed(f"the snapshot has to be begun anew: {done.why}")
            return
        if isinstance(done, Refused) and done.why is not Refusal.BRAKE:
            self._resync = True
            raise LinkFailed(f"the snapshot was refused ({done.why}): {done.detail}")
        at = self._clock.wall()
        await self._feed.contact(welcome.head, None, at, at)
        if isinstance(done, Refused):
            self._resync = True
            self._braked_at = self._clock.monotonic()
            return
        self._braked_at = None
        self._check_at = self._clock.monotonic() + self._options.digests_s
        await self._ack(link, at_once=True)

    def _brake_is_old(self) -> bool:
        """Say whether a snapshot that is held should be read anew: the platform may have mended it."""
        since = self._braked_at
        return since is None or self._clock.monotonic() - since >= self._options.brake_again_s

    async def _check(self, link: Link) -> None:
        """Compare digests, and repair the buckets that differ."""
        self._progress.be(PullState.CHECKING)
        repairer = Repairer(link, self._feed, self._path, self._keys, self._options.most_repairs)
        outcome = await repairer.check()  # what comes to nothing is tried again with the next connection
        self._check_at = self._clock.monotonic() + self._options.digests_s
        if outcome.repaired:
            self._progress.repaired(outcome.repaired)
        if outcome.snapshot:
            self._resync = True
        elif not outcome.whole:  # the platform had gone on meanwhile: again soon
            self._check_at = self._clock.monotonic() + min(5.0, self._options.digests_s)

    # Changes.

    async def _poll(self, link: Link) -> None:
        position = self._feed.position
        assert position is not None
        wait_s = self._options.wait_s
        params: dict[str, str | int] = {
            "epoch": position.epoch,
            "after": position.rev,
            "limit": self._options.limit,
            "wait": int(wait_s),
        }
        self._follow_state()
        try:
            async with self._wake.held(max(1.0, self._check_at - self._clock.monotonic())):
                answer = await link.ask(
                    "GET", f"{self._path}/changes", params=params, held_s=wait_s, most=MOST_OCTETS
                )
        except Woken:
            return
        if answer.status != 200:
            self._gone(answer.status, answer.body)
            return
        prompt = answer.at - answer.asked_at < _PROMPT_S
        before = self._feed.position
        await self._take(link, answer if prompt else Answer(200, answer.body, answer.at, answer.at))
        if prompt and self._feed.position == before and not self._resync:
            await self._pause(_PROMPT_S * self._random())  # a platform that does not hold polls

    async def _follow_stream(self, link: Link) -> None:
        position = self._feed.position
        assert position is not None
        params: dict[str, str | int] = {
            "epoch": position.epoch,
            "after": position.rev,
            "limit": self._options.limit,
            "wait": int(self._options.wait_s),
        }
        self._follow_state()
        async with link.answering(
            "GET", f"{self._path}/changes", params=params, most=MOST_OCTETS, accept="application/x-ndjson"
        ) as answering:
            if answering.status != 200:
                self._gone(answering.status, await answering.whole(MOST_OCTETS))
                return
            async with aclosing(answering.lines(self._options.idle_s)) as lines:
                await self._take_lines(link, lines)

    async def _take_lines(self, link: Link, lines: AsyncGenerator[bytes, None]) -> None:
        count = 0
        while (left_s := self._check_at - self._clock.monotonic()) > 0:
            try:
                async with self._wake.held(left_s):
                    line = await anext(lines, None)
            except Woken:
                return
            if line is None:
                break
            count += 1
            at = self._clock.wall()
            if line and not await self._take(link, Answer(200, line, at, at)):
                return
        if not count and left_s > 0:
            raise LinkFailed("the held answer ended, and nothing came on it")

    def _follow_state(self) -> None:
        self._progress.be(PullState.FOLLOWING if self._feed.brake is None else PullState.BRAKED)

    def _gone(self, status: int, body: bytes) -> None:
        """Changes cannot be had from where we are: see why, and make up our mind. Raises LinkFailed."""
        gone, position = read_gone(body), self._feed.position
        if isinstance(gone, Malformed):
            raise LinkFailed(f"the platform answered {status}, and not why: {gone}")
        if position is None or gone.epoch != position.epoch:
            self._astray(
                f"the platform answered {status} for epoch {gone.epoch[:60]}, which its hello does not say"
            )
            self._epoch = ""  # to be asked for
        elif status == 410 and gone.min_rev is not None and gone.min_rev > position.rev:
            self._resync = True
        else:
            raise LinkFailed(f"the platform answered {status} for {position.rev} of an epoch that it has")

    def _astray(self, detail: str) -> None:
        """Count what asking again should mend. Raises LinkFailed where it does not."""
        self._strays += 1
        if self._strays > _MOST_STRAYS:
            self._strays = 0
            raise LinkFailed(detail)

    async def _take(self, link: Link, answer: Answer) -> bool:
        """Apply a batch; return whether the next one may be looked at. Raises LinkFailed."""
        batch = await self._read(answer.body)
        done = await self._feed.apply(batch)
        if isinstance(done, Refused):
            self._progress.refused(done)
            return await self._refused(done, batch, answer)
        self._strays = 0
        self._progress.applied()
        self._follow_state()
        await self._feed.contact(batch.head, batch.server_time, answer.asked_at, answer.at)
        await self._ack(link, at_once=batch.to >= batch.head)
        return not self._resync

    async def _read(self, octets: bytes) -> Batch:
        reading = reading_batch(octets)
        while True:
            try:
                next(reading)
            except StopIteration as end:
                found: Batch | Malformed = end.value
                break
            await self._clock.sleep(0)
        if isinstance(found, Malformed):
            raise LinkFailed(f"a batch cannot be read: {found}")
        return found

    async def _refused(self, refused: Refused, batch: Batch, answer: Answer) -> bool:
        if refused.why is Refusal.BRAKE:
            self._progress.be(PullState.BRAKED)
            await self._feed.contact(batch.head, batch.server_time, answer.asked_at, answer.at)
            await self._pause(self._options.brake_pause_s)
            return False
        if refused.why not in (Refusal.GAP, Refusal.EPOCH):
            raise LinkFailed(f"a batch was refused ({refused.why}): {refused.detail}")
        self._astray(f"batches are refused again and again ({refused.why}): {refused.detail}")
        if refused.why is Refusal.EPOCH:
            self._epoch = ""  # to be asked for
        return False

    async def _ack(self, link: Link, *, at_once: bool) -> None:
        """Tell what is applied, what was refused, and the digest of it all; not too often."""
        now = self._clock.monotonic()
        since_s = self._options.ack_s if self._acked_at is None else now - self._acked_at
        if since_s < (min(1.0, self._options.ack_s) if at_once else self._options.ack_s):
            return
        digests = await self._feed.digests()
        nacks = await self._feed.nacks()
        known = (digests, len(nacks))
        if known == self._acked:
            return
        body = ack_json(digests, nacks, self._clock.wall())
        answer = await link.ask("POST", f"{self._path}/ack", body=body, most=MOST_OCTETS)
        self._acked_at = now
        if answer.status != 200:
            return  # of another epoch, which the next changes say as well
        received = read_received(answer.body)
        if isinstance(received, Malformed):
            raise LinkFailed(f"the answer to an acknowledgement cannot be read: {received}")
        self._acked = known
        self._progress.clock_seen(received.server_time, answer.asked_at, answer.at)
        if received.check:
            self._check_at = min(self._check_at, now)


def _older(version: str, least: str) -> bool:
    """Say whether a version is before the least one; parts that are no numbers end the comparison."""

    def numbers(text: str) -> list[int]:
        found = []
        for part in text.split("."):
            if not (part.isascii() and part.isdigit() and len(part) < 10):
                break
            found.append(int(part))
        return found

    return bool(least) and numbers(version) < numbers(least)
