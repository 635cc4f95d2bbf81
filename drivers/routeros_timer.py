"""The dead man's timer on RouterOS: a script that takes a change back, and a scheduler entry that runs it.

Both carry the id of the commit. The script's comment says where things stand: `armed`, `kept` (confirmed, and it
still can be taken back), `reverting`. A script that has run takes itself and the scheduler entry away. A scheduler
entry is kept in the configuration, so it outlives a power cut; its count of runs does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from drivers.routeros_text import quote

SCRIPT, SCHEDULER = "/system/script", "/system/scheduler"
ID = re.compile(r"dm[0-9a-f]{10}")
ARMED, KEPT, REVERTING = "armed", "kept", "reverting"
# A scheduler with less than this cannot load a backup, and says so only when it is too late.
POLICY = "ftp,reboot,read,write,policy,test"
NOTE = "takes a change back unless it is confirmed"


def inverse(id: str, undo: Sequence[str]) -> str:  # noqa: A002
    """Return the script that runs the inverse commands; one that fails does not keep the others back."""
    name = quote(id)
    lines = [f"/system/script/set [find where name={name}] comment={quote(REVERTING)}"]
    lines.append(f"/system/scheduler/set [find where name={name}] disabled=yes")
    for number, line in enumerate(undo, 1):
        trouble = quote(f"{id}: step {number} could not be taken back")
        lines.append(f":do {{ {line} }} on-error={{ :log error {trouble} }}")
    lines.append(f"/system/script/remove [find where name={name}]")
    lines.append(f"/system/scheduler/remove [find where name={name}]")
    return "\n".join(lines) + "\n"


def reload(backup: str) -> str:
    """Return the script that loads a backup: the router reboots, and this script is not in that backup."""
    return f'/system/backup/load name={quote(backup)} password=""\n'


def script(id: str, source: str, comment: str) -> dict[str, str]:  # noqa: A002
    """Return the body of the script."""
    return {"name": id, "source": source, "policy": POLICY, "comment": comment}


def scheduler(id: str, seconds: int) -> dict[str, str]:  # noqa: A002
    """Return the body of the scheduler entry; without a start time the interval runs from now."""
    event = f"/system/script/run {quote(id)}"
    return {"name": id, "interval": f"{seconds}s", "on-event": event, "policy": POLICY, "comment": NOTE}
