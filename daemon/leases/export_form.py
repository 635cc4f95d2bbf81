"""The form of a signed answer, and the check of one: needs nothing but the file and a public key.

A file is a JSON object with `format`, `document` and `signature`. Signed are the octets

    dotmac-edge who-had 1\\n  followed by the canonical form of `document`

with Ed25519 (RFC 8032). The canonical form is that of RFC 8785: UTF-8, keys in order, nothing between the tokens;
numbers that are whole have no fraction. `document.events` holds every event of the lease history that the answer
stands on, with the hash before it, so that each hash can be computed again as `ipam.history` says.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ipam.history import Chain, Change, HistoryEvent, broken

FORMAT: Final = "dotmac-edge who-had 1"
_FLOATS = frozenset({"at"})  # fields of an event that are no whole numbers by nature


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check has found; `problems` is empty where the file is what an edge has signed.

    `trusted` is whether the key was given from elsewhere: the one in the file says only that the file is whole.
    """

    problems: tuple[str, ...]
    events: int
    public_key: str
    trusted: bool


def canonical(value: object) -> bytes:
    """Return the octets that are signed for a JSON value (RFC 8785)."""
    whole = _whole(value)
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def _whole(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _whole(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_whole(each) for each in value]
    return value


def public_text(key: Ed25519PublicKey) -> str:
    """Return a public key as people pass it on: base64 of its 32 octets."""
    return b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def sign(document: Mapping[str, object], key: Ed25519PrivateKey) -> dict[str, object]:
    """Return the content of a file."""
    whole = json.loads(canonical(document))
    return {
        "format": FORMAT,
        "document": whole,
        "signature": {
            "algorithm": "Ed25519",
            "public_key": public_text(key.public_key()),
            "value": b64encode(key.sign(_signed(whole))).decode(),
        },
    }


def _signed(document: object) -> bytes:
    return FORMAT.encode() + b"\n" + canonical(document)


def event_json(event: HistoryEvent) -> dict[str, object]:
    """Return an event as it stands in a document."""
    own = {"prev_hash": event.prev_hash.hex(), "hash": event.hash.hex()}
    return {"book": event.book, "seq": event.seq, **event.change._asdict(), **own}


def event_from_json(given: Mapping[str, Any]) -> HistoryEvent:
    """Return the event in a document. Raises KeyError, TypeError or ValueError for what is none."""
    fields = (float(given[name]) if name in _FLOATS else given[name] for name in Change._fields)
    return HistoryEvent(
        str(given["book"]),
        int(given["seq"]),
        Change._make(fields),
        bytes.fromhex(given["prev_hash"]),
        bytes.fromhex(given["hash"]),
    )


def check(content: bytes, public_key: str | None = None) -> Checked:
    """Check the octets of a file: the signature, and the hash of every event. `public_key` is base64."""
    try:
        given = json.loads(content)
        form, document, signature = given["format"], given["document"], given["signature"]
        own_key = str(signature["public_key"])
    except (ValueError, TypeError, KeyError) as reason:
        return Checked((f"this is no signed answer: {type(reason).__name__} {reason}",), 0, "", trusted=False)
    problems: list[str] = []
    if form != FORMAT:
        problems.append(f"format is {form!r}, {FORMAT!r} is known here")
    if public_key is not None and public_key.strip() != own_key:
        problems.append(f"it is signed with the key {own_key}, not with the one that was given")
    problems += _check_signature(document, signature, public_key or own_key)
    events = document.get("events", []) if isinstance(document, dict) else []
    problems += _check_events(events)
    if isinstance(document, dict):
        problems += _check_named(document, events)
    return Checked(tuple(problems), len(events), own_key, trusted=public_key is not None)


def _check_signature(document: object, signature: Mapping[str, Any], key: str) -> list[str]:
    try:
        public = Ed25519PublicKey.from_public_bytes(b64decode(key.strip(), validate=True))
    except (ValueError, Base64Error):
        return ["the public key is not the base64 of 32 octets"]
    try:
        public.verify(b64decode(str(signature["value"]), validate=True), _signed(document))
    except (InvalidSignature, ValueError, KeyError):
        return ["the signature does not fit: the document was altered, or another key has signed it"]
    return []


def _check_events(events: object) -> list[str]:
    problems: list[str] = []
    for place, each in enumerate(events if isinstance(events, list) else []):
        try:
            event = event_from_json(each)
        except (KeyError, TypeError, ValueError) as reason:
            problems.append(f"event {place + 1} cannot be read: {type(reason).__name__} {reason}")
            continue
        if broken([event], Chain(event.book, event.seq - 1, event.prev_hash)) is not None:
            problems.append(f"event {event.book}/{event.seq} has another hash than its fields make")
    return problems


def _check_named(document: Mapping[str, Any], events: object) -> list[str]:
    """See that every event that the answer names is there, with the same hash."""
    try:
        there = {(each["book"], each["seq"]): each["hash"] for each in events}  # type: ignore[attr-defined]
        named = [
            each for holder in document["answer"]["holders"] for each in holder["evidence"] if each["book"]
        ]
    except (KeyError, TypeError, AttributeError):
        return ["the answer in it cannot be read"]
    return [
        f"event {each['book']}/{each['seq']} is named as evidence and is not in the file, or is another one"
        for each in named
        if there.get((each["book"], each["seq"])) != each["hash"]
    ]
