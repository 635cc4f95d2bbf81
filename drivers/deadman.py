"""A commit timer on a POSIX target: a detached job restores the old state unless it is claimed in time.

One directory for each commit. Renaming it is the decision, and only one of confirm, rollback and timer wins it:
`ID` waits, `ID.kept` was confirmed, `ID.reverting` is being taken back, `ID.reverted` was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from drivers.errors import CommandRefused, Phase
from drivers.transports.stream import Completed, Runner

_ARM = """
set -e
umask 077
cd "$1"
find . -maxdepth 1 -name 'dm*.*' -mtime +7 -exec rm -rf {} +
test -s "$2/restore.sh"
if [ -d /run/systemd/system ] && command -v systemd-run > /dev/null; then
  systemd-run --quiet --on-active="$3" --timer-property=AccuracySec=1s sh "$PWD/$2/run.sh" "$PWD" "$2" 0
else
  setsid sh "$PWD/$2/run.sh" "$PWD" "$2" "$3" > /dev/null 2>&1 < /dev/null &
fi
date +%s > "$2/armed"
"""
# Seconds one by one: a timer that was beaten does not hang about, and a clock that jumps moves nothing.
_RUN = """
left=$3
while [ "$left" -gt 0 ] && [ -d "$1/$2" ]; do sleep 1; left=$((left - 1)); done
cd "$1" || exit 1
mv "$2" "$2.reverting" 2> /dev/null || exit 0
sh "$2.reverting/restore.sh" "$1/$2.reverting" > "$2.reverting/log" 2>&1 && mv "$2.reverting" "$2.reverted"
"""
_TAKE_BACK = """
cd "$1" || exit 1
mv "$2" "$2.reverting" 2> /dev/null || mv "$2.kept" "$2.reverting" 2> /dev/null || exit 4
sh "$2.reverting/restore.sh" "$1/$2.reverting" 2>&1 || exit 5
mv "$2.reverting" "$2.reverted"
"""
_LIST = 'cd "$1" 2> /dev/null || exit 0; for each in dm*; do [ -f "$each/armed" ] && echo "$each"; done; true'
_LOST, _BROKEN = 4, 5
_ID = re.compile(r"dm[0-9a-f]+")


class DeadMan:
    """Timers in one directory of a target, which should be gone after a reboot, as what it guards is."""

    def __init__(
        self, runner: Runner, directory: str, *, prefix: Sequence[str] = (), device: str = ""
    ) -> None:
        self._runner = runner
        self._directory = directory
        self._prefix = tuple(prefix)  # such as sudo -n
        self._device = device

    async def sh(
        self, script: str, *arguments: str, stdin: str = "", timeout_s: float | None = None
    ) -> Completed:
        """Run a shell script on the target; `$1` and on are the arguments."""
        command = [*self._prefix, "sh", "-c", script, "edge", *arguments]
        return await self._runner.run(command, stdin=stdin, timeout_s=timeout_s)

    async def put(self, id: str, files: Mapping[str, str]) -> str:  # noqa: A002
        """Write files, readable by their owner alone, into the commit's directory; return its path."""
        path = f"{self._directory}/{id}"
        for name, text in files.items():
            script = 'umask 077; mkdir -p "$1" && cat > "$1/$2"'
            self._must(await self.sh(script, path, name, stdin=text), "cannot write files")
        return path

    async def arm(self, id: str, seconds: int, restore: str) -> None:  # noqa: A002
        """Start the timer. `restore` is a shell script; `$1` is the commit's directory when it runs."""
        await self.put(id, {"restore.sh": restore, "run.sh": _RUN})
        self._must(await self.sh(_ARM, self._directory, id, str(seconds)), "cannot start the timer")

    async def remember(self, id: str, restore: str) -> None:  # noqa: A002
        """Make take_back possible for a commit without a timer; its files are in `ID.kept`."""
        await self.put(f"{id}.kept", {"restore.sh": restore})

    async def keep(self, id: str) -> bool:  # noqa: A002
        """Confirm: return whether the timer was beaten. Twice is no harm."""
        script = 'cd "$1" && { mv "$2" "$2.kept" 2> /dev/null || test -d "$2.kept"; }'
        return (await self.sh(script, self._directory, id)).status == 0

    async def take_back(self, id: str) -> bool:  # noqa: A002
        """Restore now, pending or kept; False if there is nothing to restore. CommandRefused if that failed."""
        done = await self.sh(_TAKE_BACK, self._directory, id, timeout_s=90)
        if done.status == _LOST:
            return False
        self._must(done, "the old state could not be restored")
        return True

    async def waiting(self) -> tuple[str, ...]:
        """Return the ids whose timers run."""
        done = await self.sh(_LIST, self._directory)
        return tuple(each for each in done.stdout.split() if _ID.fullmatch(each))

    async def forget(self, id: str) -> None:  # noqa: A002
        """Remove a commit's files; its timer, if any, finds nothing."""
        if _ID.fullmatch(id):
            await self.sh('cd "$1" && rm -rf -- "$2" "$2.kept"', self._directory, id)

    def _must(self, done: Completed, what: str) -> None:
        if done.status:
            said = (done.stderr or done.stdout).strip()[-300:]
            raise CommandRefused(
                f"{what}: {said}", phase=Phase.COMMIT, device=self._device, command="sh", answer=said
            )
