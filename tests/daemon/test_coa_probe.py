"""`coa test` tells address, secret, identification and attributes apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from daemon.aaa.coa.client import CoaClient, Target
from daemon.aaa.coa.probe import Finding, Verdict, probe, probe_session
from daemon.aaa.coa.timers import Timers
from daemon.supervise import Supervisor
from radius import vendors
from radius.authenticator import Key
from radius.codes import Attr
from radius.packet import attribute
from tests.twins.clock import ClockTwin
from tests.twins.dae import Answer, DaeTwin, ack, forged, nak, silence

SECRET, OLD, OTHER = Key(b"testing123"), Key(b"xyzzy5461"), Key(b"plugh0815")


def ask(
    twin: DaeTwin,
    *,
    vendor: str = "mikrotik",
    keys: tuple[Key, ...] = (SECRET,),
    live: bool = False,
    stopped: bool = False,
    before: Callable[[DaeTwin], None] | None = None,
) -> Finding:
    """Run the test against a NAS and let time pass meanwhile."""

    async def everything() -> Finding:
        clock = ClockTwin()
        supervisor = Supervisor(clock, lambda *_, **__: None)
        client = CoaClient(clock, Timers(clock, supervisor.spawn), Random(1))
        await twin.start()
        target = Target(twin.address, twin.port, keys)
        if stopped:
            await twin.stop()
        if live:
            call = probe_session(
                client,
                target,
                vendor,
                clock.wall(),
                identification=attribute(Attr.ACCT_SESSION_ID, b"0001"),
                change=attribute(Attr.FILTER_ID, b"fast"),
                others=(OTHER,),
            )
        else:
            call = probe(client, target, vendor, Random(7), clock.wall(), others=(OTHER,), own="192.0.2.5")
        task = asyncio.create_task(call)
        while not task.done():
            await asyncio.sleep(0.002)
            await clock.advance(0.5)
        client.close()
        await supervisor.stop(1.0)
        await twin.stop()
        return task.result()

    return asyncio.run(everything())


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (nak(503), Verdict.OK),
        (ack, Verdict.OK),
        (nak(402), Verdict.IDENTIFIERS),
        (nak(403), Verdict.IDENTIFIERS),
        (nak(404), Verdict.IDENTIFIERS),
        (nak(407), Verdict.IDENTIFIERS),
        (nak(401), Verdict.ATTRIBUTE),
        (nak(501), Verdict.REFUSED),
        (nak(None), Verdict.OK),
        (silence, Verdict.SILENT),
        (forged, Verdict.WRONG_SECRET),
    ],
)
def test_what_the_nas_says_is_told_apart(answer: Answer, verdict: Verdict) -> None:
    finding = ask(DaeTwin(otherwise=answer))
    assert finding.verdict is verdict
    assert finding.says
    assert bool(finding.advice) is (verdict is not Verdict.OK)


def test_a_closed_port_is_unreachable() -> None:
    finding = ask(DaeTwin(), stopped=True)
    assert finding.verdict is Verdict.UNREACHABLE
    assert "/radius incoming set accept=yes" in finding.advice


@pytest.mark.parametrize(("secret", "text"), [(b"xyzzy5461", "previous"), (b"plugh0815", "another use")])
def test_a_mixed_up_secret_is_found_behind_the_silence(secret: bytes, text: str) -> None:
    finding = ask(DaeTwin(secret=secret, otherwise=nak(503)), keys=(SECRET, OLD))
    assert finding.verdict is Verdict.WRONG_SECRET
    assert text in finding.says
    assert secret.decode() not in finding.says + finding.advice


def test_the_session_asked_for_cannot_exist_and_the_request_only_names_it() -> None:
    twin = DaeTwin(otherwise=nak(503))
    ask(twin)
    assert twin.kinds() == [(40, (Attr.USER_NAME, Attr.ACCT_SESSION_ID))]
    assert (twin.requests[0].find(Attr.USER_NAME) or b"").startswith(b"coa-test-")


def test_a_live_session_is_told_what_it_has() -> None:
    twin = DaeTwin()
    assert ask(twin, live=True).verdict is Verdict.OK
    assert twin.kinds() == [(43, (Attr.ACCT_SESSION_ID, Attr.FILTER_ID))]


@pytest.mark.parametrize("vendor", vendors.names())
def test_there_is_advice_for_every_vendor(vendor: str) -> None:
    twin = DaeTwin(otherwise=silence)
    finding = ask(twin, vendor=vendor)
    assert "{" not in finding.advice + finding.says
    assert str(twin.port) in finding.advice + finding.says
