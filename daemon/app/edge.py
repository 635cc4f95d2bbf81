"""The composition root: builds every part of the daemon from the settings, starts them in order, stops them.

Order of a start: store, replica, journal and sessions, data files, sockets, API, READY. Nothing of it needs a
peer; a part that is not well is said in `degraded` and does not keep the others from serving.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import BinaryIO

from config.errors import ConfigInvalid
from config.load import Loaded, load
from config.reload import diff
from config.settings import Settings
from daemon import logs, options
from daemon.aaa.assembly import RequestPath
from daemon.aaa.leasing import Held, text_reader
from daemon.aaa.reconcile import Unchangeable
from daemon.api import glance
from daemon.api.gauges import registry
from daemon.api.models import ReloadView, StatusView
from daemon.api.ports import Places, Ports
from daemon.api.security.desk import Security
from daemon.api.services import Services
from daemon.app.ending import Step, end
from daemon.clock import Clock
from daemon.errors import StoreUnavailable
from daemon.events import Events
from daemon.leases.assembly import AddressWork
from daemon.metrics import RequestCounts, StoreCounts
from daemon.notify import Notifier, watchdog_interval_s
from daemon.options import exchange as exchange_options
from daemon.replica.index import Index, Key
from daemon.replica.store import restore
from daemon.store import state_dir
from daemon.store.engine import keep_short, open_engine
from daemon.store.migrate import migrate
from daemon.store.seal import Sealer
from daemon.store.writer import Writer
from daemon.supervise import Supervisor
from daemon.sync.apply import Apply
from daemon.sync.assembly import Exchange, House
from daemon.sync.load import Changed, DataLoader, LoadRequest
from radius.dictionary import shipped

_STOP_S = 10.0
_EVENTS_MOST = 10_000


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
        self._writer = Writer(self._engine, clock.monotonic, self._committed)
        self._supervisor = Supervisor(clock, lambda event, /, **fields: self._log.error(event, **fields))
        self._notifier = Notifier.from_environ(environ)
        self._stop = asyncio.Event()
        self._events = Events(_EVENTS_MOST, clock.wall, self._note, clock.monotonic)
        self._work: AddressWork[Held] = AddressWork(
            self._engine,
            self._writer,
            self._index,
            clock,
            self._events,
            self._supervisor.spawn,
            self._note,
            options.address_work(settings, environ, clock.monotonic, self._committed),
        )
        self._aaa = RequestPath(
            self._index,
            self._engine,
            self._writer,
            clock,
            self._requests,
            self._events,
            self._supervisor.spawn,
            options.request_path(settings),
            options.enforcement(settings, environ),
            self._work.addresses,
            text_reader(self._dictionary),
            self._on_stranger,
            self._on_fault,
        )
        self._work.definitions.renumbering.end = self._aaa.end_session
        self._work.cgnat.unwritten = self._aaa.port_blocks.unwritten
        self._work.on_lost, self._work.on_restored = self._aaa.end_fenced, self._aaa.settle_leases
        self._build_data(settings)
        self._security = Security(
            exchange_options.security(settings, environ), self._engine, self._writer, clock
        )
        self._ports: Ports | None = None
        self._lock: BinaryIO | None = None
        self._name = settings.edge.name
        self._current = settings

    def _build_data(self, settings: Settings) -> None:
        key = options.sealing_key(settings, self._environ)
        self._seal = Sealer(key)
        self._exchange = Exchange(
            exchange_options.exchange(settings, self._environ),
            House(
                index=self._index,
                engine=self._engine,
                writer=self._writer,
                clock=self._clock,
                events=self._events,
                dictionary=self._dictionary,
                path=self._aaa,
                key=key,
                leases=self._work.addresses.engine,
                book=settings.ipam.node,
                note=self._note,
                on_change=self._data_changed,
            ),
        )
        self._exchange.guard(self._work.retention)
        self._apply = Apply(
            self._index, self._writer, self._seal, self._clock, self._loaded_by_hand, self._exchange.owners
        )
        self._loader = DataLoader(self._index, self._apply, self._dictionary)

    def _data_changed(self, keys: Sequence[Key]) -> None:
        self._aaa.enforcement.reconciler.changed(keys)
        self._work.changed(keys)

    def _loaded_by_hand(self, keys: Sequence[Key]) -> None:
        self._data_changed(keys)
        self._exchange.feeds.noticed(keys)

    def _committed(self, seconds: float, durable: bool) -> None:
        self._store_counts.observe(seconds, durable)
        self._exchange.outbox.committed(seconds, durable)

    async def start(self) -> None:
        """Bring everything up; on return RADIUS is served.

        Raises OSError where a socket cannot be bound or another daemon has the state directory.
        """
        self._lock = state_dir.hold(self._state_dir)
        await migrate(self._engine)
        self._supervisor.start("writer", self._writer.run, critical=True)
        unreadable = await restore(self._engine, self._index, self._seal)
        for each in unreadable:
            self._log.error("object-unreadable", tenant=each.tenant, kind=each.kind, id=each.id, why=each.why)
        await self._exchange.restore(unreadable)
        await self._load_files(self._loaded.data_files)
        for port, places in options.ports(self._loaded.settings):
            self._aaa.listen(port, places)
        if self._work.shared is not None:
            self._supervisor.start("shared-writer", self._work.shared[1].run, critical=True)
        await self._work.restore()
        folded = await self._aaa.restore()
        await self._work.start()
        enforcement = self._aaa.enforcement
        pages = self._loaded.settings.store.wal_checkpoint_pages
        for name, run in (
            ("sessions", self._aaa.keeper.run),
            ("checkpoint", lambda: keep_short(self._state_dir / "edge.db", pages, self._clock)),
            ("tend", self._aaa.tend),
            ("prune", self._aaa.prune),
            ("coa", enforcement.engine.run),
            ("reconcile", enforcement.reconciler.run),
            ("reap", lambda: enforcement.reaper.run(self._clock)),
            *self._work.tasks(),
            *self._exchange.tasks(),
            *self._security.tasks(),
        ):
            self._supervisor.start(name, run)
        await self._security.load()
        self._serve_api()
        self._aaa.start()
        self._ready = True
        self._notifier.ready()
        interval = watchdog_interval_s(self._environ)
        if interval is not None:
            self._supervisor.start("watchdog", lambda: self._watchdog(interval))
        self._log.info(
            "ready",
            sessions=len(self._aaa.sessions),
            records_folded=folded,
            **self._index.count(),
        )

    def _serve_api(self) -> None:
        settings = self._loaded.settings
        services = Services(
            engine=self._engine,
            index=self._index,
            aaa=self._aaa,
            events=self._events,
            clock=self._clock,
            dictionary=self._dictionary,
            metrics=registry(
                self._requests,
                self._store_counts,
                self._index,
                self._aaa,
                self._events,
                self._clock,
                self._work,
                self._exchange,
            ),
            load=self.load,
            reload=self.reload,
            work=self._work,
            writer=self._writer,
            status=self.status,
            export=self._loader.export,
            exchange=self._exchange,
        )
        places = Places(
            address=settings.api.address,
            socket=self.admin_socket,
            group=settings.api.admin_group,
            port=exchange_options.port(settings),
        )
        tls = exchange_options.tls(settings)
        self._ports = Ports(services, self._security, tls, places, version("dotmac-edge"))
        for name, run in self._ports.tasks():
            self._supervisor.start(name, run)

    @property
    def admin_socket(self) -> Path:
        """Where the command line finds this daemon."""
        return admin_socket_of(self._loaded.settings)

    async def _load_files(self, files: Sequence[Path]) -> None:
        refused = await self._loader.load_files(files)
        self._file_problems = [f"{file.name}: not loaded" for file, _ in refused]
        for file, error in refused:
            self._log.error("data-file-refused", file=str(file), problems=str(error))

    async def load(self, request: LoadRequest) -> Changed:
        """Load data handed in over the API. Raises DataInvalid or StoreUnavailable."""
        done = await self._loader.load(request)
        self._log.info(
            "data-loaded", file=request.name, dry_run=request.dry_run, changed=done.applied.changed
        )
        return done

    async def reload(self) -> ReloadView:
        """Read the settings again; what can change live does, the rest is named. Raises ConfigInvalid."""
        fresh = load(self._loaded.path, self._environ)
        live = diff(self._current, fresh.settings).live
        restart = diff(self._loaded.settings, fresh.settings).restart
        self._notifier.reloading(self._clock.monotonic())
        settings = fresh.settings
        logs.setup(settings.log.level, settings.log.format)
        self._name = settings.edge.name
        self._aaa.take_settings(
            settings.radius.reject_delay_s,
            options.belief(settings),
            options.loops(settings),
            Unchangeable(settings.coa.unchangeable),
        )
        self._aaa.enforcement.disconnects_conflicts = settings.ipam.on_conflict == "disconnect"
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
        degraded += options.relay_warnings(self._loaded.settings, self._index.tenants)
        if self._index.unreadable:
            degraded.append(f"{len(self._index.unreadable)} stored objects cannot be read")
        degraded += self._work.degraded()
        degraded += self._exchange.degraded() + self._security.degraded()
        if self._ports is not None:
            degraded += self._ports.degraded()
        degraded += glance.degraded(self._aaa, self._clock)
        return StatusView(
            version=version("dotmac-edge"),
            name=self._name,
            started_at=self._started_at,
            ready=self._ready,
            degraded=degraded,
            replica=self._index.count(),
            replica_changed_at=self._index.loaded_at,
            **glance.of_sessions(self._aaa),
            journal_last_seq=self._aaa.journal.last_seq,
            journal_pending=self._aaa.journal.pending,
            tasks=glance.tasks(self._supervisor),
        )

    def _note(self, event: str, /, **fields: object) -> None:
        self._log.info(event, **fields)

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
        loop, spawn = asyncio.get_running_loop(), self._supervisor.spawn
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop)
        loop.add_signal_handler(signal.SIGHUP, lambda: spawn(self._reload_logged(), "reload"))
        stopped = asyncio.ensure_future(self._stop.wait())  # noqa: TID251 - awaited below
        failed = asyncio.ensure_future(self._supervisor.wait_failed())  # noqa: TID251
        await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
        well = not failed.done()
        for waiting in (stopped, failed):
            waiting.cancel()
        return well

    async def _reload_logged(self) -> None:
        try:
            await self.reload()
        except ConfigInvalid as error:
            self._log.error("reload-refused", problems=str(error))

    async def stop(self) -> None:
        """Take nothing more, finish what is under way, make everything durable, close."""
        self._notifier.stopping()
        served, self._ready = self._ready, False
        if served:  # else the start has failed: there is nothing to finish, and parts of us are not there
            finish: list[tuple[str, Step]] = [
                ("requests", self._aaa.stop),
                ("addresses", self._work.stop),
                ("writer", self._writer.drain),
                ("sessions", self._aaa.keeper.flush),
                ("outbox", self._exchange.stop),
                ("security", self._security.close),
            ]
            await end(finish, _STOP_S, self._clock.monotonic, self._log.error)
        close: list[tuple[str, Step]] = [
            ("tasks", lambda: self._supervisor.stop(5.0)),
            ("sockets", self._aaa.close),
            ("store", self._engine.dispose),
            ("shared store", self._work.close),
            ("exchange", self._exchange.close),
        ]
        if self._ports is not None:
            close = [("ports", self._ports.stop), *close, ("socket", lambda: self.admin_socket.unlink(True))]
        await end(close, _STOP_S, self._clock.monotonic, self._log.error)
        if self._lock is not None:
            self._lock.close()


def admin_socket_of(settings: Settings) -> Path:
    """Return where a daemon with these settings has its admin socket."""
    return settings.api.admin_socket or Path(settings.edge.state_dir) / "admin.sock"


async def _nothing(_connection: object) -> None:
    return None
