"""Plans that their NASes cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from daemon.replica.records import Nas, Plan, Record
from daemon.replica.rules import Garden
from daemon.sync.faults import Fault
from daemon.sync.outlook import Key, Outlook

Unrenderable = Callable[[Plan | Garden, Nas], str | None]
"""Says why a plan, or a walled garden, cannot be told to a NAS of that vendor; None where it can."""


def unrenderable_plans(
    records: Mapping[Key, Record], outlook: Outlook, unrenderable: Unrenderable
) -> Iterator[tuple[Key, Fault, bool]]:
    """Yield, by vendor, why a plan cannot be told to its NASes, and whether no NAS of the tenant understands it."""
    for key, record in records.items():
        if not isinstance(record, Plan):
            continue
        nases = outlook.vendors(record.tenant)
        tried = {vendor: unrenderable(record, nas) for vendor, nas in nases.items()}
        refused = {vendor: why for vendor, why in tried.items() if why is not None}
        for vendor, why in refused.items():
            came = f"what a NAS of vendor {vendor} cannot be told"
            fault = Fault((), "unrenderable", came, "a plan that its NASes understand", why)
            yield key, fault, len(refused) == len(tried)
