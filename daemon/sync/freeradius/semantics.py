"""From FreeRADIUS's rows to our objects: the same answers on the wire, with as few plans as there are groups."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from hashlib import sha256
from zoneinfo import ZoneInfo

from daemon.sync.feed.canonical import canonical
from daemon.sync.freeradius.bodies import PlanReplies, plan_replies, shared_part, subscriber_replies
from daemon.sync.freeradius.conditions import ASSIGNS, Conditions, Unkept
from daemon.sync.freeradius.controls import ControlReader, Controls
from daemon.sync.freeradius.fields import Body
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import Block, Login, Operator
from daemon.sync.freeradius.merge import Merged, move, walk
from daemon.sync.freeradius.wires import Replies, Wires, vendors_of
from radius.dictionary import Dictionary
from radius.line import canonical_mac

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}")
_NOT_ID = re.compile(r"[^A-Za-z0-9._@+-]+")


@dataclass(frozen=True, slots=True)
class Made:
    """One object: its kind, id and body, as a data file has it."""

    kind: str
    id: str
    body: Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How FreeRADIUS's data are read.

    `timezone` is that of its clock, for dates. `typed` makes rates, address lists and the like fields, so that each
    vendor's NASes get them in their own words; without it they stay raw attributes, for every NAS alike.
    """

    password_attribute: str = "Cleartext-Password"  # noqa: S105 - a name
    timezone: str = "UTC"
    unkept: Unkept = Unkept.REFUSE
    typed: bool = True

    def zone(self) -> tzinfo:
        """Return the zone of dates. Raises ZoneInfoNotFoundError."""
        return ZoneInfo(self.timezone)


def object_id(text: str) -> str:
    """Return an id for a name: itself where it can be one, else what of it can, with a mark of the whole."""
    if _ID.fullmatch(text):
        return text
    mark = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{_NOT_ID.sub('-', text).strip('-._:@+')[:100]}:{mark}".lstrip(":")


@dataclass(frozen=True, slots=True)
class _Base:
    """What the shared blocks alone give."""

    plan: PlanReplies
    controls: Controls
    owners: Mapping[int, str] = field(default_factory=dict)  # label by the identity of a row: whose it is


