"""RouterOS services as action lists: what is to be done in REST, and the console lines that take it back. Pure.

An action's command is `PUT|PATCH|DELETE PATH [JSON]`, its check `GET PATH?NAME=VALUE`. What we make carries the
comment `edge:KEY`; a PPPoE server has no comment and is ours if its VLAN is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote as percent

from drivers.model import Action, ServiceIntent
from drivers.routeros_text import BadChange, allowed, quote

Row = Mapping[str, str]
ADDRESS_LIST, QUEUE, VLAN = "/ip/firewall/address-list", "/queue/simple", "/interface/vlan"
PPPOE, ACTIVE = "/interface/pppoe-server/server", "/ppp/active"
_COMMAND = re.compile(r"(PUT|PATCH|DELETE) ((?:/[a-z0-9\-]+)+)((?:/\*[0-9A-Fa-f]+)?)(?: (\{.*\}))?")
_WRITABLE = {
    ADDRESS_LIST: ("list", "address", "comment", "disabled"),
    QUEUE: ("name", "target", "max-limit", "comment", "disabled"),
    VLAN: ("name", "interface", "vlan-id", "use-service-tag", "comment", "disabled"),
    PPPOE: ("service-name", "interface", "default-profile", "one-session-per-host", "disabled"),
}


def request_of(command: str) -> tuple[str, str, dict[str, str] | None]:
    """Return (method, path, body) of an action; BadChange for what is none or must never be written."""
    found = _COMMAND.fullmatch(command)
    if found is None:
        raise BadChange(f"{command[:20]!r}... is no action; expected PUT|PATCH|DELETE PATH [JSON]")
    method, menu, item, body = found.groups()
    if not allowed(menu):
        raise BadChange(f"{menu} is never written: local logins shadow those in RADIUS")
    if (method == "PUT") is bool(item) or (method == "DELETE") is bool(body):
        raise BadChange(f"{method} {menu}: PUT takes a body, PATCH an item and a body, DELETE an item")
    try:
        told = json.loads(body) if body else None
    except ValueError as error:
        raise BadChange(f"{method} {menu}: the body is no JSON") from error
    return method, menu + item, told


def mark(key: str) -> str:
    """Return the comment that says an item is ours."""
    return f"edge:{key}"


def put(menu: str, body: Row, *find: str) -> Action:
    """Return the action that adds an item; `find` names the fields that tell it apart."""
    first, last = find[0], find[-1]
    where = " and ".join(f"{name}={quote(body[name])}" for name in find)
    return Action(
        f"PUT {menu} {json.dumps(dict(body))}",
        (f"{menu}/remove [find where {where}]",),
        f"GET {menu}?{first}={percent(body[first], safe='')}",
        f'"{last}":{json.dumps(body[last])}',
    )


def delete(menu: str, row: Row, find: str) -> Action:
    """Return the action that removes an item, and adds it again with what can be written to take it back."""
    kept = {name: row[name] for name in _WRITABLE[menu] if row.get(name)}
    attrs = " ".join(f"{name}={quote(value)}" for name, value in kept.items())
    asked = f"GET {menu}?{find}={percent(row[find], safe='')}"
    return Action(f"DELETE {menu}/{row['.id']}", (f"{menu}/add {attrs}",), asked, "[]")


def suspended(intent: ServiceIntent, rows: Sequence[Row], name: str, *, wanted: bool) -> list[Action]:
    """Return what puts an address on a list or takes it off; only what is ours is taken off."""
    mine = [row for row in rows if row.get("comment") == mark(intent.key) and row.get("list") == name]
    if not wanted:
        return [delete(ADDRESS_LIST, row, "comment") for row in mine]
    if any(row.get("address") == intent.address for row in mine):
        return []
    if any(row.get("address") == intent.address and row.get("list") == name for row in rows):
        return []  # somebody else's entry does the same; it is not ours to mark
    return [
        put(
            ADDRESS_LIST,
            {"list": name, "address": intent.address, "comment": mark(intent.key)},
            "comment",
            "list",
        )
    ]


def limited(intent: ServiceIntent, rows: Sequence[Row]) -> list[Action]:
    """Return what holds an address to its rates with a simple queue: max-limit is upload/download."""
    name, wanted = f"edge-{intent.key}", f"{intent.upload_bps}/{intent.download_bps}"
    there = next((row for row in rows if row.get("name") == name), None)
    if there is None:
        body = {"name": name, "target": f"{intent.address}/32", "max-limit": wanted}
        return [put(QUEUE, {**body, "comment": mark(intent.key)}, "name")]
    _ours(there, intent.key, name)
    if there.get("max-limit") == wanted:
        return []
    return [
        Action(
            f"PATCH {QUEUE}/{there['.id']} {json.dumps({'max-limit': wanted})}",
            (f"{QUEUE}/set [find where name={quote(name)}] max-limit={quote(there.get('max-limit', ''))}",),
            f"GET {QUEUE}?name={percent(name, safe='')}",
            f'"max-limit":{json.dumps(wanted)}',
        )
    ]


def on_vlan(intent: ServiceIntent, vlans: Sequence[Row], servers: Sequence[Row]) -> list[Action]:
    """Return what brings a VLAN (802.1ad outside, if there is an S-VLAN) and a PPPoE server on it about."""
    actions, parent = [], intent.port
    if intent.s_vlan is not None and intent.c_vlan is not None:
        tag = (str(intent.s_vlan), "true")
        outer = next((row for row in vlans if _tags(row) == (parent, *tag)), None)
        name = outer["name"] if outer else f"{parent}-s{intent.s_vlan}"
        if outer is None:  # many subscribers stand on it: it is shared, and stays
            body = {"name": name, "interface": parent, "vlan-id": tag[0], "use-service-tag": "yes"}
            actions.append(put(VLAN, {**body, "comment": mark("shared")}, "name"))
        parent = name
    inner = str(intent.c_vlan if intent.c_vlan is not None else intent.s_vlan)
    there = next((row for row in vlans if _tags(row)[:2] == (parent, inner)), None)
    name = there["name"] if there else f"{parent}-c{inner}"
    if there is None:
        body = {"name": name, "interface": parent, "vlan-id": inner, "comment": mark(intent.key)}
        actions.append(put(VLAN, body, "name"))
    else:
        _ours(there, intent.key, name)
    if intent.profile and not any(row.get("interface") == name for row in servers):
        body = {"service-name": intent.profile, "interface": name, "default-profile": intent.profile}
        actions.append(put(PPPOE, {**body, "one-session-per-host": "yes", "disabled": "no"}, "interface"))
    return actions


def removed(key: str, tables: Mapping[str, Sequence[Row]]) -> list[Action]:
    """Return what takes everything away that carries the mark, what stands on a VLAN before the VLAN."""
    mine = {menu: [row for row in rows if row.get("comment") == mark(key)] for menu, rows in tables.items()}
    ours = {row["name"] for row in mine[VLAN]}
    actions = [delete(PPPOE, row, "interface") for row in tables[PPPOE] if row.get("interface") in ours]
    actions += [delete(VLAN, row, "name") for row in mine[VLAN]]
    actions += [delete(QUEUE, row, "name") for row in mine[QUEUE]]
    return actions + [delete(ADDRESS_LIST, row, "comment") for row in mine[ADDRESS_LIST]]


def kicked(rows: Sequence[Row]) -> list[Action]:
    """Return what ends these sessions; nothing takes that back, and the check goes by session id."""
    return [
        Action(
            f"DELETE {ACTIVE}/{row['.id']}",
            (),
            f"GET {ACTIVE}?session-id={percent(row.get('session-id', ''), safe='')}",
            "[]",
        )
        for row in rows
    ]


def _tags(row: Row) -> tuple[str, str, str]:
    return row.get("interface", ""), row.get("vlan-id", ""), row.get("use-service-tag", "false")


def _ours(row: Row, key: str, name: str) -> None:
    if row.get("comment") != mark(key):
        raise BadChange(f"{name} is there and is not ours: its comment is {row.get('comment', '')[:40]!r}")
