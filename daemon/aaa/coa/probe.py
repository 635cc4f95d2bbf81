"""What is wrong with the CoA of a NAS: address, secret, identification or attributes; behind `coa test NAS`.

It asks for the end of a session that cannot exist, which changes nothing. A NAS that says so is reachable,
shares our secret and takes Disconnects from us. With a live session it is told its own settings once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from daemon.aaa.coa.client import Answer, CoaClient, Result, Target
from daemon.aaa.coa.ladder import nobody
from daemon.aaa.coa.wire import ErrorCause, cause_slug, request_attributes
from radius.authenticator import Key
from radius.codes import Code
from radius.exchange import Schedule

_SCHEDULE = Schedule(first_s=1.0, longest_s=2.0, most_sends=3, give_up_s=5.0)


class Verdict(StrEnum):
    """What the test found."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    NO_ROUTE = "no-route"
    SILENT = "silent"
    WRONG_SECRET = "wrong-secret"  # noqa: S105 - a verdict
    IDENTIFIERS = "identifiers"
    ATTRIBUTE = "attribute"
    REFUSED = "refused"


_ADVICE = {
    "mikrotik": "RouterOS: /radius incoming set accept=yes port={port}; the secret is that of the /radius entry.",
    "cisco": "IOS: aaa server radius dynamic-author, then client {source} server-key SECRET and port {port}.",
    "juniper": "Junos: the radius-server {source} needs its secret, and dynamic-request-port {port} if not 3799.",
    "huawei": "VRP: radius-server authorization {source} shared-key cipher SECRET.",
    "nokia": "SR OS: accept-coa on the radius-server entry of {source}; the port is that of the whole router.",
    "accel-ppp": "accel-ppp: [radius] dae-server=ADDRESS:{port},SECRET, IPv4 only; nas-identifier must be its own.",
    "standard": "hostapd: radius_das_port={port}, radius_das_client={source} SECRET; it is off by default. "
    "strongSwan: eap-radius.dae with enable, port={port} and secret.",
    "wispr": "Access controllers take CoA only where a dynamic authorization client {source} is set on them.",
}

_SAYS = {
    Verdict.OK: "The NAS answers, shares our secret and takes Disconnects from us.",
    Verdict.UNREACHABLE: "Nobody listens at {address} port {port}: the feature is off, or the port is another one.",
    Verdict.NO_ROUTE: "This machine cannot send to {address}.",
    Verdict.SILENT: "Nothing came back from {address} port {port}: wrong address or port, a firewall, the feature "
    "off or this server not allowed, or a wrong secret, which most NASes answer with silence.",
    Verdict.WRONG_SECRET: "The NAS answers, but with another secret than ours for CoA{which}.",
    Verdict.IDENTIFIERS: "The NAS does not take the way in which we name sessions ({cause}).",
    Verdict.ATTRIBUTE: "The NAS does not take an attribute of the request ({cause}).",
    Verdict.REFUSED: "The NAS refuses ({cause}).",
}

