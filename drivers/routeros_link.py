"""How RouterOS is reached: REST over HTTPS, and the console over SSH when it is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drivers.errors import CommandRefused, Garbled, Phase
from drivers.kick import KickingSession
from drivers.routeros_text import unquote
from drivers.target import Opening
from drivers.transports import ssh
from drivers.transports.http import Http

Row = Mapping[str, str]
_TROUBLE = re.compile(
    r"^.*(?:bad command name|syntax error|expected |failure: |input does not match|no such item|invalid value|"
    r"not enough permissions|[Ss]cript [Ee]rror|value of .* out of range|ambiguous value|unknown parameter).*$",
    re.MULTILINE,
)
_SECRET = re.compile(r"password|secret|passphrase|private-key|preshared-key|psk")
# A secret with an escaped quote in it: no pattern that does not know the vendor's quoting finds its end.
_ESCAPED = re.compile(
    r'[\w\-]*(?:password|secret|passphrase|key|psk)[\w\-]*="((?:[^"\\]|\\.)*\\(?:[^"\\]|\\.)*)"'
)
_EXPORTED = re.compile(r"^# .* by RouterOS ", re.MULTILINE)


class RouterOsLink(KickingSession):
    """The reading half of a RouterOS session. SSH is opened when the console is needed first."""

    def __init__(self, opening: Opening, rest: Http) -> None:
        super().__init__(opening)
        self._opening = opening
        self._http = rest
        self._ssh: ssh.SshConnection | None = None

    async def _rest(
        self,
        method: str,
        path: str,
        body: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        phase: Phase = Phase.READ,
        timeout_s: float | None = None,
    ) -> Any:
        try:
            reply = await self._http.request(
                method, path, body=body, query=query, phase=phase, timeout_s=timeout_s
            )
        except Garbled:
            if method != "DELETE":
                raise
            return None  # a success without content that is called JSON all the same; the read-back decides
        self._learn(reply.data)
        return reply.data

    def _learn(self, told: Any) -> None:
        """Tell the redactor about secrets that patterns would cut at the wrong place."""
        for row in told if isinstance(told, list) else [told]:
            for name, value in row.items() if isinstance(row, dict) else ():
                if isinstance(value, str) and set(value) & set('"\\') and _SECRET.search(name):
                    self.redactor.add(value)

    async def _rows(
        self, menu: str, asked: Mapping[str, str] | None = None, phase: Phase = Phase.READ
    ) -> list[Row]:
        told = await self._rest("GET", menu, query=asked or None, phase=phase)
        if not isinstance(told, list) or not all(isinstance(each, dict) for each in told):
            raise Garbled(f"GET {menu}: expected a list of items", phase=phase, device=self.target.name)
        return told

    async def _one(self, menu: str, phase: Phase = Phase.READ) -> Row:
        """Return the item of a menu that has only one; some versions put it into a list."""
        told = await self._rest("GET", menu, phase=phase)
        if isinstance(told, list) and len(told) == 1:
            told = told[0]
        if not isinstance(told, dict):
            raise Garbled(f"GET {menu}: expected one item", phase=phase, device=self.target.name)
        return told

    async def _named(self, menu: str, name: str, phase: Phase) -> Row | None:
        """Return the item of this name. The filter is not trusted alone."""
        return next(
            (row for row in await self._rows(menu, {"name": name}, phase) if row.get("name") == name), None
        )

    async def _console(self, command: str, phase: Phase) -> str:
        """Return what one console command prints. Every word of it must be plain: SSH takes it as one line."""
        if self._ssh is None:
            port = int(self.target.options.get("ssh_port", "22"))
            self._ssh = await ssh.connect(replace(self._opening, target=replace(self.target, port=port)))
        done = await self._ssh.run(command.split(), timeout_s=self.target.deadlines.commit_s)
        text = done.stdout.replace("\r", "")
        trouble = _TROUBLE.search(text + done.stderr) if not command.startswith("/export") else None
        if trouble or (done.status and not text.strip()):
            said = self.redactor.redact(trouble.group().strip() if trouble else done.stderr.strip()[-200:])
            raise CommandRefused(
                f"{command!r} was refused: {said}",
                phase=phase,
                device=self.target.name,
                command=command,
                answer=said,
            )
        return text

    async def _export(self) -> str:
        text = await self._console("/export terse show-sensitive", Phase.READ)
        for found in _ESCAPED.finditer(text):
            self.redactor.add(found[1])
            self.redactor.add(unquote(f'"{found[1]}"'))
        if not _EXPORTED.search(text):
            raise Garbled(
                "this is no export",
                phase=Phase.READ,
                device=self.target.name,
                expected="# ... by RouterOS",
                tail=self.redactor.redact(text[-200:]),
            )
        return text

    async def _close(self) -> None:
        await self._http.close()
        if self._ssh is not None:
            await self._ssh.close()

    def _abort(self) -> None:
        self._http.abort()
        if self._ssh is not None:
            self._ssh.abort()
