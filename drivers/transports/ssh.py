"""SSH over asyncssh: one connection, with trust in host keys, a jump host, one login try, and deadlines."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import asyncssh

from drivers.errors import (
    DriverError,
    Dropped,
    HostKeyMismatch,
    HostKeyUnknown,
    LoginRefused,
    Phase,
    TimedOut,
    Unreachable,
)
from drivers.target import Credentials, HostKey, Opening, Target
from drivers.transports.stream import Completed

_LEGACY: dict[str, str] = {
    "kex_algs": "+diffie-hellman-group14-sha1,diffie-hellman-group-exchange-sha1,diffie-hellman-group1-sha1",
    "encryption_algs": "+aes256-cbc,aes192-cbc,aes128-cbc,3des-cbc",
    "mac_algs": "+hmac-sha1,hmac-md5",
    "server_host_key_algs": "+ssh-rsa,ssh-dss",
    "signature_algs": "+ssh-rsa,ssh-dss",
}
_KEEPALIVE_S = 15
_LONGEST_OUTPUT = 64 * 1024 * 1024


class _Client(asyncssh.SSHClient):
    """Looks at the host key, and offers the password once, whichever way the device asks for it."""

    def __init__(self, credentials: Credentials, pinned: tuple[str, ...]) -> None:
        self._password = credentials.password
        self._pinned = pinned
        self.phase = Phase.DIAL
        self.shown: HostKey | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        del conn
        self.phase = Phase.HOST_KEY

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        del addr
        self.shown = HostKey(host, port, key.get_algorithm(), key.get_fingerprint())
        return self.shown.fingerprint in self._pinned

    def begin_auth(self, username: str) -> None:
        del username
        self.phase = Phase.LOGIN

    def password_auth_requested(self) -> str | None:
        secret, self._password = self._password, None
        return secret.reveal() if secret else None

    def kbdint_auth_requested(self) -> str | None:
        return "" if self._password else None

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        del name, instructions, lang
        if not prompts:
            return []
        secret, self._password = self._password, None
        return [secret.reveal()] * len(prompts) if secret and len(prompts) == 1 else None


class SshStream:
    """A shell or subsystem as a stream."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes], device: str) -> None:
        self._process = process
        self._device = device

    async def read(self) -> bytes:
        """Return what has arrived; empty at the end. Dropped if the connection broke."""
        try:
            return await self._process.stdout.read(65536)
        except (asyncssh.Error, OSError) as error:
            raise Dropped(f"connection lost: {error}", phase=Phase.READ, device=self._device) from error

    def write(self, octets: bytes) -> None:
        """Send; a broken connection shows on the next read."""
        with suppress(asyncssh.Error, OSError):
            self._process.stdin.write(octets)

    def close(self) -> None:
        """Close the channel."""
        self._process.close()


class SshConnection:
    """An authenticated connection. Also a `Runner`: each command is a process of its own."""

    def __init__(
        self, opening: Opening, connection: asyncssh.SSHClientConnection, through: SshConnection | None
    ) -> None:
        self._opening = opening
        self._device = opening.target.name
        self._connection = connection
        self._through = through

    async def shell(self, width: int = 511, height: int = 0) -> SshStream:
        """Return an interactive shell on a wide terminal of `height` lines."""
        return await self._start(term_type="vt100", term_size=(width, height), request_pty=True)

    async def subsystem(self, name: str) -> SshStream:
        """Return a subsystem, such as netconf."""
        return await self._start(subsystem=name)

    async def _start(self, **how: Any) -> SshStream:
        with self._translated(Phase.LOGIN):
            async with asyncio.timeout(self._opening.target.deadlines.login_s):
                process = await self._connection.create_process(encoding=None, **how)
        return SshStream(process, self._device)

    async def run(
        self, command: Sequence[str], *, stdin: str = "", timeout_s: float | None = None
    ) -> Completed:
        """Return how a command ended on the device. Dropped or TimedOut if that is not known."""
        line = shlex.join(command)
        limit = timeout_s if timeout_s is not None else self._opening.target.deadlines.command_s
        self._opening.transcript.sent(f"{line}\n{stdin}")
        with self._translated(Phase.COMMAND):
            async with asyncio.timeout(limit):
                done = await self._connection.run(line, input=stdin, check=False, errors="replace")
        stdout, stderr = str(done.stdout or ""), str(done.stderr or "")
        self._opening.transcript.received(f"{stdout}{stderr}")
        if done.returncode is None:
            raise Dropped("the command's end was not told", phase=Phase.COMMAND, device=self._device)
        return Completed(line, done.returncode, stdout[:_LONGEST_OUTPUT], stderr[:_LONGEST_OUTPUT])

    async def close(self) -> None:
        """Close the connection and the one it runs through."""
        self._connection.close()
        with suppress(asyncssh.Error, OSError, TimeoutError):
            async with asyncio.timeout(self._opening.target.deadlines.close_s):
                await self._connection.wait_closed()
        if self._through:
            await self._through.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._connection.abort()
        if self._through:
            self._through.abort()

    def _translated(self, phase: Phase) -> _Translated:
        return _Translated(self._opening, phase)


