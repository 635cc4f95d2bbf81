"""An emulated RouterOS: one state behind REST and the console, schedulers that fire, backups that reboot.

Its scripts know add, set and remove with `[find where ...]`, `:do {} on-error={}`, `:log`, script run, and backup
load: what a timer is made of. Words are cut by the same rules as in the driver.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Callable
from typing import Any

from drivers.emulator.commands import Said
from drivers.emulator.faults import Faults
from drivers.emulator.server import Wire
from drivers.routeros_text import BadChange, Line, parse, quote

Row = dict[str, str]
_KEYS = {  # fields by which an item may stand once only
    "/ip/firewall/address-list": ("list", "address"),
    "/queue/simple": ("name",),
    "/interface/vlan": ("name",),
    "/interface/pppoe-server/server": ("interface",),
    "/system/script": ("name",),
    "/system/scheduler": ("name",),
    "/file": ("name",),
    "/ppp/secret": ("name",),
    "/snmp/community": ("name",),
}
_LIVE = ("/ppp/active", "/ip/neighbor", "/interface", "/file")  # in no export and no backup
_ONE = ("/system/identity", "/system/resource", "/system/routerboard", "/ppp/aaa", "/system/note")
_HIDDEN = {"password", "secret"}
_DO = re.compile(r":do \{ (.*) \} on-error=\{ (.*) \}$")
_BOOL = {"yes": "true", "no": "false"}


class Trouble(Exception):
    """What the router answers to a request that it refuses, with the status of REST."""

    def __init__(self, detail: str, status: int = 400) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status


class RouterOsDevice:
    """The router. `scale`: its seconds pass that much faster. `reboot_s`: how long it is away after a reboot."""

    def __init__(
        self, *, board: str = "CCR2116-12G-4S+", version: str = "7.16.2 (stable)", scale: float = 1.0
    ) -> None:
        self.faults = Faults()
        self.scale = scale
        self.reboot_s = 0.0
        self.away = False
        self.reboots = 0
        self.requests: list[str] = []
        self.log: list[str] = []
        self.on_reboot: list[Callable[[], None]] = []
        self._next = 1
        self._clock = 0
        self._backups: dict[str, dict[str, Any]] = {}
        resource = {"platform": "MikroTik", "board-name": board, "version": version, "uptime": "1d2h3m4s"}
        self.one: dict[str, Row] = {
            "/system/identity": {"name": "bng1"},
            "/system/resource": resource,
            "/ppp/aaa": {"use-radius": "true"},
            "/system/note": {},
        }
        if not board.startswith("CHR"):
            self.one["/system/routerboard"] = {"serial-number": "HF0123"}
        self.many: dict[str, list[Row]] = {menu: [] for menu in (*_KEYS, *_LIVE)}
        for name in ("ether1", "sfp1"):
            self.add("/interface", {"name": name, "running": "true", "mac-address": "02:00:00:00:00:01"})
        self.add("/ppp/secret", {"name": "Bob", "password": 'hush "quoted" pw', "service": "pppoe"})
        self.add("/snmp/community", {"name": "hush-community"})
        neighbor = {"interface": "sfp1,bridge", "mac-address": "02:00:00:00:00:99", "identity": "core1"}
        self.add("/ip/neighbor", {**neighbor, "interface-name": "sfp2", "discovered-by": "mndp,lldp"})

    # State ------------------------------------------------------------------------------------------------

    def add(self, menu: str, attrs: Row) -> Row:
        """Add an item as the router does; Trouble if it refuses."""
        rows = self.many.get(menu)
        if rows is None:
            raise Trouble("no such command or directory")
        keys = _KEYS.get(menu, ())
        missing = next((key for key in keys if not attrs.get(key)), None)
        if missing:
            raise Trouble(f"missing value(s) of argument(s) {missing}")
        if keys and any(all(row.get(key) == attrs.get(key) for key in keys) for row in rows):
            raise Trouble("failure: already have such entry")
        known = {row["name"] for each in ("/interface", "/interface/vlan") for row in self.many.get(each, [])}
        if menu.startswith("/interface/") and attrs.get("interface") not in known:
            raise Trouble("input does not match any value of interface")
        row = {".id": f"*{self._next:X}", **{name: _BOOL.get(value, value) for name, value in attrs.items()}}
        self._next += 1
        if menu == "/file":
            row["size"] = str(len(attrs.get("contents", "")))
        if menu == "/system/scheduler":
            row.setdefault("disabled", "false")
            row["run-count"] = "0"
            self._tick(row)
        rows.append(row)
        return row

    def _tick(self, row: Row) -> None:
        seconds = int(row.get("interval", "0s").removesuffix("s") or 0)
        if seconds:
            asyncio.get_running_loop().call_later(seconds / self.scale, self._fire, row)

    def _fire(self, row: Row) -> None:
        if not any(row is each for each in self.many["/system/scheduler"]):
            return
        if row["disabled"] == "false":
            row["run-count"] = str(int(row["run-count"]) + 1)
            self.run(row["on-event"])
        self._tick(row)

    def subscriber(self, name: str, session_id: str, address: str) -> Row:
        """Add a live PPPoE session."""
        told = {"name": name, "session-id": session_id, "address": address, "service": "pppoe"}
        return self.add("/ppp/active", {**told, "radius": "true"})

    # Console ----------------------------------------------------------------------------------------------

    def run(self, source: str) -> None:
        """Run a script; Trouble at the first line that fails."""
        for line in source.splitlines():
            guarded = _DO.match(line.strip())
            try:
                self._line(guarded[1] if guarded else line.strip())
            except (Trouble, BadChange) as error:
                if guarded is None:
                    raise
                self.log.append(f"{guarded[2]} ({error})")

    def _line(self, line: str) -> None:
        if line.startswith("/system/script/run "):
            name = line.split('"')[1]
            found = next((row for row in self.many["/system/script"] if row["name"] == name), None)
            if found is None:
                raise Trouble("no such item")
            self.run(found["source"])
        elif line.startswith("/system/backup/load "):
            self._load(line.split('"')[1])
        elif line:
            for each in parse(line):
                self._do(each)

    def _do(self, line: Line) -> None:
        attrs = {name: _BOOL.get(value, value) for name, value in line.attrs.items()}
        if line.menu in self.one and line.verb == "set":
            self.one[line.menu].update(attrs)
        elif line.verb == "add":
            self.add(line.menu, attrs)
        elif line.menu not in self.many:
            raise Trouble(f"bad command name {line.menu.rpartition('/')[2]} (line 1 column 2)")
        else:
            hits = [row for row in self.many[line.menu] if _has(row, line.where or {})]
            for row in hits:
                if line.verb == "set":
                    row.update(attrs)
                else:
                    self._drop(line.menu, row)

    def _drop(self, menu: str, row: Row) -> None:
        self.many[menu] = [each for each in self.many[menu] if each is not row]

    def save(self, name: str) -> None:
        """Write a backup: what is configured, without what is live."""
        kept = {menu: rows for menu, rows in self.many.items() if menu not in _LIVE}
        self._backups[f"{name}.backup"] = copy.deepcopy({"one": self.one, "many": kept})
        self.add("/file", {"name": f"{name}.backup", "contents": "binary"})

    def _load(self, name: str) -> None:
        if not any(row["name"] == f"{name}.backup" for row in self.many["/file"]):
            raise Trouble("failure: no such file")
        saved = copy.deepcopy(self._backups[f"{name}.backup"])
        self.one.update(saved["one"])
        self.many.update(saved["many"])
        self.reboot()

    def reboot(self) -> None:
        """Drop all connections, and be away for a while."""
        self.reboots += 1
        self.many["/ppp/active"] = []
        for row in self.many["/system/scheduler"]:
            row["run-count"] = "0"
        for each in self.on_reboot:
            each()
        if self.reboot_s:
            self.away = True
            asyncio.get_running_loop().call_later(self.reboot_s / self.scale, self._back)

    def _back(self) -> None:
        self.away = False

    def export(self, *, sensitive: bool) -> str:
        """Return what `/export terse` prints; the first line changes every second."""
        self._clock += 1
        lines = [
            f"# 2026-11-21 10:00:{self._clock % 60:02} by RouterOS {self.one['/system/resource']['version']}"
        ]
        lines += [
            "# software id = AAAA-BBBB",
            f"/system identity set name={self.one['/system/identity']['name']}",
        ]
        if self.one["/system/note"]:
            lines.append(f"/system note set note={quote(self.one['/system/note']['note'])}")
        for menu in sorted(set(self.many) - set(_LIVE)):
            for row in self.many[menu]:
                shown = {
                    name: value
                    for name, value in sorted(row.items())
                    if name not in {".id", "run-count"}
                    and (sensitive or name not in _HIDDEN)
                    and not (name == "disabled" and value == "false")
                }
                attrs = " ".join(f"{name}={_shown(value)}" for name, value in shown.items())
                lines.append(f"/{menu[1:].replace('/', ' ')} add {attrs}")
        return "".join(f"{line}\r\n" for line in lines)

    async def console(self, command: str, stdin: Wire) -> Said:
        """Execute one command that came over SSH. The exit code says nothing, as on the real one."""
        del stdin
        name, *rest = command.split()
        if name == "/export":
            return Said(self.export(sensitive="show-sensitive" in rest))
        if name == "/import":
            told = dict(each.partition("=")[::2] for each in rest)
            try:
                self._import(told["file-name"], dry="dry-run" in told)
            except (Trouble, BadChange) as error:
                return Said(f"{getattr(error, 'detail', f'syntax error: {error}')}\r\n")
            return Said("\r\nScript file loaded and executed successfully\r\n")
        return Said(f"bad command name {name} (line 1 column 1)\r\n")

    def _import(self, name: str, *, dry: bool) -> None:
        found = next((row for row in self.many["/file"] if row["name"] == name), None)
        if found is None:
            raise Trouble("failure: no such file")
        lines = parse(found["contents"])  # a syntax error stops it before anything is done
        for line in lines:
            if line.menu not in self.one and line.menu not in self.many:
                raise Trouble(f"bad command name {line.menu.rpartition('/')[2]} (line 1 column 2)")
        if not dry:
            for line in lines:
                self._do(line)

    # REST -------------------------------------------------------------------------------------------------

    def rest(self, method: str, path: str, query: Row, body: Row) -> tuple[int, Any]:
        """Return (status, JSON) of a request below /rest."""
        try:
            return self._request(method, path, query, body)
        except Trouble as trouble:
            told = {"error": trouble.status, "message": "Bad Request", "detail": trouble.detail}
            return trouble.status, told

    def _request(self, method: str, path: str, query: Row, body: Row) -> tuple[int, Any]:
        if method == "POST":
            return 200, self._command(path, body)
        menu, _, item = path.partition("/*")
        if menu in self.one:
            return 200, self.one[menu]
        if menu not in self.many:
            raise Trouble("no such command or directory")
        if method == "PUT":
            return 201, self.add(menu, body)
        rows = self.many[menu]
        if item:
            row = next((row for row in rows if row[".id"] == f"*{item}"), None)
            if row is None:
                raise Trouble("no such item", 404)
            if method == "DELETE":
                self._drop(menu, row)
                return 204, None
            if method == "PATCH":
                row.update({name: _BOOL.get(value, value) for name, value in body.items()})
            return 200, row
        wanted = query.pop(".proplist", "")
        found = [row for row in rows if _has(row, query)]
        if wanted:
            found = [{name: row[name] for name in wanted.split(",") if name in row} for row in found]
        return 200, found

    def _command(self, path: str, body: Row) -> Any:
        if path == "/system/backup/save":
            self.save(body["name"])
        elif path == "/system/script/run":
            row = next((row for row in self.many["/system/script"] if row[".id"] == body[".id"]), None)
            if row is None:
                raise Trouble("no such item", 404)
            self.run(row["source"])
        else:
            raise Trouble("no such command")
        return []


def _has(row: Row, wanted: Any) -> bool:
    return all(row.get(name) == _BOOL.get(value, value) for name, value in wanted.items())


def _shown(value: str) -> str:
    return value if re.fullmatch(r"[\w.,:/+\-*@]+", value) else quote(value)
