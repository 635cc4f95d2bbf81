"""A reload knows what changes at once and what waits for a restart."""

from __future__ import annotations

from config import fields
from config.load import load
from config.reload import ReloadPlan, diff
from config.settings import Settings


def test_nothing_changed_is_an_empty_plan() -> None:
    assert diff(Settings(), load(None, {}).settings) == ReloadPlan((), ())


def test_changes_are_parted_into_live_and_restart() -> None:
    new = load(
        None,
        {
            "DOTMAC_EDGE_LOG__LEVEL": "debug",
            "DOTMAC_EDGE_RADIUS__REJECT_DELAY_S": "0",
            "DOTMAC_EDGE_RADIUS__ACCT_LISTEN": '["127.0.0.1:1813"]',
            "DOTMAC_EDGE_EDGE__STATE_DIR": "/srv/edge",
        },
    )
    assert diff(Settings(), new.settings) == ReloadPlan(
        live=("log.level", "radius.reject_delay_s"), restart=("edge.state_dir", "radius.acct_listen")
    )


def test_these_are_live_and_no_others() -> None:
    assert [each.name for each in fields.settings().values() if each.live] == [
        "edge.name",
        "log.level",
        "log.format",
        "radius.reject_delay_s",
        "accounting.clock_skew_s",
        "accounting.max_delay_s",
        "policy.retry_refusals",
        "policy.retry_window_s",
        "policy.retry_pause_s",
        "coa.unchangeable",
        "ipam.on_conflict",
        "data.files",
    ]
