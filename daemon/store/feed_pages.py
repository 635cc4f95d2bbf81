"""All rows of a generation in pages, for a look at a snapshot as a whole; blocks, so that it is for another process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, create_engine, select

from daemon.store.feed_rows import Place, came, of_place, twin
from daemon.store.schema import OBJECT


class Seen(NamedTuple):
    """One object of a generation."""

    id: str
    body: bytes


@contextmanager
def reading(path: Path) -> Iterator[Connection]:
    """Open the database at `path` for reading only, apart from everything else."""
    engine = create_engine(f"sqlite:///file:{path}?mode=ro&uri=true", hide_parameters=True)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def look(
    connection: Connection, staged: Place, served: Place, kind: str, *, same: bool, page: int
) -> Iterator[Sequence[Seen]]:
    """Yield all objects of one kind in a generation in pages: those that are served so already, or the others."""
    alike = twin(served, alike=True).exists()
    after = ""
    while True:
        query = select(OBJECT.c.id, OBJECT.c.body).where(*of_place(OBJECT, staged, kind), OBJECT.c.id > after)
        query = query.where(alike if same else ~alike).order_by(OBJECT.c.id).limit(page)
        rows = [Seen(*row) for row in connection.execute(query)]
        if not rows:
            return
        yield rows
        after = rows[-1].id


def sums(connection: Connection, place: Place) -> Iterator[tuple[str, int, bytes]]:
    """Yield kind, bucket and digest of everything that has come: of refused objects, what came last."""
    for query in came(place):
        for row in connection.execute(query.execution_options(yield_per=1000)):
            yield row[0], row[2], row[3]
