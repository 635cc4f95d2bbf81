"""A disk that really fills: accounting is not acknowledged, logins go on, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.store import size
from daemon.store.size import Room
from daemon.sync.outbox.model import Later, Stream
from daemon.sync.outbox.outbox import OutboxOptions
from daemon.sync.outbox.pressure import Level, PressureOptions
from radius.codes import Code
from tests.daemon.outbox.conftest import PlacedStore
from tests.daemon.outbox.stage import Receiver, stage
from tests.daemon.outbox.test_pressure import INTERIM, START, fill, framed
from tests.daemon.stack import T0
from tests.daemon.test_accounting import record, running
from tests.daemon.test_radius_faults import login_answer  # placeholder
