"""Raw attributes of the feed: from their short and long form to octets that a reply can take.

`Name = value` adds, `Name := value` replaces and `-Name` removes.
A tag follows the name: `Tunnel-Type:1 = VLAN`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.replica.records import AttributeEdit, EditOp
from daemon.sync.wire_types import wrong
from radius import tree
from radius.dictionary import AttributeDef, Dictionary
from radius.errors import Malformed, Unencodable
from radius.packet import HEADER, LONGEST, VSA, decode, header

_NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._/-]{0,127})(?::(?P<tag>[0-9]{1,2}))?"
_SHORT = re.compile(rf"{_NAME}\s*(?P<sign>=|\+=|:=)\s*(?P<value>.*)")
_REMOVAL = re.compile(rf"-\s*{_NAME}")
_LONG = re.compile(_NAME)
_SIGNS = {"=": EditOp.ADD, "+=": EditOp.ADD, ":=": EditOp.REPLACE}
_OPS = {op.value: op for op in EditOp}
_KEYS = frozenset({"op", "name", "value", "octets"})
_FORM = '"Name = value", "Name := value", "-Name", or {op, name, value} with op add, replace or remove'
# Message-Authenticator, Proxy-State, State and EAP-Message belong to one exchange, not to a plan.
_OURS = frozenset({(80,), (33,), (24,), (79,)})


@dataclass(frozen=True, slots=True)
class EditText:
    """An attribute edit as written. The value is not in its repr: it may be a secret."""

    op: EditOp
    name: str
    tag: int | None = None
    value: str | None = None
    octets: bytes | None = None

    def __repr__(self) -> str:
        return f"EditText({self.op.value} {self.name})"


@dataclass(frozen=True, slots=True)
class EditWrong:
    """Why an edit cannot be made."""

    slug: str
    got: str
    expected: str
    hint: str = ""


def read_edit(value: object) -> EditText:
    """Read an edit in either form; raises the error of a pydantic reader."""
    if isinstance(value, str):
        return _read_short(value.strip())
    if isinstance(value, dict) and value.keys() <= _KEYS:
        op, match = _OPS.get(str(value.get("op"))), _LONG.fullmatch(str(value.get("name")))
        if op is not None and match is not None:
            return _read_long(op, match["name"], _tag(match["tag"]), value)
    raise wrong("bad-attribute", _FORM)


def _read_short(given: str) -> EditText:
    match = _REMOVAL.fullmatch(given)
    if match is not None:
        return EditText(EditOp.REMOVE, match["name"])
    match = _SHORT.fullmatch(given)
    if match is None:
        raise wrong("bad-attribute", _FORM)
    text = match["value"]
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return EditText(_SIGNS[match["sign"]], match["name"], _tag(match["tag"]), text)


def _read_long(op: EditOp, name: str, tag: int | None, given: dict[str, object]) -> EditText:
    value, octets = given.get("value"), given.get("octets")
    if op is EditOp.REMOVE:
        if value is not None or octets is not None:
            raise wrong("bad-attribute", "no value with op remove")
        return EditText(op, name)
    if octets is not None and value is None and isinstance(octets, str):
        try:
            return EditText(op, name, tag, None, bytes.fromhex(octets))
        except ValueError:
            raise wrong("bad-attribute", "the octets of the whole attribute in hex") from None
    if octets is None and isinstance(value, (str, int)) and not isinstance(value, bool):
        return EditText(op, name, tag, str(value))
    raise wrong("bad-attribute", "either a value as text or number, or octets in hex")


def _tag(given: str | None) -> int | None:
    if given is None:
        return None
    if int(given) > 31:
        raise wrong("bad-attribute", "a tag of 0 to 31")
    return int(given)


def encode(edit: EditText, dictionary: Dictionary) -> AttributeEdit | EditWrong:
    """Return the edit with the octets of its attribute, or why there are none."""
    definition = dictionary.by_name(edit.name)
    if definition is None:
        near = ", ".join(dictionary.suggest(edit.name)[:3])
        hint = f"did you mean {near}?" if near else ""
        return EditWrong("unknown-attribute", edit.name, "an attribute of the dictionary", hint)
    why = _unfit(definition)
    if why:
        return EditWrong("attribute-not-allowed", edit.name, why)
    if edit.op is EditOp.REMOVE:
        return AttributeEdit(edit.op, definition.name, definition.oid)
    if edit.octets is not None:
        if not _is_attribute(edit.octets, definition.oid):
            return EditWrong("bad-attribute", edit.name, f"the octets of a whole {definition.name} attribute")
        return AttributeEdit(edit.op, definition.name, definition.oid, edit.octets)
    try:
        octets = tree.encode(definition.name, edit.value or "", dictionary, tag=edit.tag)
    except Unencodable as error:
        hint = f"{error.why}; {error.remedy}" if error.remedy else error.why
        return EditWrong("unencodable", edit.name, "a value that its attribute can carry", hint)
    return AttributeEdit(edit.op, definition.name, definition.oid, octets)


def _unfit(definition: AttributeDef) -> str:
    if definition.encrypt:
        return "an attribute that is not encrypted for each reply"
    if definition.sensitive:
        return "an attribute that holds no secret; raw attributes are stored as they are"
    if definition.oid in _OURS:
        return "an attribute that does not belong to the exchange itself"
    if definition.oid[0] > 255:
        return "an attribute that goes over the wire; this one exists inside a server only"
    return ""


def _is_attribute(octets: bytes, oid: tuple[int, ...]) -> bool:
    """Tell whether octets are one or more attributes of that place, well formed."""
    size = HEADER + len(octets)
    if not octets or size > LONGEST:
        return False
    try:
        packet = decode(header(2, 0, size, bytes(16)) + octets)
    except Malformed:
        return False
    for kind, value in packet.attributes():
        if kind != oid[0]:
            return False
        if kind == VSA and (len(value) < 5 or int.from_bytes(value[:4], "big") != oid[1]):
            return False
    return True
