"""The Acct-Session-Id under which a platform knows a session where it takes two of the same name for one.

It is the NAS's own with a suffix that comes from our number, so that a CoA or Disconnect which names it finds the
session again without a table.
"""

from __future__ import annotations

from daemon.aaa.session import Session

_DIGITS = 6
_LOW = 16**_DIGITS


def suffixed(acct_session_id: str, uid: int, most: int) -> str:
    """Return the id with its suffix, at most so many characters long."""
    suffix = f"~{uid % _LOW:0{_DIGITS}x}"
    return acct_session_id[: most - len(suffix)] + suffix


def own_part(shown: bytes) -> bytes | None:
    """Return what stands before a suffix, None where there is none."""
    raw, mark, suffix = shown.rpartition(b"~")
    return raw if mark and raw and len(suffix) == _DIGITS else None


def is_shown_as(session: Session, shown: bytes) -> bool:
    """Tell whether a session goes by that name: its NAS's own, or that with our suffix."""
    raw = session.acct_session_id
    if shown == raw:
        return True
    return (
        shown.rpartition(b"~")[2] == f"{session.uid % _LOW:0{_DIGITS}x}".encode() and own_part(shown) == raw
    )
