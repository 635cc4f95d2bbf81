"""Which sessions a CoA-Request or Disconnect-Request from outside means, and what it asks of them (RFC 5176 section 3).

Every identification attribute that is there must match. Only live sessions of the asker's tenant are looked at, and
only through an index: a request that names neither an Acct-Session-Id nor an address nor a user name is one that lacks
identification.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from daemon.aaa import shown_id, token
from daemon.aaa.coa.wire import ErrorCause
from daemon.aaa.session import TRACKED, Session
from daemon.replica.index import Index
from daemon.replica.records import Nas
from radius import line
from radius.codes import Attr, Code
from radius.packet import Packet


class LiveSessions(Protocol):
    """Where live sessions are found; `aaa.live` is one."""

    def of_acct_session_id(self, tenant: str, acct_session_id: bytes) -> tuple[Session, ...]:
        """Return the live sessions with an Acct-Session-Id, which several boxes may use."""
        ...

    def of_address(self, tenant: str, address: bytes) -> tuple[Session, ...]:
        """Return the live sessions with an IPv4 address, four octets."""
        ...

    def of_username(self, tenant: str, username: str) -> tuple[Session, ...]:
        """Return the live sessions under a user name."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """The sessions that are meant; `service` are the attributes of a change, in wire form and order."""

    sessions: tuple[Session, ...]
    service: bytes


_USER_NAME = int(Attr.USER_NAME)
_SESSION_ID = int(Attr.ACCT_SESSION_ID)
_ADDRESS = int(Attr.FRAMED_IP_ADDRESS)
_CLASS = int(Attr.CLASS)
_CALLING = int(Attr.CALLING_STATION_ID)
_SERVICE_TYPE = int(Attr.SERVICE_TYPE)
_NAS_IDENTIFIER = int(Attr.NAS_IDENTIFIER)
_PREFIXES = (int(Attr.FRAMED_IPV6_PREFIX), int(Attr.DELEGATED_IPV6_PREFIX))
_OF_NAS = frozenset({int(Attr.NAS_IP_ADDRESS), _NAS_IDENTIFIER, int(Attr.NAS_IPV6_ADDRESS)})
_OF_SESSION = frozenset({_USER_NAME, _SESSION_ID, *TRACKED})
_OPERATOR_NAME = 126  # RFC 8559 routes by it; here the asker's tenant and the session do
_NAS_PORT_TYPE = 61  # identification, but it tells no two sessions apart and we keep none
# Neither identification that we use nor a change; never passed on.
_ASIDE = frozenset(
    {
        int(Attr.PROXY_STATE),
        int(Attr.MESSAGE_AUTHENTICATOR),
        int(Attr.EVENT_TIMESTAMP),
        _OPERATOR_NAME,
        _NAS_PORT_TYPE,
    }
)
# What a Disconnect may carry beside identification, none of which changes what is done.
_WITH_DISCONNECT = frozenset({int(Attr.REPLY_MESSAGE), int(Attr.ACCT_TERMINATE_CAUSE), _CLASS})
# Chargeable-User-Identity and Originating-Line-Info identify a session by what we do not keep: they cannot be
# compared, and must not be passed over. User-Password, CHAP-Password, Tunnel-Password and EAP-Message are hidden
# with the asker's secret or belong to an exchange of its own: passed on they would be nonsense to the NAS.
_UNSUPPORTED = frozenset(
    {89, 94, int(Attr.USER_PASSWORD), int(Attr.CHAP_PASSWORD), 69, int(Attr.EAP_MESSAGE)}
)
_EXTENDED_241, _OPERATOR_NAS_IDENTIFIER = 241, 8  # RFC 8559 section 3.3: we have never given one out
_AUTHORIZE_ONLY = 17
_DISCONNECT = int(Code.DISCONNECT_REQUEST)


class Finder:
    """Finds the sessions of requests."""

    def __init__(self, index: Index, live: LiveSessions) -> None:
        self._index = index
        self._live = live

    def find(self, tenant: str, packet: Packet) -> Found | ErrorCause:
        """Return the sessions of `tenant` that a Disconnect-Request or CoA-Request means, or why there are none.

        Several are returned only for a Disconnect that names nothing but a user, all of one subscriber.
        """
        disconnect = packet.code == _DISCONNECT
        read = _read(packet, disconnect)
        if isinstance(read, ErrorCause):
            return read
        candidates = self._candidates(tenant, packet)
        if candidates is None:
            return ErrorCause.MISSING_ATTRIBUTE
        meant = tuple(each for each in candidates if _matches(each, read.of_session))
        if not meant:
            return ErrorCause.SESSION_CONTEXT_NOT_FOUND
        here = tuple(each for each in meant if self._is_at(each, read.of_nas))
        if not here:
            return ErrorCause.NAS_IDENTIFICATION_MISMATCH
        if len(here) > 1 and not (disconnect and _is_one_subscriber(here, read.of_session)):
            return ErrorCause.MULTIPLE_SESSION_SELECTION_UNSUPPORTED
        if not disconnect and not read.service:
            return ErrorCause.MISSING_ATTRIBUTE  # a change that changes nothing
        return Found(here, read.service)

    def _candidates(self, tenant: str, packet: Packet) -> tuple[Session, ...] | None:
        """Return live sessions by the attribute that tells most, None where no index has any of them."""
        value = packet.find(_SESSION_ID)
        if value is not None:
            found = self._live.of_acct_session_id(tenant, value)
            raw = None if found else shown_id.own_part(value)
            return found if raw is None else self._live.of_acct_session_id(tenant, raw)
        value = packet.find(_ADDRESS)
        if value is not None:
            return self._live.of_address(tenant, value)
        name = packet.find_text(_USER_NAME)
        return None if name is None else self._live.of_username(tenant, name)

    def _is_at(self, session: Session, of_nas: list[tuple[int, bytes]]) -> bool:
        tenant = self._index.tenants.get(session.tenant)
        nas = None if tenant is None else tenant.nases.get(session.nas)
        return all(_is_named(session, nas, kind, value) for kind, value in of_nas)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request taken apart."""

    of_session: list[tuple[int, bytes]]
    of_nas: list[tuple[int, bytes]]
    service: bytes


