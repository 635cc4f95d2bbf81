"""The way back: our objects as `users` and `clients.conf`, or as INSERTs for FreeRADIUS's tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from daemon.replica.records import AccessMode, Nas, Plan, Subscriber
from daemon.sync.freeradius.findings import Finding, Findings, Why
from daemon.sync.freeradius.items import Row
from daemon.sync.freeradius.rendering import Renderer, Text, Texts
from daemon.sync.freeradius.safe_names import written
from daemon.sync.records import BodyInvalid, to_record
from radius.dictionary import Dictionary
from radius.vendors.base import VendorProfile

Json = Any  # a value as `json.loads` gives it
_ROWS = 500  # rows of one INSERT
_RESERVED = frozenset({"DEFAULT", "$INCLUDE"})  # what matches everybody, and what reads another file
_LINE = re.compile(r"[^\n\r\0]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How it is written: for which vendor's NASes, in which zone FreeRADIUS's clock is, and the daemon's interim."""

    profile: VendorProfile
    zone: tzinfo
    interim_s: int = 600
    sql: bool = False


@dataclass(slots=True)
class Exported:
    """The files by name, and what could not be said."""

    files: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    users: int = 0
    clients: int = 0


def export(objects: Iterable[dict[str, Json]], dictionary: Dictionary, options: ExportOptions) -> Exported:
    """Return objects of one tenant, with their secrets, as files of FreeRADIUS."""
    findings = Findings(10_000)
    plans: dict[str, Plan] = {}
    subscribers: list[Subscriber] = []
    nases: list[Nas] = []
    for each in objects:
        kind, key = str(each["kind"]), str(each["id"])
        try:
            record = to_record(kind, str(each.get("tenant", "")), key, each.get("body") or {}, dictionary)
        except BodyInvalid as error:
            findings.add(Why.VALUE, f"{kind} {key}", "body", str(error))
            continue
        if isinstance(record, Plan):
            plans[key] = record
        elif isinstance(record, Subscriber):
            subscribers.append(record)
        elif isinstance(record, Nas):
            nases.append(record)
        elif kind != "tenant":
            findings.add(Why.INTERNAL, f"{kind} {key}", kind, "FreeRADIUS has no such thing in these files")
    renderer = Renderer(options.profile, dictionary, options.interim_s, options.zone, findings)
    out = Exported(clients=len(nases))
    if options.sql:
        out.files["freeradius.sql"] = "".join(_sql(renderer, plans, subscribers, nases, out))
    else:
        out.files["users"] = "".join(_users(renderer, plans, subscribers, out))
        out.files["clients.conf"] = "".join(_client(each) for each in nases)
    out.findings = findings.kept
    return out


def _known(
    renderer: Renderer, plans: dict[str, Plan], subscribers: Sequence[Subscriber], out: Exported
) -> Iterator[tuple[list[str], Subscriber, Plan | None]]:
    """Yield who has a user name there; who may not connect at all is not there."""
    for each in subscribers:
        names = [*each.usernames, *each.macs]
        if each.access_mode is AccessMode.NONE:
            continue
        if not names:
            renderer.findings.add(Why.INTERNAL, each.id, "username", "a line without a user name")
            continue
        plan = plans.get(each.plan or "")
        if plan is None and each.access_mode is AccessMode.ACTIVE:
            renderer.findings.add(
                Why.VALUE, each.id, "plan", "it has no plan, and so is refused here as well"
            )
            continue
        out.users += len(names)
        yield names, each, plan


def _own_checks(renderer: Renderer, name: str, subscriber: Subscriber) -> list[Row]:
    rows = renderer.checks(subscriber)
    if name in subscriber.macs and subscriber.secret is None:
        text = "a line by its MAC address; write it as the NAS sends it"
        renderer.findings.add(Why.INTERNAL, subscriber.id, "mac", text)
    return rows


def _users(
    renderer: Renderer, plans: dict[str, Plan], subscribers: Sequence[Subscriber], out: Exported
) -> Iterator[str]:
    for names, each, plan in _known(renderer, plans, subscribers, out):
        for name in names:
            own = _own_checks(renderer, name, each)
            said = {row.attribute for row in own}
            rules = [] if plan is None else [row for row in renderer.rules(plan) if row.attribute not in said]
            checks = ", ".join(f"{row.attribute} {row.op} {_quoted(row.value)}" for row in (*own, *rules))
            rejected = plan is None or each.access_mode is not AccessMode.ACTIVE
            replies = {} if rejected or plan is None else renderer.replies(each, plan)
            lines = [f"\t{text.name} {op} {_written(text)}" for op, text in _operators(replies, ":=")]
            text = f"{_quoted(name, double=True)}\t{checks}\n" + ",\n".join(lines)
            fault = _fault(name, text.count("\n") - max(len(lines), 1))
            if fault:  # elsewhere in the file it would be for others
                renderer.findings.add(Why.REFUSED, each.id, "username", fault)
                out.users -= 1
                continue
            yield text + ("\n" if lines else "")


