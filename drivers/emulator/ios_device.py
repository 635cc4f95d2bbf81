"""An emulated Cisco IOS-XE: flash files, Tcl shell, archive, timed rollback that really reverts, its warnings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from drivers.emulator.blocks import Block, differences, merge, missing, parse, render
from drivers.emulator.cli import CliSession, SessionEnded
from drivers.emulator.ios_like_device import CDP, INTERFACES, INVALID, LLDP, Editor, IosLikeDevice
from drivers.emulator.timer import CommitTimer

FIRST = """hostname r1
enable secret 9 $9$canary$on-the-box
username admin privilege 15 secret 9 $9$canary$admin
archive
 path flash:archive
interface GigabitEthernet0/0
 description uplink to core1
 ip address 192.0.2.1 255.255.255.0
interface GigabitEthernet0/1
 shutdown
line vty 0 4
 transport input ssh
banner motd ^C
% Invalid access is prohibited #
^C
"""
ENABLE = "en4ble-me"
ETX = "\x03"  # ends a banner; shown as the two characters ^C
_WARNING = (
    "Rollback Confirmed Change: Rollback will begin in one minute.\n"
    'Enter "configure confirm" if you wish to keep what you\'ve configured\n'
)
_RESTORED = "Rollback aborted after 5 passes\nThe original configuration has been successfully restored"


class IosDevice(IosLikeDevice):
    """One minute of the device passes in 60 / `scale` seconds. `level` is the privilege that a login starts with."""

    def __init__(
        self,
        text: str = FIRST,
        *,
        version: str = "17.09.04a",
        model: str = "ISR4331/K9",
        level: int = 15,
        scale: float = 1.0,
    ) -> None:
        super().__init__("r1")
        self.running = parse(text.replace("^C", ETX))
        self.startup = self.running.copy()
        self.version, self.model, self.level = version, model, level
        self.timer = CommitTimer(scale)
        self.files: dict[str, str] = {}
        self.subscribers = {"7": "bob@isp", "9": "bob@isp", "12": "eve@isp"}
        self.user = "edge"  # who set the timer
        self.quiet_files = False  # `file prompt quiet`
        self.enable_tries = 0
        self.reads = 0
        self.corrupts = 0  # so many lines of the Tcl shell lose a character

    def prompt(self, session: CliSession) -> str:
        """Return `r1>`, `r1#`, `r1(config-if)#`, `r1(tcl)#`; now and then with a warning behind it."""
        return self._prompt(session) + (f"\n{_WARNING}" if session.memory.pop("warned", "") else "")

    def _prompt(self, session: CliSession) -> str:
        name = self.name_of(self.running)
        editor = self.editors.get(session.number)
        if editor is not None:
            return f"{name}(config{editor.mode})#"
        if session.mode == "tcl":
            return f"{name}(tcl)#"
        return f"{name}{'#' if self._level(session) == 15 else '>'}"

    def _level(self, session: CliSession) -> int:
        return 15 if session.memory.get("enabled") else self.level

    async def handle(self, session: CliSession, line: str) -> str:
        """Execute one line."""
        settled = self._terminal(session, line)
        if settled is not None:
            return settled
        if session.mode == "tcl":
            return self._tcl(session, line)
        if session.number in self.editors:
            return self._configure(session, line)
        if line == "exit":
            raise SessionEnded
        if line == "enable":
            return await self._enable(session)
        if line == "show version":
            return self._version()
        if self._level(session) < 15:
            return INVALID
        if line.startswith("show "):
            return self._show(line)
        return await self._exec(session, line)

    async def _enable(self, session: CliSession) -> str:
        for _ in range(3):
            self.enable_tries += 1
            if await session.ask("Password: ", hidden=True) == ENABLE:
                session.memory["enabled"] = "yes"
                return ""
        return "% Bad secrets"

    def _version(self) -> str:
        return (
            f"Cisco IOS XE Software, Version {self.version}\n"
            f"Cisco IOS Software [Cupertino], ISR Software (X86_64), Version 17.9.4a, RELEASE SOFTWARE (fc3)\n"
            "r1 uptime is 1 week, 2 days, 3 hours, 4 minutes\n"
            f"cisco {self.model} (1RU) processor with 1795999K/6147K bytes of memory.\n"
            "Processor board ID FDO1234A5BC"
        )

    def config(self) -> str:
        """Return what `show running-config` prints; its head is another one each time."""
        self.reads += 1
        body = f"version 17.9\n{render(self.running)}end".replace(ETX, "^C")
        changed = f"! Last configuration change at 10:00:{self.reads % 60:02d} UTC Mon Nov 2 2026 by admin\n"
        return (
            f"Building configuration...\n\nCurrent configuration : {len(body)} bytes\n!\n{changed}!\n{body}"
        )

    def _show(self, line: str) -> str:
        if line in {"show running-config", "show startup-config"}:
            return (
                self.config()
                if "running" in line
                else f"Using 900 out of 99 bytes\n{render(self.startup)}end"
            )
        if line == "show archive":
            return (
                "The next archive file is flash:archive-1"
                if self._archives
                else " Archive feature not enabled"
            )
        if line == "show archive config rollback timer":
            if not self.timer.pending:
                return "%No Rollback Confirmed Change pending"
            told = (
                "Time configured(or reconfigured): 22:50:48 UTC Sat Nov 21 2026\nTimer type: absolute timer"
            )
            return f"{told}\nTimer value: 2 min\nUser: {self.user}"
        if compared := re.fullmatch(r"show archive config differences system:running-config (\S+)", line):
            lines = differences(self.running, parse(self.files.get(compared[1], "")))
            lines = [each for each in lines if each != "+version 17.9"]
            return "\n".join(["!Contextual Config Diffs:", *(lines or ["!No changes were found"])])
        if compared := re.fullmatch(r"show archive config incremental-diffs (\S+)", line):
            text = self.files.get(compared[1], "")
            if merge(self.running.copy(), text):
                return INVALID
            return "\n".join(
                ["!List of Commands:", *(missing(self.running, text) or ["!No changes were found"]), "end"]
            )
        if kept := re.fullmatch(r"show subscriber session username (\S+)", line):
            return self._subscriber(kept[1])
        others = {
            "show interfaces": INTERFACES,
            "show lldp neighbors detail": LLDP,
            "show cdp neighbors detail": CDP,
        }
        return others.get(line, INVALID)

    def _subscriber(self, name: str) -> str:
        return "\n".join(
            f"Unique Session ID: {uid}\nIdentifier: {who}\nIPv4 Address: 198.51.100.{uid}\nSession Up-time: 00:05:12"
            for uid, who in self.subscribers.items()
            if who == name
        )

    @property
    def _archives(self) -> bool:
        return any(line.startswith("path") for line in self.running.lines.get("archive", Block()).lines)

    async def _exec(self, session: CliSession, line: str) -> str:
        match line.split():
            case ["tclsh"]:
                session.mode = "tcl"
                return ""
            case ["dir", disk]:
                rows = (
                    f"   {number}  -rw-  1200  Nov 21 2026 10:00:00 {name.removeprefix(disk)}"
                    for number, name in enumerate(self.files, 1)
                )
                return f"Directory of {disk}\n" + "\n".join(rows)
            case ["verify", "/md5", path] if path in self.files:
                told = hashlib.md5(self.files[path].encode(), usedforsecurity=False).hexdigest()
                return f"....Done!\nverify /md5 ({path}) = {told}"
            case ["delete", "/force", path]:
                return (
                    ""
                    if self.files.pop(path, None) is not None
                    else f"%Error deleting {path} (No such file or directory)"
                )
            case ["rename", old, new] if old in self.files:
                await self._asked(session, new)
                self.files[new] = self.files.pop(old)
                return ""
            case ["copy", source, target]:
                return await self._copy(session, source, target)
            case ["configure", *how]:
                return self._configured(session, how)
            case ["clear", "subscriber", "session", "uid", uid]:
                self.subscribers.pop(uid, None)
                return ""
        return INVALID

    async def _asked(self, session: CliSession, name: str) -> None:
        if not self.quiet_files:
            await session.ask(f"Destination filename [{name.rpartition(':')[2]}]? ")

    async def _copy(self, session: CliSession, source: str, target: str) -> str:
        await self._asked(session, target)
        done = "1200 bytes copied in 0.433 secs (2771 bytes/sec)"
        if source == "running-config" and target == "startup-config":
            self.startup = self.running.copy()
            return "Building configuration...\n[OK]"
        if source == "running-config":
            self.files[target] = f"version 17.9\n{render(self.running)}end\n"
            return done
        if source not in self.files:
            return f"%Error opening {source} (No such file or directory)"
        refused = merge(self.running, self.files[source])
        return "\n".join([*(f"{each}\n{INVALID}" for each in refused), done])

    def _configured(self, session: CliSession, how: list[str]) -> str:
        match how:
            case ["terminal"]:
                self.editors[session.number] = Editor(self.running)
                return "Enter configuration commands, one per line.  End with CNTL/Z."
            case ["terminal", "revert", "timer", minutes]:
                return self._arm(
                    session, int(minutes), lambda: self.editors.update({session.number: Editor(self.running)})
                )
            case ["replace", path, "force", *rest]:
                return self._replace(session, path, rest)
            case ["confirm"]:
                return "" if self.timer.confirm() else "%No Rollback Confirmed Change pending"
            case ["revert", "now"]:
                if not self.timer.pending:
                    return "%No Rollback Confirmed Change pending"
                self.timer.lapse()
                return "Rollback Confirmed Change: rolling to:flash:archive-1\nTotal number of passes: 1\nRollback Done"
        return INVALID

    def _arm(self, session: CliSession, minutes: int, then: Callable[[], object]) -> str:
        if not self._archives:
            return "%Turn config archive on before using Rollback Confirmed Change"
        before = self.running.copy()
        self.timer.arm(minutes * 60, lambda: self._restore(before))
        then()
        if minutes == 1:  # the warning comes behind the prompt, which is not shown again
            session.memory["warned"] = "yes"
        return "Rollback Confirmed Change: Backing up current running config to flash:archive-1\n"

    def _restore(self, before: Block) -> None:
        self.running = before
        for number in self.editors:
            self.editors[number] = Editor(before)

    def _replace(self, session: CliSession, path: str, rest: list[str]) -> str:
        if path not in self.files:
            return f"%Error opening {path} (No such file or directory)"
        text = self.files[path]
        if not text.rstrip().endswith("end"):
            return "The input file is not a valid config file."
        said = ""
        if rest[-2:-1] == ["timer"]:
            said = self._arm(session, int(rest[-1]), lambda: None)
            if said.startswith("%"):
                return said
        wanted = Block()
        if refused := merge(wanted, text):
            self.timer.confirm()
            listed = "\n".join(refused)
            return f"{said}The following commands are failed to apply:\n{listed}\n{_RESTORED}"
        wanted.lines.pop("version 17.9", None)
        self.running = wanted
        return f"{said}Total number of passes: 1\nRollback Done\n"

    def _configure(self, session: CliSession, line: str) -> str:
        editor = self.editors[session.number]
        if line == "end" or (line == "exit" and not editor.leave()):
            del self.editors[session.number]
            return ""
        return "" if line == "exit" else editor.type(line)

    # The Tcl shell ----------------------------------------------------------------------------------------------

    def _tcl(self, session: CliSession, line: str) -> str:
        if "?" in line or "\t" in line or "\x03" in line:
            return "% Unrecognized command"  # help, completion and interrupt are not for a file
        if line == "tclquit":
            session.mode = ""
        elif opened := re.fullmatch(r'set f \[open "(.*)" w\]', line):
            session.memory["file"] = _untcl(opened[1])
            self.files[session.memory["file"]] = ""
            return "file0"
        elif put := re.fullmatch(r'puts (-nonewline )?\$f "(.*)"', line):
            text = _untcl(put[2])
            if self.corrupts:
                self.corrupts, text = self.corrupts - 1, text[1:]
            self.files[session.memory["file"]] += text if put[1] else f"{text}\n"
        elif line != "close $f":
            return f'invalid command name "{line.split(maxsplit=1)[0]}"'
        return ""


def _untcl(text: str) -> str:
    return re.sub(r"\\([0-7]{1,3})", lambda hit: chr(int(hit[1], 8)), text)
