"""Linux routers: nftables, tc and systemd-networkd, over SSH or on this machine (also in a network namespace).

A change is text in parts (see `linux_text`). nft scripts are one transaction each; tc and networkd are not, so a
commit that fails half way is taken back at once. The timer is ours (see `deadman`): it restores the nft tables,
interfaces and files that were touched, and only those. tc cannot be listed as commands: the driver keeps the lines
it has sent in `state_dir`/tc.batch, rebuilds from them, and refuses an interface that somebody else has shaped.
Options of a target: `state_dir` (on a tmpfs), `network_dir`, `networkd_reload` (command), `nft_file`, `tc_file`
(written by save; `tc -batch` at boot is the host's own), `suspended` (family, table and set), `uplink` (interface
for upload rates), `sudo`, `local`, `namespace`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable

from drivers.base import Driver, Session
from drivers.capabilities import CandidateKind, Capabilities, ConfirmKind, LockKind, RollbackMethod
from drivers.errors import CommandRefused, NotSupported, Phase
from drivers.linux_sh import APPLY, READ, RESTORE, SAVE, TC_STATE, TRY
from drivers.linux_text import (
    BadChange,
    Parts,
    device,
    free_minor,
    parse,
    recorded,
    restoring,
    shaping,
    steady,
    tables,
    unshaping,
)
from drivers.model import (
    Change,
    CommitRef,
    Config,
    ConfigKind,
    Diff,
    DiffSource,
    Facts,
    Finding,
    Identity,
    Interface,
    Mode,
    ServiceIntent,
    ServiceVerb,
    Severity,
    Staged,
    digest,
)
from drivers.offline import diff_lines
from drivers.outcomes import CommitResult, CommitState
from drivers.posix import STATE_DIR, PosixSession, runner_of
from drivers.target import Opening
from drivers.transports.stream import Runner

_IDENTITY = '. /etc/os-release; echo "$ID $VERSION_ID"; uname -sr; nft --version; tc -V; cat /etc/machine-id; uname -n'
_NFT = re.compile(r"nftables (\d+)\.(\d+)\.(\d+)")
_KERNEL = re.compile(r"Linux (\d+)\.(\d+)")
_OLDEST_NFT, _NEWEST_NFT = (0, 9, 8), (1, 2, 0)
_OLDEST_KERNEL, _NEWEST_KERNEL = 4, 7
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_KEY = re.compile(r"[\w.\-@:]{1,64}")
_NOTHING = "#\n"  # a file of no lines: an empty standard input is never ended by some SSH clients


class LinuxSession(PosixSession):
    """One Linux router. Each command is a process on it."""

    name = "linux"
    reading = (
        r"nft (?:-[sna] )*list (?:ruleset|tables|table [\w ]+|set [\w ]+|chain [\w ]+)",
        r"tc (?:-[sd] )*(?:qdisc|class|filter) show(?: dev [\w.\-]+)?",
        r"ip (?:-[46sdj] )*(?:address|link|route|neigh|rule) show(?: dev [\w.\-]+)?",
        r"networkctl (?:list|status)(?: [\w.\-]+)?",
    )

    def __init__(self, opening: Opening, runner: Runner) -> None:
        super().__init__(opening, runner)
        options = opening.target.options
        self._state = options.get("state_dir", STATE_DIR)
        self._networks = options.get("network_dir", "/etc/systemd/network")
        self._reload = options.get("networkd_reload", "networkctl reload")
        self._wanted: dict[str, tuple[Parts, list[str], list[str], str]] = {}

    async def _sh(self, script: str, *arguments: str, phase: Phase = Phase.READ) -> str:
        done = await self._deadman.sh(script, *arguments)
        self._demand(done, phase, "sh")
        return done.stdout

    async def _probe(self) -> Identity | None:
        try:
            told = (await self._sh(_IDENTITY, phase=Phase.PROBE)).splitlines()
        except CommandRefused:
            return None
        if len(told) < 5 or not told[1].startswith("Linux "):
            return None
        nft = _NFT.search(told[2].replace(" v", " "))
        return Identity(told[0], f"{told[1]}", "linux", nft.group() if nft else "", told[4])

    def _capabilities(self, identity: Identity) -> Capabilities:
        nft, kernel = _NFT.match(identity.version), _KERNEL.match(identity.model)
        if (
            nft is None
            or kernel is None
            or not _OLDEST_NFT <= (int(nft[1]), int(nft[2]), int(nft[3])) < _NEWEST_NFT
            or not _OLDEST_KERNEL <= int(kernel[1]) <= _NEWEST_KERNEL
        ):
            why = f"unknown kernel or nftables: {identity.model or 'none'}, {identity.version or 'none'}"
            return Capabilities(reason=why)
        return Capabilities(
            writes=True,
            reason="",
            merge=True,
            services=True,
            candidate=CandidateKind.FILE,
            confirm=ConfirmKind.TIMER_JOB,
            confirm_min_s=5,
            confirm_max_s=86400,
            rollback=RollbackMethod.REPLACE,
            pending_visible=True,
            lock=LockKind.ADVISORY,
            validate_native=True,
            startup=True,
            max_sessions=4,
            notes=(
                "the commit timer is a job of ours on the device",
                "an nft script is atomic, tc and networkd are not",
            ),
        )

    async def _facts(self) -> Facts:
        links = json.loads(await self._command("ip", "-j", "link", "show"))
        uptime = (await self._command("cat", "/proc/uptime")).partition(".")[0]
        interfaces = tuple(
            Interface(
                each["ifname"],
                each.get("ifalias", ""),
                each.get("operstate") == "UP",
                "UP" in each["flags"],
                each.get("address", ""),
            )
            for each in links
        )
        return Facts(self.identity, (await self._command("uname", "-n")).strip(), int(uptime), interfaces)

    async def _read(self, kind: ConfigKind) -> str:
        if kind is ConfigKind.STARTUP:
            return await self._sh('cat "$1" "$2" 2> /dev/null; true', *self._saved())
        if kind is not ConfigKind.RUNNING:
            raise self._cannot(f"read the {kind} configuration")
        return steady(await self._sh(READ, self._networks))

    async def _run(self, command: str) -> str:
        return await self._command(*command.split(), phase=Phase.COMMAND)

    # Pushing ----------------------------------------------------------------------------------------------

    async def _stage(self, change: Change, before: Config) -> Staged:
        parts = self._parsed(change.text)
        devices = sorted({device(line) for line in parts.tc})
        record = await self._record(devices)
        ruleset = await self._command("nft", "list", "ruleset")
        path = await self._deadman.put(
            f"dm{digest(change.text + before.digest)[:12]}",
            {"nft.before": ruleset or _NOTHING, **_files_of(parts, devices, recorded(record, parts.tc))},
        )
        self._wanted[path] = parts, devices, record, ruleset
        return Staged(change, before, handle=path)

    def _parsed(self, text: str) -> Parts:
        try:
            return parse(text)
        except BadChange as bad:
            raise CommandRefused(
                f"the change cannot be staged: {bad}",
                phase=Phase.STAGE,
                device=self.target.name,
                answer=str(bad),
            ) from bad

    async def _record(self, devices: list[str]) -> list[str]:
        """Return the recorded tc lines, less those of interfaces that are clean; refuse a foreign interface."""
        told, _, record = (await self._sh(TC_STATE, self._state, *devices)).partition("--\n")
        states = dict(line.split() for line in told.splitlines())
        foreign = [name for name, state in states.items() if state == "other"]
        if foreign:
            raise CommandRefused(
                f"{', '.join(foreign)}: queueing disciplines that are not as this driver left them; delete them "
                f"(tc qdisc del dev {foreign[0]} root) and push the whole shaping again",
                phase=Phase.STAGE,
                device=self.target.name,
                command="tc",
                answer=f"foreign tc on {', '.join(foreign)}",
            )
        lines = [line for line in record.splitlines() if line.strip() not in {"", "#"}]
        return [line for line in lines if states.get(device(line)) != "clean"]

    async def _tried(self, path: str) -> str | None:
        """Return the ruleset as it would be, None if it cannot be worked out (a rule names an interface's index)."""
        done = await self._deadman.sh(TRY, path)
        return steady(done.stdout) if not done.status else None

    async def _diff(self, staged: Staged) -> Diff:
        parts, _, record, _ = self._wanted[staged.handle]
        texts: list[tuple[str, int, int]] = []
        if parts.nft.strip():
            texts.append(await self._nft_diff(parts.nft, staged.handle))
        texts.append(diff_lines("\n".join(record), "\n".join(recorded(record, parts.tc))))
        for name, wanted in parts.files.items():
            there = await self._deadman.sh('cat "$1" 2> /dev/null', f"{self._networks}/{name}")
            texts.append(diff_lines(there.stdout, wanted or ""))
        told = "\n".join(text for text, _, _ in texts if text)
        return Diff(
            told, DiffSource.OFFLINE, sum(plus for _, plus, _ in texts), sum(less for *_, less in texts)
        )

    async def _nft_diff(self, script: str, path: str) -> tuple[str, int, int]:
        after = await self._tried(path)
        if after is None:  # better too much than nothing: the script itself
            lines = [line for line in script.splitlines() if line.strip()]
            return "\n".join(f"+ {line}" for line in lines), len(lines), 0
        return diff_lines(steady(await self._command("nft", "-s", "list", "ruleset")), after)

    async def _validate(self, staged: Staged) -> tuple[Finding, ...]:
        done = await self._runner.run([*self._prefix, "nft", "-c", "-f", f"{staged.handle}/nft.change"])
        if not done.status:
            return ()
        said = [line for line in done.stderr.splitlines() if "Error:" in line] or ["nft refuses the script"]
        return tuple(Finding(Severity.ERROR, line.partition("Error: ")[2] or line, "nft") for line in said)

    async def _commit(self, staged: Staged, ref: CommitRef, comment: str) -> CommitResult:
        """Lay down the way back, arm the timer, then apply all parts in one go on the device."""
        del comment
        parts, _, _, _ = self._wanted[staged.handle]
        wanted = await self._tried(staged.handle) if parts.nft.strip() else None
        await self._guard(ref, *await self._way_back(staged.handle))
        done = await self._deadman.sh(
            APPLY,
            *(staged.handle, self._state, self._networks, self._reload),
            timeout_s=self.target.deadlines.commit_s,
        )
        if done.status:
            return await self._failed(ref, self.redactor.redact((done.stderr or done.stdout).strip()[-300:]))
        if "applied" not in done.stdout.split():
            return CommitResult(CommitState.UNVERIFIED, ref, "no-receipt", "the end was not reached")
        now = steady(await self._command("nft", "-s", "list", "ruleset", phase=Phase.COMMIT))
        if wanted is not None and digest(now) != digest(wanted):
            return CommitResult(CommitState.UNVERIFIED, ref, "not-read-back", "the ruleset is another one")
        timed = ref.confirm_within_s is not None
        return CommitResult(CommitState.PENDING if timed else CommitState.COMMITTED, ref)

    async def _way_back(self, handle: str) -> tuple[dict[str, str], str]:
        """Return the files and the script that bring what is touched back to what it is now."""
        parts, devices, record, ruleset = self._wanted[handle]
        mine = [line for line in record if device(line) in devices]
        files = {
            "nft.restore": restoring(ruleset, tables(parts.nft)),
            "tc.restore": _lines(mine),
            "tc.record": _lines(record),
            "tc.devs": _lines(devices),
            "names": _lines(parts.files),
        }
        for name in parts.files:
            there = await self._deadman.sh('cat "$1"', f"{self._networks}/{name}")
            if not there.status:
                files[f"file.{name}"] = there.stdout or _NOTHING
        where = {"state": self._state, "networks": self._networks, "reload": self._reload}
        settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in where.items())
        return files, settings + RESTORE

    def _saved(self) -> tuple[str, str]:
        options = self.target.options
        return (
            options.get("nft_file", "/etc/nftables.conf"),
            options.get("tc_file", "/etc/dotmac-edge/tc.batch"),
        )

    async def _save(self) -> None:
        await self._sh(SAVE, self._state, *self._saved(), phase=Phase.SAVE)

    # Services ---------------------------------------------------------------------------------------------

    async def _service(self, intent: ServiceIntent) -> Change:
        """ADD and REMOVE: rates of an address on a port that has `htb` as 1:. SUSPEND and RESUME: the nft set."""
        if not _KEY.fullmatch(intent.key) or not _ADDRESS.fullmatch(intent.address):
            raise NotSupported(
                "a service needs an IPv4 address and a plain key", phase=Phase.STAGE, device=self.target.name
            )
        match intent.verb:
            case ServiceVerb.ADD:
                tc = await self._shaped(intent)
                return _change(tc=tc)
            case ServiceVerb.REMOVE:
                nft = await self._suspension(intent, wanted=False)
                return _change(nft, unshaping(await self._record([]), intent.key))
            case ServiceVerb.SUSPEND | ServiceVerb.RESUME:
                return _change(await self._suspension(intent, wanted=intent.verb is ServiceVerb.SUSPEND))
        raise self._cannot(f"{intent.verb} a service")

    async def _shaped(self, intent: ServiceIntent) -> list[str]:
        uplink = self.target.options.get("uplink", "")
        record = await self._record([])
        sides = [
            (intent.port, "dst", intent.download_bps),
            (uplink, "src", intent.upload_bps),
        ]
        lines: list[str] = []
        for port, side, rate_bps in sides:
            if not rate_bps:
                continue
            if not port:
                raise self._cannot("upload rates without the option `uplink`, download rates without a port")
            mine = [line for line in record if line.endswith(f"# edge:{intent.key}") and device(line) == port]
            had = re.search(r"classid 1:([0-9a-f]+)", "\n".join(mine))
            minor = int(had[1], 16) if had else free_minor([*record, *lines])
            if not minor:
                raise self._cannot("more than 3839 shaped subscribers on this router")
            wanted = shaping(port, side, intent.address, rate_bps, minor, intent.key)
            lines += [line for line in wanted if line not in record]
        return lines

    async def _suspension(self, intent: ServiceIntent, *, wanted: bool) -> str:
        """Return the nft command, empty if there is nothing to do or the element is not ours."""
        where = self.target.options.get("suspended", "inet edge suspended")
        done = await self._runner.run([*self._prefix, "nft", "-s", "list", "set", *where.split()])
        there = f'{intent.address} comment "edge:{intent.key}"' in re.sub(r"\s+", " ", done.stdout)
        if there is wanted:
            return ""
        element = f'{{ {intent.address} comment "edge:{intent.key}" }}'
        return (
            f"add element {where} {element}\n"
            if wanted
            else f"delete element {where} {{ {intent.address} }}\n"
        )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines) or _NOTHING


def _files_of(parts: Parts, devices: list[str], record: list[str]) -> dict[str, str]:
    files = {
        "nft.change": parts.nft if parts.nft.strip() else _NOTHING,
        "tc.change": _lines(parts.tc),
        "tc.record": _lines(record),
        "tc.devs": _lines(devices),
        "names": _lines(parts.files),
    }
    return files | {
        f"file.{name}": text or _NOTHING for name, text in parts.files.items() if text is not None
    }


def _change(nft: str = "", tc: list[str] | None = None) -> Change:
    parts = [f"%% nft\n{nft}"] * bool(nft)
    parts += ["%% tc\n" + "".join(f"{line}\n" for line in tc or [])] * bool(tc)
    return Change(Mode.MERGE, "".join(parts))


async def connect(opening: Opening) -> Session:
    """Return a session over SSH to a login with a shell, or on this machine."""
    return LinuxSession(opening, await runner_of(opening))


DRIVER = Driver(
    "linux",
    "Linux: nftables, tc and systemd-networkd",
    connect,
    secret_patterns=(r"(\b(?:PrivateKey|PresharedKey|Password)\s*=\s*)\S+",),
)
