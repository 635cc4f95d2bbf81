"""Nokia SR OS (MD-CLI, model-driven mode) over SSH: exclusive candidate, compare, validate, commit confirmed.

A confirmed commit belongs to its session: it is taken back when the time is over, and when the session ends. So it
is confirmed by the session that made it, after somebody else has looked; a new session finds it taken back. A
commit and its `accept` say nothing when they work: a commit is believed when the prompt has lost its `*`, an
`accept` when a second one is refused because nothing is in progress any more. Changes are flat lines, absolute
(`/configure ...`) or `delete ...`; full replacement would need a file on the device and is not offered. A rollback
loads saved configurations (startup, then 1) into the candidate and commits only what prints as the state before.
Option `candidate` = `private`: no lock, for nodes where others hold the global candidate. Nodes in classic or mixed
mode are only read. Verified only against the emulator and public documentation and examples, not a real node;
whether a release offers a persist-id on the command line was not found, and none is used.
"""

from __future__ import annotations

import re

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, Garbled, LockHeld, NotSupported, Phase
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    DiffSource,
    Facts,
    Finding,
    Identity,
    Lock,
    Mode,
    Neighbor,
    Secrets,
    ServiceIntent,
    Severity,
    Staged,
    digest,
)
from drivers.outcomes import (
    CommitResult,
    CommitState,
    ConfirmResult,
    ConfirmState,
    Pending,
    RollbackResult,
    RollbackState,
)
from drivers.sros_text import as_running, commands, identity, neighbors, sap, service, under, uptime_s
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.cli import Answer, Cli, Dialect

# The prompt has two lines: `*(ex)[/configure]` (older: `*[ex:/configure]`), then `A:user@node#`. Classic has one.
_CONTEXT = r"(?:[*!]{0,2}(?:\((?:ex|gl|pr|ro)\))?\[[^\n]*\]\n)?"
DIALECT = Dialect(
    candidate=_CONTEXT + r"[*!]{0,2}[A-D]:[\w.\-@]{1,96}[#$] ?",
    name=r"([A-D]:[\w.\-@]+)[#$]",
    prompt=_CONTEXT.replace("{", "{{").replace("}", "}}") + r"[*!]{{0,2}}{name}(?:>[\w>\-]*)?[#$] ?",
    setup=(
        "environment more false",
        "environment console width 512",
        "environment progress-indicator admin-state disable",
    ),
    more=r" *Press Q to quit[^\n]*$| *Press any key to continue[^\n]*$",
    errors=(r"^ *(?:MINOR|MAJOR|CRITICAL): [^\n]*", r"^Error: [^\n]*"),
    denied=(r"^.*[Pp]ermission denied.*", r"^.*not authorized.*"),
    renames=r"commit\b.*",
)
_MODELS = re.compile(r"(?:7750 SR|7450 ESS|7950 XRS|7250 IXR|VSR)", re.IGNORECASE)
_OLDEST, _MINUTE = 19, 60
_SHOW = r"/?show [\w\-./: \"]+|/?admin show configuration(?: \w[\w\-]*)?"


