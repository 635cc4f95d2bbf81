"""The transcript of a session: always kept, bounded, and only ever given out redacted."""

from __future__ import annotations

from collections import deque

from drivers.redact import MARK, Redactor

LIMIT = 256 * 1024


class Transcript:
    """What was sent and received, in order; the oldest lines go when `limit` characters are reached.

    Text is held as it came and redacted when it is asked for: a secret that arrived in two pieces, or that
    became known later, is taken out all the same.
    """

    __slots__ = ("_lines", "_open", "_redactor", "_size", "dropped", "limit")

    def __init__(self, redactor: Redactor, limit: int = LIMIT) -> None:
        self._redactor = redactor
        self._lines: deque[tuple[str, str]] = deque()  # (direction, one line)
        self._open = {">": "", "<": ""}  # what has not seen its end of line
        self._size = 0
        self.limit = limit
        self.dropped = 0  # lines that the bound has cost

    def sent(self, text: str, *, secret: bool = False) -> None:
        """Note what we sent; `secret`: only that something was sent."""
        self._close("<")
        self._take(">", f"{MARK}\n" if secret else text)

    def received(self, text: str) -> None:
        """Note what the device sent."""
        self._close(">")
        self._take("<", text)

    def note(self, text: str) -> None:
        """Note an event of ours: dialled, closed, timed out."""
        self._close("<")
        self._close(">")
        self._push("*", text)

    def _take(self, direction: str, text: str) -> None:
        *lines, rest = (self._open[direction] + text).replace("\r", "").split("\n")
        for line in lines:
            self._push(direction, line)
        if len(rest) > self.limit // 4:  # one endless line: nothing of it may be cut in two and shown
            self._push("*", f"({len(rest)} characters without an end of line left out)")
            rest = ""
        self._open[direction] = rest

    def _close(self, direction: str) -> None:
        if self._open[direction]:
            self._push(direction, self._open[direction])
            self._open[direction] = ""

    def _push(self, direction: str, line: str) -> None:
        self._lines.append((direction, line))
        self._size += len(line) + 3
        while self._size > self.limit and self._lines:
            self._size -= len(self._lines.popleft()[1]) + 3
            self.dropped += 1

    def redact_with(self, redactor: Redactor) -> None:
        """Give this transcript the redactor that knows the secrets of its session."""
        self._redactor = redactor

    def text(self) -> str:
        """Return the whole transcript, redacted: `> ` sent, `< ` received, `* ` events."""
        lines = [*self._lines, *((key, rest) for key, rest in self._open.items() if rest)]
        head = f"* ({self.dropped} lines left out)\n" if self.dropped else ""
        return head + self._redactor.redact("\n".join(f"{way} {line}" for way, line in lines))

    def tail(self, characters: int = 400) -> str:
        """Return the end of what the device sent, redacted."""
        heard = [line for way, line in list(self._lines)[-40:] if way == "<"] + [self._open["<"]]
        return self._redactor.redact("\n".join(heard)).strip()[-characters:]

    def __repr__(self) -> str:
        return f"Transcript({len(self._lines)} lines)"
