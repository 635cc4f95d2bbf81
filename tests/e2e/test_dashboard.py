"""The dashboard asks for metrics that there are, and Prometheus understands rules and questions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from tests.e2e.conftest import ROOT, Daemon

EXAMPLES = ROOT / "config" / "examples"
BOARD = json.loads((EXAMPLES / "dashboard.json").read_text())
QUESTIONS = [each["expr"] for panel in BOARD["panels"] for each in panel.get("targets", ())]


def test_each_panel_asks_for_metrics_that_there_are(daemon: Daemon) -> None:
    daemon.run("radius", "auth", "alice", "wonderland")
    scraped = set(re.findall(r"^(?:# TYPE )?(dotmac_edge_\w+)", daemon.metrics(), re.MULTILINE))
    named = set(re.findall(r"dotmac_edge_\w+", " ".join(QUESTIONS)))
    assert len(QUESTIONS) > 15
    assert named <= scraped, named - scraped


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in BOARD["panels"]]
    assert len(set(places)) == len(places)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", EXAMPLES / "alerts.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
