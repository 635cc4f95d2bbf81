"""An emulated NETCONF server: candidate, locks, validate, confirmed commit with persist-id that really reverts."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from typing import Any
from xml.sax.saxutils import escape

from drivers.emulator.faults import Faults
from drivers.emulator.server import Wire
from drivers.emulator.timer import CommitTimer
from drivers.emulator.tree import EditError, edit
from drivers.transports.framing import Framer, encode
from drivers.transports.netconf import BASE, BASE_1_0, BASE_1_1, CAPABILITY, find, local, parse, text_of

_OK = "<ok/>"
_DEFAULT_CONFIRM_S = 600


class NetconfDevice:
    """One emulated device. Its datastores are XML elements; a vendor may keep something else (see `_edit`)."""

    confirm_from_any = False  # without persist, RFC 6241 lets only the session itself confirm

    def __init__(
        self, running: Any = None, *, version: str = "1.1", persist: bool = True, scale: float = 1.0
    ) -> None:
        self.running: Any = running if running is not None else ET.Element("data")
        self.candidate: Any = copy.deepcopy(self.running)
        self.faults = Faults()
        self.timer = CommitTimer(scale)
        self.locks: dict[str, int] = {}
        self.operations: list[str] = []
        self.pending_owner = 0  # the session whose end takes the commit back; 0 with persist
        self.version = version
        self.persist = persist
        self._sessions = 0

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Return what the hello announces."""
        base = (BASE_1_0, BASE_1_1) if self.version == "1.1" else (BASE_1_0,)
        confirmed = "confirmed-commit:1.1" if self.persist else "confirmed-commit:1.0"
        names = ("candidate:1.0", confirmed, "rollback-on-error:1.0", "validate:1.1")
        return (*base, *(CAPABILITY + name for name in names))

    async def shell(self, wire: Wire) -> None:
        """Refuse shells."""
        wire.write(b"netconf only\r\n")

    async def subsystem(self, name: str, wire: Wire) -> None:
        """Serve one NETCONF session."""
        if name != "netconf":
            return
        self._sessions += 1
        number = self._sessions
        framer = Framer()
        offered = "".join(f"<capability>{each}</capability>" for each in self.capabilities)
        hello = f'<hello xmlns="{BASE}"><capabilities>{offered}</capabilities><session-id>{number}</session-id></hello>'
        wire.write(encode(hello.encode(), chunked=False))
        try:
            while octets := await wire.read():
                framer.feed(octets)
                while (message := framer.next()) is not None:
                    if not await self._serve(wire, framer, number, parse(message)):
                        return
        finally:
            self._ended(number)

    async def _serve(self, wire: Wire, framer: Framer, session: int, message: ET.Element) -> bool:
        if local(message.tag) == "hello":
            theirs = [(each.text or "").strip() for each in message.iter() if local(each.tag) == "capability"]
            framer.chunked = BASE_1_1 in theirs and self.version == "1.1"
            return True
        operation = message[0]
        name = local(operation.tag)
        self.operations.append(name)
        if self.faults.strikes("cut_before", name):
            wire.cut()
            return False
        if self.faults.strikes("hang_at", name):
            while await wire.read():
                pass
            return False
        body = self._result(session, name, operation)
        if self.faults.strikes("cut_after", name):
            wire.cut()
            return False
        number = message.get("message-id", "")
        reply = f'<rpc-reply xmlns="{BASE}" message-id="{number}">{body}</rpc-reply>'
        wire.write(encode(reply.encode(), chunked=framer.chunked))
        return name != "close-session"

    def _result(self, session: int, name: str, operation: ET.Element) -> str:
        if self.faults.strikes("lie_at", name):
            return _OK
        if name in self.faults.refuse:
            return "".join(error(tag, message) for tag, message in self.faults.refuse[name])
        try:
            return self.perform(session, name, operation)
        except EditError as refused:
            return error(refused.tag, refused.message)

    def perform(self, session: int, name: str, operation: ET.Element) -> str:
        """Return the inside of the reply to one operation; EditError for one rpc-error. Vendors add theirs here."""
        match name:
            case "get-config":
                return f"<data>{self._render(self._store(operation))}</data>"
            case "edit-config":
                return self._edit_config(session, operation)
            case "lock" | "unlock":
                return self._lock(session, name, operation)
            case "validate":
                self._validate(self.candidate)
                return _OK
            case "discard-changes":
                self.candidate = copy.deepcopy(self.running)
                return _OK
            case "commit":
                return self._commit(session, operation)
            case "cancel-commit":
                return self._cancel(session, operation)
            case "close-session":
                return _OK
        raise EditError("operation-not-supported", name)

    # Datastores -----------------------------------------------------------------------------------------------

    def _render(self, store: Any) -> str:
        """Return a datastore as the inside of a data element."""
        return "".join(ET.tostring(each, encoding="unicode") for each in store)

    def _edit(self, store: Any, config: ET.Element, default: str) -> Any:
        """Return the datastore with an edit-config's config brought in."""
        after = ET.Element("data") if default == "replace" else copy.deepcopy(store)
        edit(after, config, "merge" if default == "replace" else default)
        return after

    def _validate(self, store: Any) -> None:
        """Raise EditError if the datastore could not be put in force."""

    def _store(self, operation: ET.Element) -> Any:
        source = find(operation, "source")
        which = local(source[0].tag) if source is not None and len(source) else "running"
        return self.candidate if which == "candidate" else self.running

    def _edit_config(self, session: int, operation: ET.Element) -> str:
        config = find(operation, "config")
        if config is None or text_of(operation, "target") or find(operation, "target", "running") is not None:
            raise EditError("invalid-value", "only the candidate can be edited")
        self._free(session, "candidate")
        default = text_of(operation, "default-operation") or "merge"
        self.candidate = self._edit(self.candidate, config, default)
        return _OK

    def _lock(self, session: int, name: str, operation: ET.Element) -> str:
        target = find(operation, "target")
        which = local(target[0].tag) if target is not None and len(target) else "candidate"
        if name == "unlock":
            if self.locks.get(which) != session:
                raise EditError("operation-failed", "the lock is not yours")
            del self.locks[which]
            return _OK
        holder = self.locks.get(which)
        if holder is not None:
            info = f"<session-id>{holder}</session-id>"
            return error("lock-denied", "Lock failed, lock is already held", info)
        self.locks[which] = session
        return _OK

    def _free(self, session: int, which: str) -> None:
        if self.locks.get(which, session) != session:
            raise EditError("in-use", f"{which} is locked by session {self.locks[which]}")

    # Commits --------------------------------------------------------------------------------------------------

    def _commit(self, session: int, operation: ET.Element) -> str:
        persist_id = text_of(operation, "persist-id")
        if self.timer.pending and self.timer.id and persist_id != self.timer.id:
            raise EditError("invalid-value", "a confirmed commit is pending; its persist-id is needed")
        if persist_id and persist_id != self.timer.id:
            raise EditError("invalid-value", f"no confirmed commit with persist-id {persist_id}")
        if self.timer.pending and self.pending_owner not in {0, session}:
            raise EditError("in-use", "a confirmed commit of another session is pending")
        if not persist_id:
            self._free(session, "candidate")
            self._free(session, "running")
        before = self.running
        self._validate(self.candidate)
        self.running = copy.deepcopy(self.candidate)
        if find(operation, "confirmed") is None:
            self.timer.confirm()
            self.pending_owner = 0
            return _OK
        persist = text_of(operation, "persist") if self.persist else ""
        seconds = int(text_of(operation, "confirm-timeout") or _DEFAULT_CONFIRM_S)
        self.timer.arm(seconds, lambda: self._revert(before), persist or persist_id)
        self.pending_owner = 0 if persist or persist_id or self.confirm_from_any else session
        return _OK

    def _cancel(self, session: int, operation: ET.Element) -> str:
        persist_id = text_of(operation, "persist-id")
        mine = self.pending_owner in {0, session}
        if not self.timer.pending or persist_id != self.timer.id or not mine:
            raise EditError("invalid-value", "no such confirmed commit")
        self.timer.lapse()
        return _OK

    def _revert(self, before: Any) -> None:
        self.running = before
        self.candidate = copy.deepcopy(before)
        self.pending_owner = 0

    def _ended(self, session: int) -> None:
        """Give locks back, throw the candidate's changes away with them, take an unpersisted commit back."""
        if self.locks.get("candidate") == session:
            self.candidate = copy.deepcopy(self.running)
        self.locks = {which: holder for which, holder in self.locks.items() if holder != session}
        if self.timer.pending and self.pending_owner == session:
            self.timer.lapse()


def error(tag: str, message: str, info: str = "", severity: str = "error") -> str:
    """Return one rpc-error."""
    more = f"<error-info>{info}</error-info>" if info else ""
    return (
        f"<rpc-error><error-type>application</error-type><error-tag>{tag}</error-tag>"
        f"<error-severity>{severity}</error-severity><error-message>{escape(message)}</error-message>{more}</rpc-error>"
    )