class _Translated:
    """Turns errors of asyncssh into ours."""

    def __init__(self, opening: Opening, phase: Phase) -> None:
        self._opening = opening
        self._phase = phase

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        device, tail = self._opening.target.name, self._opening.transcript.tail()
        match error:
            case TimeoutError():
                raise TimedOut("no answer in time", phase=self._phase, device=device, tail=tail) from error
            case asyncssh.ChannelOpenError():
                message = f"the device opens no channel: {error.reason}"
                raise Dropped(message, phase=self._phase, device=device, tail=tail) from error
            case asyncssh.Error() | OSError():
                raise Dropped(
                    f"connection lost: {error}", phase=self._phase, device=device, tail=tail
                ) from error


async def connect(opening: Opening) -> SshConnection:
    """Return a connection that has logged in. Errors: Unreachable, HostKeyUnknown, HostKeyMismatch, LoginRefused."""
    target = opening.target
    through = await connect(replace(opening, target=target.jump)) if target.jump else None
    try:
        return await _dial(opening, through)
    except HostKeyMismatch:
        if through:
            through.abort()
        raise
    except HostKeyUnknown as unknown:
        if target.trust.approve is None or not await _approved(target, unknown):
            if through:
                through.abort()
            raise
        pinned = replace(target, trust=replace(target.trust, pinned=(unknown.fingerprint,)))
        return await _dial(replace(opening, target=pinned), through)
    except BaseException:
        if through:
            through.abort()
        raise


async def _approved(target: Target, unknown: HostKeyUnknown) -> bool:
    approve = target.trust.approve
    assert approve is not None
    shown = HostKey(target.host, target.port or 22, unknown.algorithm, unknown.fingerprint)
    try:
        async with asyncio.timeout(target.deadlines.approve_s):
            return await approve(shown)
    except TimeoutError:
        return False


async def _dial(opening: Opening, through: SshConnection | None) -> SshConnection:
    target = opening.target
    client = _Client(target.credentials, target.trust.pinned)
    opening.transcript.note(f"ssh to {target.host} port {target.port or 22}")
    try:
        async with asyncio.timeout(target.deadlines.connect_s + target.deadlines.login_s):
            connection = await asyncssh.connect(
                target.host,
                target.port or 22,
                tunnel=through._connection if through else (),  # noqa: SLF001 - of this module
                client_factory=lambda: client,
                options=_options(target),
            )
    except (asyncssh.Error, OSError, ValueError) as error:
        raise _explained(error, client, opening) from error
    opening.transcript.note("logged in")
    return SshConnection(opening, connection, through)


def _options(target: Target) -> asyncssh.SSHClientConnectionOptions:
    login = target.credentials
    keys: list[asyncssh.SSHKey] = []
    if login.private_key:
        phrase = login.passphrase.reveal() if login.passphrase else None
        try:
            keys.append(asyncssh.import_private_key(login.private_key.reveal(), phrase))
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise LoginRefused(
                "the private key cannot be read; expected OpenSSH or PEM and its passphrase",
                phase=Phase.LOGIN,
                device=target.name,
            ) from error
    return asyncssh.SSHClientConnectionOptions(
        config=[],
        username=login.user,
        client_keys=keys,
        agent_path=None,
        known_hosts=([], [], []),  # every key goes to _Client.validate_host_public_key
        preferred_auth="publickey,password,keyboard-interactive",
        gss_auth=False,
        gss_kex=False,
        connect_timeout=target.deadlines.connect_s,
        login_timeout=target.deadlines.login_s,
        keepalive_interval=_KEEPALIVE_S,
        keepalive_count_max=3,
        **(_LEGACY if target.legacy_ssh else {}),
    )


def _explained(error: Exception, client: _Client, opening: Opening) -> DriverError:
    target = opening.target
    device = target.name
    if isinstance(error, asyncssh.HostKeyNotVerifiable) and client.shown:
        shown, pinned = client.shown, target.trust.pinned
        if pinned:
            return HostKeyMismatch(
                f"{shown.algorithm} key is {shown.fingerprint}, pinned is {' or '.join(pinned)}",
                fingerprint=shown.fingerprint,
                algorithm=shown.algorithm,
                device=device,
            )
        return HostKeyUnknown(
            f"{shown.algorithm} key {shown.fingerprint} was never approved; compare it on the device, then pin it",
            fingerprint=shown.fingerprint,
            algorithm=shown.algorithm,
            device=device,
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return LoginRefused(f"user {target.credentials.user!r} was refused", phase=Phase.LOGIN, device=device)
    if isinstance(error, TimeoutError):
        return TimedOut(f"no answer from {target.host}", phase=client.phase, device=device)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        message = f"no common algorithm: {error.reason}; an old device may need legacy_ssh"
        return Unreachable(message, phase=client.phase, device=device)
    return Unreachable(f"{target.host}: {error}", phase=client.phase, device=device)


@asynccontextmanager
async def connected(opening: Opening) -> AsyncGenerator[SshConnection]:
    """Hold a connection inside the block."""
    connection = await connect(opening)
    try:
        yield connection
    except BaseException:
        connection.abort()
        raise
    finally:
        await connection.close()
