"""What transports offer each other: a stream of octets, and a runner of commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Stream(Protocol):
    """A two-way stream, such as a shell or a subsystem over SSH."""

    async def read(self) -> bytes:
        """Return what has arrived, at least one octet; empty at the end of the stream."""
        ...

    def write(self, octets: bytes) -> None:
        """Send; errors show up on the next read."""
        ...

    def close(self) -> None:
        """Close our side."""
        ...


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that has ended. `status` is its exit code, negative for a signal. Output may hold secrets."""

    command: str = field(repr=False)
    status: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)


class Runner(Protocol):
    """Runs commands on a POSIX target, one process each."""

    async def run(
        self, command: Sequence[str], *, stdin: str = "", timeout_s: float | None = None
    ) -> Completed:
        """Return how the command ended; TimedOut or Dropped otherwise. A non-zero status is a value."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...

    def abort(self) -> None:
        """Drop the connection at once."""
        ...
