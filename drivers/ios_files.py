"""Files on the disk of a Cisco IOS device: written with its Tcl shell, checked by MD5, named after commits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence

from drivers.errors import CommandRefused, Garbled, Phase
from drivers.ios_text import pieces, tcl
from drivers.redact import Redactor
from drivers.transports.cli import Answer, Question

# What the device asks before it touches a file. The default name is the one in the command.
QUESTIONS: tuple[Question, ...] = (
    (r"Destination filename \[[^\]]*\]\? ?$", ""),
    (r"\[confirm\] ?$", ""),
    (r"\[no\]: ?$", "no"),
)
_OURS = re.compile(r"\b(dm[0-9a-f]{10}(?:-[0-9a-f]{8})?\.(?:cfg|bak|old))\b")

Do = Callable[..., Awaitable[str]]  # one command; CommandRefused if it fails
Say = Callable[..., Awaitable[Answer]]  # one command, refused or not


class Disk:
    """One file system of the device, such as `flash:`. Only files with our names are ever deleted."""

    _delete = "delete /force"
    _receipt = "copied"

    def __init__(self, root: str, do: Do, say: Say, redactor: Redactor, device: str) -> None:
        self.root = root
        self._do = do
        self._say = say
        self._redactor = redactor
        self._device = device

    async def names(self) -> tuple[str, ...]:
        """Return our files: `dmID.cfg` staged, `dmID.bak` before, `dmID-DIGEST.old` settled."""
        return tuple(_OURS.findall((await self._say(f"dir {self.root}")).text))

    async def write(self, path: str, lines: Sequence[str]) -> None:
        """Write a file; Garbled if the device has something else than was sent."""
        self._hide(lines)
        await self._do("tclsh")
        try:
            await self._do(f"set f [open {tcl(path)} w]")
            for line in lines:
                *heads, last = pieces(line)
                for piece in heads:
                    await self._do(f"puts -nonewline $f {tcl(piece)}")
                await self._do(f"puts $f {tcl(last)}")
            await self._do("close $f")
        except CommandRefused:
            await self._say("tclquit")
            raise
        await self._say("tclquit")
        octets = "".join(f"{line}\n" for line in lines).encode()
        wanted = hashlib.md5(octets, usedforsecurity=False).hexdigest()
        told = re.search(r"= *([0-9a-f]{32})", await self._do(f"verify /md5 {path}"))
        if told is None or told[1] != wanted:
            await self.delete(path)
            raise Garbled(
                f"{path} is not what was sent",
                phase=Phase.STAGE,
                device=self._device,
                expected=f"MD5 {wanted}",
            )

    def _hide(self, lines: Sequence[str]) -> None:
        """Make the redactor know the secrets of a file as they stand in Tcl strings and in pieces of lines."""
        for line in lines:
            shown = self._redactor.redact(line).split()
            for word in line.split():
                if word not in shown:
                    for piece in pieces(word):
                        self._redactor.add(piece)
                        self._redactor.add(tcl(piece)[1:-1])

    async def delete(self, path: str) -> None:
        """Delete a file; it may be gone already."""
        await self._say(f"{self._delete} {path}", QUESTIONS)

    async def sweep(self, keep: str) -> None:
        """Delete what earlier commits of ours have left, but for the path to keep."""
        for name in await self.names():
            if name not in keep:
                await self.delete(self.root + name)

    async def save_running(self, name: str) -> bool:
        """Return whether the running configuration was copied into a file of this name."""
        return self._receipt in await self._do(f"copy running-config {self.root}{name}", QUESTIONS)

    async def rename(self, old: str, new: str) -> None:
        """Rename a file, if the device lets us: what was committed does not depend on it."""
        await self._say(f"rename {self.root}{old} {self.root}{new}", QUESTIONS)


class EosDisk(Disk):
    """The same on Arista EOS, which has no Tcl shell: nothing is written there but copies."""

    _delete = "delete"
    _receipt = "completed successfully"