def _fault(name: str, breaks: int) -> str:
    """Say why an entry cannot stand in `users`; `breaks` are line ends within its values."""
    if name in _RESERVED:
        return f"{name} is no user in this file; it is not written. Rename it, or export with --sql"
    if breaks or not _LINE.fullmatch(name):
        return "a line end or NUL in its name or its values; it is not written"
    return ""


def _operators(replies: Texts, first: str) -> Iterator[tuple[str, Text]]:
    """Yield each attribute with its operator: those after the first of a name are added."""
    for texts in replies.values():
        for i, each in enumerate(texts):
            yield (first if i == 0 or first == "=" else "+="), each


def _written(text: Text) -> str:
    return _quoted(text.value) if text.quoted else text.value


def _quoted(value: str, *, double: bool = False) -> str:
    """Return a value in quotes. Single ones, since nothing in them is expanded; a user name takes double ones only."""
    mark = '"' if double else "'"
    return mark + value.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


def _client(nas: Nas) -> str:
    sections = []
    for i, prefix in enumerate(nas.prefixes):
        name = nas.id if i == 0 else f"{nas.id}-{i + 1}"
        address = "ipv6addr" if prefix.version == 6 else "ipaddr"
        secret = nas.secret.value.decode().replace("\\", "\\\\").replace('"', '\\"')
        kind = "other" if nas.vendor == "standard" else nas.vendor
        required = "yes" if nas.require_message_authenticator else "no"
        sections.append(
            f"client {name.replace(':', '_')} {{\n\t{address} = {prefix}\n"
            f'\tsecret = "{secret}"\n\tshortname = {nas.id}\n\tnas_type = {kind}\n'
            f"\trequire_message_authenticator = {required}\n}}\n"
        )
    return "".join(sections)


def _sql(
    renderer: Renderer,
    plans: dict[str, Plan],
    subscribers: Sequence[Subscriber],
    nases: Sequence[Nas],
    out: Exported,
) -> Iterator[str]:
    groups = {key: renderer.replies(None, plan) for key, plan in plans.items()}
    yield "BEGIN;\n"
    rules = [(_group(key), row) for key, plan in plans.items() for row in renderer.rules(plan)]
    yield from _insert("radgroupcheck", "groupname", [(key, r.attribute, r.op, r.value) for key, r in rules])
    rows = [
        (_group(key), text.name, op, text.value)
        for key, replies in groups.items()
        for op, text in _operators(replies, "=")
    ]
    yield from _insert("radgroupreply", "groupname", rows)
    checks: list[tuple[str, ...]] = []
    own: list[tuple[str, ...]] = []
    members: list[tuple[str, ...]] = []
    for names, each, plan in _known(renderer, plans, subscribers, out):
        for name in map(written, names):
            rows_of = _own_checks(renderer, name, each)
            if plan is not None and each.access_mode is AccessMode.ACTIVE:
                shared = groups[plan.id]
                replies = renderer.replies(each, plan) if each.personal else shared
                if shared.keys() <= replies.keys():
                    members.append((name, _group(plan.id), "1"))
                    replies = {key: texts for key, texts in replies.items() if texts != shared.get(key)}
                else:  # a group could not leave out what this subscriber does not get: it stands alone
                    rows_of += renderer.rules(plan)
                own += [(name, text.name, op, text.value) for op, text in _operators(replies, ":=")]
            checks += [(name, row.attribute, row.op, row.value) for row in rows_of]
    yield from _insert("radcheck", "username", checks)
    yield from _insert("radreply", "username", own)
    yield from _insert("radusergroup", "username", members)
    clients = [
        (
            str(prefix),
            each.id[:32],
            "other" if each.vendor == "standard" else each.vendor,
            each.secret.value.decode(),
        )
        for each in nases
        for prefix in each.prefixes
    ]
    yield from _insert("nas", "nasname", clients)
    yield "COMMIT;\n"


def _group(plan: str) -> str:
    """Return the name of a group for a plan: a `+` would be written otherwise in the queries for it."""
    return plan.replace("+", "/")


_COLUMNS = {
    "radusergroup": "groupname, priority",
    "nas": "shortname, type, secret",
}


def _insert(table: str, first: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    columns = f"{first}, {_COLUMNS.get(table, 'attribute, op, value')}"
    for start in range(0, len(rows), _ROWS):
        values = ",\n".join(
            "  (" + ", ".join(map(_literal, row)) + ")" for row in rows[start : start + _ROWS]
        )
        yield f"INSERT INTO {table} ({columns}) VALUES\n{values};\n"


def _literal(value: str) -> str:
    """Return a text as both databases read it: a backslash would be one thing here and another there."""
    quoted = value.replace("'", "''")
    return f"'{quoted}'"
