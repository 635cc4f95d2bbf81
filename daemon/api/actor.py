"""Who asks, for the audit."""

from __future__ import annotations

import pwd

from fastapi import Request


def actor_of(request: Request) -> str:
    """Return who asks: on the admin socket the kernel names the user."""
    uid = "" if request.client is None else request.client.host
    if not uid.isdigit():
        return uid or "unknown"
    try:
        return f"{pwd.getpwuid(int(uid)).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
