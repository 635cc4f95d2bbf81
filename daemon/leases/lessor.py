"""Stores what the book of leases has changed, and tells who waits for it that it is on disk.

One batch is under way at a time. It goes into the transaction of everything else that the writer has gathered, so a
burst of logins costs one flush of the disk. Where a commit failed, nobody can say whether it took place after all:
the store is asked before the same batch is tried again.
"""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.errors import StoreUnavailable
from daemon.store.writer import Writer
from ipam.book import Book
from ipam.lease import Bundle
from ipam.ledger import Batch, Fence
from ipam.store import Fenced, chain_end, save_batch

Context = TypeVar("Context")


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
        self._waiting: list[tuple[int, int, Context]] = []  # serial, bundle, context
        self._changes: list[tuple[int, Future[None]]] = []
        self._batch: Batch | None = None
        self._queued = False
        self._lost: tuple[Fence, ...] = ()
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
        """Have stored what has changed, if anything has."""
        if not self._queued and (self._batch is not None or self._ledger.waiting):
            self._queued = True
            self._writer.add(self)

    def wait(self, bundle: Bundle, context: Context) -> None:
        """Hand `context` back once the leases of a bundle are on disk."""
        self._waiting.append((bundle.serial, bundle.id, context))
        self.wake()

    async def stored(self, serial: int) -> None:
        """Return once the change with that serial is on disk. Raises StoreUnavailable; it is tried again later."""
        if self._ledger.durable(serial):
            return
        future: Future[None] = get_running_loop().create_future()
        self._changes.append((serial, future))
        self.wake()
        await future

    async def write(self, connection: AsyncConnection) -> None:
        """Write the batch under way, or the next one (called by the writer, also when it tries again)."""
        if self._batch is None:
            self._batch = self._book.register.batch()
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
        waiting, self._waiting = self._waiting, []
        stored: list[Context] = []
        refused: list[Context] = []
        for each in waiting:
            serial, bundle_id, context = each
            if not self._book.stands(bundle_id):
                refused.append(context)
            elif self._ledger.durable(serial):
                stored.append(context)
            else:
                self._waiting.append(each)
        if stored:
            self._on_stored(stored)
        if refused:
            self._on_refused(refused)
        changes, self._changes = self._changes, []
        for change in changes:
            serial, future = change
            if not self._ledger.durable(serial):
                self._changes.append(change)
            elif not future.done():
                future.set_result(None)
        self.wake()

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
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._on_refused([context for _, _, context in waiting])
        changes, self._changes = self._changes, []
        for _, future in changes:
            if not future.done():
                future.set_exception(error)
        if lost:
            self.wake()
