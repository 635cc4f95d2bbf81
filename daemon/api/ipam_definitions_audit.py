"""Every change of a definition in the audit: who, what, of which tenant."""

from __future__ import annotations

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.api.actor import actor_of
from daemon.api.ipam_models import Wish
from daemon.api.security.audited import noted
from daemon.api.services import Services
from daemon.store import audit_rows
from daemon.store.audit_rows import Entry

_MOST = 1000


async def note(
    services: Services,
    request: Request,
    action: str,
    tenant: str,
    subject: str,
    wish: Wish | None = None,
    result: str = "done",
) -> None:
    """Write down what somebody has changed, with what was wished of it. Raises StoreUnavailable."""
    said = "" if wish is None else wish.model_dump_json(exclude_unset=True, by_alias=True)
    wished = said if len(said) <= _MOST else f"{said[:_MOST]}..."
    entry = Entry(services.clock.wall(), actor_of(request), action, tenant, subject, wished, result)

    async def write(connection: AsyncConnection) -> None:
        await audit_rows.save(connection, entry)

    await services.writer.commit(write)
    noted(request)