def _read(packet: Packet, disconnect: bool) -> _Asked | ErrorCause:
    """Take a request apart; a cause where it has what cannot be honoured, whatever the session."""
    of_session: list[tuple[int, bytes]] = []
    of_nas: list[tuple[int, bytes]] = []
    service = bytearray()
    for kind, value in packet.attributes():
        if kind in _OF_SESSION or (kind == _CLASS and token.read(value) is not None):
            of_session.append((kind, value))
        elif kind in _OF_NAS:
            of_nas.append((kind, value))
        elif kind == _EXTENDED_241 and value[:1] == bytes((_OPERATOR_NAS_IDENTIFIER,)):
            return ErrorCause.NAS_IDENTIFICATION_MISMATCH
        elif kind not in _ASIDE:
            cause = _unfit(kind, value, disconnect)
            if cause is not None:
                return cause
            service += bytes((kind, len(value) + 2)) + value
    return _Asked(of_session, of_nas, b"" if disconnect else bytes(service))


def _unfit(kind: int, value: bytes, disconnect: bool) -> ErrorCause | None:
    """Return why an attribute that identifies nothing cannot be honoured."""
    if kind == _SERVICE_TYPE and (disconnect or value[-1:] == bytes((_AUTHORIZE_ONLY,))):
        return ErrorCause.UNSUPPORTED_SERVICE
    if kind in _UNSUPPORTED:
        return ErrorCause.UNSUPPORTED_ATTRIBUTE
    if disconnect:  # RFC 5176 section 3: it contains identification only, else it must be refused
        return None if kind in _WITH_DISCONNECT else ErrorCause.UNSUPPORTED_ATTRIBUTE
    # Another Class would take the place of our token in the accounting of this session.
    return ErrorCause.UNSUPPORTED_ATTRIBUTE if kind == _CLASS else None


def _is_named(session: Session, nas: Nas | None, kind: int, value: bytes) -> bool:
    """Tell whether a NAS attribute names the box of a session; `nas` is its entry, None where that is gone.

    A box goes by one name of its own; where the request uses another kind of name, the entry's must fit.
    """
    if session.box[:1] == bytes((kind,)):
        return value == session.box[1:]
    if kind == _NAS_IDENTIFIER:
        return value == session.nas.encode()
    if session.box[:1] == b"\0":  # it named itself in no way: the source of its packets
        return value == session.box[1:]
    if nas is None or len(value) not in (4, 16):
        return False
    address = ip_address(value)
    return any(address in network for network in nas.prefixes)


def _matches(session: Session, of_session: list[tuple[int, bytes]]) -> bool:
    return all(_is_same(session, kind, value) for kind, value in of_session)


def _is_same(session: Session, kind: int, value: bytes) -> bool:
    """Tell whether a session has an attribute with this value, as its NAS reported it."""
    if kind == _USER_NAME:
        return value.decode("utf-8", "backslashreplace") == session.username
    if kind == _SESSION_ID:
        return shown_id.is_shown_as(session, value)
    if kind == _CLASS:
        return value == session.class_octets
    held = session.find(Attr(kind))
    if held is None or held == value:
        return held == value
    if kind == _CALLING:  # platforms write a MAC address in their own way
        mac = line.canonical_mac(value.decode("utf-8", "replace"))
        return mac is not None and mac == line.canonical_mac(held.decode("utf-8", "replace"))
    return kind in _PREFIXES and _full(value) == _full(held)


def _full(prefix: bytes) -> bytes:
    """Return an IPv6 prefix with the zeros at its end that RFC 3162 section 2.3 lets a sender leave out."""
    return prefix[:18].ljust(18, b"\0")


def _is_one_subscriber(sessions: tuple[Session, ...], of_session: list[tuple[int, bytes]]) -> bool:
    """Tell whether a request meant all of them: it names a user and nothing else, and they are one subscriber's."""
    by_name_alone = all(kind == _USER_NAME for kind, _ in of_session)
    return by_name_alone and len({each.subscriber for each in sessions}) == 1
