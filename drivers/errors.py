"""What may go wrong with a device: each error has a slug, says whose fault it is and in which phase it fell."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Who has to act."""

    CALLER = "caller"  # asked for what cannot or may not be done; nothing was sent
    CREDENTIAL = "credential"  # wrong user, password, key or privilege
    NETWORK = "network"  # no path, or the path was cut
    DEVICE = "device"  # the device refused, or speaks what we do not expect


class Phase(StrEnum):
    """What was being done."""

    DIAL = "dial"
    HOST_KEY = "host-key"
    LOGIN = "login"
    PROMPT = "prompt"
    PROBE = "probe"
    READ = "read"
    COMMAND = "command"
    LOCK = "lock"
    STAGE = "stage"
    DIFF = "diff"
    VALIDATE = "validate"
    COMMIT = "commit"
    CONFIRM = "confirm"
    PENDING = "pending"
    ROLLBACK = "rollback"
    SAVE = "save"
    CLOSE = "close"


class DriverError(Exception):
    """Base of all errors of drivers. No field ever holds a secret: `tail` comes from the redacted transcript."""

    slug: ClassVar[str] = "driver-error"
    fault: ClassVar[Fault] = Fault.DEVICE

    def __init__(
        self, message: str, *, phase: Phase, device: str = "", expected: str = "", tail: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.phase = phase
        self.device = device
        self.expected = expected  # the pattern or answer that was waited for
        self.tail = tail  # the last output of the device, redacted

    def __str__(self) -> str:
        parts = [f"{self.device}: " if self.device else "", f"{self.phase}: {self.message}"]
        if self.expected:
            parts.append(f"; expected {self.expected}")
        if self.tail:
            parts.append(f"; last output: {self.tail[-400:]!r}")
        return "".join(parts)


class Unreachable(DriverError):
    """No connection: refused, no route, name unknown, or the handshake failed."""

    slug = "unreachable"
    fault = Fault.NETWORK


class Dropped(DriverError):
    """The connection was there and is gone. In phase commit this means: state unknown."""

    slug = "dropped"
    fault = Fault.NETWORK


class TimedOut(DriverError):
    """A deadline passed. The session is not used again. In phase commit this means: state unknown."""

    slug = "timed-out"
    fault = Fault.NETWORK


class LoginRefused(DriverError):
    """The device refused the credentials. Exactly one try was made."""

    slug = "login-refused"
    fault = Fault.CREDENTIAL


class NotAuthorized(DriverError):
    """The login may not do this; it worked otherwise."""

    slug = "not-authorized"
    fault = Fault.CREDENTIAL


class HostKeyUnknown(DriverError):
    """First contact, and nobody approved the key. `fingerprint` is what to pin after a look at the device."""

    slug = "host-key-unknown"
    fault = Fault.CREDENTIAL

    def __init__(self, message: str, *, fingerprint: str, algorithm: str = "", device: str = "") -> None:
        super().__init__(message, phase=Phase.HOST_KEY, device=device)
        self.fingerprint = fingerprint
        self.algorithm = algorithm


class HostKeyMismatch(HostKeyUnknown):
    """The device shows another key than the pinned one: replaced hardware, or somebody in the middle."""

    slug = "host-key-mismatch"


class WrongPlatform(DriverError):
    """What answers is not what this driver is for."""

    slug = "wrong-platform"


class Garbled(DriverError):
    """The device said what the protocol does not allow, or no prompt could be learned."""

    slug = "garbled"


class CommandRefused(DriverError):
    """The device answered a command with an error. `answer` is its redacted line."""

    slug = "command-refused"

    def __init__(
        self, message: str, *, phase: Phase, device: str = "", command: str = "", answer: str = ""
    ) -> None:
        super().__init__(message, phase=phase, device=device)
        self.command = command
        self.answer = answer


class LockHeld(DriverError):
    """Somebody else holds the configuration lock. `holder` as the device tells it."""

    slug = "lock-held"

    def __init__(self, message: str, *, device: str = "", holder: str = "") -> None:
        super().__init__(message, phase=Phase.LOCK, device=device)
        self.holder = holder


class BaseChanged(DriverError):
    """The configuration is not the one the change was planned against: plan again. Nothing was sent."""

    slug = "base-changed"


class NotSupported(DriverError):
    """The device or its firmware cannot do this. Nothing was sent."""

    slug = "not-supported"
    fault = Fault.CALLER


class WritesRefused(DriverError):
    """Read-only: an unknown model or firmware, or a target that may not be written. Nothing was sent."""

    slug = "read-only"
    fault = Fault.CALLER


class CommandNotAllowed(DriverError):
    """The command is not on the driver's list of reading commands. Nothing was sent."""

    slug = "command-not-allowed"
    fault = Fault.CALLER
