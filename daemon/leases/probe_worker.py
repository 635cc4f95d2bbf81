"""The helper process of conflict probes: questions come as lines on standard input, outcomes go out as lines.

It ends when its standard input does, so it never outlives the daemon.
"""

from __future__ import annotations

import os
import selectors
import sys
from typing import TYPE_CHECKING

from daemon.clock import SystemClock
from daemon.leases.probe import (
    Address,
    Method,
    NotAsked,
    Outcome,
    Why,
    outcome_line,
    read_query,
)
from daemon.leases.probe_asker import Asker

if TYPE_CHECKING:
    from daemon.leases.probe_wire import Link

_STDIN, _STDOUT = 0, 1
_AGE_S = 10.0  # after which the addresses of an interface are read anew
_IDLE_S = 60.0  # after which its sockets are closed
_READ = 1 << 16


class Wired:
    """An interface as the asker wants it: what cannot be asked is a value."""

    def __init__(self, link: Link, now: float) -> None:
        self.link = link
        self.fresh_at = now
        self.used_at = now
        self.mac = link.mac
        self.own = link.own

    def refresh(self, now: float) -> None:
        """Read the addresses of the interface anew. Raises CannotAsk."""
        self.link.refresh()
        self.mac, self.own, self.fresh_at = self.link.mac, self.link.own, now

    def ask(self, address: Address, method: Method, number: int) -> tuple[Method, ...] | NotAsked:
        """Ask once; return how."""
        from daemon.leases.probe_wire import CannotAsk  # noqa: PLC0415 - see `main`

        try:
            return self.link.send(address, method, number)
        except CannotAsk as error:
            return error.outcome

    def trouble(self) -> NotAsked | None:
        """Return what is wrong with the interface now."""
        from daemon.leases.probe_wire import CannotAsk  # noqa: PLC0415 - see `main`

        try:
            self.link.check()
        except CannotAsk as error:
            return error.outcome
        return None


class Worker:
    """Reads, asks, listens and answers, until standard input ends."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._wired: dict[str, Wired] = {}
        self._asker = Asker(self._line_of, _tell)
        self._selector = selectors.DefaultSelector()
        self._selector.register(_STDIN, selectors.EVENT_READ)
        self._listening: dict[int, tuple[str, Link]] = {}
        self._rest = b""

    def run(self) -> None:
        """Work until there is nobody to work for."""
        next_at: float | None = None
        while True:
            timeout_s = None if next_at is None else max(next_at - self._clock.monotonic(), 0.0)
            for key, _ in self._selector.select(_IDLE_S if timeout_s is None else timeout_s):
                number = key.fd
                if number == _STDIN:
                    if not self._read():
                        return
                elif number in self._listening:
                    interface, link = self._listening[number]
                    now = self._clock.monotonic()
                    for seen in link.read(number):
                        self._asker.seen(interface, seen.address, seen.mac, seen.method, now)
            next_at = self._asker.turn(self._clock.monotonic())
            self._listen()

    def _read(self) -> bool:
        octets = os.read(_STDIN, _READ)
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            self._asker.ask(*read_query(line), self._clock.monotonic())
        return bool(octets)

    def _line_of(self, name: str, now: float) -> Wired | NotAsked:
        from daemon.leases.probe_wire import CannotAsk, Link  # noqa: PLC0415 - see `main`

        wired = self._wired.get(name)
        if wired is not None:
            if now - wired.fresh_at < _AGE_S and wired.trouble() is None:
                wired.used_at = now
                return wired
            if name not in self._asker.interfaces():
                self._close(name)
        try:
            if name in self._wired:
                self._wired[name].refresh(now)
            else:
                self._wired[name] = Wired(Link(name), now)
        except CannotAsk as error:
            return error.outcome
        self._wired[name].used_at = now
        return self._wired[name]

    def _listen(self) -> None:
        """Listen to the sockets there are now; close those that nobody has used for a while."""
        now = self._clock.monotonic()
        busy = self._asker.interfaces()
        for name, wired in tuple(self._wired.items()):
            if name not in busy and now - wired.used_at >= _IDLE_S:
                self._close(name)
                continue
            for number in wired.link.sockets():
                if number not in self._listening:
                    self._listening[number] = name, wired.link
                    self._selector.register(number, selectors.EVENT_READ)

    def _close(self, name: str) -> None:
        wired = self._wired.pop(name)
        for number in wired.link.sockets():
            if self._listening.pop(number, None) is not None:
                self._selector.unregister(number)
        wired.link.close()


def _tell(number: int, outcome: Outcome) -> None:
    line = outcome_line(number, outcome)
    while line:
        line = line[os.write(_STDOUT, line) :]


def _refuse_all() -> None:
    """Answer every question that it cannot be asked, for there is no scapy."""
    for line in sys.stdin.buffer:
        _tell(read_query(line)[0], NotAsked(Why.NO_SCAPY))


def main() -> None:
    """Run the helper. scapy is loaded here and nowhere else, and does without being installed."""
    try:
        import daemon.leases.probe_wire  # noqa: F401, PLC0415 - optional, and only in this process
    except ImportError:
        _refuse_all()
        return
    Worker().run()


if __name__ == "__main__":
    main()
