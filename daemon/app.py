"""The composition root: builds every part of the daemon from the settings, starts them in order, stops them.

Order of a start: store, replica, journal and sessions, data files, sockets, API, READY. Nothing of it needs a
peer; a part that is not well is said in `degraded` and does not keep the others from serving.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

from config.errors import ConfigInvalid
from config.load import Loaded, load
from config.reload import diff
from config.secrets import resolve
from config.settings import Settings
from daemon import logs
from daemon.aaa import token
from daemon.aaa.access import Access
from daemon.aaa.accounting import Accounting, Pending, reply_to
from daemon.aaa.authorize import Replies
from daemon.aaa.conductor import Answer, Conductor
from daemon.aaa.endpoint import Endpoint, Port
from daemon.aaa.keeper import Keeper, Retention
from daemon.aaa.nas import Clients
from daemon.aaa.report import Belief
from daemon.aaa.sessions import SessionTable
from daemon.aaa.trace import Trace
from daemon.api.application import admin_app, health_app
from daemon.api.gauges import registry
from daemon.api.models import LoadView, ReloadView, StatusView
from daemon.api.server import ApiServer, listen_tcp, listen_unix
from daemon.api.services import Services
from daemon.clock import Clock, SystemClock
from daemon.errors import StoreUnavailable
from daemon.metrics import RequestCounts, StoreCounts
from daemon.notify import Notifier, watchdog_interval_s
from daemon.replica.codec import export
from daemon.replica.index import Index
from daemon.replica.store import Unreadable, restore
from daemon.store.engine import checkpoint, open_engine
from daemon.store.journal import Journal, Record, read_last_seq
from daemon.store.migrate import migrate
from daemon.store.seal import Sealer, load_or_create_key, parse_key
from daemon.store.session_rows import APPLIED_SEQ, read_mark
from daemon.store.writer import Writer
from daemon.supervise import Supervisor
from daemon.sync.apply import Apply
from daemon.sync.load import DataLoader, LoadRequest
from daemon.sync.problems import DataInvalid
from daemon.sync.records import KINDS
from daemon.sync.schema import schema
from radius.authenticator import request_is_authentic
from radius.dictionary import shipped
from radius.duplicates import Duplicates
from radius.packet import decode
from radius.udp import BatchSocket, source_octets

_STOP_S = 10.0


class Edge:
    """One running daemon."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str], clock: Clock) -> None:
        self._loaded = loaded
        self._environ = environ
        self._clock = clock
        self._log = logs.logger("daemon")
        self._strangers = logs.Limiter(1.0)
        settings = loaded.settings
        self._state_dir = Path(settings.edge.state_dir)
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._started_at = clock.wall()
        self._ready = False
        self._unreadable: list[Unreadable] = []
        self._file_problems: list[str] = []
        self._requests = RequestCounts()
        self._store_counts = StoreCounts()
        self._index = Index()
        self._dictionary = shipped()
        self._engine = open_engine(
            self._state_dir / "edge.db",
            busy_timeout_s=settings.store.busy_timeout_s,
            wal_checkpoint_pages=settings.store.wal_checkpoint_pages,
        )
        self._writer = Writer(self._engine, clock.monotonic, self._store_counts.observe)
        self._supervisor = Supervisor(clock, self._task_event)
        self._notifier = Notifier.from_environ(environ)
        self._stop = asyncio.Event()
        self._build_aaa(settings)
        self._build_data(settings)
        self._endpoints: list[Endpoint] = []
        self._servers: list[ApiServer] = []
        self._lock: BinaryIO | None = None
        self._name = settings.edge.name
        self._current = settings

    def _build_aaa(self, settings: Settings) -> None:
        clock, accounting = self._clock, settings.accounting
        self._clients = Clients(self._index)
        self._sessions = SessionTable()
        self._trace = Trace(settings.radius.trace_permits, settings.radius.trace_denials)
        issued = token.Issued()
        belief = Belief(accounting.clock_skew_s, accounting.max_delay_s)
        self._accounting = Accounting(
            self._index, issued, self._sessions, self._requests, belief, self._on_fault
        )
        self._journal: Journal[Pending] = Journal(
            self._writer,
            clock.wall,
            self._accounting.on_durable,
            self._accounting.on_lost,
            max_batch=accounting.max_batch_records,
            max_pending=accounting.max_pending_records,
        )
        self._accounting.journal = self._journal
        self._hashes = ThreadPoolExecutor(settings.radius.hash_workers, "password-hash")
        self._access = Access(
            self._index,
            Replies(accounting.default_interim_s),
            issued,
            self._trace,
            self._requests,
            self._hashes,
            numbers=token.numbers(clock.wall()),
            max_pending_hashes=settings.radius.max_pending_hashes,
            reject_delay_s=settings.radius.reject_delay_s,
        )
        answers: dict[Port, Answer] = {Port.AUTH: self._access, Port.ACCT: self._accounting}
        self._conductor = Conductor(
            self._clients,
            answers,
            self._requests,
            (clock.monotonic, clock.wall),
            self._on_stranger,
            self._on_fault,
        )
        day = 86_400.0
        retention = Retention(
            memory_s=accounting.closed_memory_s,
            closed_s=accounting.closed_keep_days * day,
            journal_s=accounting.journal_keep_days * day,
        )
        self._keeper = Keeper(
            self._engine,
            self._writer,
            self._sessions,
            self._accounting,
            clock,
            retention,
            accounting.session_flush_s,
        )

    def _build_data(self, settings: Settings) -> None:
        reference = settings.secrets.sealing_key
        if reference is None:
            key = load_or_create_key(self._state_dir / "seal.key")
        else:
            directory = self._environ.get("CREDENTIALS_DIRECTORY")
            key = parse_key(
                resolve(reference, self._environ, Path(directory) if directory else None), reference
            )
        self._seal = Sealer(key)
        self._apply = Apply(self._index, self._writer, self._seal, self._clock)
        self._loader = DataLoader(self._index, self._apply, self._dictionary)

    async def start(self) -> None:
        """Bring everything up; on return RADIUS is served.

        Raises OSError where a socket cannot be bound or another daemon has the state directory.
        """
        self._take_state_dir()
        await migrate(self._engine)
        self._supervisor.start("writer", self._writer.run, critical=True)
        self._unreadable = await restore(self._engine, self._index, self._seal)
        for each in self._unreadable:
            self._log.error("object-unreadable", tenant=each.tenant, kind=each.kind, id=each.id, why=each.why)
        mark = await read_mark(self._engine, APPLIED_SEQ)
        self._journal.last_seq = max(await read_last_seq(self._engine), int(mark or 0))
        await self._load_files(self._loaded.data_files)
        self._bind()
        self._clients.turn()
        folded = await self._keeper.restore(self._clients, self._remember)
        self._supervisor.start("sessions", self._keeper.run)
        self._supervisor.start("checkpoint", self._checkpoint)
        self._serve_api()
        _settle_collector()
        for endpoint in self._endpoints:
            endpoint.start()
        self._ready = True
        self._notifier.ready()
        interval = watchdog_interval_s(self._environ)
        if interval is not None:
            self._supervisor.start("watchdog", lambda: self._watchdog(interval))
        self._log.info(
            "ready",
            sessions=len(self._sessions),
            records_folded=folded,
            **self._index.count(),
        )

    async def _checkpoint(self) -> None:
        """Keep the database's log short, every second."""
        pages = self._loaded.settings.store.wal_checkpoint_pages
        while True:
            await self._clock.sleep(1.0)
            await asyncio.to_thread(checkpoint, self._state_dir / "edge.db", pages)

    def _take_state_dir(self) -> None:
        """Hold the state directory for this process; the kernel lets go of it however we end."""
        lock = (self._state_dir / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise OSError(f"{self._state_dir}: another daemon is running on this state directory") from None
        self._lock = lock

    def _bind(self) -> None:
        settings = self._loaded.settings
        for port, addresses in (
            (Port.AUTH, settings.radius.auth_addresses),
            (Port.ACCT, settings.radius.acct_addresses),
        ):
            for host, number in addresses:
                sock = BatchSocket(host, number, settings.radius.receive_buffer_octets)
                self._endpoints.append(
                    Endpoint(
                        port,
                        sock,
                        Duplicates(settings.radius.duplicate_window_s, self._clock.monotonic()),
                        self._conductor.handle,
                        lambda drop: self._requests.add(0, "unknown", "drop", drop),
                    )
                )

    def _serve_api(self) -> None:
        settings = self._loaded.settings
        services = Services(
            engine=self._engine,
            index=self._index,
            clients=self._clients,
            sessions=self._sessions,
            trace=self._trace,
            dictionary=self._dictionary,
            metrics=registry(
                self._requests,
                self._store_counts,
                self._index,
                self._sessions,
                self._clients,
                self._journal,
                self._endpoints,
                self._clock,
            ),
            load=self.load,
            reload=self.reload,
            status=self.status,
            export=self._export,
            journal_records=self._journal_records,
        )
        group = settings.api.admin_group
        host, number = settings.api.address
        release = version("dotmac-edge")
        self._servers = [
            ApiServer(health_app(services, release), listen_tcp(host, number), admin=False),
            ApiServer(
                admin_app(services, release), listen_unix(self.admin_socket, group), admin=True, group=group
            ),
        ]
        for name, server in zip(("api", "admin"), self._servers, strict=True):
            self._supervisor.start(name, server.serve)

    @property
    def admin_socket(self) -> Path:
        """Where the command line finds this daemon."""
        return admin_socket_of(self._loaded.settings)

    async def _load_files(self, files: Iterable[Path]) -> None:
        """Load the data files of the settings; what is wrong in them is said, and the last good data serve."""
        self._file_problems = []
        for file in files:
            try:
                octets = file.read_bytes()
                await self._loader.load(LoadRequest(octets=octets, name=str(file)))
            except (OSError, DataInvalid, StoreUnavailable) as error:
                self._file_problems.append(f"{file.name}: not loaded")
                self._log.error("data-file-refused", file=str(file), problems=str(error))

    def _remember(self, record: Record) -> None:
        """Know a record acknowledged just before a stop again, should its sender repeat it."""
        client = self._clients.find(source_octets(record.peer))
        if client is None:
            return
        packet = decode(record.octets)
        signer = next((key for key in client.keys if request_is_authentic(packet, key)), client.keys[0])
        reply = reply_to(packet, signer)
        for endpoint in self._endpoints:
            if endpoint.port is Port.ACCT:
                endpoint.duplicates.keep(record.peer + record.octets[1:2], packet.authenticator, reply)

    async def load(self, request: LoadRequest) -> LoadView:
        """Load data handed in over the API. Raises DataInvalid or StoreUnavailable."""
        done = await self._loader.load(request)
        applied = done.applied
        self._log.info("data-loaded", file=request.name, dry_run=request.dry_run, changed=applied.changed)
        return LoadView(
            added=applied.added,
            changed=applied.changed,
            unchanged=applied.unchanged,
            removed=applied.removed,
            warnings=[str(warning) for warning in done.warnings],
            dry_run=request.dry_run,
        )

    async def reload(self) -> ReloadView:
        """Read the settings again; what can change live does, the rest is named. Raises ConfigInvalid."""
        fresh = load(self._loaded.path, self._environ)
        live = diff(self._current, fresh.settings).live
        restart = diff(self._loaded.settings, fresh.settings).restart
        self._notifier.reloading(self._clock.monotonic())
        settings = fresh.settings
        logs.setup(settings.log.level, settings.log.format)
        self._name = settings.edge.name
        self._access.reject_delay_s = settings.radius.reject_delay_s
        self._accounting.belief = Belief(settings.accounting.clock_skew_s, settings.accounting.max_delay_s)
        try:
            await self._load_files(fresh.data_files)
        finally:
            self._notifier.ready()
        self._current = settings
        self._log.info("reloaded", live=live, restart=restart)
        return ReloadView(live=list(live), restart=list(restart))

    def status(self) -> StatusView:
        """Return the daemon at a glance."""
        degraded = list(self._file_problems)
        if self._accounting.failing is not None:
            degraded.append(f"accounting is not acknowledged: {self._accounting.failing}")
        if self._unreadable:
            degraded.append(f"{len(self._unreadable)} stored objects cannot be read")
        live: dict[str, int] = {}
        for (_, _, state), count in self._sessions.counts().items():
            live[state] = live.get(state, 0) + count
        return StatusView(
            version=version("dotmac-edge"),
            name=self._name,
            started_at=self._started_at,
            ready=self._ready,
            degraded=degraded,
            replica=self._index.count(),
            replica_changed_at=self._index.loaded_at,
            sessions=live,
            journal_last_seq=self._journal.last_seq,
            journal_pending=self._journal.pending,
            tasks=[
                {"name": each.name, "state": str(each.state), "error": each.error or ""}
                for each in self._supervisor.status()
            ],
        )

    async def _export(self, secrets: bool) -> list[dict[str, object]]:
        out: list[dict[str, object]] = []
        for i, record in enumerate(list(self._index.records())):
            out.append(export(record, secrets=secrets))
            if i % 500 == 499:
                await asyncio.sleep(0)
        return out

    async def _journal_records(self) -> int:
        return self._journal.last_seq

    def _on_stranger(self, address: bytes, code: int) -> None:
        passed = self._strangers.allow("unknown-nas", self._clock.monotonic())
        if passed is None:
            return
        self._log.warning(
            "unknown-nas", address=str(ip_address(address)), code=code, see="dotmac-edge nas candidates"
        )

    def _on_fault(self, code: int) -> None:
        passed = self._strangers.allow("fault", self._clock.monotonic())
        if passed is not None:
            self._log.exception("request-fault", code=code, suppressed=passed)

    def _task_event(self, event: str, /, **fields: object) -> None:
        self._log.error(event, **fields)

    async def _watchdog(self, interval_s: float) -> None:
        """Tell systemd that we are well: the loop turns and the writer is not stuck."""
        while True:
            with contextlib.suppress(StoreUnavailable):  # a disk that refuses is no hang: logins go on
                await self._writer.commit(_nothing)
            self._notifier.watchdog()
            await self._clock.sleep(interval_s / 2)

    def request_stop(self) -> None:
        """Make `run` return."""
        self._stop.set()

    async def run(self) -> bool:
        """Serve until asked to stop; False when a part that cannot be done without has failed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload_on_signal)
        stopped = asyncio.ensure_future(self._stop.wait())  # noqa: TID251 - awaited below
        failed = asyncio.ensure_future(self._supervisor.wait_failed())  # noqa: TID251
        await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
        well = not failed.done()
        for waiting in (stopped, failed):
            waiting.cancel()
        return well

    def _reload_on_signal(self) -> None:
        self._supervisor.spawn(self._reload_logged(), "reload")

    async def _reload_logged(self) -> None:
        try:
            await self.reload()
        except ConfigInvalid as error:
            self._log.error("reload-refused", problems=str(error))

    async def stop(self) -> None:
        """Take nothing more, finish what is under way, make everything durable, close."""
        self._notifier.stopping()
        self._ready = False
        for endpoint in self._endpoints:
            endpoint.stop()
        with contextlib.suppress(TimeoutError, StoreUnavailable):  # a disk that refuses shall not keep us
            async with asyncio.timeout(_STOP_S):
                await self._writer.drain()
                await self._keeper.flush()
        for server in self._servers:
            server.stop()
        await self._supervisor.stop(5.0)
        for endpoint in self._endpoints:
            endpoint.close()
        self._hashes.shutdown(wait=False, cancel_futures=True)
        await self._engine.dispose()
        if self._servers:
            with contextlib.suppress(OSError):
                self.admin_socket.unlink()
        if self._lock is not None:
            self._lock.close()


def admin_socket_of(settings: Settings) -> Path:
    """Return where a daemon with these settings has its admin socket."""
    return settings.api.admin_socket or Path(settings.edge.state_dir) / "admin.sock"


def _settle_collector() -> None:
    """Keep the garbage collector off the replica, and rare: what requests make is freed by reference count.

    With the usual thresholds it walks every session again and again, which costs accounting a third of its rate.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def data_schemas() -> dict[str, dict[str, object]]:
    """Return the JSON Schema of every kind of object that can be loaded."""
    return {kind: schema(kind) for kind in KINDS}


async def _nothing(_connection: object) -> None:
    return None


async def _serve(loaded: Loaded, environ: Mapping[str, str], announce: Callable[[Edge], None]) -> bool:
    edge = Edge(loaded, environ, SystemClock())
    try:
        await edge.start()
        announce(edge)
        return await edge.run()
    finally:
        await edge.stop()


def run(loaded: Loaded, announce: Callable[[Edge], None]) -> bool:
    """Run the daemon until it is told to stop; False when it failed. uvloop is used where it is installed."""
    logs.setup(loaded.settings.log.level, loaded.settings.log.format)
    environ = dict(os.environ)
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.run(_serve(loaded, environ, announce))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded, environ, announce))
