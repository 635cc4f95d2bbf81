"""The route of conflict probes: is somebody at this address."""

from __future__ import annotations

from ipaddress import ip_address

from fastapi import APIRouter, HTTPException
from pydantic import Field

from daemon.api.models import Model
from daemon.api.security import Reach, scope
from daemon.leases.probe import InUse, Method, Outcome, Query, Silent, fault
from daemon.leases.prober import Prober


class ProbeView(Model):
    """What came of a probe."""

    address: str
    interface: str
    verdict: str = Field(description="silent, in-use or not-asked")
    says: str
    method: str = Field(description="what was answered, or all that was asked; empty: nothing was sent")
    mac: str | None = Field(description="of who answered; none: behind a router, or nobody")
    rtt_ms: float | None
    reason: str | None = Field(description="why it could not be asked")
    advice: str | None


def add_probe(router: APIRouter, prober: Prober) -> None:
    """Add the route `/ipam/probes`."""

    @router.post("/ipam/probes", dependencies=[scope("ipam:write", Reach.EDGE)])
    async def probe(
        address: str, interface: str, method: Method = Method.AUTO, count: int = 2, wait_s: float = 1.0
    ) -> ProbeView:
        try:
            wanted = ip_address(address)
        except ValueError:
            raise HTTPException(422, f"{address} is no IP address") from None
        query = Query(address=wanted, interface=interface, method=method, count=count, wait_s=wait_s)
        wrong = fault(query)
        if wrong is not None:
            raise HTTPException(422, wrong)
        return probe_view(query, await prober.ask(query))


def probe_view(query: Query, outcome: Outcome) -> ProbeView:
    """Return an outcome as the API shows it."""
    verdict, mac, rtt_ms, reason, advice = "not-asked", None, None, None, None
    if isinstance(outcome, Silent):
        verdict, method = "silent", ", ".join(outcome.asked)
        says = f"nobody answers at {query.address} to {' and '.join(outcome.asked)} on {query.interface}"
    elif isinstance(outcome, InUse):
        verdict, method, mac = "in-use", outcome.method.value, outcome.mac or None
        rtt_ms = round(outcome.rtt_s * 1000, 3)
        who = outcome.mac or "somebody behind a router"
        says = f"{who} answers at {query.address} to {method} after {rtt_ms:g} ms"
    else:
        method, reason, advice = "", outcome.why.value, outcome.remedy
        says = f"{query.address} could not be asked" + (f": {outcome.detail}" if outcome.detail else "")
    return ProbeView(
        address=str(query.address),
        interface=query.interface,
        verdict=verdict,
        says=says,
        method=method,
        mac=mac,
        rtt_ms=rtt_ms,
        reason=reason,
        advice=advice,
    )
