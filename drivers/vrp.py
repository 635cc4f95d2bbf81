"""What the drivers of Huawei VRP5 and VRP8 share: the command line, its views, reading, facts, services."""

from __future__ import annotations

import re
from abc import abstractmethod

from drivers.base import Session
from drivers.errors import CommandRefused, Garbled, NotSupported, Phase
from drivers.model import (
    Change,
    CommitRef,
    ConfigKind,
    Facts,
    Identity,
    Mode,
    Neighbor,
    Secrets,
    ServiceIntent,
)
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.cli import Answer, Cli, Dialect, Question
from drivers.vrp_service import NotOurs, service
from drivers.vrp_text import Line, identity, interfaces, lines_of, neighbors, strangers, uptime_s

DIALECT = Dialect(
    candidate=r"(?:<[\w.\-:]{1,64}>|\[[~*]?[\w.\-:/]{1,128}\])",
    name=r"^[<\[][~*]?([\w.\-:]+)",
    prompt=r"(?:<{name}>|\[[~*]?{name}(?:-[\w.\-:/]{{1,96}})?\])",
    setup=("screen-length 0 temporary", "undo terminal monitor"),
    more=r" *---- More ----[^\n]*$",
    errors=(r"^ *Error ?:.*",),
    denied=(r"^.*(?:No permission|not have permission|authorization failed).*",),
    renames=r"(?:sysname|commit|abort trial|rollback configuration|undo sysname)\b.*",
)
# A page is wiped with a jump to the left and 42 blanks, which then stand before the next line.
_WIPED = re.compile(r"^ {42}", re.MULTILINE)
YES: Question = (r"\[ ?[Yy](?:\(yes\))?/[Nn](?:\(no\))?(?:/[Cc](?:\(cancel\))?)?\][:?]? *$", "y")
NO: Question = (YES[0], "n")
_ASKED = re.compile(r"\[ ?[Yy][^\]\n]*/[Nn][^\]\n]*\]")
# `shared-key cipher VALUE`: the word cipher is taken for the value, so the one behind it goes, too.
SECRETS = (r"(\b(?:shared-)?key <redacted> )\S+", r"(\bshared-key (?:cipher|simple) )\S+")
_DISPLAYS = r"display [\w\-./: ]+(?:\| (?:include|exclude|begin|count) [\w\-./: ]+)?"