class SrosSession(Session):
    """One MD-CLI session."""

    name = "sros"
    reading = (_SHOW,)
    volatile = (r"# .*",)

    def __init__(self, opening: Opening, connection: ssh.SshConnection, cli: Cli) -> None:
        super().__init__(opening)
        self._connection = connection
        self._cli = cli
        self._private = opening.target.options.get("candidate") == "private"
        self._editing = False
        self._mine = ""  # the id of the confirmed commit that this session made

    # Reading ----------------------------------------------------------------------------------------------

    async def _probe(self) -> Identity | None:
        told = await self._cli.command("show system information")
        return None if told.failed else identity(told.text)

    def _capabilities(self, identity: Identity) -> Capabilities:
        release = re.match(r"[A-Z]-(\d+)\.", identity.version)
        if identity.os != "sros-md":
            return Capabilities(
                reason=f"configuration mode: {identity.os}, expected model-driven", neighbors=True
            )
        if release is None or int(release[1]) < _OLDEST or not _MODELS.match(identity.model):
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            services=True,
            merge_atomic=True,
            candidate=CandidateKind.NATIVE,
            confirm=ConfirmKind.SESSION_BOUND,
            confirm_min_s=_MINUTE,
            confirm_max_s=168 * _MINUTE,
            confirm_step_s=_MINUTE,
            rollback=RollbackMethod.TRANSACTION,
            lock=LockKind.NONE if self._private else LockKind.NATIVE,
            diff_native=True,
            validate_native=True,
            neighbors=True,
            startup=True,
            max_sessions=4,
            notes=(
                "a confirmed commit ends with its session",
                "a rollback needs the state before as a saved file",
            ),
        )

    async def _facts(self) -> Facts:
        told = await self._cli.run("/show system information")
        name = re.search(r"@([\w.\-]+)[#$]|:([\w.\-]+)[#$]", self._cli.prompt)
        return Facts(self.identity, (name[1] or name[2]) if name else "", uptime_s(told))

    async def _read(self, kind: ConfigKind) -> str:
        limit_s = self.target.deadlines.commit_s
        if kind is ConfigKind.RUNNING:
            classic = self.identity.os == "sros-classic"
            command = "admin display-config" if classic else "/admin show configuration"
            return await self._cli.run(command, timeout_s=limit_s)
        if kind is ConfigKind.CANDIDATE and self._editing:
            running = await self._read(ConfigKind.RUNNING)
            await self._cli.run("top")
            return as_running(await self._cli.run("info", timeout_s=limit_s), running)
        raise self._cannot(f"read the {kind} configuration")

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        return neighbors(await self._cli.run("/show system lldp neighbor"))

    async def _run(self, command: str) -> str:
        return await self._cli.run(command)

    async def _is_before(self, ref: CommitRef) -> bool:
        return (await self.get_config(secrets=Secrets.KEEP)).digest == ref.before

    # Editing ----------------------------------------------------------------------------------------------

    async def _edit(self) -> None:
        if self._editing:
            return
        answer = await self._cli.command(f"configure {'private' if self._private else 'exclusive'}")
        if answer.failed:
            raise LockHeld(self.redactor.redact(answer.failed), device=self.target.name)
        if "configure" not in answer.prompt:
            raise Garbled(
                "no configuration mode", phase=Phase.LOCK, device=self.target.name, expected="[/configure]"
            )
        self._editing = True

    async def _lock(self, ttl_s: int) -> Lock:
        del ttl_s
        await self._edit()
        return Lock("none" if self._private else "native")

    async def _unlock(self, lock: Lock) -> None:
        """Leave the configuration mode, unless a confirmed commit would go with it."""
        del lock
        if not self._mine:
            await self._leave()

    async def _leave(self) -> None:
        if not self._editing:
            return
        await self._cli.run("top")
        await self._cli.run("discard")
        await self._cli.run("exit all", answers=((r"\[y,n\] ?$|\[y/n\]:? ?$", "y"),))
        self._editing = False

    async def _stage(self, change: Change, before: Config) -> Staged:
        try:
            lines = commands(change.text)
        except ValueError as error:
            raise NotSupported(
                f"{str(error).split(' ')[0]!r} is no configuration; expected flat lines",
                phase=Phase.STAGE,
                device=self.target.name,
            ) from error
        if self._mine:
            raise self._cannot("stage while a confirmed commit waits")
        await self._edit()
        try:
            for line in lines:
                await self._cli.run("top")
                await self._cli.run(line)
            await self._cli.run("top")
        except CommandRefused:
            await self._discard_all()
            raise
        return Staged(change, before)

    async def _discard_all(self) -> None:
        await self._cli.run("top")
        await self._cli.run("discard")

    async def _discard(self, staged: Staged) -> None:
        del staged
        await self._discard_all()

    async def _diff(self, staged: Staged) -> Diff:
        del staged
        lines = (await self._cli.run("compare")).splitlines()
        added = sum(line.startswith("+") for line in lines)
        removed = sum(line.startswith("-") for line in lines)
        return Diff("\n".join(lines) if added or removed else "", DiffSource.NATIVE, added, removed)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        del staged
        answer = await self._cli.command("validate", timeout_s=self.target.deadlines.commit_s)
        found = re.findall(r"^ *(?:MINOR|MAJOR|CRITICAL): .*", answer.text, re.MULTILINE)
        return tuple(Finding(Severity.ERROR, each.strip()) for each in found)

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del staged
        said = re.sub(r"[^\w .,:/\-]", " ", comment, flags=re.ASCII).strip()[:200]
        plain = f'commit comment "{said}"' if said else "commit"
        timed = ref.confirm_within_s is not None
        if timed:
            self._mine = ref.id  # from here on, leaving the session may take something back
        command = f"commit confirmed {(ref.confirm_within_s or 0) // _MINUTE}" if timed else plain
        try:
            answer = await self._sent(command)
        except CommandRefused:
            self._mine = ""
            raise
        # A commit that worked says nothing; it takes the star of uncommitted changes out of the prompt.
        if answer.prompt.lstrip("\n!").startswith("*"):
            self._mine = ""
            return CommitResult(
                CommitState.UNVERIFIED, ref, "no-receipt", "the candidate is still uncommitted"
            )
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)

    async def _sent(self, command: str) -> Answer:
        answer = await self._cli.command(command, timeout_s=self.target.deadlines.commit_s)
        if answer.failed:
            said = self.redactor.redact(answer.failed)
            raise CommandRefused(
                f"{command!r} was refused: {said}",
                phase=Phase.COMMIT,
                device=self.target.name,
                command=command,
                answer=said,
            )
        return answer

    # After the commit -------------------------------------------------------------------------------------

    async def _pending(self) -> Pending:
        return Pending(visible=False, ids=(self._mine,) if self._mine else ())

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        if await self._is_before(ref):
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the configuration before is in force")
        if self._mine != ref.id:
            why = "a confirmed commit is kept only by the session that made it"
            return ConfirmResult(ConfirmState.REFUSED, "not-this-session", why)
        await self._sent("commit confirmed accept")
        again = await self._cli.command("commit confirmed accept")
        if not again.failed:
            return ConfirmResult(ConfirmState.UNVERIFIED, "no-receipt", "the commit is still to be accepted")
        self._mine = ""
        if await self._is_before(ref):
            return ConfirmResult(ConfirmState.LAPSED, "lapsed", "the configuration before is in force")
        return ConfirmResult(ConfirmState.CONFIRMED)

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        if self._mine == ref.id:
            await self._cancel()
        elif not await self._is_before(ref):
            return await self._load_before(ref)
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)

    async def _cancel(self) -> None:
        await self._sent("commit confirmed cancel")
        self._mine = ""

    async def _load_before(self, ref: CommitRef) -> RollbackResult:
        """Look for the state before among the saved configurations; commit it only if it prints the same."""
        await self._edit()
        for source in ("startup", "1"):
            await self._discard_all()
            if (await self._cli.command(f"rollback {source}")).failed:
                continue
            found = self.steady(await self._read(ConfigKind.CANDIDATE))
            if digest(found) != ref.before:
                continue
            await self._sent("commit")
            back = await self._is_before(ref)
            return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)
        await self._leave()
        return RollbackResult(
            RollbackState.REFUSED, "nothing-kept", "no saved configuration is the one before"
        )

    async def _save(self) -> None:
        said = await self._cli.run("/admin save", timeout_s=self.target.deadlines.commit_s)
        if not re.search(r"Completed|OK\b", said):
            raise Garbled(
                "no receipt of the save", phase=Phase.SAVE, device=self.target.name, expected="Completed"
            )

    async def _service(self, intent: ServiceIntent) -> Change:
        now = await self.get_config(secrets=Secrets.KEEP)
        try:
            text = service(intent, under(now.text, f"configure {sap(intent)}"))
        except ValueError as error:
            raise NotSupported(str(error), phase=Phase.STAGE, device=self.target.name) from error
        return Change(Mode.MERGE, text, base=now.digest)

    async def _close(self) -> None:
        """End a confirmed commit at once: nobody could accept it any more."""
        try:
            if self._mine:
                await self._cancel()
            await self._leave()
        finally:
            self._cli.close()
            await self._connection.close()

    def _abort(self) -> None:
        self._connection.abort()


async def connect(opening: Opening) -> Session:
    """Return a session at the operational root."""
    connection = await ssh.connect(opening)
    try:
        cli = Cli(await connection.shell(), DIALECT, opening)
        await cli.login()
    except BaseException:
        connection.abort()
        raise
    return SrosSession(opening, connection, cli)


DRIVER = Driver(
    "sros",
    "Nokia SR OS MD-CLI over SSH",
    connect,
    secret_patterns=(r"(\b[\w\-]+ )\"[^\"\n]* hash2?\"", r"(\b[\w\-]*(?:-key|password) )\"[^\"\n]*\""),
)
