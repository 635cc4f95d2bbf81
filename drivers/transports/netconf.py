"""NETCONF over a stream, RFC 6241: hello, rpc, typed rpc-errors, candidate, confirmed commit with persist-id."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from drivers.errors import CommandRefused, Dropped, Garbled, LockHeld, NotAuthorized, Phase, TimedOut
from drivers.target import Opening
from drivers.transports.framing import Framer, FramingError, encode
from drivers.transports.stream import Stream

BASE = "urn:ietf:params:xml:ns:netconf:base:1.0"
BASE_1_0 = "urn:ietf:params:netconf:base:1.0"
BASE_1_1 = "urn:ietf:params:netconf:base:1.1"
CAPABILITY = "urn:ietf:params:netconf:capability:"


@dataclass(frozen=True, slots=True)
class RpcError:
    """One rpc-error, RFC 6241 section 4.3; texts are redacted."""

    kind: str
    tag: str
    severity: str
    message: str = ""
    path: str = ""
    info: tuple[tuple[str, str], ...] = ()


class RpcRefused(CommandRefused):
    """The device answered with one rpc-error or several; `errors` holds them all, always as a tuple."""

    slug = "rpc-error"

    def __init__(self, errors: tuple[RpcError, ...], *, phase: Phase, device: str, command: str) -> None:
        said = "; ".join(f"{error.tag}: {error.message}".rstrip(": ") for error in errors)
        super().__init__(
            f"{command} was refused: {said}", phase=phase, device=device, command=command, answer=said
        )
        self.errors = errors


@dataclass(frozen=True, slots=True)
class RpcReply:
    """A reply that is no error; `warnings` are rpc-errors of severity warning. `element` is the rpc-reply."""

    element: ET.Element = field(repr=False)
    warnings: tuple[RpcError, ...] = ()


def local(tag: str) -> str:
    """Return an element's name without its namespace."""
    return tag.rpartition("}")[2]


def find(element: ET.Element, *path: str) -> ET.Element | None:
    """Return the first descendant along the path of names, whatever its namespace."""
    for name in path:
        element_or_none = next((each for each in element.iter() if local(each.tag) == name), None)
        if element_or_none is None:
            return None
        element = element_or_none
    return element


def text_of(element: ET.Element, *path: str) -> str:
    """Return the text of the first descendant along the path, or empty."""
    found = find(element, *path)
    return (found.text or "").strip() if found is not None else ""


def parse(octets: bytes) -> ET.Element:
    """Return the message as an element; ValueError for anything with a document type, and for bad XML."""
    if b"<!DOCTYPE" in octets or b"<!ENTITY" in octets:
        raise ValueError("a document type is not allowed here")
    try:
        return ET.fromstring(octets)  # noqa: S314 - no document type, so no entities
    except ET.ParseError as error:
        raise ValueError(str(error)) from error


