"""A command line over a stream: the prompt is learned at login, echoes are tolerated, pages are turned."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers.errors import CommandRefused, Dropped, Garbled, Phase, TimedOut
from drivers.target import Opening
from drivers.transcript import Transcript
from drivers.transports.screen import Screen
from drivers.transports.stream import Stream

_PASSWORD = re.compile(r"(?i:pass(?:word|phrase|code))[^\n]{0,40}:\s*$")
_TAIL = 512


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a vendor's command line looks like. All patterns are regular expressions.

    `name` takes the part of the learned prompt that never changes out of it (group 1), and `prompt` says what
    a whole prompt line is, with `{name}` in its place: modes change the rest.
    """

    candidate: str = r"[<\[*~!]{0,3}[\w][\w.\-@/:~ ]{0,63}(?:\([^()\n]{1,64}\))?[\]>#$%]{1,2} ?"
    name: str = r"^[<\[*~!]*([\w][\w.\-@/:]*)"
    prompt: str = r"[<\[*~!]{{0,3}}{name}(?:[\w.\-/:~]*|\([^()\n]{{1,64}}\))[\]>#$%]{{1,2}} ?"
    setup: tuple[str, ...] = ()  # sent after login: paging off, width, colours off
    more: str = r"(?:--+ ?\(?[Mm]ore\)?[^\n]{0,40}--+|<--- More --->|Press any key to continue[^\n]*) *$"
    more_key: str = " "
    errors: tuple[str, ...] = (r"^% ?(?:Invalid|Unknown|Ambiguous|Incomplete|Bad|Unrecognized)[^\n]*",)
    denied: tuple[str, ...] = (r"^.*[Aa]uthorization failed.*", r"^.*[Pp]ermission denied.*")
    renames: str = r"(?:hostname|sysname|set system (?:host-)?name)\b.*"
    newline: str = "\n"
    echo: bool = True
    quiet: tuple[str, ...] = field(default=())  # harmless lines the device may push at any time


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the text between echo and prompt, the prompt, and the line that says it failed, if any."""

    command: str = field(repr=False)
    text: str = field(repr=False)
    prompt: str
    failed: str = ""


Question = tuple[str, str]  # a pattern at the end of the output, and what to answer


class Cli:
    """One command line. After TimedOut it is out of step and refuses to be used."""

    def __init__(self, stream: Stream, dialect: Dialect, opening: Opening) -> None:
        self._stream = stream
        self._dialect = dialect
        self._opening = opening
        self._screen = Screen()
        self._candidate = re.compile(rf"(?:^|\n)({dialect.candidate})$")
        self._more = re.compile(dialect.more)
        self._failures = tuple(re.compile(each, re.MULTILINE) for each in (*dialect.errors, *dialect.denied))
        self._quiet = tuple(re.compile(each) for each in dialect.quiet)
        self._prompt: re.Pattern[str] | None = None
        self._broken = False
        self._patience_s = opening.target.deadlines.echo_s
        self.prompt = ""
        self.banner = ""

    async def login(self) -> None:
        """Learn the prompt and send the setup commands. Garbled if the device never shows the same prompt twice."""
        limit = self._opening.target.deadlines.login_s
        try:
            async with asyncio.timeout(limit):
                await self._learn()
        except TimeoutError:
            raise self._late(f"no prompt within {limit:g} s", Phase.PROMPT, self._dialect.candidate) from None
        for command in self._dialect.setup:
            await self.command(command)  # refused setup is no error: older firmware lacks some of it

    async def _learn(self) -> None:
        before = ""
        self._send("")
        while True:
            await self._fill(Phase.PROMPT)
            self._turn_page()
            found = self._candidate.search(self._screen.tail())
            if found is None:
                continue
            line = found.group(1)
            if line == before:  # the device answered our empty line with the same line: a prompt
                self.banner = self._opening.redactor.redact(self._screen.text)
                self._adopt(line)
                return
            before = line
            self._screen.text += "\n"
            self._send("")

    def _adopt(self, line: str) -> None:
        name = re.search(self._dialect.name, line)
        if name is None:
            raise Garbled(f"no name in the prompt {line!r}", phase=Phase.PROMPT, device=self._device)
        self.prompt = line
        whole = self._dialect.prompt.format(name=re.escape(name.group(1)))
        self._prompt = re.compile(rf"(?:^|\n)({whole})$")

    async def run(
        self, command: str, *, answers: Sequence[Question] = (), timeout_s: float | None = None
    ) -> str:
        """Return the text that a command gives; CommandRefused if the device says that it failed."""
        answer = await self.command(command, answers=answers, timeout_s=timeout_s)
        if answer.failed:
            redact = self._opening.redactor.redact
            raise CommandRefused(
                f"{redact(command)!r} was refused: {redact(answer.failed)}",
                phase=Phase.COMMAND,
                device=self._device,
                command=redact(command),
                answer=redact(answer.failed),
            )
        return answer.text

    async def command(
        self,
        command: str,
        *,
        answers: Sequence[Question] = (),
        timeout_s: float | None = None,
        secret: bool = False,
    ) -> Answer:
        """Send one line and return the answer, refused or not. `answers` are given to the device's questions."""
        if self._broken or self._prompt is None:
            raise Dropped("the command line is out of step", phase=Phase.COMMAND, device=self._device)
        limit = timeout_s if timeout_s is not None else self._opening.target.deadlines.command_s
        self._screen.text = ""
        self._send(command, secret=secret)
        try:
            async with asyncio.timeout(limit):
                await self._echo(command)
                prompt = await self._until_prompt(command, [(re.compile(ask), say) for ask, say in answers])
        except TimeoutError:
            raise self._late(f"no prompt within {limit:g} s", Phase.COMMAND, self._prompt.pattern) from None
        text = self._screen.text[: -len(prompt)]
        for quiet in self._quiet:
            text = quiet.sub("", text)
        failed = next((hit.group().strip() for each in self._failures if (hit := each.search(text))), "")
        return Answer(command, text.strip("\n"), prompt.strip("\n"), failed)

    async def _echo(self, command: str) -> None:
        """Drop everything up to the echo of the command: late prompts of earlier lines, and the echo itself."""
        wanted = "".join(command.split())
        if not wanted or not self._dialect.echo:
            return
        echo = re.compile(r"\s*".join(map(re.escape, wanted[-120:])))
        try:
            async with asyncio.timeout(self._patience_s):
                while not (found := echo.search(self._screen.text)):
                    await self._fill(Phase.COMMAND)
        except TimeoutError:  # no echo, or another one
            self._patience_s = min(self._patience_s, 0.3)  # it will not echo the next one either
            self._drop_prompts()
            return
        self._screen.text = self._screen.text[found.end() :].removeprefix("\n")

    def _drop_prompts(self) -> None:
        """Take whole lines away that start with the prompt: late prompts, and an echo that is none."""
        assert self._prompt is not None
        start = re.compile(self._prompt.pattern.removeprefix(r"(?:^|\n)").removesuffix("$"))
        first, newline, rest = self._screen.text.partition("\n")
        while newline and (not first or start.match(first)):
            self._screen.text = rest
            first, newline, rest = rest.partition("\n")

    async def _until_prompt(self, command: str, answers: list[tuple[re.Pattern[str], str]]) -> str:
        renames = re.fullmatch(self._dialect.renames, command.strip()) is not None
        answered = 0
        while True:
            assert self._prompt is not None
            tail = self._screen.tail()
            found = self._prompt.search(tail)
            if found is None and renames and (found := self._candidate.search(tail)):
                self._adopt(found.group(1))
            if found:
                return found.group()
            said = next(
                (say for ask, say in answers if ask.search(self._screen.text[answered:][-_TAIL:])), None
            )
            if said is not None:
                answered = len(self._screen.text)
                self._send(said, secret=_PASSWORD.search(tail) is not None)
            elif not self._turn_page():
                await self._fill(Phase.COMMAND)

    def _turn_page(self) -> bool:
        found = self._more.search(self._screen.tail())
        if found is None:
            return False
        self._screen.text = self._screen.text[: len(self._screen.text) - len(found.group())]
        self._stream.write(self._dialect.more_key.encode())
        return True

    async def _fill(self, phase: Phase) -> None:
        octets = await self._stream.read()
        if not octets:
            self._broken = True
            raise Dropped(
                "the device closed the session",
                phase=phase,
                device=self._device,
                tail=self._transcript.tail(),
            )
        self._transcript.received(self._screen.feed(octets))

    def _send(self, line: str, *, secret: bool = False) -> None:
        self._transcript.sent(line + "\n", secret=secret)
        self._stream.write((line + self._dialect.newline).encode())

    def _late(self, message: str, phase: Phase, expected: str) -> TimedOut:
        self._broken = True
        tail = self._transcript.tail()
        return TimedOut(message, phase=phase, device=self._device, expected=f"/{expected}/", tail=tail)

    async def answer_password(self, command: str, secret: str) -> Answer:
        """Send a command that asks for a password (enable, su) and give it, unseen by the transcript."""
        self._opening.redactor.add(secret)
        return await self.command(command, answers=((_PASSWORD.pattern, secret),))

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()

    @property
    def _device(self) -> str:
        return self._opening.target.name

    @property
    def _transcript(self) -> Transcript:
        return self._opening.transcript
