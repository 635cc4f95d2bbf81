"""Items that were read, as rows: the objects, and those that are refused."""

from __future__ import annotations

from typing import NamedTuple

from daemon.store.feed_rows import FullRow, NackRow, ObjectRow, Place, full_row
from daemon.sync.feed.intake import Made, Refuse
from daemon.sync.feed.model import Nack


class Rows(NamedTuple):
    """Rows to write of some items: what can come into force, and what is refused."""

    objects: list[FullRow]
    nacks: list[NackRow]

    def take(self, made: Made, place: Place, at: float) -> None:
        """Add the row of one item of a generation; `at` is epoch seconds."""
        if made.refuse is not None:
            self.nacks.append(nack_row(made, made.refuse, at))
        else:
            self.objects.append(full_row(place, object_row(made), at))


def object_row(made: Made) -> ObjectRow:
    """Return the row of an item that is not refused."""
    assert made.body is not None, "it is not refused"
    return ObjectRow(made.kind, made.id, made.body, made.rev, made.bucket, made.digest, made.extra)


def nack_row(made: Made, why: Refuse, at: float) -> NackRow:
    """Return the row of an item that is refused; where others are in its way it keeps what came."""
    body = None if made.body is None else packed(made.body, made.extra)
    return NackRow(made.kind, made.id, made.rev, at, why.code, why.detail, made.bucket, made.digest, body)


def nack_of(row: NackRow) -> Nack:
    """Return what is told of a refused object."""
    return Nack(row.kind, row.id, row.rev, row.at, row.code, row.detail)


def packed(body: bytes, extra: bytes | None) -> bytes:
    """Return body and extra of an object in one: the length of the body, both."""
    return len(body).to_bytes(4, "big") + body + (extra or b"")


def unpacked(octets: bytes) -> tuple[bytes, bytes | None]:
    """Return what was packed."""
    end = 4 + int.from_bytes(octets[:4], "big")
    return octets[4:end], octets[end:] or None