class VrpSession(Session):
    """One SSH session with a VRP device, in the user view unless something is being edited."""

    reading = (_DISPLAYS,)
    volatile = (r"!.*", r"# ?$", r"return\s*$")

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening)
        self._connection = connection
        self._cli = cli
        self._at = cli.prompt
        self._host = cli.prompt.strip("<>[]~*")
        self._path: tuple[str, ...] = ()

    # Views ------------------------------------------------------------------------------------------------

    async def _say(self, line: str, *answers: Question, limit_s: float | None = None) -> Answer:
        """Return the answer to one line, and take note of the view we are in now."""
        answer = await self._cli.command(line, answers=answers, timeout_s=limit_s)
        self._at = answer.prompt.strip()
        return answer

    async def _do(self, line: str, *answers: Question, limit_s: float | None = None) -> str:
        """Return the text of one line's answer; CommandRefused if the device refuses it."""
        answer = await self._say(line, *answers, limit_s=limit_s)
        if answer.failed:
            raise self._refusal(line, answer.failed)
        return answer.text

    def _refusal(self, line: str, said: str) -> CommandRefused:
        redact = self.redactor.redact
        return CommandRefused(
            f"{redact(line)!r} was refused: {redact(said)}",
            phase=Phase.COMMAND,
            device=self.target.name,
            command=redact(line),
            answer=redact(said),
        )

    @property
    def _editing(self) -> bool:
        return not self._at.startswith("<")

    @property
    def _in_system_view(self) -> bool:
        return self._editing and self._at.strip("[]~*") == self._host

    async def _system_view(self) -> None:
        """Go to the system view, from wherever we are. `return` is never used: it leaves too much behind."""
        if not self._editing:
            self._renamed()
            await self._do("system-view")
        for _ in range(8):
            if self._in_system_view:
                self._path = ()
                return
            await self._do("quit", NO)
        raise Garbled(
            "no way to the system view", phase=Phase.STAGE, device=self.target.name, expected=self._host
        )

    def _renamed(self) -> None:
        """Take the name from the prompt, after a command in the user or system view that may have changed it."""
        self._host = self._at.strip("<>[]~*")

    async def _configure(self, commands: list[Line], *answers: Question) -> None:
        """Send commands, each in its view. CommandRefused at the first that the device refuses."""
        await self._system_view()
        for views, line in commands:
            if views != self._path or (not views and not self._in_system_view):
                await self._system_view()
                for view in views:
                    await self._do(view, *answers)
                self._path = views
            before = self._at.strip("[]~*")
            said = await self._do(line, *answers)
            if NO in answers and _ASKED.search(said):
                raise self._refusal(line, f"the device asks: {said.strip().splitlines()[-1]}")
            if line.startswith(("sysname ", "undo sysname")):
                self._renamed()
            elif self._at.strip("[]~*") != before:
                self._path = (*views, line)

    def _commands(self, change: Change) -> list[Line]:
        """Return the change as commands; NotSupported for lines that are no configuration."""
        lines = lines_of(change.text)
        foreign = strangers(lines)
        if foreign:
            raise NotSupported(
                f"{foreign[0].split(' ')[0]!r} is no configuration; a change holds indented lines as the device"
                " prints them",
                phase=Phase.STAGE,
                device=self.target.name,
            )
        return lines

    # Reading ----------------------------------------------------------------------------------------------

    async def _probe(self) -> Identity | None:
        told = await self._cli.command("display version")
        esn = await self._cli.command("display esn")
        found = identity(told.text, "" if esn.failed else esn.text)
        return found if found and found.os in self._platforms() else None

    @abstractmethod
    def _platforms(self) -> tuple[str, ...]:
        """Return the `os` of the identities that this driver is for."""

    async def _facts(self) -> Facts:
        uptime = uptime_s(await self._do("display version"))
        told = await self._say("display interface description")
        ports = () if told.failed else interfaces(told.text)
        return Facts(self.identity, self._host, uptime, ports)

    async def _read(self, kind: ConfigKind) -> str:
        match kind:
            case ConfigKind.RUNNING:
                command = "display current-configuration"
            case ConfigKind.STARTUP:
                command = "display saved-configuration"
            case _:
                raise self._cannot(f"read the {kind} configuration")
        limit_s = self.target.deadlines.commit_s
        return _WIPED.sub("", await self._do(command, limit_s=limit_s))

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        return neighbors(_WIPED.sub("", await self._do("display lldp neighbor")))

    async def _run(self, command: str) -> str:
        return _WIPED.sub("", await self._do(command))

    async def _is_before(self, ref: CommitRef) -> bool:
        return (await self.get_config(secrets=Secrets.KEEP)).digest == ref.before

    async def _service(self, intent: ServiceIntent) -> Change:
        now = await self.get_config(secrets=Secrets.KEEP)
        try:
            text = service(intent, lines_of(now.text))
        except NotOurs as error:
            raise NotSupported(str(error), phase=Phase.STAGE, device=self.target.name) from error
        return Change(Mode.MERGE, text, base=now.digest)

    # Saving and leaving -----------------------------------------------------------------------------------

    async def _user_view(self) -> None:
        if self._editing:
            await self._system_view()
            await self._do("quit", NO)

    async def _save(self) -> None:
        await self._user_view()
        limit_s = self.target.deadlines.commit_s
        said = await self._do("save", YES, (r"\[\S+\]: *$", ""), limit_s=limit_s)
        if "uccessfully" not in said:
            raise Garbled(
                "no receipt of the save", phase=Phase.SAVE, device=self.target.name, expected="successfully"
            )

    async def _close(self) -> None:
        try:
            await self._user_view()
        finally:
            self._cli.close()
            await self._connection.close()

    def _abort(self) -> None:
        self._connection.abort()


async def login(opening: Opening) -> tuple[ssh.SshConnection, Cli]:
    """Return a connection and its command line at the user view."""
    connection = await ssh.connect(opening)
    try:
        cli = Cli(await connection.shell(), DIALECT, opening)
        await cli.login()
    except BaseException:
        connection.abort()
        raise
    return connection, cli
