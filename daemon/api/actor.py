"""Who asks, for the audit."""

from __future__ import annotations

import pwd

from fastapi import Request

from daemon.api.security.principals import Kind, Principal


def actor_of(request: Request) -> str:
    """Return who asks: on the admin socket the kernel names the user, else it is what the door has found out."""
    principal = getattr(request.state, "principal", None)
    if isinstance(principal, Principal):
        return actor_name(principal)
    return _user("" if request.client is None else request.client.host)


def actor_name(principal: Principal) -> str:
    """Return somebody as the audit shows it."""
    return _user(principal.name) if principal.kind is Kind.LOCAL else principal.name


def _user(uid: str) -> str:
    if not uid.isdigit():
        return uid or "unknown"
    try:
        return f"{pwd.getpwuid(int(uid)).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