class Netconf:
    """One NETCONF session. One rpc at a time."""

    def __init__(self, stream: Stream, opening: Opening) -> None:
        self._stream = stream
        self._opening = opening
        self._framer = Framer()
        self._count = 0
        self._broken = False
        self.capabilities: frozenset[str] = frozenset()
        self.session_id = ""

    async def hello(self) -> None:
        """Exchange hellos; the session speaks 1.1 if both sides do."""
        ours = "".join(f"<capability>{each}</capability>" for each in (BASE_1_0, BASE_1_1))
        message = f"<hello xmlns={quoteattr(BASE)}><capabilities>{ours}</capabilities></hello>"
        self._send(message)
        theirs = await self._receive(Phase.LOGIN, self._opening.target.deadlines.login_s)
        if local(theirs.tag) != "hello":
            raise self._garbled(f"expected hello, got {local(theirs.tag)}")
        self.capabilities = frozenset(
            (each.text or "").strip() for each in theirs.iter() if local(each.tag) == "capability"
        )
        self.session_id = text_of(theirs, "session-id")
        self._framer.chunked = BASE_1_1 in self.capabilities

    def has(self, name: str) -> bool:
        """Return whether the device announced a capability, as in `candidate:1.0`."""
        wanted = CAPABILITY + name
        return any(each == wanted or each.startswith(wanted + "?") for each in self.capabilities)

    async def rpc(
        self, body: str, *, phase: Phase = Phase.COMMAND, timeout_s: float | None = None
    ) -> RpcReply:
        """Send one operation and return its reply. RpcRefused holds all errors; TimedOut leaves the state unknown."""
        if self._broken:
            raise Dropped("the session is out of step", phase=phase, device=self._device)
        self._count += 1
        number = str(self._count)
        self._send(f'<rpc xmlns={quoteattr(BASE)} message-id="{number}">{body}</rpc>')
        limit = timeout_s if timeout_s is not None else self._opening.target.deadlines.command_s
        reply = await self._receive(phase, limit)
        while local(reply.tag) == "notification":
            reply = await self._receive(phase, limit)
        if local(reply.tag) != "rpc-reply" or reply.get("message-id") != number:
            raise self._garbled(
                f"expected rpc-reply {number}, got {local(reply.tag)} {reply.get('message-id')}"
            )
        found = [self._error(each) for each in reply.iter() if local(each.tag) == "rpc-error"]
        errors = tuple(error for error in found if error.severity != "warning")
        if errors:
            self._refuse(errors, phase, body)
        return RpcReply(reply, tuple(error for error in found if error.severity == "warning"))

    def _refuse(self, errors: tuple[RpcError, ...], phase: Phase, body: str) -> None:
        for error in errors:
            if error.tag == "lock-denied" or (error.tag == "in-use" and phase is Phase.LOCK):
                holder = dict(error.info).get("session-id", "")
                raise LockHeld(
                    f"session {holder or 'unknown'} holds the lock", device=self._device, holder=holder
                )
            if error.tag == "access-denied":
                raise NotAuthorized(error.message or "access denied", phase=phase, device=self._device)
        operation = body[1:].partition(">")[0].partition(" ")[0].rstrip("/")
        raise RpcRefused(errors, phase=phase, device=self._device, command=operation)

    def _error(self, element: ET.Element) -> RpcError:
        redact = self._opening.redactor.redact
        info = find(element, "error-info")
        return RpcError(
            text_of(element, "error-type"),
            text_of(element, "error-tag"),
            text_of(element, "error-severity") or "error",
            redact(text_of(element, "error-message")),
            text_of(element, "error-path"),
            tuple((local(each.tag), redact((each.text or "").strip())) for each in info)
            if info is not None
            else (),
        )

    # Operations ---------------------------------------------------------------------------------------------

    async def get_config(self, source: str = "running", within: str = "") -> ET.Element:
        """Return the data element of a datastore; `within` is a subtree filter as XML."""
        wanted = f'<filter type="subtree">{within}</filter>' if within else ""
        reply = await self.rpc(
            f"<get-config><source><{source}/></source>{wanted}</get-config>", phase=Phase.READ
        )
        data = find(reply.element, "data")
        if data is None:
            raise self._garbled("a reply to get-config without data")
        return data

    async def edit_config(
        self, config: str, *, target: str = "candidate", default: str = "merge"
    ) -> RpcReply:
        """Change a datastore; `config` is XML with the vendor's namespaces. All or nothing where offered."""
        error = "rollback-on-error" if self.has("rollback-on-error:1.0") else "stop-on-error"
        return await self.rpc(
            f"<edit-config><target><{target}/></target><default-operation>{default}</default-operation>"
            f"<error-option>{error}</error-option><config>{config}</config></edit-config>",
            phase=Phase.STAGE,
        )

    async def lock(self, target: str = "candidate") -> None:
        """Lock a datastore; LockHeld names who has it."""
        await self.rpc(f"<lock><target><{target}/></target></lock>", phase=Phase.LOCK)

    async def unlock(self, target: str = "candidate") -> None:
        """Unlock a datastore."""
        await self.rpc(f"<unlock><target><{target}/></target></unlock>", phase=Phase.LOCK)

    async def validate(self, source: str = "candidate") -> RpcReply:
        """Let the device check a datastore; its complaints are RpcRefused and the warnings of the reply."""
        return await self.rpc(f"<validate><source><{source}/></source></validate>", phase=Phase.VALIDATE)

    async def discard(self) -> None:
        """Throw the candidate's changes away."""
        await self.rpc("<discard-changes/>", phase=Phase.STAGE)

    async def commit(
        self, *, confirm_within_s: int | None = None, persist: str = "", persist_id: str = ""
    ) -> None:
        """Commit, commit confirmed (`confirm_within_s`, kept over this session by `persist`), or confirm."""
        inner = ""
        if confirm_within_s is not None:
            inner = f"<confirmed/><confirm-timeout>{confirm_within_s}</confirm-timeout>"
            inner += f"<persist>{escape(persist)}</persist>" if persist else ""
        inner += f"<persist-id>{escape(persist_id)}</persist-id>" if persist_id else ""
        limit = self._opening.target.deadlines.commit_s
        phase = Phase.COMMIT if confirm_within_s is not None else Phase.CONFIRM
        await self.rpc(f"<commit>{inner}</commit>" if inner else "<commit/>", phase=phase, timeout_s=limit)

    async def cancel_commit(self, persist_id: str = "") -> None:
        """Take a confirmed commit back now."""
        inner = f"<persist-id>{escape(persist_id)}</persist-id>" if persist_id else ""
        await self.rpc(f"<cancel-commit>{inner}</cancel-commit>", phase=Phase.ROLLBACK)

    async def close(self) -> None:
        """Close the session in good order. It gives locks back; a commit with persist goes on waiting."""
        if not self._broken:
            await self.rpc("<close-session/>", phase=Phase.CLOSE)
        self._stream.close()

    # The wire -----------------------------------------------------------------------------------------------

    def _send(self, message: str) -> None:
        self._opening.transcript.sent(message + "\n")
        self._stream.write(encode(message.encode(), chunked=self._framer.chunked))

    async def _receive(self, phase: Phase, seconds: float) -> ET.Element:
        try:
            async with asyncio.timeout(seconds):
                while (message := self._framer.next()) is None:
                    octets = await self._stream.read()
                    if not octets:
                        self._broken = True
                        raise Dropped("the device closed the session", phase=phase, device=self._device)
                    self._framer.feed(octets)
        except TimeoutError:
            self._broken = True
            raise TimedOut(
                f"no reply within {seconds:g} s", phase=phase, device=self._device, expected="rpc-reply"
            ) from None
        except FramingError as error:
            raise self._garbled(str(error)) from error
        self._opening.transcript.received(message.decode(errors="replace") + "\n")
        try:
            return parse(message)
        except ValueError as error:
            raise self._garbled(f"no XML: {error}") from error

    def _garbled(self, message: str) -> Garbled:
        self._broken = True
        tail = self._opening.transcript.tail()
        return Garbled(message, phase=Phase.COMMAND, device=self._device, tail=tail)

    @property
    def _device(self) -> str:
        return self._opening.target.name
