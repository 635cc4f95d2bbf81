"""How a device is reached: address, credentials, trust, deadlines. What the caller fills in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from drivers.clock import Clock
from drivers.redact import Redactor, Secret
from drivers.transcript import Transcript


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login. `private_key` is OpenSSH or PEM text; `enable` raises the privilege where a device asks for it."""

    user: str
    password: Secret | None = None
    private_key: Secret | None = None
    passphrase: Secret | None = None
    enable: Secret | None = None
    token: Secret | None = None  # HTTP bearer

    def values(self) -> tuple[str, ...]:
        """Return all secret values, for the redactor."""
        held = (self.password, self.private_key, self.passphrase, self.enable, self.token)
        return tuple(secret.reveal() for secret in held if secret)


@dataclass(frozen=True, slots=True)
class HostKey:
    """A key or certificate that a device shows. `fingerprint`: `SHA256:...` as ssh-keygen prints it."""

    host: str
    port: int
    algorithm: str
    fingerprint: str


Approve = Callable[[HostKey], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Trust:
    """Which host keys and certificates are accepted.

    `pinned` fingerprints: only these. Nothing pinned: `approve` is asked once for the key that was shown, while
    no connection is open and no password was sent; without `approve`, first contact fails. `authority` is a PEM
    bundle for HTTPS; `system` accepts what the machine's certificate store accepts.
    """

    pinned: tuple[str, ...] = ()
    approve: Approve | None = None
    authority: str = ""
    system: bool = False


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds after which each kind of waiting ends."""

    connect_s: float = 15.0
    login_s: float = 20.0
    command_s: float = 60.0
    commit_s: float = 120.0
    approve_s: float = 5.0
    close_s: float = 5.0
    echo_s: float = 3.0  # how long an echo may keep us waiting before we do without


@dataclass(frozen=True, slots=True)
class Target:
    """One device to talk to. `may_write` is the caller's switch: False keeps every driver to reading.

    `port` 0 is the driver's default. `legacy_ssh` allows old key exchanges and ciphers for this device alone.
    `options` are the driver's own settings, documented with the driver.
    """

    name: str
    host: str
    credentials: Credentials
    port: int = 0
    trust: Trust = Trust()
    jump: Target | None = None
    deadlines: Deadlines = Deadlines()
    legacy_ssh: bool = False
    may_write: bool = False
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a driver gets to open a session with."""

    target: Target
    clock: Clock
    transcript: Transcript
    redactor: Redactor
