"""The daemon as a program: `Edge` is one, `run` runs it; the rest needs none to run."""

from daemon.app.edge import Edge, admin_socket_of
from daemon.app.run import data_schemas, run
from daemon.sync.freeradius.front import export_files as freeradius_export
from daemon.sync.freeradius.front import import_files as freeradius_import

__all__ = ["Edge", "admin_socket_of", "data_schemas", "freeradius_export", "freeradius_import", "run"]
