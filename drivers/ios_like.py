"""What Cisco IOS, IOS-XR and Arista EOS have in common: login with enable, pasting of blocks, sub-interfaces."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_interface
from typing import ClassVar

from drivers.base import Session
from drivers.errors import CommandRefused, NotAuthorized, NotSupported, Phase
from drivers.ios_text import block
from drivers.model import Change, CommitRef, Mode, Secrets, ServiceIntent, ServiceVerb
from drivers.outcomes import CommitResult, CommitState, ConfirmResult, ConfirmState
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.cli import Answer, Cli, Dialect, Question

# Log lines that a terminal gets at any time: `*Nov 21 20:00:00.000: %SYS-5-CONFIG_I: ...`
LOG_LINE = r"(?m)^[^\n%#>]*%[A-Z][A-Z0-9_]*(?:-[A-Z0-9_]+)*-\d-[A-Z0-9_]+ ?:.*\n?"
# Secrets in places that the patterns for all vendors do not know; the last ones repair a value cut too short.
SECRETS = (
    r"(\bauth (?:md5|sha\d*)(?: (?:encrypted|clear|\d))? )\S+",
    r"(\bpriv (?:des\w*|3des|aes)(?: \d{2,3})?(?: (?:encrypted|clear|\d))? )\S+",
    r"(\bmessage-digest-key \d+ md5(?: (?:encrypted|\d))? )\S+",
    r"(\b(?:server-)?key (?:\d|8a|encrypted) )\S{4,}",
    r"(\bsnmp-server host \S+(?: (?:traps|informs|vrf \S+))*(?: version (?:1|2c))? )(?!version|traps|informs|vrf)\S+",
    r"(\bauthentication text )\S+",
    r"(\bauthentication-key \d+ <redacted> (?:encrypted )?)\S{4,}",
    r"(\b(?:secret|password|key-string|community|key) <redacted> (?:encrypted )?)\S{6,}",
)
_NO_LINE = re.compile(r"!|end$")
_WORDS = re.compile(r"[\w.@:/+-]{1,120}")


@dataclass(frozen=True, slots=True)
class Grammar:
    """How sub-interfaces are written: lines to be filled in with `s`, `c`, `address`, `profile`, `mask`."""

    single: str
    double: str
    address: str
    profile: str
    fixed: tuple[str, ...] = ()


class IosLike(Session):
    """One command-line session with a device whose configuration is made of indented blocks."""

    grammar: ClassVar[Grammar]

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening)
        self._opening = opening
        self._connection = connection
        self._cli = cli

    @property
    def _hostname(self) -> str:
        name = re.match(r"(?:\S+:)?([^>#(\s]+)", self._cli.prompt)
        return name[1] if name else ""

    async def _run(self, command: str) -> str:
        return await self._cli.run(command)

    async def _shown(self, command: str) -> str:
        """Return a configuration; a banner inside it may well look like an error message."""
        answer = await self._cli.command(command)
        if answer.failed and answer.text.count("\n") < 5:
            raise self._refusal(command, answer.failed)
        return f"{answer.text}\n"

    def _refusal(self, command: str, said: str, phase: Phase = Phase.COMMAND) -> CommandRefused:
        redact = self.redactor.redact
        shown, said = redact(command), redact(said)
        return CommandRefused(
            f"{shown!r} was refused: {said}",
            phase=phase,
            device=self.target.name,
            command=shown,
            answer=said,
        )

    async def _is_before(self, ref: CommitRef) -> bool:
        return await self._digest() == ref.before

    async def _digest(self) -> str:
        return (await self.get_config(secrets=Secrets.KEEP)).digest

    async def _proved(self, look: Awaitable[CommitResult], ref: CommitRef) -> CommitResult:
        """Return what a look after a commit gives; a refused look is no refused commit."""
        try:
            return await look
        except CommandRefused as refused:
            return CommitResult(CommitState.UNVERIFIED, ref, "no-receipt", refused.answer)

    async def _kept(self, look: Awaitable[ConfirmResult]) -> ConfirmResult:
        """Return what a look after a confirm gives; a refused look is no refused confirm."""
        try:
            return await look
        except CommandRefused as refused:
            return ConfirmResult(ConfirmState.UNVERIFIED, "no-receipt", refused.answer)

    async def _close(self) -> None:
        self._cli.close()
        await self._connection.close()

    def _abort(self) -> None:
        self._connection.abort()

    # Services -------------------------------------------------------------------------------------------------

    async def _service(self, intent: ServiceIntent) -> Change:
        """A subscriber on a VLAN of a port is a sub-interface whose description is the key."""
        if intent.verb is ServiceVerb.KICK:
            raise self._unable("a kick as a change")
        name = f"interface {intent.port}.{self._unit(intent)}"
        there = block((await self.get_config(secrets=Secrets.KEEP)).text, name)
        if there is not None and f"description {intent.key}" not in there:
            raise self._unable(f"{name} does not carry the description {intent.key}: it is not ours")
        match intent.verb:
            case ServiceVerb.ADD:
                wanted = self._lines(intent)
                missing = [line for line in wanted if there is None or line not in there]
                text = _text(name, wanted) if missing else ""
            case ServiceVerb.REMOVE:
                text = f"no {name}\n" if there is not None else ""
            case _:
                if there is None:
                    raise self._unable(f"{name} is not there")
                down = "shutdown" in there
                wants_down = intent.verb is ServiceVerb.SUSPEND
                line = "shutdown" if wants_down else "no shutdown"
                text = _text(name, [line]) if down is not wants_down else ""
        return Change(Mode.MERGE, text)

    def _unit(self, intent: ServiceIntent) -> int:
        """Return the number of the sub-interface: the VLAN, or S-VLAN and C-VLAN in four digits each."""
        vlans = [vlan for vlan in (intent.s_vlan, intent.c_vlan) if vlan is not None]
        if not vlans or not all(1 <= vlan <= 4094 for vlan in vlans) or not _WORDS.fullmatch(intent.port):
            raise self._unable("a service needs a port and a VLAN between 1 and 4094")
        if len(vlans) == 2 and not self.grammar.double:
            raise self._unable("a service with two VLAN tags")
        if not _WORDS.fullmatch(intent.key):
            raise self._unable(f"the key {intent.key!r} has characters that a description does not keep")
        return vlans[0] if len(vlans) == 1 else vlans[0] * 10_000 + vlans[1]

    def _lines(self, intent: ServiceIntent) -> list[str]:
        if (intent.upload_bps or intent.download_bps) and not intent.profile:
            raise self._unable("rates are kept in a policy of the device: name it as the profile")
        words = self.grammar
        single = intent.s_vlan if intent.s_vlan is not None else intent.c_vlan
        both = intent.s_vlan is not None and intent.c_vlan is not None
        tags = (
            words.double.format(s=intent.s_vlan, c=intent.c_vlan) if both else words.single.format(s=single)
        )
        lines = [f"description {intent.key}", *words.fixed, tags]
        if intent.address:
            try:
                told = ip_interface(intent.address)
            except ValueError as error:
                raise self._unable(f"the address {intent.address!r}: {error}") from error
            if not isinstance(told, IPv4Interface) or "/" not in intent.address:
                raise self._unable("the address of a sub-interface is an IPv4 address with its prefix length")
            lines.append(words.address.format(address=told.ip, mask=told.netmask, prefix=told))
        if intent.profile:
            if not _WORDS.fullmatch(intent.profile):
                raise self._unable(f"the profile {intent.profile!r} is no name of a policy")
            lines.extend(words.profile.format(profile=intent.profile).splitlines())
        return lines

    def _unable(self, what: str) -> NotSupported:
        return NotSupported(f"{self.name} cannot do: {what}", phase=Phase.STAGE, device=self.target.name)


class Pasting(IosLike):
    """A device with a candidate that is typed in, line by line."""

    closers: ClassVar[tuple[str, ...]] = ()  # lines that leave a block by themselves
    _here = ""  # the prompt after the last line that was typed

    @abstractmethod
    async def _typed(self, line: str, body: str) -> Answer:
        """Send one line of configuration; `body` is the text that follows a banner's line, up to its end."""

    def _units(self, text: str) -> list[tuple[str, str]]:
        """Return the lines to type, with their indents and what follows each of them."""
        return [(line, "") for line in text.splitlines() if line.strip() and not _NO_LINE.match(line.strip())]

    async def _paste(self, text: str) -> None:
        """Type a configuration in; blocks are left with `exit` as the indent goes back.

        A device leaves a block by itself where the next line makes no sense inside, but takes the line for the
        wrong thing where it does. Text without any indent is typed as it stands. CommandRefused at the first
        refused line. `_here` is the prompt at the top of the candidate.
        """
        units = self._units(text)
        nested = any(line[0] == " " for line, _ in units)
        inside: list[tuple[int, str]] = []  # indent of the line that opened a block, and the prompt before it
        for line, body in units:
            words, depth = line.strip(), len(line) - len(line.lstrip())
            closes = words in self.closers
            while nested and inside and not closes and inside[-1][0] >= depth:
                await self._accepted("exit")
                inside.pop()
            before = self._here
            await self._accepted(words, body)
            if closes:
                while inside and self._here in {shown for _, shown in inside}:
                    inside.pop()
            elif self._here != before:
                inside.append((depth, before))
        for _ in inside if nested else ():
            await self._accepted("exit")

    async def _accepted(self, line: str, body: str = "") -> None:
        answer = await self._typed(line, body)
        self._here = answer.prompt
        if answer.failed:
            raise self._refusal(line, answer.failed, Phase.STAGE)


