"""What the replies of a login make of its plan and of the subscriber: a plan for what is shared, the rest its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from daemon.sync.freeradius import fields
from daemon.sync.freeradius.fields import ADDRESSES, PERSONAL, ROUTES, Body
from daemon.sync.freeradius.wires import Replies, Said, edits, same, vendors_of
from radius.codes import Vendor
from radius.dictionary import Dictionary

Json = Any  # a value as `json.loads` gives it
_MIKROTIK = int(Vendor.MIKROTIK)
_ACCESS = ("Service-Type", "Framed-Protocol")
_FRAMED, _PPP = bytes.fromhex("060600000002"), bytes.fromhex("070600000001")
_ALWAYS_RAW = frozenset({"Framed-IPv6-Address"})  # not every profile says it


@dataclass(frozen=True, slots=True)
class PlanReplies:
    """Replies that a plan gives: its body, and which attributes became fields of it."""

    replies: Replies
    body: Body
    fields: frozenset[str]


def only_mikrotik(replies: Replies, dictionary: Dictionary) -> bool:
    """Tell whether no vendor but MikroTik has attributes among the replies."""
    return vendors_of(replies, dictionary) <= {_MIKROTIK}


def plan_replies(replies: Replies, dictionary: Dictionary, *, typed: bool) -> PlanReplies:
    """Return the plan that gives these replies; `typed` False keeps rates and the like as raw attributes."""
    mikrotik = typed and only_mikrotik(replies, dictionary)
    body: Body = {}
    became: set[str] = set()
    raw: list[Json] = []
    for name, said in replies.items():
        made = _access(name, said, replies)
        if made is None:
            made = fields.service(said, mikrotik=mikrotik)
        if made is None:
            raw += edits(said)
        else:
            body |= made
            became.add(name)
    if raw:
        body["attributes"] = raw
    return PlanReplies(replies, body, frozenset(became))


def _access(name: str, said: list[Said], replies: Replies) -> Body | None:
    """Return what `access` says of Service-Type and Framed-Protocol: every framed session gets the first."""
    if name not in _ACCESS or len(said) != 1:
        return None
    if name == "Service-Type":
        return {} if said[0].octets == _FRAMED else None
    kind = replies.get("Service-Type")
    framed = kind is None or (len(kind) == 1 and kind[0].octets == _FRAMED)
    return {"access": "ppp"} if framed and said[0].octets == _PPP else None


def shared_part(replies: Replies) -> Replies:
    """Return what of a login's own replies can be a plan that others have too."""
    return {name: said for name, said in replies.items() if name not in PERSONAL}


def subscriber_replies(replies: Replies, plan: PlanReplies, dictionary: Dictionary, *, typed: bool) -> Body:
    """Return the fields of a subscriber who gets `replies`, where its plan gives others."""
    own = _Own(mikrotik=typed and only_mikrotik(replies, dictionary))
    for name in dict.fromkeys((*replies, *plan.replies)):
        said, shared = replies.get(name, []), plan.replies.get(name, [])
        if not same(said, shared):
            own.add(name, said, overrides=bool(shared) and name not in plan.fields)
    return own.body()


class _Own:
    """Gathers what a subscriber has of its own."""

    def __init__(self, *, mikrotik: bool) -> None:
        self._mikrotik = mikrotik
        self._fields: Body = {}
        self._service: Body = {}
        self._routes: list[Json] = []
        self._raw: list[Json] = []

    def add(self, name: str, said: list[Said], *, overrides: bool) -> None:
        """Take the values of one attribute; `overrides` tells that the plan has raw ones, which come last."""
        if not said:
            self._raw.append({"op": "remove", "name": name})
            return
        if name in ADDRESSES and (made := fields.address(said)) is not None:
            self._fields |= made
            if not overrides and name not in _ALWAYS_RAW:
                return
        elif name in ROUTES and not overrides and (listed := fields.routes(said)) is not None:
            self._routes += listed
            return
        elif not overrides and (made := fields.service(said, mikrotik=self._mikrotik)) is not None:
            self._service |= made
            return
        self._raw += edits(said)

    def body(self) -> Body:
        body = dict(self._fields)
        if self._routes:
            body["routes"] = self._routes
        if self._service:
            body["service"] = self._service
        if self._raw:
            body["attributes"] = self._raw
        return body
