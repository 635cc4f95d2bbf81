"""Compiles the hot path with mypyc when DOTMAC_EDGE_COMPILE=1; everything else is in pyproject.toml.

It is what a login, an accounting packet and a lease go through. The compiled modules are the same code, a third
faster. Without them, or without a compiler, the Python files run.
"""

import os

from setuptools import setup

HOT_PATH = [
    "daemon/aaa/access.py",
    "daemon/aaa/accounting.py",
    "daemon/aaa/admission.py",
    "daemon/aaa/attachment.py",
    "daemon/aaa/authentic.py",
    "daemon/aaa/authorize.py",
    "daemon/aaa/conductor.py",
    "daemon/aaa/counters.py",
    "daemon/aaa/credentials.py",
    "daemon/aaa/decision.py",
    "daemon/aaa/identity.py",
    "daemon/aaa/lease_attributes.py",
    "daemon/aaa/lease_keeping.py",
    "daemon/aaa/lease_owner.py",
    "daemon/aaa/lease_reports.py",
    "daemon/aaa/leasing.py",
    "daemon/aaa/live.py",
    "daemon/aaa/loops.py",
    "daemon/aaa/nas.py",
    "daemon/aaa/policy.py",
    "daemon/aaa/prepared.py",
    "daemon/aaa/report.py",
    "daemon/aaa/reservations.py",
    "daemon/aaa/session.py",
    "daemon/aaa/sessions.py",
    "daemon/aaa/staff/access.py",
    "daemon/aaa/standing.py",
    "daemon/aaa/storm.py",
    "daemon/aaa/token.py",
    "daemon/metrics.py",
    "daemon/sync/outbox/accounting_text.py",
    "daemon/sync/outbox/envelope.py",
    "ipam/address.py",
    "ipam/allocator.py",
    "ipam/book.py",
    "ipam/bundles.py",
    "ipam/cells.py",
    "ipam/choose.py",
    "ipam/history.py",
    "ipam/layout.py",
    "ipam/lease.py",
    "ipam/ledger.py",
    "ipam/register.py",
    "ipam/restore.py",
    "ipam/segment.py",
    "ipam/shelf.py",
    "ipam/shelf_listing.py",
    "ipam/shuffle.py",
    "ipam/steward.py",
    "ipam/wheel.py",
    "radius/authenticator.py",
    "radius/duplicates.py",
    "radius/hiding.py",
    "radius/packet.py",
    "radius/usage.py",
]

if os.environ.get("DOTMAC_EDGE_COMPILE") == "1":
    from mypyc.build import mypycify

    setup(ext_modules=mypycify(HOT_PATH, opt_level="3"))
else:
    setup()
