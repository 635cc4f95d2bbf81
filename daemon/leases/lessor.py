"""Stores what the book of leases has changed, and tells who waits for it that it is on disk.

One batch is under way at a time. It goes into the transaction of everything else that the writer has gathered, so a
burst of logins costs one flush of the disk; what is too much for one batch follows at once in the next. Where a commit
failed, nobody can say whether it took place after all: the store is asked before the same batch is tried again, which
is at the next `turn`, however many ask meanwhile.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import StoreUnavailable
from daemon.store.writer import Writer
from ipam.book import Book
from ipam.lease import Bundle
from ipam.ledger import Batch, Fence
from ipam.store import Fenced, chain_end, save_batch

Context = TypeVar("Context")

_BATCH_MOST = 500  # changes: a few milliseconds of the event loop
_WAITING_MOST = 20_000  # logins; more than can be stored before their senders give up
_LATER_MOST = 2 * _BATCH_MOST  # logins that are looked at and wait on after a commit; the others came later


class Lessor(Generic[Context]):
    """The work of the writer that makes leases durable.

    `on_stored` gets the contexts whose leases are on disk and still stand. `on_refused` gets those that must not be
    answered: their batch could not be stored, or their leases are another node's. `on_fenced` is told which blocks
    this node has lost; no batch is under way then.
    """

    def __init__(
        self,
        book: Book,
        writer: Writer,
        on_stored: Callable[[list[Context]], None],
        on_refused: Callable[[list[Context]], None],
        on_fenced: Callable[[tuple[Fence, ...]], None],
    ) -> None:
        self._book = book
        self._ledger = book.register.ledger
        self._writer = writer
        self._on_stored = on_stored
        self._on_refused = on_refused
        self._on_fenced = on_fenced
        self._waiting: dict[Hashable, tuple[Bundle, Context]] = {}
        self._changes: list[tuple[int, Future[None]]] = []
        self._batch: Batch | None = None
        self._queued = False
        self._lost: tuple[Fence, ...] = ()
        self.waiting_most = _WAITING_MOST
        self.failing: str | None = None  # why the store refuses, while it does

    @property
    def waiting(self) -> int:
        """How many logins wait for their leases to be stored."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether no batch is under way, so that blocks may be lost or given back."""
        return self._batch is None

    def wake(self) -> None:
        """Have stored what has changed, if anything has; while the store refuses, that waits for `turn`."""
        if self.failing is None:
            self.turn()

    def turn(self) -> None:
        """Have stored what has changed, if anything has; to be called a few times a second."""
        if not self._queued and (self._batch is not None or self._ledger.waiting):
            self._queued = True
            self._writer.add(self)

    def wait(self, bundle: Bundle, context: Context, key: Hashable = None) -> Context | None:
        """Hand `context` back once the leases of a bundle are on disk; `key` is the same where somebody asks again.

        Returns who is handed back no more: the one that waited under that key, or `context` where too many wait.
        """
        key = id(context) if key is None else key
        before = self._waiting.pop(key, None)
        if before is None and len(self._waiting) >= self.waiting_most:
            return context
        self._waiting[key] = bundle, context
        self.wake()
        return None if before is None else before[1]

    async def stored(self, serial: int) -> None:
        """Return once the change with that serial and all before it are on disk.

        Raises StoreUnavailable; it is tried again later.
        """
        if serial < self._ledger.durable_before():
            return
        future: Future[None] = get_running_loop().create_future()
        self._changes.append((serial, future))
        self.wake()
        await future

    async def write(self, connection: AsyncConnection) -> None:
        """Write the batch under way, or the next one (called by the writer, also when it tries again)."""
        if self._batch is None:
            self._batch = self._book.register.batch(_BATCH_MOST)
        elif (await chain_end(connection, self._batch.book)).seq >= self._batch.last_seq:
            return  # it was stored after all
        if self._batch is None:
            return
        try:
            await save_batch(connection, self._batch)
        except Fenced as fenced:
            self._lost = fenced.lost
            raise

    def committed(self) -> None:
        """The batch is on disk: answer who waited for it."""
        self.failing = None
        self._queued = False
        if self._batch is not None:
            self._batch = None
            self._ledger.confirm()
        self._answer()
        if self._changes:
            before = self._ledger.durable_before()
            done = [future for serial, future in self._changes if serial < before]
            self._changes = [each for each in self._changes if each[0] >= before]
            for future in done:
                if not future.done():
                    future.set_result(None)
        self.wake()

    def _answer(self) -> None:
        """Hand back who waits for leases that are on disk, and who waits for leases that have ended."""
        stored: list[Context] = []
        refused: list[Context] = []
        done: list[Hashable] = []
        book, left = self._book, _LATER_MOST
        for key, (bundle, context) in self._waiting.items():
            if book.durable(bundle):
                stored.append(context)
            elif not book.stands(bundle.id):
                refused.append(context)
            elif left:
                left -= 1
                continue
            else:
                break
            done.append(key)
        for key in done:
            del self._waiting[key]
        if stored:
            self._on_stored(stored)
        if refused:
            self._on_refused(refused)

    def failed(self, error: StoreUnavailable) -> None:
        """Nothing was stored, as far as is known: nobody who waits is answered, and it is tried again later."""
        self._queued = False
        lost, self._lost = self._lost, ()
        if lost:
            self._batch = None
            self._ledger.refuse()
            self._on_fenced(lost)
        else:
            self.failing = str(error)
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._on_refused([context for _, context in waiting.values()])
        changes, self._changes = self._changes, []
        for _, future in changes:
            if not future.done():
                future.set_exception(error)
        if lost:
            self.wake()
