"""Logins to the devices themselves, which some providers keep in tables of their own."""

from __future__ import annotations

from daemon.sync.freeradius.controls import ControlReader
from daemon.sync.freeradius.fields import Body
from daemon.sync.freeradius.findings import Why
from daemon.sync.freeradius.items import Login
from daemon.sync.freeradius.merge import name_of, walk
from daemon.sync.freeradius.semantics import Made, object_id

_PRIVILEGES = ("read", "write", "full")
_GROUPS = {
    "mikrotik-group": "mikrotik",
    "juniper-local-user-name": "juniper",
    "timetra-profile": "nokia",
}
_LEVEL = "shell:priv-lvl="


def member(login: Login, reader: ControlReader) -> Made:
    """Return the member of staff of a login; what a device is told is made from the privilege and the groups."""
    merged = walk(login.blocks, lambda _block: True)
    controls = reader.read(merged.control, merged.reply, login.name, {})
    body: Body = {"username": login.name}
    password = controls.password
    if password is not None and password.kind == "cleartext":
        body["password"] = password.value
    elif password is not None:
        body["secret"] = {"kind": password.kind, "value": password.value}
    if controls.reject:
        body["enabled"] = False
    if controls.expires_at is not None:
        body["valid_until"] = int(controls.expires_at)
    groups: dict[str, str] = {}
    for each in merged.reply:
        name, value = name_of(each.attribute), each.value
        if name in _GROUPS:
            if name == "mikrotik-group" and value in _PRIVILEGES:
                body["privilege"] = value
            else:
                groups[_GROUPS[name]] = value
        elif name == "service-type":
            # A group that says more than this wins, whichever comes first.
            body.setdefault("privilege", "full" if value.lower().startswith("admin") else "read")
        elif name == "cisco-avpair" and value.startswith(_LEVEL):
            said = value.removeprefix(_LEVEL)
            level = int(said) if len(said) <= 9 and said.isascii() and said.isdecimal() else 0
            body["privilege"] = "full" if level >= 15 else "write" if level > 1 else "read"
        else:
            reader.findings.add(
                Why.INTERNAL, login.name, each.attribute, "staff have no such thing", each.line
            )
    if groups:
        body["groups"] = groups
    return Made("staff", object_id(login.name), body)
