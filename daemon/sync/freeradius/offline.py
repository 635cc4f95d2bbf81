"""Files of FreeRADIUS as our objects: `users`, `clients.conf`, SQL dumps, or a directory with the first two."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.sync.freeradius import clients_file, dump, users_file
from daemon.sync.freeradius.findings import Finding, Findings, Why
from daemon.sync.freeradius.items import Login
from daemon.sync.freeradius.logins import Groups, gathered
from daemon.sync.freeradius.nases import Client, NasReading, by_address, client, inferred, nases
from daemon.sync.freeradius.semantics import Made, Reading, Translator
from daemon.sync.freeradius.sql_rows import CHECK, GROUP, REPLY, GroupRow, UserRow
from radius.dictionary import Dictionary

Json = Any  # a value as `json.loads` gives it
_PRIORITY = re.compile(r"-?[0-9]{1,18}")
_OF_A_DIRECTORY = ("mods-config/files/authorize", "users", "clients.conf")


class Unreadable(Exception):
    """A file cannot be read, or is none of FreeRADIUS's; the text names it and says what was expected."""


@dataclass(slots=True)
class Imported:
    """Objects as a data file has them, and what could not be mapped."""

    objects: list[dict[str, Json]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class _Source:
    """What one file holds."""

    findings: Findings
    logins: list[Login] = field(default_factory=list)
    groups: Groups | None = None
    clients: list[Client] = field(default_factory=list)


def read(
    paths: Sequence[Path], dictionary: Dictionary, reading: Reading, nas_reading: NasReading
) -> Imported:
    """Return what files hold. Raises Unreadable. Hosts are resolved, so it blocks.

    A user in two files is one object too many, which loading refuses; clients are known to all files.
    """
    sources = [_read(path) for each in paths for path in _files(each)]
    everybody = [each for source in sources for each in source.clients]
    addresses = by_address(everybody)
    out = Imported()
    seen: set[int] = set()
    made: dict[tuple[str, str], Made] = {}
    for source in sources:
        translator = Translator(reading, dictionary, source.findings, addresses)
        for group in list(source.groups.found.values()) if source.groups is not None else ():
            made |= {(each.kind, each.id): each for each in translator.group(group.block)}
        for login in source.logins:
            for each in translator.login(login):
                if each.kind == "subscriber" and (each.kind, each.id) in made:
                    text = "the user is in a file before this one, too"
                    source.findings.add(Why.DUPLICATE, login.name, "User-Name", text)
                else:
                    made[each.kind, each.id] = each
        seen |= translator.vendors
    findings = sources[-1].findings if len(sources) == 1 else Findings()
    vendor = inferred(nas_reading, seen)
    nas_objects = asyncio.run(nases(everybody, nas_reading, vendor, _resolve, findings))
    out.objects = [
        {"kind": each.kind, "id": each.id, "body": each.body} for each in (*made.values(), *nas_objects)
    ]
    for source in sources:
        out.findings += source.findings.kept
    if len(sources) != 1:
        out.findings += findings.kept
    return out


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = [path / each for each in _OF_A_DIRECTORY if (path / each).is_file()]
    if not found:
        raise Unreadable(f"{path}: no {', '.join(_OF_A_DIRECTORY)} in it; name the files themselves")
    yield from dict.fromkeys(each.resolve() for each in found)


def _read(path: Path) -> _Source:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise Unreadable(
            f"{path}:{line}: octets that are not UTF-8; convert the file, for example with iconv"
        ) from None
    findings = Findings(10_000, str(path))
    source = _Source(findings)
    if dump.is_dump(text):
        _take_dump(source, text, path)
    elif clients_file.is_clients(text):
        source.clients = clients_file.clients(text, findings)
    else:
        source.logins = list(users_file.logins(users_file.entries(text, findings)))
        if not any(block.checks for login in source.logins for block in login.blocks):
            raise Unreadable(f"{path}: no users in it; expected a `users` file, clients.conf or an SQL dump")
    return source


def _take_dump(source: _Source, text: str, path: Path) -> None:
    damage = dump.Damage()
    found = dump.rows(text, source.findings, damage)
    if damage.whole:
        line, said = min(damage.whole)
        more = f" (and {len(damage.whole) - 1} more)" if len(damage.whole) > 1 else ""
        raise Unreadable(f"{path}:{line}: {said}{more}; nobody is taken from half a dump: make a whole one")
    for user in sorted(damage.users):
        source.findings.add(Why.REFUSED, user, "(row)", "left out, since a row of it cannot be read")
    groups = source.groups = Groups(False, source.findings)
    users: dict[str, list[UserRow]] = {}
    of_groups: list[GroupRow] = []
    for each in found:
        values = each.values
        if each.table == "nas":
            source.clients.append(client(values))
        elif each.table in ("radgroupcheck", "radgroupreply"):
            kind = CHECK if each.table == "radgroupcheck" else REPLY
            name, attribute = values.get("groupname") or "", values.get("attribute") or ""
            of_groups.append(GroupRow(kind, name, attribute, values.get("op"), values.get("value")))
        elif each.table in ("radcheck", "radreply", "radusergroup"):
            name = values.get("username") or ""
            users.setdefault(name, []).append(_user_row(each.table, name, values))
    groups.read(of_groups)
    for name, rows in users.items():
        if name in damage.users:
            continue
        rows.sort(key=lambda row: (row.table, row.order))
        source.logins += [each.login(source.findings) for each in gathered(rows, groups, b"")]


def _user_row(table: str, name: str, values: Any) -> UserRow:
    if table == "radusergroup":
        priority = values.get("priority") or "0"
        place = int(priority) if _PRIORITY.fullmatch(priority) else 0
        return UserRow(b"", GROUP, name, place, values.get("groupname") or "", "", "")
    kind = CHECK if table == "radcheck" else REPLY
    return UserRow(b"", kind, name, 0, values.get("attribute") or "", values.get("op"), values.get("value"))


async def _resolve(host: str) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return [str(each[4][0]) for each in found]