@dataclass(slots=True)
class Translator:
    """Turns logins into objects; one for each pass over the data, since groups are read once."""

    reading: Reading
    dictionary: Dictionary
    findings: Findings
    nas_ids: Mapping[str, str] = field(default_factory=dict)
    plans: set[str] = field(default_factory=set)  # ids of plans that were made in this pass
    vendors: set[int] = field(default_factory=set)  # whose attributes replies hold
    _wires: Wires = field(init=False)
    _reader: ControlReader = field(init=False)
    _bases: dict[tuple[str, ...], _Base] = field(default_factory=dict)
    _set_ids: dict[tuple[int, tuple[str, ...]], str] = field(default_factory=dict)
    _sets: dict[tuple[bytes, ...], _Base] = field(default_factory=dict)  # by the octets that a login shares

    def __post_init__(self) -> None:
        self._wires = Wires(self.dictionary, self.findings)
        self._reader = ControlReader(self.reading.password_attribute, self.reading.zone(), self.findings)

    def group(self, block: Block) -> Iterator[Made]:
        """Yield the plan of a group, if there is none of it yet, whether or not anybody has it."""
        holds = [each for each in block.checks if each.op in ASSIGNS or each.op is Operator.EQUALS]
        merged = Merged(move([], holds), move([], block.replies), [block.label])
        base = self._base((block.label,), merged, (block,))
        yield from self._plan(object_id(block.label), block.label, base.plan, base.controls.hours, base)[1]

    def login(self, login: Login) -> Iterator[Made]:
        """Yield the subscriber of a login, after its plan where that is new."""
        conditions = Conditions(login.name, self.reading.unkept, self.nas_ids, self.findings, [])
        applied: dict[int, bool] = {}

        def holds(block: Block) -> bool:
            if id(block) not in applied:
                applied[id(block)] = conditions.holds(block)
            return applied[id(block)]

        merged = walk(login.blocks, holds)
        labels = tuple(merged.labels)
        base = self._bases.get(labels)
        if base is None:
            base = self._base(labels, walk(login.blocks, holds, shared_only=True), login.blocks)
        controls = self._reader.read(merged.control, merged.reply, login.name, base.owners)
        replies = self._wires.read(merged.reply, login.name, base.owners)
        if labels:
            name = " + ".join(labels)
            plan_id, new = self._plan(object_id("+".join(labels)), name, base.plan, controls.hours, base)
        else:
            base = self._set(shared_part(replies))
            plan_id, new = self._plan("", "", base.plan, controls.hours, base)
        yield from new
        body = self._subscriber(login.name, controls, base)
        body["plan"] = plan_id
        if conditions.nases:
            body["nases"] = sorted(set(conditions.nases))
        body |= subscriber_replies(replies, base.plan, self.dictionary, typed=self.reading.typed)
        yield Made("subscriber", object_id(login.name), body)

    def _base(self, labels: tuple[str, ...], merged: Merged, blocks: Sequence[Block]) -> _Base:
        """Return what blocks with these labels give, read once in a pass."""
        found = self._bases.get(labels)
        if found is None:
            owners = {
                id(row): each.label for each in blocks if each.shared for row in (*each.checks, *each.replies)
            }
            owner = " + ".join(labels)
            replies = self._wires.read(merged.reply, owner, owners)
            self.vendors |= vendors_of(replies, self.dictionary)
            found = self._bases[labels] = _Base(
                plan_replies(replies, self.dictionary, typed=self.reading.typed),
                self._reader.read(merged.control, merged.reply, owner, owners),
                owners,
            )
        return found

    def _set(self, shared: Replies) -> _Base:
        """Return what logins without a group share who have the same replies."""
        key = tuple(each.octets for said in shared.values() for each in said)
        found = self._sets.get(key)
        if found is None:
            self.vendors |= vendors_of(shared, self.dictionary)
            plan = plan_replies(shared, self.dictionary, typed=self.reading.typed)
            found = self._sets[key] = _Base(plan, Controls())
        return found

    def _plan(
        self, plan_id: str, name: str, said: PlanReplies, hours: Sequence[str], base: _Base
    ) -> tuple[str, tuple[Made, ...]]:
        """Return the id of the plan, and the plan itself where it is new."""
        body: Body = dict(said.body)
        if hours:
            body["login_hours"] = list(hours)
        if base.controls.simultaneous is not None:
            body["simultaneous_use"] = base.controls.simultaneous
        if not plan_id:
            plan_id = self._set_id(base, body, tuple(hours))
        elif tuple(hours) != base.controls.hours:
            plan_id = f"{plan_id[:100]}:{sha256(canonical(list(hours))).hexdigest()[:8]}"
        if name:
            body["name"] = name[:128]
        if plan_id in self.plans:
            return plan_id, ()
        self.plans.add(plan_id)
        return plan_id, (Made("plan", plan_id, body),)

    def _set_id(self, base: _Base, body: Body, hours: tuple[str, ...]) -> str:
        found = self._set_ids.get((id(base), hours))
        if found is None:
            found = self._set_ids[id(base), hours] = f"set-{sha256(canonical(body)).hexdigest()[:12]}"
        return found

    def _subscriber(self, name: str, controls: Controls, base: _Base) -> Body:
        body: Body = {"username": name, "access_mode": "reject" if controls.reject else "active"}
        password = controls.password
        if password is not None:
            if password.kind == "cleartext":
                body["password"] = password.value
            else:
                body["secret"] = {"kind": password.kind, "value": password.value}
        elif controls.accept and not controls.reject:
            mac = canonical_mac(name)
            if mac is not None:
                body = {"mac": mac, "access_mode": "active"}
            else:
                text = "nobody but a MAC address is accepted without a password"
                self.findings.add(Why.PASSWORD, name, "Auth-Type", text)
        if controls.expires_at is not None:
            body["valid_until"] = int(controls.expires_at)
        if controls.simultaneous is not None and controls.simultaneous != base.controls.simultaneous:
            body["simultaneous_use"] = controls.simultaneous
        return body
