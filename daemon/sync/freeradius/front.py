"""What the command line asks for: files of FreeRADIUS into objects, and objects into such files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from daemon.errors import DaemonError
from daemon.sync.freeradius import export as writing
from daemon.sync.freeradius import offline
from daemon.sync.freeradius.conditions import Unkept
from daemon.sync.freeradius.export import Exported, ExportOptions
from daemon.sync.freeradius.findings import Finding, Why
from daemon.sync.freeradius.nases import NasReading
from daemon.sync.freeradius.offline import Imported
from daemon.sync.freeradius.semantics import Reading
from daemon.sync.records import BodyInvalid, to_record
from radius import vendors
from radius.dictionary import shipped

Json = Any  # a value as `json.loads` gives it


class Unusable(DaemonError):
    """An option or a file that cannot be used; the text says which, and what was expected."""

    slug = "unusable"


def import_files(
    paths: Sequence[Path],
    *,
    vendor: str = "",
    timezone: str = "UTC",
    conditions: str = "refuse",
    raw: bool = False,
    tenant: str = "x",
) -> Imported:
    """Return the objects of files, those left out that would be refused by themselves. Raises Unusable."""
    _zone(timezone)
    if vendor and vendors.find(vendor) is None:
        raise Unusable(f"vendor {vendor}: expected one of {', '.join(vendors.names())}")
    dictionary = shipped()
    reading = Reading(timezone=timezone, unkept=Unkept(conditions), typed=not raw)
    try:
        found = offline.read(paths, dictionary, reading, NasReading(default_vendor=vendor))
    except offline.Unreadable as error:
        raise Unusable(str(error)) from None
    objects = []
    for each in found.objects:
        try:
            to_record(each["kind"], tenant, each["id"], each["body"], dictionary)
        except BodyInvalid as error:
            found.findings.append(
                Finding(
                    why=Why.REFUSED, owner=f"{each['kind']} {each['id']}", attribute="body", text=str(error)
                )
            )
        else:
            objects.append(each)
    found.objects = objects
    return found


def export_files(
    objects: Iterable[dict[str, Json]],
    *,
    vendor: str,
    timezone: str = "UTC",
    interim_s: int = 600,
    sql: bool = False,
) -> Exported:
    """Return the files of objects with their secrets. Raises Unusable."""
    profile = vendors.find(vendor)
    if profile is None:
        raise Unusable(f"vendor {vendor}: expected one of {', '.join(vendors.names())}")
    options = ExportOptions(profile=profile, zone=_zone(timezone), interim_s=interim_s, sql=sql)
    return writing.export(objects, shipped(), options)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Unusable(f"time zone {name}: expected an IANA name such as Europe/Berlin") from None
