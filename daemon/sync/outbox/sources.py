"""Where the outbox's events come from in a running daemon."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from daemon.aaa.assembly import RequestPath
from daemon.aaa.session import Report
from daemon.sync.outbox.outbox import Sources
from radius import vendors
from radius.vendors.base import VendorProfile


def sources_of(path: RequestPath, leases: AsyncEngine, book: str) -> Sources:
    """Return the sources of a request path; `leases` is the store of leases, `book` this node's name in its history.

    The keeper asks back what it may prune: let its `acknowledged_through` be the outbox's `acknowledged_accounting`.
    """
    standard = vendors.find("standard")
    assert standard is not None

    def profile_of(tenant: str, nas: str) -> VendorProfile:
        path.clients.turn()
        client = path.clients.get(tenant, nas)
        return standard if client is None else client.profile

    def session_of(report: Report) -> int | None:
        session = path.sessions.find(report)
        return None if session is None else session.uid

    def spare(wanted: bool) -> None:
        path.keeper.spare = wanted

    return Sources(
        leases=leases,
        book=book,
        profile_of=profile_of,
        session_of=session_of,
        belief=lambda: path.accounting.belief,
        applied_seq=lambda: path.keeper.applied_seq,
        accept=path.accept_accounting,
        spare=spare,
        rejects=path.access.rejects,
    )
