"""What a CoA- or Disconnect-Request says, and what its answer and later accounting say back (RFC 5176)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

from daemon.aaa.session import TRACKED
from radius.codes import Attr, Vendor
from radius.errors import Unencodable
from radius.grant import Rendered
from radius.packet import VSA, Packet, attribute

_NAS_KINDS = (int(Attr.NAS_IDENTIFIER), int(Attr.NAS_IP_ADDRESS), int(Attr.NAS_IPV6_ADDRESS))
_CISCO_AVPAIR = (VSA, int(Vendor.CISCO), 1)
# A NAS may report what is left of a timer, and commands of its own under the number of the commands we send.
_NEVER_COMPARED = frozenset(
    {
        (int(Attr.REPLY_MESSAGE),),
        (int(Attr.STATE),),
        (int(Attr.CLASS),),
        (int(Attr.SESSION_TIMEOUT),),
        (int(Attr.IDLE_TIMEOUT),),
        (int(Attr.ACCT_INTERIM_INTERVAL),),
        (VSA, int(Vendor.CISCO), 250),  # Cisco-Account-Info
        (VSA, int(Vendor.CISCO), 252),  # Cisco-Command-Code
        (VSA, int(Vendor.JUNIPER_ERX), 65),  # ERX-Service-Activate
        (VSA, int(Vendor.JUNIPER_ERX), 66),  # ERX-Service-Deactivate
    }
)

_Key = tuple[int | bytes, ...]


class ErrorCause(IntEnum):
    """Error-Cause (RFC 5176 section 3.5, RFC 7930 section 4)."""

    RESIDUAL_CONTEXT_REMOVED = 201
    INVALID_EAP_PACKET = 202
    UNSUPPORTED_ATTRIBUTE = 401
    MISSING_ATTRIBUTE = 402
    NAS_IDENTIFICATION_MISMATCH = 403
    INVALID_REQUEST = 404
    UNSUPPORTED_SERVICE = 405
    UNSUPPORTED_EXTENSION = 406
    INVALID_ATTRIBUTE_VALUE = 407
    ADMINISTRATIVELY_PROHIBITED = 501
    PROXY_REQUEST_NOT_ROUTABLE = 502
    SESSION_CONTEXT_NOT_FOUND = 503
    SESSION_CONTEXT_NOT_REMOVABLE = 504
    PROXY_PROCESSING_ERROR = 505
    RESOURCES_UNAVAILABLE = 506
    REQUEST_INITIATED = 507
    MULTIPLE_SESSION_SELECTION_UNSUPPORTED = 508
    RESPONSE_TOO_BIG = 601

    @property
    def slug(self) -> str:
        """The cause as we store and print it, for example `session-context-not-found`."""
        return self.name.lower().replace("_", "-")


_SLUGS = {int(cause): cause.slug for cause in ErrorCause}


def cause_slug(cause: int | None) -> str:
    """Return the slug of an Error-Cause; empty for none, `cause-N` for one that no RFC names."""
    return "" if cause is None else _SLUGS.get(cause, f"cause-{cause}")


def cause_of(reply: Packet) -> int | None:
    """Return the Error-Cause of a reply, None where it has none of four octets."""
    return reply.find_int(Attr.ERROR_CAUSE)


class Identified(Protocol):
    """What identification needs of a session."""

    @property
    def username(self) -> str:
        """User-Name of its accounting."""

    @property
    def acct_session_id(self) -> bytes:
        """Acct-Session-Id."""

    @property
    def box(self) -> bytes:
        """The box that sent it: an attribute type (32, 4, 95, or 0 for the source address) and its value."""

    def find(self, attr: Attr) -> bytes | None:
        """Return the latest raw value of a tracked attribute."""


@dataclass(frozen=True, slots=True)
class Identification:
    """One set of attributes that names a session to its NAS; `kinds` are their types."""

    kinds: tuple[int, ...]
    octets: bytes

    @property
    def names_nas(self) -> bool:
        """Whether it says which NAS is meant, too."""
        return any(kind in _NAS_KINDS for kind in self.kinds)

    @property
    def is_exact(self) -> bool:
        """Whether it holds what no other session of the NAS has; a user and an address come again."""
        return int(Attr.ACCT_SESSION_ID) in self.kinds

    def may_name(self, session: Identified, other: Identified) -> bool:
        """Tell whether it, made for `session`, may name the other one, too: nothing known of that speaks against."""
        kinds = [kind for kind in self.kinds if kind not in _NAS_KINDS]
        return all(_value(other, kind) in (None, b"", _value(session, kind)) for kind in kinds)


def identifications(session: Identified, sets: Iterable[tuple[int, ...]]) -> tuple[Identification, ...]:
    """Return the sets that this session can fill, each once, in order; never empty.

    The values are those that the NAS itself has sent. A set with Acct-Session-Id goes without the others that
    are not known. A set without it is used whole or not at all: the rest of it might name several sessions,
    and all that match are affected (RFC 5176 section 3).
    """
    found: dict[tuple[int, ...], Identification] = {}
    for kinds in sets:
        values = [(kind, _value(session, kind)) for kind in kinds]
        known = [(kind, value) for kind, value in values if value]
        unknown = [kind for kind, value in values if not value and kind not in _NAS_KINDS]
        if not any(kind not in _NAS_KINDS for kind, _ in known):
            continue
        if unknown and Attr.ACCT_SESSION_ID not in kinds:
            continue
        _add(found, known)
    if not found:
        _add(found, [(int(Attr.ACCT_SESSION_ID), session.acct_session_id)])
    return tuple(found.values())


def _add(found: dict[tuple[int, ...], Identification], known: Sequence[tuple[int, bytes | None]]) -> None:
    try:
        octets = b"".join(attribute(kind, value) for kind, value in known if value is not None)
    except Unencodable:  # escapes have made a name of 253 octets longer: such a set names nobody
        return
    kinds = tuple(kind for kind, _ in known)
    found.setdefault(kinds, Identification(kinds, octets))


def _value(session: Identified, kind: int) -> bytes | None:
    if kind == Attr.USER_NAME:
        return session.username.encode("utf-8", "surrogateescape")
    if kind == Attr.ACCT_SESSION_ID:
        return session.acct_session_id
    if kind in _NAS_KINDS:
        return session.box[1:] if session.box[:1] == bytes((kind,)) else None
    return session.find(Attr(kind)) if kind in TRACKED else None


def request_attributes(identification: bytes, at: float | None, change: bytes = b"") -> bytes:
    """Return the attributes of a request: identification, Event-Timestamp where `at` is given, the change.

    A Disconnect-Request has no `change`: it may carry identification only (RFC 5176 section 3).
    """
    stamp = b"" if at is None else attribute(Attr.EVENT_TIMESTAMP, int(at).to_bytes(4, "big"))
    return identification + stamp + change


class Shown(StrEnum):
    """What accounting shows of a change that the NAS has acknowledged."""

    EQUAL = "equal"
    DIFFERENT = "different"
    ABSENT = "absent"


def shown(sent: Iterable[Rendered], accounting: Packet) -> Shown:
    """Compare what a CoA has set with an accounting packet of the session.

    An attribute that the packet carries must have one of the values that were sent for it. Timers, commands
    and what no NAS reports are not compared.
    """
    wanted: dict[_Key, set[bytes]] = {}
    for rendered in sent:
        if rendered.oid in _NEVER_COMPARED or len(rendered.oid) not in (1, 3):
            continue
        value = rendered.octets[2:] if len(rendered.oid) == 1 else rendered.octets[8:]
        wanted.setdefault(_key(rendered.oid, value), set()).add(value)
    carried: dict[_Key, set[bytes]] = {}
    for oid, value in _said(accounting):
        key = _key(oid, value)
        if key in wanted:
            carried.setdefault(key, set()).add(value)
    if not carried:
        return Shown.ABSENT
    equal = all(values & wanted[key] for key, values in carried.items())
    return Shown.EQUAL if equal else Shown.DIFFERENT


def _said(packet: Packet) -> Iterator[tuple[tuple[int, ...], bytes]]:
    for kind, value in packet.attributes():
        if kind != VSA:
            yield (kind,), value
    for vendor, kind, value in packet.vendor_attributes():
        yield (VSA, vendor, kind), value


def _key(oid: tuple[int, ...], value: bytes) -> _Key:
    """Return what a value is about: Cisco-AVPair holds many attributes, each with a name of its own."""
    return (*oid, value.partition(b"=")[0]) if oid == _CISCO_AVPAIR else oid