def _text(head: str, lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in (head, *(f" {line}" for line in lines)))


async def logged_in(opening: Opening, dialect: Dialect) -> tuple[ssh.SshConnection, Cli]:
    """Return a connection and its command line in privileged mode. The enable secret is given once.

    NotAuthorized if the login stays in user mode.
    """
    connection = await ssh.connect(opening)
    try:
        cli = Cli(await connection.shell(), dialect, opening)
        await cli.login()
        if cli.prompt.rstrip().endswith(">"):
            await _enable(opening, cli)
            for command in dialect.setup:  # user mode may have refused them
                await cli.command(command)
    except BaseException:
        connection.abort()
        raise
    return connection, cli


async def _enable(opening: Opening, cli: Cli) -> None:
    secret = opening.target.credentials.enable
    answers: list[Question] = [(r"[Pp]assword: ?$", "")]
    if secret is not None:
        answers.insert(0, (r"\A[Pp]assword: ?$", secret.reveal()))  # only the first question: no lock-out
    answer = await cli.command("enable", answers=answers)
    if not answer.prompt.rstrip().endswith("#"):
        raise NotAuthorized(
            f"the login stays in user mode: {opening.redactor.redact(answer.failed or answer.text)[:200]}",
            phase=Phase.LOGIN,
            device=opening.target.name,
            expected="a login of privilege 15, or an enable secret",
        )
