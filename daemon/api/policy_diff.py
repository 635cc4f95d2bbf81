"""Who would change with candidate data: live sessions and recorded requests, asked of both states of the data."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice

from daemon.aaa import dryrun
from daemon.aaa.credentials import Proof, Slow
from daemon.aaa.decision import Decision
from daemon.aaa.dryrun import Answer, Verdict, View
from daemon.aaa.session import Session
from daemon.api.policy_models import ChangeView, CountsView, DiffView, MovedView
from daemon.api.services import Services
from daemon.api.session_views import value_text
from daemon.replica.index import Index
from daemon.sync.problems import Problem
from radius.codes import Attr

_SLICE = 50
_BY_ANSWER = {
    Answer.PERMIT: "permitted",
    Answer.CAPTIVE: "captive",
    Answer.REJECT: "rejected",
    Answer.NONE: "unanswered",
}


class PolicyDiff:
    """One comparison; works in slices and lets requests in between."""

    def __init__(self, services: Services, candidate: Index, most: int) -> None:
        books, defaults = services.aaa.books, services.aaa.replies.defaults
        self._services = services
        self._now = View(services.index, books, defaults)
        self._then = View(candidate, books, defaults)
        self._at = services.clock.wall()
        self._most = most
        self._items: list[ChangeView] = []
        self._counts: dict[str, Counter[str]] = {"session": Counter(), "request": Counter()}

    async def run(self, recorded: int, warnings: tuple[Problem, ...]) -> DiffView:
        """Compare all live sessions and the latest `recorded` requests."""
        for i, session in enumerate(self._services.aaa.sessions.snapshot()):
            if session.closed_at is None:
                self._session(session)
            if i % _SLICE == _SLICE - 1:
                await self._rest()
        for i, decision in enumerate(list(islice(self._services.aaa.trace.newest_first(), recorded))):
            await self._request(decision)
            if i % _SLICE == _SLICE - 1:
                await self._rest()
        differing = sum(
            count for counts in self._counts.values() for name, count in counts.items() if name != "unchanged"
        )
        return DiffView(
            sessions=CountsView(**self._counts["session"]),
            requests=CountsView(**self._counts["request"]),
            items=self._items,
            count=differing,
            warnings=[str(each) for each in warnings],
        )

    async def _rest(self) -> None:
        await asyncio.sleep(0)
        self._now.turn()

    def _session(self, session: Session) -> None:
        before = dryrun.of_session(self._now, session, self._at)
        after = dryrun.of_session(self._then, session, self._at)
        if before is None or after is None:
            return
        about: dict[str, object] = {
            "about": "session",
            "tenant": session.tenant,
            "subscriber": session.subscriber,
            "username": session.username,
            "nas": session.nas,
            "session": str(session.uid),
            "at": session.started_at,
        }
        self._compare("session", about, before, after)

    async def _request(self, decision: Decision) -> None:
        before = await self._answer(self._now, decision)
        after = await self._answer(self._then, decision)
        about: dict[str, object] = {
            "about": "request",
            "tenant": decision.client.nas.tenant,
            "subscriber": "" if decision.subscriber is None else decision.subscriber.id,
            "username": decision.packet.find_text(Attr.USER_NAME) or "",
            "nas": decision.client.nas.id,
            "session": None,
            "at": decision.at,
        }
        self._compare("request", about, before, after)

    async def _answer(self, view: View, decision: Decision) -> Verdict:
        asked = dryrun.ask(view, decision)
        if isinstance(asked, Verdict):
            return asked
        proof = asked.proof
        if isinstance(proof, Slow):
            proof = await asyncio.to_thread(proof.check)
        assert proof is None or isinstance(proof, Proof)
        return dryrun.of_request(view, decision, asked, proof, self._at)

    def _compare(self, about: str, fields: dict[str, object], before: Verdict, after: Verdict) -> None:
        moved = dryrun.moved(before, after)
        counts = self._counts[about]
        if dryrun.same(before, after, moved):
            counts["unchanged"] += 1
            return
        change = "changed" if before.answer is after.answer else _BY_ANSWER[after.answer]
        counts[change] += 1
        if len(self._items) < self._most:
            shown = [
                MovedView(field=each.field, before=value_text(each.before), after=value_text(each.after))
                for each in moved
            ]
            told = {"change": change, "before": _text(before), "after": _text(after), "moved": shown}
            self._items.append(ChangeView.model_validate(fields | told))


def _text(verdict: Verdict) -> str:
    said = verdict.answer.value + (f" ({verdict.reason})" if verdict.reason else "")
    return f"{said}: {verdict.detail}" if verdict.detail else said
