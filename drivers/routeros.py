"""MikroTik RouterOS 7: REST over HTTPS for reads and intents, SSH for `/export` and `/import`.

RouterOS has no candidate and no commit timer. Ours is a script with a scheduler entry on the router (see
`routeros_timer`). What it does depends on the option `rollback` of the target:

- `inverse` (the default): only action lists and services are taken, and the script runs their inverse commands.
  Nothing ever reboots.
- `backup`: text is taken too, by `/import`. No inverse of a text is known, so the script loads a backup made just
  before, and that REBOOTS THE ROUTER: `Capabilities.reboots` says so. Action lists still go back by their inverse.

Safe mode is not used: it ends with its session, so that a confirm from a new session would come too late. The
interval of the scheduler hangs on the router's clock: a jump of the clock moves the timer. `/ppp/secret` is never
written, as a local login shadows the one in RADIUS; `audit_secrets` lists those that do. `/rest/execute` is not
used: it answers 200 to what the router refused. Two pins are needed: the certificate's and the SSH host key's.
Options of a target: `rollback`, `ssh_port`, `suspend_list`. A jump host is not used for REST.

Verified against an emulated router and the vendor's documentation only: not on real firmware.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from drivers.base import Driver, Session
from drivers.capabilities import Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, Garbled, NotSupported, Phase
from drivers.kick import LiveSession
from drivers.model import (
    Action,
    Change,
    ConfigKind,
    Facts,
    Identity,
    Interface,
    Mode,
    Neighbor,
    ServiceIntent,
    ServiceVerb,
)
from drivers.routeros_link import Row
from drivers.routeros_push import RouterOsPush
from drivers.routeros_service import (
    ACTIVE,
    ADDRESS_LIST,
    PPPOE,
    QUEUE,
    VLAN,
    kicked,
    limited,
    on_vlan,
    removed,
    suspended,
)
from drivers.routeros_text import BadChange
from drivers.target import Opening
from drivers.transports import http

_MODELS = re.compile(
    r"(?:CCR|CRS|CSS|RB|CHR|x86|hEX|hAP|cAP|wAP|L00\d|L23|Chateau|PowerBox|NetPower|netFiber|Audience|KNOT)",
    re.IGNORECASE,
)
_VERSION = re.compile(r"7\.(\d+)(?:\.\d+)? \((?:stable|long-term)\)")
_OLDEST, _NEWEST = 9, 23  # minor versions; a development build is not known
_DRY_RUN_FROM = 16
_UPTIME = re.compile(r"(\d+)([wdhms])")
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class LocalSecret:
    """One `/ppp/secret`, without its password. A disabled one shadows nobody."""

    name: str
    service: str
    profile: str
    disabled: bool
    comment: str


@dataclass(frozen=True, slots=True)
class SecretsAudit:
    """Local logins of a router. `shadowing`: those that keep a login of RADIUS from being asked about.

    RouterOS looks into its own secrets first. `use_radius` False: RADIUS is not asked at all.
    """

    use_radius: bool
    secrets: tuple[LocalSecret, ...]
    shadowing: tuple[LocalSecret, ...]


class RouterOsSession(RouterOsPush):
    """One RouterOS device. SSH is only opened when the configuration is read or a text is imported."""

    name = "routeros"
    reading = (r"GET /(?!snmp/community)[\w/\-]+(?:\?[\w.\-]+=\S*)?", r"/export(?: terse)?")
    volatile = (
        r"# .* by RouterOS .*",
        r"/system (?:scheduler|script) add .*\bname=dm[0-9a-f]{10}\b.*",  # our own timers
    )

    async def _probe(self) -> Identity | None:
        try:
            told = await self._one("/system/resource", Phase.PROBE)
        except (CommandRefused, Garbled):
            return None
        if told.get("platform") != "MikroTik":
            return None
        try:
            board = await self._one("/system/routerboard", Phase.PROBE)
        except CommandRefused:  # a virtual router has none
            board = {}
        model, version = told.get("board-name", ""), told.get("version", "")
        return Identity("MikroTik", model, "routeros", version, board.get("serial-number", ""))

    def _capabilities(self, identity: Identity) -> Capabilities:
        found = _VERSION.fullmatch(identity.version)
        if not _MODELS.match(identity.model) or not found or not _OLDEST <= int(found[1]) <= _NEWEST:
            why = f"unknown model or firmware: {identity.model or 'none'} {identity.version or 'none'}"
            return Capabilities(reason=why, neighbors=True)
        text = self.target.options.get("rollback", "inverse") == "backup"
        return Capabilities(
            writes=True,
            reason="",
            merge=text,
            actions=True,
            services=True,
            confirm=ConfirmKind.TIMER_JOB,
            confirm_min_s=10,
            confirm_max_s=86400,
            rollback=RollbackMethod.REBOOT if text else RollbackMethod.INVERSE_COMMANDS,
            reboots=text,
            pending_visible=True,
            lock=LockKind.ADVISORY,
            validate_native=text and int(found[1]) >= _DRY_RUN_FROM,
            neighbors=True,
            max_sessions=4,
            notes=(
                "the commit timer is a script and a scheduler entry of ours on the router",
                "action lists are taken back by their inverse commands",
                *(("a text is taken back by loading a backup: the router reboots",) if text else ()),
            ),
        )

    async def _facts(self) -> Facts:
        told = await self._one("/system/resource")
        name = (await self._one("/system/identity")).get("name", "")
        uptime_s = sum(int(n) * _SECONDS[unit] for n, unit in _UPTIME.findall(told.get("uptime", "")))
        interfaces = tuple(
            Interface(
                row.get("name", ""),
                row.get("comment", ""),
                row.get("running") == "true",
                row.get("disabled") != "true",
                row.get("mac-address", ""),
            )
            for row in await self._rows("/interface")
        )
        return Facts(self.identity, name, uptime_s, interfaces)

    async def _neighbors(self) -> tuple[Neighbor, ...]:
        return tuple(
            Neighbor(
                local_port=row.get("interface", "").partition(",")[0],
                chassis_id=row.get("mac-address", ""),
                port_id=row.get("interface-name", ""),
                name=row.get("identity", ""),
                description=row.get("system-description", "") or row.get("platform", ""),
                address=row.get("address", ""),
                protocol=row.get("discovered-by", "mndp").partition(",")[0],
            )
            for row in await self._rows("/ip/neighbor")
        )

    async def _read(self, kind: ConfigKind) -> str:
        if kind is not ConfigKind.RUNNING:
            raise self._cannot(f"read the {kind} configuration")
        return await self._export()

    async def _run(self, command: str) -> str:
        if command.startswith("/export"):
            return await self._console(command, Phase.COMMAND)
        told = await self._rest("GET", command.removeprefix("GET "), phase=Phase.COMMAND)
        return json.dumps(told, sort_keys=True, separators=(",", ":"))

    # Subscribers ------------------------------------------------------------------------------------------

    async def _meant(self, who: LiveSession) -> list[Row]:
        asked = {"name": who.user_name} if who.user_name else {}
        return [
            row
            for row in await self._rows(ACTIVE, asked)
            if who.matches(row.get("name", ""), row.get("session-id", ""), row.get("address", ""))
        ]

    async def _live(self, who: LiveSession) -> tuple[str, ...]:
        return tuple(row.get("session-id") or row[".id"] for row in await self._meant(who))

    async def _end_live(self, handle: str, *, hard: bool) -> None:
        del hard  # there is one way only
        for row in await self._rows(ACTIVE):
            if (row.get("session-id") or row[".id"]) == handle:
                await self._rest("DELETE", f"{ACTIVE}/{row['.id']}", phase=Phase.COMMAND)

    async def _service(self, intent: ServiceIntent) -> Change:
        try:
            actions = await self._wanted(intent)
        except BadChange as bad:
            raise CommandRefused(
                f"{intent.verb} {intent.key}: {bad}",
                phase=Phase.STAGE,
                device=self.target.name,
                answer=str(bad),
            ) from bad
        return Change(Mode.ACTIONS, actions=tuple(actions))

    async def _wanted(self, intent: ServiceIntent) -> list[Action]:
        if intent.verb is ServiceVerb.KICK:
            who = LiveSession(intent.user_name, intent.session_id, intent.address)
            if not who.user_name and not who.session_id:
                raise self._cannot("kick without a user name or a session id")
            return kicked(await self._meant(who))
        if not intent.key:
            raise self._cannot("services without a key")
        if intent.verb is ServiceVerb.REMOVE:
            tables = {menu: await self._rows(menu) for menu in (PPPOE, VLAN, QUEUE, ADDRESS_LIST)}
            return removed(intent.key, tables)
        if intent.verb is not ServiceVerb.ADD:
            if not intent.address:
                raise self._cannot(f"{intent.verb} without an address")
            name = self.target.options.get("suspend_list", "suspended")
            rows = await self._rows(ADDRESS_LIST)
            return suspended(intent, rows, name, wanted=intent.verb is ServiceVerb.SUSPEND)
        return await self._added(intent)

    async def _added(self, intent: ServiceIntent) -> list[Action]:
        """VLANs and PPPoE by port; a queue only without a user name: rates of PPPoE come from RADIUS."""
        actions: list[Action] = []
        if intent.c_vlan is not None or intent.s_vlan is not None:
            if not intent.port:
                raise self._cannot("a VLAN without a port")
            actions += on_vlan(intent, await self._rows(VLAN), await self._rows(PPPOE))
        if intent.address and not intent.user_name and (intent.upload_bps or intent.download_bps):
            actions += limited(intent, await self._rows(QUEUE))
        return actions

    async def audit_secrets(self, radius_logins: frozenset[str]) -> SecretsAudit:
        """Return the local logins and which of them shadow logins of RADIUS. Names compare without case.

        Passwords are not asked for. DriverError where the router cannot be read.
        """
        asked = {".proplist": "name,service,profile,disabled,comment"}
        rows = await self._within(Phase.READ, self._rows("/ppp/secret", asked))
        aaa = await self._within(Phase.READ, self._one("/ppp/aaa"))
        known = {login.casefold() for login in radius_logins}
        secrets = tuple(
            LocalSecret(
                row.get("name", ""),
                row.get("service", "any"),
                row.get("profile", ""),
                row.get("disabled") == "true",
                row.get("comment", ""),
            )
            for row in rows
        )
        shadowing = tuple(each for each in secrets if not each.disabled and each.name.casefold() in known)
        return SecretsAudit(aaa.get("use-radius") in {"true", "yes"}, secrets, shadowing)


async def connect(opening: Opening) -> Session:
    """Return a session over HTTPS; the certificate is looked at before the password is sent."""
    if opening.target.jump is not None:
        raise NotSupported(
            "a jump host is not used for REST; expected a direct path",
            phase=Phase.DIAL,
            device=opening.target.name,
        )
    return RouterOsSession(opening, await http.connect(opening, base="/rest"))


DRIVER = Driver(
    "routeros",
    "MikroTik RouterOS 7 over REST and SSH",
    connect,
    port=443,
    secret_patterns=(
        r"(\"[\w\-]*(?:password|secret|passphrase|[\-_]key|psk|pin)[\w\-]*\"\s*:\s*\")(?:[^\"\\]|\\.)+",
        r"(/snmp community (?:add|set)\b[^\n]*?\bname=)\S+",
        r"(\"contents\"\s*:\s*\")(?:[^\"\\]|\\.)+",
        r"(\b[\w\-]*(?:password|secret|passphrase|private-key|preshared-key|psk)[\w\-]*=)(?:\"(?:[^\"\\]|\\.)*\"|\S+)",
    ),
)
