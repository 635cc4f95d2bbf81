"""What a live session keeps of its login's standing, where that cannot be asked of it again."""

from __future__ import annotations

import pytest

from daemon.aaa import policy
from daemon.aaa.reasons import Deny
from daemon.aaa.session import Session
from daemon.replica.records import Tenant
from daemon.replica.rules import GARDEN as WALLED
from daemon.replica.rules import Act, Bound, Rules, SimultaneousMode
from tests.daemon.coa_stack import START, report
from tests.daemon.policy_stage import GARDEN, MAC, PolicyStage
from tests.daemon.stack import T0

TRIED = tuple((str(reason), WALLED) for reason in Deny)
SHOWN = (bytes((10, 0, 0, 1)), MAC.encode(), None, b"vlan7") + (None,) * 6


def stage_with(*reasons: str, **rules: object) -> tuple[PolicyStage, list[Session]]:
    """Return a stage on which everything leads into the garden, with sessions let in for those reasons."""
    stage = PolicyStage(Rules(**rules), Tenant(id="demo", garden=GARDEN, treatments=TRIED))  # type: ignore[arg-type]
    sessions = []
    for number, reason in enumerate(reasons, 1):
        said = report(number, START, number, T0, subscriber="SAM", tracked=(None,) * 10)
        _, session = stage.sessions.apply(said)
        session.applied_reason = reason
        sessions.append(session)
    return stage, sessions


def standing(stage: PolicyStage, session: Session) -> tuple[Act | None, Deny | None]:
    found = policy.decide(stage.question(session=session))
    return found.act, found.reason


@pytest.mark.parametrize(
    "reason", ["wrong-password", "unknown-user", "mac-mismatch", "vlan-mismatch", "port-mismatch"]
)
def test_what_only_a_login_shows_is_kept(reason: str) -> None:
    stage, (session,) = stage_with(reason, simultaneous_use=9)
    assert standing(stage, session) == (Act.CAPTIVE, reason)


@pytest.mark.parametrize("reason", ["", "expired", "octets-used-up", "access-captive", "outside-hours"])
def test_what_can_be_asked_again_is_not_kept(reason: str) -> None:
    stage, (session,) = stage_with(reason, simultaneous_use=9)
    assert standing(stage, session) == (None, None)


@pytest.mark.parametrize("reason", ["mac-mismatch", "vlan-mismatch", "port-mismatch", "circuit-mismatch"])
def test_where_a_session_shows_its_place_the_rule_of_now_counts(reason: str) -> None:
    stage, (session,) = stage_with(reason, bind=(Bound.MAC,))
    session.restore_tracked({kind: (value, T0) for kind, value in ((31, SHOWN[1]), (87, SHOWN[3])) if value})
    session.line = b"circuit", None
    assert standing(stage, session) == (None, None)
    stage.change(macs=("02:00:00:00:00:99",))
    assert standing(stage, session) == (Act.CAPTIVE, Deny.MAC_MISMATCH)


def test_one_too_many_stays_that_while_there_are_too_many() -> None:
    stage, (first, second) = stage_with("", "too-many-sessions", simultaneous_use=1)
    assert standing(stage, first) == (None, None)
    assert standing(stage, second) == (Act.CAPTIVE, Deny.TOO_MANY_SESSIONS)
    stage.change(simultaneous_use=2)
    assert standing(stage, second) == (None, None)


@pytest.mark.parametrize("mode", [SimultaneousMode.REPORT, SimultaneousMode.SHADOW])
def test_one_too_many_is_let_out_where_the_rule_only_tells_by_now(mode: SimultaneousMode) -> None:
    stage, (_, second) = stage_with(
        "", "too-many-sessions", simultaneous_use=1, simultaneous_mode=mode, nases=("lab",)
    )
    assert standing(stage, second) == (None, None)


def test_what_is_kept_ends_where_the_treatment_is_gone() -> None:
    stage, (_, second) = stage_with("", "too-many-sessions", simultaneous_use=1)
    stage.index.put(Tenant(id="demo", garden=GARDEN))
    assert standing(stage, second) == (Act.REJECT, Deny.TOO_MANY_SESSIONS)
