"""The two ways in: the API port, where a key, token or certificate says who asks, and the admin socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from daemon.api.application import admin_app, api_app
from daemon.api.security.desk import Security
from daemon.api.security.options import PortOptions, TlsOptions
from daemon.api.security.tls import Tls
from daemon.api.server import ApiServer, listen_tcp, listen_unix
from daemon.api.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where to listen: (host, port), and the path of the socket with the group that may use it."""

    address: tuple[str, int]
    socket: Path
    group: str | None
    port: PortOptions


class Ports:
    """Both, listening. Raises OSError where an address is taken, ValueError and OSError for TLS that cannot be."""

    def __init__(
        self,
        services: Services,
        security: Security,
        tls: TlsOptions | None,
        places: Places,
        version: str,
    ) -> None:
        self._clock = services.clock
        self.tls = None if tls is None else Tls(tls, services.clock)
        if tls is not None:
            security.know(tls.principals)
        context = None if self.tls is None else self.tls.context
        self._servers = (
            ApiServer(
                api_app(services, version, security, places.port),
                listen_tcp(*places.address),
                admin=False,
                tls=context,
                port=places.port,
            ),
            ApiServer(
                admin_app(services, version, security),
                listen_unix(places.socket, places.group),
                admin=True,
                group=places.group,
            ),
        )

    def tasks(self) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
        """Return what is to run for ever, by name."""
        api, admin = self._servers
        found: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("api", api.serve),
            ("admin", admin.serve),
        ]
        if self.tls is not None:
            found.append(("api-certificate", self.tls.run))
        return found

    def degraded(self) -> list[str]:
        """Return what is not well, a sentence each."""
        return [] if self.tls is None else self.tls.degraded(self._clock.wall())

    def stop(self) -> None:
        """Take nothing more and finish what is being answered."""
        for server in self._servers:
            server.stop()
