"""Reply items with their octets: what of them can be sent, canonical, in the order of their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from daemon.replica.records import EditOp
from daemon.sync.edits import EditText, EditWrong, encode
from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import Row
from daemon.sync.freeradius.merge import name_of
from radius.dictionary import Dictionary

_KEPT_MOST = 20_000
# Among replies they are for the server, and are read elsewhere or mean nothing there.
_SILENT = frozenset({"simultaneous-use", "fall-through"})
_ZERO = frozenset({"0.0.0.0", "::", "::/0"})
_OWN_ADDRESSES = frozenset(
    {"Framed-IP-Address", "Framed-IPv6-Address", "Framed-IPv6-Prefix", "Delegated-IPv6-Prefix"}
)


class Said(NamedTuple):
    """One attribute of a reply: its name in the dictionary, tag, text and octets."""

    name: str
    tag: int | None
    text: str
    octets: bytes

    def spelled(self) -> str:
        """Return the name with its tag."""
        return self.name if self.tag is None else f"{self.name}:{self.tag}"


@dataclass(frozen=True, slots=True)
class _Refused:
    why: Why
    text: str


_DYNAMIC = _Refused(Why.DYNAMIC, "a value made for each request")
Replies = dict[str, list[Said]]


class Wires:
    """Encodes reply items; the same text gives the same octets, so that many are looked up."""

    def __init__(self, dictionary: Dictionary, findings: Findings) -> None:
        self._dictionary = dictionary
        self.findings = findings
        self._kept: dict[tuple[str, str], Said | _Refused] = {}

    def read(self, rows: Iterable[Row], owner: str, owners: Mapping[int, str]) -> Replies:
        """Return what can be sent, by attribute; what cannot is told of `owner`, or of whose row it is."""
        replies: Replies = {}
        for each in rows:
            if name_of(each.attribute) in _SILENT:
                continue
            said = _DYNAMIC if each.dynamic else self._said(each.attribute, each.value)
            if isinstance(said, _Refused):
                whose = owners.get(id(each), owner)
                self.findings.add(said.why, whose, each.attribute, said.text, each.line)
            else:
                replies.setdefault(said.name, []).append(said)
        return replies

    def _said(self, attribute: str, value: str) -> Said | _Refused:
        key = (attribute, value)
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT_MOST:
                self._kept.clear()
            found = self._kept[key] = self._encoded(attribute, value)
        return found

    def _encoded(self, attribute: str, value: str) -> Said | _Refused:
        name, _, tagged = attribute.partition(":")
        tag = int(tagged) if tagged.isdecimal() and len(tagged) <= 2 and int(tagged) <= 31 else None
        definition = self._dictionary.by_name(name)
        if definition is None:
            return _Refused(
                Why.UNKNOWN, "no attribute of our dictionary; FreeRADIUS rejects where it knows none"
            )
        name, text = definition.name, value.strip() if definition.name in _OWN_ADDRESSES else value
        if name in _OWN_ADDRESSES and text.removesuffix("/0") in _ZERO:
            return _Refused(Why.ADDRESS, "zero is no address of a subscriber")
        made = encode(EditText(EditOp.ADD, name, tag, text), self._dictionary)
        if isinstance(made, EditWrong):
            why = Why.INTERNAL if made.slug == "attribute-not-allowed" else Why.VALUE
            return _Refused(why, f"expected {made.expected}" + (f"; {made.hint}" if made.hint else ""))
        return Said(name, tag, text, made.octets)


def same(one: Sequence[Said], other: Sequence[Said]) -> bool:
    """Tell whether two lists of one attribute are the same octets."""
    return [each.octets for each in one] == [each.octets for each in other]


def vendors_of(replies: Replies, dictionary: Dictionary) -> frozenset[int]:
    """Return the vendors whose attributes are among the replies."""
    found = (dictionary.by_name(name) for name in replies)
    return frozenset(each.oid[1] for each in found if each is not None and each.oid[0] == 26)


def edits(said: Sequence[Said]) -> list[dict[str, str]]:
    """Return raw edits that leave exactly these of their attribute; Class stands beside ours."""
    return [
        {
            "op": "replace" if i == 0 and each.name != "Class" else "add",
            "name": each.spelled(),
            "value": each.text,
        }
        for i, each in enumerate(said)
    ]