_VERDICTS = {
    ErrorCause.SESSION_CONTEXT_NOT_FOUND: Verdict.OK,
    ErrorCause.MISSING_ATTRIBUTE: Verdict.IDENTIFIERS,
    ErrorCause.NAS_IDENTIFICATION_MISMATCH: Verdict.IDENTIFIERS,
    ErrorCause.INVALID_REQUEST: Verdict.IDENTIFIERS,
    ErrorCause.INVALID_ATTRIBUTE_VALUE: Verdict.IDENTIFIERS,
    ErrorCause.UNSUPPORTED_ATTRIBUTE: Verdict.ATTRIBUTE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the test found; `says` and `advice` are sentences, `rtt_s` is there where an answer came."""

    verdict: Verdict
    says: str
    advice: str
    cause: str = ""
    rtt_s: float | None = None
    bad_replies: int = 0


async def probe(
    client: CoaClient,
    target: Target,
    vendor: str,
    random: Random,
    at: float,
    *,
    others: tuple[Key, ...] = (),
    own: str = "ADDRESS-OF-THIS-SERVER",
) -> Finding:
    """Ask for the end of a session that cannot exist, and return what that shows; takes up to 15 seconds.

    `others` are secrets that should not work, to tell a mix-up from silence. `own` is our address for advice.
    """
    attributes = nobody(random, at if target.stamp else None)
    return await _probe(client, target, vendor, Code.DISCONNECT_REQUEST, attributes, others, own)


async def probe_session(
    client: CoaClient,
    target: Target,
    vendor: str,
    at: float,
    *,
    identification: bytes,
    change: bytes,
    others: tuple[Key, ...] = (),
    own: str = "ADDRESS-OF-THIS-SERVER",
) -> Finding:
    """Tell a live session the settings that it has, and return what that shows.

    `identification` comes from `coa_wire.identifications`, `change` from the vendor profile; a session that
    ended meanwhile shows as OK, since the NAS has understood the question.
    """
    attributes = request_attributes(identification, at if target.stamp else None, change)
    return await _probe(client, target, vendor, Code.COA_REQUEST, attributes, others, own)


async def _probe(
    client: CoaClient,
    target: Target,
    vendor: str,
    code: Code,
    attributes: bytes,
    others: tuple[Key, ...],
    own: str,
) -> Finding:
    current = replace(target, keys=target.keys[:1])
    result = await client.ask(current, code, attributes, schedule=_SCHEDULE)
    verdict, which = _verdict(result, code), ""
    if verdict in (Verdict.SILENT, Verdict.WRONG_SECRET):
        for what, keys in (
            (", with the previous one", target.keys[1:]),
            (": with one of another use", others),
        ):
            if keys and await _answers(client, replace(target, keys=keys), code, attributes):
                verdict, which = Verdict.WRONG_SECRET, what
                break
    cause = cause_slug(result.cause)
    says = _SAYS[verdict].format(
        address=target.address, port=target.port, cause=cause or "no Error-Cause", which=which
    )
    advice = "" if verdict is Verdict.OK else _advice(verdict, vendor, target, own)
    return Finding(
        verdict=verdict,
        says=says + (f" It says: {result.said}" if result.said else ""),
        advice=advice,
        cause=cause,
        rtt_s=result.rtt_s,
        bad_replies=result.bad_replies,
    )


async def _answers(client: CoaClient, target: Target, code: Code, attributes: bytes) -> bool:
    for key in target.keys:
        result = await client.ask(replace(target, keys=(key,)), code, attributes, schedule=_SCHEDULE)
        if result.heard:
            return True
    return False


def _verdict(result: Result, code: Code) -> Verdict:
    if result.answer is Answer.UNREACHABLE:
        return Verdict.NO_ROUTE if result.local else Verdict.UNREACHABLE
    if result.answer is Answer.ACK:
        return Verdict.OK
    if result.answer is Answer.NAK:
        cause = result.cause
        # Some NASes never give one, and to a session that does not exist no is the right answer.
        if cause is None and code == Code.DISCONNECT_REQUEST:
            return Verdict.OK
        return next((verdict for each, verdict in _VERDICTS.items() if each == cause), Verdict.REFUSED)
    return Verdict.WRONG_SECRET if result.bad_replies else Verdict.SILENT


def _advice(verdict: Verdict, vendor: str, target: Target, own: str) -> str:
    general = {
        Verdict.ATTRIBUTE: "Try without Message-Authenticator or Event-Timestamp (switches of the NAS entry). ",
        Verdict.IDENTIFIERS: "Compare NAS-Identifier and NAS-IP-Address of its accounting with its settings. ",
        Verdict.WRONG_SECRET: "Set the same secret on both sides (`coa_secret` of the NAS entry). ",
    }.get(verdict, "")
    return general + _ADVICE.get(vendor, _ADVICE["standard"]).format(port=target.port, source=own)
