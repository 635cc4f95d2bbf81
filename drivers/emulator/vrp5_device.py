"""An emulated VRP5: lines in force as they are sent, files on the flash, a reboot that cuts everybody."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

from drivers.emulator.cli import CliSession, SessionEnded
from drivers.emulator.vrp_device import UNKNOWN, WRONG, Store, VrpDevice


class Vrp5Device(VrpDevice):
    """Immediate mode. `cut` is called at a reboot: it drops every connection."""

    def __init__(self, *, model: str = "S5720-28X-LI-AC", version: str = "5.170") -> None:
        super().__init__(model=model, version=version, release="V200R011C10SPC600", product="S5720")
        self.files: dict[str, Store] = {}
        self.startup_file = "vrpcfg.zip"
        self.full = False  # the flash
        self.reboots = 0
        self.cut: Callable[[], None] = lambda: None

    def prompt(self, session: CliSession) -> str:
        """Return `<name>`, `[name]`, `[name-view]`."""
        if not session.mode:
            return f"<{self.name()}>"
        view = "" if session.mode == "system" else "-" + session.mode.removeprefix("interface ")
        return f"[{self.name()}{view}]"

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        said = self.common(session, line)
        if said is not None:
            return said
        if not session.mode:
            return await self._exec(session, line)
        if line == "quit":
            self.leave(session)
            return ""
        return await self.configure(session, self.running, line)

    async def _exec(self, session: CliSession, line: str) -> str:
        match line.split():
            case ["system-view"]:
                session.mode = "system"
                return "Enter system view, return user view with Ctrl+Z."
            case ["save", *file]:
                return await self._save(session, file[0] if file else "")
            case ["more", file]:
                return (
                    self.show(self.files[file]) if file in self.files else "Error: The file does not exist."
                )
            case ["startup", "saved-configuration", file]:
                if file not in self.files:
                    return WRONG
                self.startup_file, self.startup = file, copy.deepcopy(self.files[file])
                return "Info: Succeeded in setting the configuration for booting system."
            case ["reboot", *fast]:
                return await self._reboot(session, fast=fast == ["fast"])
        return UNKNOWN

    async def _save(self, session: CliSession, file: str) -> str:
        if file and not re.fullmatch(r"[\w\-]+\.(?:cfg|zip)", file):
            return WRONG
        where = f"Are you sure to save the configuration to {file}?" if file else "Are you sure to continue?"
        if (await session.ask(f"{where}[Y/N]:")).strip() != "y":
            return ""
        if self.full:
            return "Error: The space of the flash is insufficient."
        if file:
            self.files[file] = copy.deepcopy(self.running)
        else:
            self.startup = copy.deepcopy(self.running)
        return "Now saving the current configuration to the slot 0.\nSave the configuration successfully."

    async def _reboot(self, session: CliSession, *, fast: bool) -> str:
        if not fast:
            question = (
                "Warning: The configuration has been modified. Will it be saved to the startup file? [Y/N]:"
            )
            if (await session.ask(question)).strip() == "y":
                self.startup = copy.deepcopy(self.running)
        if (await session.ask("System will reboot! Continue?[Y/N]:")).strip() != "y":
            return ""
        self.running = copy.deepcopy(self.startup)
        self.reboots += 1
        self.cut()
        raise SessionEnded
