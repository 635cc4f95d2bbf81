"""Ending a live session on the device itself: the last resort when a Disconnect-Request was not answered."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import final

from drivers.base import Session
from drivers.errors import CommandRefused, DriverError, Dropped, NotSupported, Phase, TimedOut, Unreachable

_POLL_S = 0.5


class KickState(StrEnum):
    """What became of the session, as far as it was read back."""

    KICKED = "kicked"  # it was there, and it is gone
    ABSENT = "absent"  # it was not there; nothing was sent
    UNVERIFIED = "unverified"  # not seen to be gone: refused, still there, or the reply was lost


@dataclass(frozen=True, slots=True)
class LiveSession:
    """Which session is meant; each field that is set must match. `session_id` is the Acct-Session-Id.

    With a `session_id`, a newer session of the same subscriber is left alone. Without one, every session of
    `user_name` is meant.
    """

    user_name: str = ""
    session_id: str = ""
    address: str = ""

    def matches(self, user_name: str, session_id: str, address: str) -> bool:
        """Return whether these are the fields of the session that is meant."""
        if self.user_name and self.user_name != user_name:
            return False
        if self.session_id and _plain(self.session_id) != _plain(session_id):
            return False
        return not self.address or self.address == address


@dataclass(frozen=True, slots=True)
class KickResult:
    """The outcome of kick(); `ended` are the session ids that are gone, `detail` is for people."""

    state: KickState
    detail: str = ""
    ended: tuple[str, ...] = ()


class KickingSession(Session):
    """A device session that can end live subscriber sessions."""

    @abstractmethod
    async def _live(self, who: LiveSession) -> tuple[str, ...]:
        """Return handles of the sessions meant that are there now. A handle is never given to another session."""

    @abstractmethod
    async def _end_live(self, handle: str, *, hard: bool) -> None:
        """Ask the device to end one session; `hard`: without waiting for the subscriber's side."""

    @final
    async def kick(self, who: LiveSession, within_s: float = 10.0) -> KickResult:
        """End a live session and see it gone. Opening the session has raised what can be wrong with the device.

        Looks first, so calling it again is no harm. WritesRefused where nothing may be written.
        """
        self._may_write()
        if not who.user_name and not who.session_id:
            raise NotSupported(
                "kick needs a user name or a session id", phase=Phase.COMMAND, device=self.target.name
            )
        found = await self._within(Phase.READ, self._live(who))
        if not found:
            return KickResult(KickState.ABSENT, "no such session")
        until = self.clock.now() + within_s
        refused = await self._ended(found, hard=False)
        if self.broken:
            return KickResult(KickState.UNVERIFIED, refused)
        left = await self._gone(who, found, self.clock.now() + within_s / 2)
        if left and not self.broken:
            refused = await self._ended(left, hard=True) or refused
            left = left if self.broken else await self._gone(who, left, until)
        if left or self.broken:
            return KickResult(KickState.UNVERIFIED, refused or f"still there after {within_s:g} s")
        return KickResult(KickState.KICKED, "", found)

    async def _ended(self, handles: tuple[str, ...], *, hard: bool) -> str:
        """Send what ends each; return why that may not have worked."""
        for handle in handles:
            try:
                await self._within(Phase.COMMAND, self._end_live(handle, hard=hard))
            except CommandRefused as error:
                return self.redactor.redact(error.answer or error.message)
            except (TimedOut, Dropped, Unreachable) as error:
                self.abort()
                return str(error)
        return ""

    async def _gone(self, who: LiveSession, handles: tuple[str, ...], until: float) -> tuple[str, ...]:
        """Return which are still there at that time; all of them if the device cannot be read any more."""
        meant = replace(who, address="")  # a session that is ending may have lost its address already
        while True:
            try:
                there = await self._within(Phase.READ, self._live(meant))
            except DriverError:
                self.abort()
                return handles
            left = tuple(each for each in handles if each in there)
            if not left or self.clock.now() >= until:
                return left
            await self.clock.sleep(_POLL_S)


def _plain(session_id: str) -> str:
    """Return a session id as it compares: RouterOS prints 0x81A00003 for the 81a00003 of its accounting."""
    return session_id.lower().removeprefix("0x")
