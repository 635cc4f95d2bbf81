"""Tells systemd how we are: sd_notify over its Unix datagram socket, nothing where there is none."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

_SEND_TIMEOUT_S = 0.2  # a manager that does not read must not hold up the event loop


class Notifier:
    """Sends states to the service manager. Each method returns False where the message did not get through.

    A failure is never an error: the daemon serves with or without somebody who wants to know.
    """

    __slots__ = ("_address",)

    def __init__(self, address: str | None) -> None:
        """`address` is a path, or `@name` for an abstract socket; None and other kinds mean: say nothing."""
        known = address is not None and len(address) > 1 and address[0] in "@/"
        self._address = address if known else None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        """Return a notifier for the socket that systemd named in NOTIFY_SOCKET."""
        return cls(environ.get("NOTIFY_SOCKET"))

    def ready(self) -> bool:
        """Start or reload is done."""
        return self._send("READY=1")

    def reloading(self, now: float) -> bool:
        """A reload begins; `now` is CLOCK_MONOTONIC in seconds, which systemd compares with its own."""
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={int(now * 1_000_000)}")

    def stopping(self) -> bool:
        """The daemon is going to end."""
        return self._send("STOPPING=1")

    def status(self, text: str) -> bool:
        """Show one line of text in `systemctl status`."""
        return self._send(f"STATUS={' '.join(text.split())}")

    def watchdog(self) -> bool:
        """We are alive; to be sent twice in each interval."""
        return self._send("WATCHDOG=1")

    def _send(self, message: str) -> bool:
        address = self._address
        if address is None:
            return False
        if address[0] == "@":
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
                sock.settimeout(_SEND_TIMEOUT_S)
                sock.sendto(message.encode(), address)
        except (OSError, ValueError):
            return False
        return True


def watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """Return within how many seconds systemd wants to hear from this process; None where it does not care."""
    said, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID")
    if pid is not None and pid != str(os.getpid()):
        return None  # meant for the process that started us
    microseconds = int(said) if said.isascii() and said.isdigit() else 0
    return microseconds / 1_000_000 if microseconds else None
