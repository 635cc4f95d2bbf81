"""An emulated VRP8: a candidate for each session, `commit trial`, rollback points, an exclusive lock."""

from __future__ import annotations

import copy
import re

from drivers.emulator.cli import CliSession
from drivers.emulator.timer import CommitTimer
from drivers.emulator.vrp_device import UNKNOWN, Store, VrpDevice

_LEAVING = (
    "Warning: Uncommitted configurations found. Are you sure to commit them before exiting? "
    "[Y(yes)/N(no)/C(cancel)]:"
)
_IN_TRIAL = "Error: The system is in trial configuration mode."


class Vrp8Device(VrpDevice):
    """Two-stage mode. A trial run with `persist` outlives its session; one without does, too, and belongs to it."""

    def __init__(self, *, model: str = "CE6881-48S6CQ", version: str = "8.200", scale: float = 1.0) -> None:
        super().__init__(model=model, version=version, release="V200R020C10", product="CE6881")
        self.timer = CommitTimer(scale)
        self.points: list[tuple[str, str, str, Store]] = [("1000000001", "-", "edge", self.running)]
        self.candidates: dict[int, Store] = {}
        self.holder: CliSession | None = None

    def prompt(self, session: CliSession) -> str:
        """Return `<name>`, `[~name]`, `[*name-view]`."""
        if not session.mode:
            return f"<{self.name()}>"
        view = "" if session.mode == "system" else "-" + session.mode.removeprefix("interface ")
        return f"[{'*' if self._dirty(session) else '~'}{self.name()}{view}]"

    def ended(self, session: CliSession) -> None:
        """Give the lock and the candidate back."""
        self.candidates.pop(session.number, None)
        if self.holder is session:
            self.holder = None

    def _dirty(self, session: CliSession) -> bool:
        return self.candidates.get(session.number, self.running) != self.running

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        said = self.common(session, line)
        if said is not None:
            return said
        match line.split():
            case ["display", "configuration", "trial", "status"]:
                return self._status()
            case ["display", "configuration", "commit", "list"]:
                return self._list()
        return await (self._edit(session, line) if session.mode else self._exec(session, line))

    async def _exec(self, session: CliSession, line: str) -> str:
        match line.split():
            case ["system-view"]:
                session.mode = "system"
                self.candidates[session.number] = copy.deepcopy(self.running)
                return "Enter system view, return user view with return command."
            case ["configuration", "exclusive"]:
                if self.holder not in {None, session}:
                    return "Error: The configuration is locked by another user."
                self.holder = session
                return ""
            case ["undo", "configuration", "exclusive"]:
                self.holder = None
                return ""
            case ["save"]:
                question = (
                    "Warning: The current configuration will be written to the device. Continue? [Y/N]:"
                )
                if (await session.ask(question)).strip() != "y":
                    return ""
                self.startup = copy.deepcopy(self.running)
                return "Now saving the current configuration ...\nInfo: Save the configuration successfully."
            case ["rollback", "configuration", "to", "commit-id", point]:
                return await self._back(session, point)
        return UNKNOWN

    async def _edit(self, session: CliSession, line: str) -> str:
        candidate = self.candidates[session.number]
        match line.split():
            case ["quit"] if session.mode == "system" and self._dirty(session):
                answer = (await session.ask(_LEAVING)).strip().lower()
                if answer.startswith("y"):
                    self._put(session, candidate, "-")
                if not answer.startswith("c"):
                    self.leave(session)
                return ""
            case ["quit"]:
                self.leave(session)
                return ""
            case ["clear", "configuration", "candidate"]:
                self.candidates[session.number] = copy.deepcopy(self.running)
                return ""
            case ["display", "configuration", "candidate", "merge"]:
                return self.show(candidate)
            case ["display", "configuration", "candidate", "changes"]:
                return _changes(self.running, candidate)
            case ["commit", *rest]:
                return self._commit(session, " ".join(rest))
            case ["abort", "trial", "persist", name]:
                return await self._stop(session, name)
        return await self.configure(session, candidate, line)

    # Committing -------------------------------------------------------------------------------------------

    def _commit(self, session: CliSession, rest: str) -> str:
        if self.holder not in {None, session}:
            return "Error: The configuration is locked by another user."
        confirmed = re.fullmatch(r"persist (\S+)", rest)
        if confirmed:
            if self.timer.id != confirmed[1] or not self.timer.confirm():
                return "Error: The trial configuration with this persist ID does not exist."
            return ""
        if self.timer.pending:
            return _IN_TRIAL
        candidate = self.candidates[session.number]
        addresses = [line for lines in candidate.values() for line in lines if line.startswith("ip address")]
        if len(addresses) != len(set(addresses)):
            return "Error: The specified address conflicts with another address."
        trial = re.fullmatch(r"trial (\d+)(?: persist (\S+))?", rest)
        label = re.fullmatch(r"label (\S+)(?: description .{1,60})?", rest)
        if rest and not trial and not label:
            return UNKNOWN
        if trial and trial[2] and int(self.version.split(".")[1]) < 200:
            return UNKNOWN
        before = self.running
        self._put(session, candidate, label[1] if label else "-")
        if trial is None:
            return ""
        self.timer.arm(int(trial[1]), lambda: self._restore(before), trial[2] or "")
        return (
            "Info: The system enters the trial configuration mode.\nThe system will revert to previous "
            f"configuration if the trial configuration is not confirmed in {trial[1]} seconds."
        )

    def _put(self, session: CliSession, store: Store, label: str) -> None:
        self.running = copy.deepcopy(store)
        user = session.memory.get("user", "edge")
        self.points.append((str(int(self.points[-1][0]) + 1), label, user, self.running))

    def _restore(self, before: Store) -> None:
        self.running = before
        self.candidates = {number: copy.deepcopy(before) for number in self.candidates}

    async def _stop(self, session: CliSession, name: str) -> str:
        if self.timer.id != name:
            return "Error: The trial configuration with this persist ID does not exist."
        if (
            await session.ask("Warning: The trial configuration will be rolled back. Continue? [Y/N]:")
        ).strip() == "y":
            self.timer.lapse()
            return "Info: The trial configuration rollback succeeded."
        return ""

    async def _back(self, session: CliSession, point: str) -> str:
        if self.timer.pending:
            return _IN_TRIAL
        store = next((kept for number, _, _, kept in self.points if number == point), None)
        if store is None:
            return "Error: The commit ID does not exist."
        question = "Warning: This operation will revert configuration changes to the previous status. Continue? [Y/N]:"
        if (await session.ask(question)).strip() == "y":
            self._put(session, store, "-")
        return "Loading rollback changes\nCommitting\nConfiguration rollback succeeded."

    def _status(self) -> str:
        if not self.timer.pending:
            return "Trial status: INACTIVE \nTrial time left (sec): 0"
        name = f"Persist id: {self.timer.id}\n" if self.timer.id else ""
        return f"Trial status: ACTIVE \n{name}Trial time left (sec): 51"

    def _list(self) -> str:
        rows = [
            f"{at:<4} {number} {label:<20} {user:<10} 2026-11-21 10:00:00"
            for at, (number, label, user, _) in enumerate(reversed(self.points), 1)
        ]
        line = "-" * 70
        return "\n".join(
            [line, "No.  CommitId   Label                User       TimeStamp", line, *rows, line]
        )


def _changes(old: Store, new: Store) -> str:
    out = ["Building configuration"]
    for view in {**old, **new}:
        before, after = old.get(view, []), new.get(view, [])
        gone = [line for line in before if line not in after]
        come = [line for line in after if line not in before]
        if not gone and not come and (view in old) == (view in new):
            continue
        mark = " " if view in old and view in new else "+" if view in new else "-"
        out += [f"{mark} {view}"] if view else []
        out += [f"-  {line}" for line in gone] + [f"+  {line}" for line in come] + ["  #"]
    return "\n".join(out)
