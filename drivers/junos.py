"""Juniper Junos over NETCONF: candidate, compare, commit check, commit confirmed in seconds.

The confirm is a commit from any session of the login; Junos does not tell over NETCONF that one is pending, so
that read-back decides. Set-format text is merged as it is; curly-brace text is loaded with merge or override.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, LockHeld, Phase
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
    Severity,
    Staged,
)
from drivers.outcomes import (
    CommitResult,
    CommitState,
    ConfirmResult,
    ConfirmState,
    RollbackResult,
    RollbackState,
)
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.netconf import Netconf, RpcRefused, local, text_of

_MODELS = re.compile(r"(?:v?mx|ex|qfx|v?srx|v?ptx|acx|vrr)\d*", re.IGNORECASE)
_OLDEST = 15  # set-format over NETCONF
_SET = re.compile(r"(?:set|delete|deactivate|activate) ")
_ROLLBACK_1 = '<load-configuration rollback="1"/>'


class JunosSession(Session):
    """One NETCONF session with a Junos device."""

    name = "junos"
    reading = (r"show [\w\-./: ]+(?:\| (?:no-more|display (?:set|xml|json)))?",)
    volatile = (r"## Last (?:commit|changed).*", r"set version .*")

    def __init__(self, opening: Opening, connection: ssh.SshConnection, netconf: Netconf) -> None:
        super().__init__(opening)
        self._connection = connection
        self._netconf = netconf
        self._dirty = False

    async def _probe(self) -> Identity | None:
        if not any("xml.juniper.net" in each for each in self._netconf.capabilities):
            return None
        told = (await self._netconf.rpc("<get-system-information/>", phase=Phase.PROBE)).element
        return Identity(
            vendor="Juniper",
            model=text_of(told, "hardware-model"),
            os=text_of(told, "os-name"),
            version=text_of(told, "os-version"),
            serial=text_of(told, "serial-number"),
        )

    def _capabilities(self, identity: Identity) -> Capabilities:
        major = re.match(r"(\d+)\.", identity.version)
        known = bool(_MODELS.match(identity.model)) and identity.os.lower().startswith("junos")
        if not known or major is None or int(major[1]) < _OLDEST:
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            replace=True,
            merge_atomic=True,
            candidate=CandidateKind.NATIVE,
            confirm=ConfirmKind.NATIVE_SESSION,
            confirm_min_s=60,
            confirm_max_s=65535,
            rollback=RollbackMethod.TRANSACTION,
            lock=LockKind.NATIVE,
            diff_native=True,
            validate_native=True,
            neighbors=True,
            max_sessions=8,
        )

    async def _facts(self) -> Facts:
        told = (await self._netconf.rpc("<get-system-information/>", phase=Phase.READ)).element
        return Facts(self.identity, text_of(told, "host-name"))

    async def _read(self, kind: ConfigKind) -> str:
        database = "candidate" if kind is ConfigKind.CANDIDATE else "committed"
        asked = f'<get-configuration database="{database}" format="set"/>'
        reply = await self._netconf.rpc(asked, phase=Phase.READ)
        return text_of(reply.element, "configuration-set") + "\n"

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        reply = await self._netconf.rpc("<get-lldp-neighbors-information/>", phase=Phase.READ)
        return tuple(
            Neighbor(
                local_port=text_of(each, "lldp-local-port-id") or text_of(each, "lldp-local-interface"),
                chassis_id=text_of(each, "lldp-remote-chassis-id"),
                port_id=text_of(each, "lldp-remote-port-id"),
                name=text_of(each, "lldp-remote-system-name"),
                description=text_of(each, "lldp-remote-port-description"),
            )
            for each in reply.element.iter()
            if local(each.tag) == "lldp-neighbor-information"
        )

    async def _run(self, command: str) -> str:
        reply = await self._netconf.rpc(f'<command format="text">{escape(command)}</command>')
        return "".join(reply.element.itertext()).strip()

    async def _lock(self, ttl_s: int) -> Lock:
        del ttl_s
        await self._netconf.lock("candidate")
        return Lock(kind="native", handle=self._netconf.session_id)

    async def _unlock(self, lock: Lock) -> None:
        del lock
        if self._dirty:
            await self._clean()
        await self._netconf.unlock("candidate")

    async def _stage(self, change: Change, before: Config) -> Staged:
        if await self._compared():
            raise LockHeld("the candidate holds changes of somebody else", device=self.target.name)
        self._dirty = True
        try:
            await self._netconf.rpc(_load(change, before), phase=Phase.STAGE)
        except CommandRefused:
            await self._clean()
            raise
        return Staged(change, before)

    async def _diff(self, staged: Staged) -> Diff:
        del staged
        lines = (await self._compared()).splitlines()
        added = sum(line.lstrip().startswith("+") for line in lines)
        removed = sum(line.lstrip().startswith("-") for line in lines)
        return Diff("\n".join(lines), DiffSource.NATIVE, added, removed)

    async def _compared(self) -> str:
        asked = '<get-configuration compare="rollback" rollback="0" format="text"/>'
        reply = await self._netconf.rpc(asked, phase=Phase.DIFF)
        return text_of(reply.element, "configuration-output")

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        del staged
        try:
            reply = await self._netconf.validate()
        except RpcRefused as refused:
            return tuple(Finding(Severity.ERROR, each.message, each.path) for each in refused.errors)
        return tuple(Finding(Severity.WARNING, each.message, each.path) for each in reply.warnings)

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        del staged, comment
        await self._netconf.commit(confirm_within_s=ref.confirm_within_s)
        self._dirty = False
        timed = ref.confirm_within_s is not None
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)

    async def _discard(self, staged: Staged) -> None:
        del staged
        await self._clean()

    async def _clean(self) -> None:
        await self._netconf.discard()
        self._dirty = False

    async def _confirm(self, ref: CommitRef) -> ConfirmResult:
        """A commit with nothing staged succeeds on any Junos, so what is in force is looked at before and after."""
        lapsed = ConfirmResult(ConfirmState.LAPSED, "lapsed", "the configuration before is in force")
        if await self._is_before(ref):
            return lapsed
        await self._netconf.lock("candidate")
        if await self._compared():
            await self._netconf.unlock("candidate")
            return ConfirmResult(
                ConfirmState.REFUSED, "candidate-in-use", "the candidate holds foreign changes"
            )
        await self._netconf.commit()
        await self._netconf.unlock("candidate")
        return lapsed if await self._is_before(ref) else ConfirmResult(ConfirmState.CONFIRMED)

    async def _is_before(self, ref: CommitRef, kind: ConfigKind = ConfigKind.RUNNING) -> bool:
        return (await self.get_config(kind, secrets=Secrets.KEEP)).digest == ref.before

    async def _rollback(self, ref: CommitRef) -> RollbackResult:
        """Load the last configuration but one, if it is the one before this commit."""
        if await self._is_before(ref):
            return RollbackResult(RollbackState.REVERTED, "nothing-to-do")
        await self._netconf.lock("candidate")
        self._dirty = True
        await self._netconf.rpc(_ROLLBACK_1, phase=Phase.ROLLBACK)
        if not await self._is_before(ref, ConfigKind.CANDIDATE):
            await self._clean()
            await self._netconf.unlock("candidate")
            return RollbackResult(RollbackState.REFUSED, "moved-on", "others have committed since")
        await self._netconf.commit()
        self._dirty = False
        await self._netconf.unlock("candidate")
        back = await self._is_before(ref)
        return RollbackResult(RollbackState.REVERTED if back else RollbackState.UNVERIFIED)

    async def _close(self) -> None:
        if self._dirty:
            await self._clean()
        await self._netconf.close()
        await self._connection.close()

    def _abort(self) -> None:
        self._connection.abort()


def _load(change: Change, before: Config) -> str:
    """Return the operation that brings the change into the candidate."""
    lines = [line.strip() for line in change.text.splitlines() if line.strip()]
    if not all(_SET.match(line) for line in lines):
        action = "override" if change.mode is Mode.REPLACE else "merge"
        text = escape(change.text)
        return (
            f'<load-configuration action="{action}" format="text">'
            f"<configuration-text>{text}</configuration-text></load-configuration>"
        )
    if change.mode is Mode.REPLACE:  # set format knows no override: what is too much is deleted
        there = [line for line in before.text.splitlines() if line.startswith("set ")]
        surplus = [f"delete {line.removeprefix('set ')}" for line in there if line not in lines]
        lines = [*surplus, *(line for line in lines if line not in there)]
    text = escape("\n".join(lines))
    return (
        '<load-configuration action="set" format="text">'
        f"<configuration-set>{text}</configuration-set></load-configuration>"
    )


async def connect(opening: Opening) -> Session:
    """Return a session over the netconf subsystem, port 830 unless told otherwise."""
    connection = await ssh.connect(opening)
    try:
        netconf = Netconf(await connection.subsystem("netconf"), opening)
        await netconf.hello()
    except BaseException:
        connection.abort()
        raise
    return JunosSession(opening, connection, netconf)


DRIVER = Driver("junos", "Juniper Junos over NETCONF", connect, port=830)
