"""An emulated Junos over NETCONF: set-format configuration, load, compare, confirm with a plain commit."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any
from xml.sax.saxutils import escape

from drivers.emulator.netconf import NetconfDevice
from drivers.emulator.tree import EditError
from drivers.transports.netconf import find, text_of

_FIRST = (
    "set system host-name mx1",
    "set interfaces ge-0/0/0 unit 0 family inet address 192.0.2.1/24",
    'set system root-authentication encrypted-password "$6$notreal$abcdef"',
)


class JunosDevice(NetconfDevice):
    """Datastores are tuples of set lines. Without persist, as on a real Junos, any session confirms by a commit."""

    confirm_from_any = True

    def __init__(
        self,
        lines: tuple[str, ...] = _FIRST,
        *,
        model: str = "mx204",
        os_version: str = "22.4R1.10",
        scale: float = 1.0,
    ) -> None:
        super().__init__(tuple(sorted(lines)), persist=False, scale=scale)
        self.model = model
        self.os_version = os_version
        self.history: list[tuple[str, ...]] = []  # rollback 1 is the last

    @property
    def capabilities(self) -> tuple[str, ...]:
        """Return what a Junos announces."""
        return (*super().capabilities, "http://xml.juniper.net/netconf/junos/1.0")

    def perform(self, session: int, name: str, operation: ET.Element) -> str:
        """Answer the vendor's own operations too."""
        match name:
            case "get-system-information":
                return (
                    "<system-information>"
                    f"<hardware-model>{self.model}</hardware-model><os-name>junos</os-name>"
                    f"<os-version>{self.os_version}</os-version><serial-number>JN1234</serial-number>"
                    f"<host-name>mx1</host-name></system-information>"
                )
            case "get-configuration" if operation.get("compare"):
                shown = _patch(self.running, self.candidate)
                return (
                    "<configuration-information><configuration-output>"
                    f"{escape(shown)}</configuration-output></configuration-information>"
                )
            case "get-configuration":
                store = self.candidate if operation.get("database") == "candidate" else self.running
                lines = escape("\n".join(store))
                return f"<configuration-set>\n{lines}\n</configuration-set>"
            case "load-configuration" if operation.get("rollback"):
                self._free(session, "candidate")
                self.candidate = self.history[-int(operation.get("rollback", "1"))]
                return "<load-configuration-results><ok/></load-configuration-results>"
            case "load-configuration":
                self._free(session, "candidate")
                return self._load(operation)
            case "get-lldp-neighbors-information":
                return (
                    "<lldp-neighbors-information><lldp-neighbor-information><lldp-local-port-id>ge-0/0/0</lldp-local-port-id>"
                    "<lldp-remote-chassis-id>02:00:00:00:00:02</lldp-remote-chassis-id><lldp-remote-port-id>xe-1</lldp-remote-port-id>"
                    "<lldp-remote-system-name>core1</lldp-remote-system-name></lldp-neighbor-information></lldp-neighbors-information>"
                )
            case "command":
                return f"<output>\nHostname: mx1\nModel: {self.model}\nJunos: {self.os_version}\n</output>"
        return super().perform(session, name, operation)

    def _commit(self, session: int, operation: ET.Element) -> str:
        before = self.running
        done = super()._commit(session, operation)
        if self.running != before:
            self.history.append(before)
        return done

    def _revert(self, before: Any) -> None:
        self.history.append(self.running)
        super()._revert(before)

    def _load(self, operation: ET.Element) -> str:
        text = text_of(operation, "configuration-set") or text_of(operation, "configuration-text")
        lines = set() if operation.get("action") == "override" else set(self.candidate)
        commands = flatten(text) if find(operation, "configuration-text") is not None else text.splitlines()
        for line in (each.strip() for each in commands):
            if line.startswith("set "):
                lines.add(line)
            elif line.startswith("delete "):
                path = "set " + line.removeprefix("delete ")
                lines = {each for each in lines if each != path and not each.startswith(path + " ")}
            elif line and not line.startswith("#"):
                raise EditError("syntax-error", f"syntax error, expecting set or delete: {line}")
        self.candidate = tuple(sorted(lines))
        return "<load-configuration-results><ok/></load-configuration-results>"

    def _validate(self, store: Any) -> None:
        if not any(line.startswith("set system host-name ") for line in store):
            raise EditError("operation-failed", "Missing mandatory statement: 'host-name'")


def flatten(text: str) -> list[str]:
    """Return curly-brace configuration as set lines: one for each statement that ends in a semicolon."""
    path: list[str] = []
    lines = []
    for part in re.findall(
        r'(?:"[^"]*"|[^{};"])+|[{};]', re.sub(r"/\*.*?\*/|##[^\n]*", "", text, flags=re.DOTALL)
    ):
        words = " ".join(part.split())
        if words == "}":
            path.pop()
        elif words == ";":
            lines.append("set " + " ".join(path))
            path.pop()
        elif words and words != "{":
            path.append(words)
    return lines


def _patch(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    gone = [f"-  {line}" for line in old if line not in new]
    return "\n".join(gone + [f"+  {line}" for line in new if line not in old])
