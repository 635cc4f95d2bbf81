"""May this subscriber connect, and as what? An ordered tuple of pure checks; the first that answers decides.

A refusal has a reason, and a tenant or a plan may say what becomes of that reason: reject, the walled garden,
or a restricted plan. Login, dry run, explanation and the reconciler of live sessions all ask `decide`.
"""

from __future__ import annotations

from collections.abc import Callable

from daemon.aaa import hours
from daemon.aaa.bindings import seen_as
from daemon.aaa.reasons import Deny
from daemon.aaa.standing import FULL, Question, Standing, treated
from daemon.aaa.usage import Balance, balances
from daemon.aaa.windows import end_of
from daemon.replica.contact import Age
from daemon.replica.records import AccessMode
from daemon.replica.rules import Act, Allowance, Bound, Direction, LinePolicy, Measure, SimultaneousMode

Check = Callable[[Question], Deny | None]
"""The question -> why not, or None. A check may note on the question what it has seen."""


def access_mode(question: Question) -> Deny | None:
    """The platform's decision about the subscriber."""
    mode = question.subscriber.access_mode
    return None if mode is AccessMode.ACTIVE else _BY_MODE[mode]


def validity(question: Question) -> Deny | None:
    """The subscription's own dates."""
    subscriber, at = question.subscriber, question.at
    if subscriber.valid_from is not None and at < subscriber.valid_from:
        return Deny.NOT_YET_VALID
    if subscriber.valid_until is not None and at >= subscriber.valid_until:
        return Deny.EXPIRED
    return None


def has_plan(question: Question) -> Deny | None:
    """Something to give."""
    return Deny.NO_PLAN if question.plan is None else None


def contact(question: Question) -> Deny | None:
    """How long ago the platform was heard of, and what its provider wants of those days."""
    now = question.tenant.contact
    if now.age is Age.FRESH:
        return None
    question.note("contact", f"the data are {now.age}")
    if now.known is None:
        return None
    question.treatment = now.known
    return Deny.ISOLATED


def login_hours(question: Question) -> Deny | None:
    """The hours at which the plan may be used, in the tenant's time zone."""
    spans = question.rules.login_hours
    if not spans:
        return None
    if not hours.inside(spans, question.at, question.zone):
        return Deny.OUTSIDE_HOURS
    ends_at = hours.ends_at(spans, question.at, question.zone)
    if ends_at is not None:
        question.end(ends_at)
    question.note("login-hours", "inside them")
    return None


def place(question: Question) -> Deny | None:
    """The NASes and sites at which the subscriber, else its plan, may connect."""
    subscriber, rules = question.subscriber, question.rules
    nases, sites = subscriber.nases or rules.nases, subscriber.sites or rules.sites
    if nases and question.nas.id not in nases:
        question.note("place", f"NAS {question.nas.id} is not one of {', '.join(nases)}")
        return Deny.WRONG_NAS
    if sites and question.nas.site not in sites:
        question.note("place", f"site {question.nas.site or '(none)'} is not one of {', '.join(sites)}")
        return Deny.WRONG_SITE
    return None


def line(question: Question) -> Deny | None:
    """The subscriber's own circuit and remote id against those of the request (Option 82)."""
    subscriber = question.subscriber
    if subscriber.circuit_id is None and subscriber.remote_id is None:
        return None
    how = subscriber.line_policy or question.rules.line_policy
    if how is LinePolicy.IGNORE:
        return None
    shown = question.attachment
    for name, own, seen in (
        ("circuit id", subscriber.circuit_id, shown.circuit),
        ("remote id", subscriber.remote_id, shown.remote),
    ):
        if own is not None and seen is not None and own.encode() != seen:
            told = f"{name} {seen.decode('utf-8', 'backslashreplace')} instead of {own}"
            question.note("line", told)
            if how is LinePolicy.ENFORCE:
                return Deny.CIRCUIT_MISMATCH
            question.told.append(("line-mismatch", told))
    return None


def binding(question: Question) -> Deny | None:
    """What the plan ties logins to: the subscriber's own MACs and circuit, else what its first login showed."""
    for bound in question.rules.bind:
        seen = seen_as(question.attachment, bound)
        expected = question.tied_to(bound)
        if seen is None or not expected:
            continue
        if seen not in expected:
            question.note("binding", f"{bound} {seen} instead of {' or '.join(expected)}")
            return _BY_BOUND[bound]
        question.note("binding", f"{bound} {seen}")
    return None


def allowances(question: Question) -> Deny | None:
    """Time and octets of the plan's windows; what is used up changes the grant or ends the service."""
    rules = question.rules
    question.counted = True
    if not rules.allowances:
        return None
    subscriber = question.subscriber
    usage = question.books.usage.find(subscriber.tenant, subscriber.id)
    for each in balances(usage, rules, subscriber.bonus_octets, question.at, question.zone):
        if each.left:
            _limit(question, each)
            continue
        allowance = each.allowance
        told = f"{allowance.name}: {each.used.amount} {allowance.measure} of {each.most} a {allowance.window}"
        question.note("allowances", told)
        if each.acts:
            question.over.append(allowance)
        else:
            question.told.append(("allowance-gap", f"{told}, but the count has gaps ({each.used.gap})"))
    worst = min(question.over, key=_severity, default=None)
    if worst is None or worst.then.act in (Act.NOTIFY, Act.RATE):
        return None
    question.treatment = worst.then
    return Deny.TIME_USED_UP if worst.measure is Measure.SECONDS else Deny.OCTETS_USED_UP


def simultaneous_use(question: Question) -> Deny | None:
    """How many sessions at the same time; the same equipment takes over its own."""
    limit = question.subscriber.simultaneous_use or question.rules.simultaneous_use
    if limit is None or not question.logging_in:
        return None
    others = question.rivals().count(False)
    question.note("simultaneous-use", f"{others} of {limit} online from other equipment")
    mode = question.rules.simultaneous_mode
    question.limit = limit
    question.mode = mode
    if others < limit:
        return None
    told = f"{others} sessions of {limit} allowed are online"
    if mode in ONLY_TOLD:
        question.told.append((ONLY_TOLD[mode], told))
        return None
    if mode is SimultaneousMode.KICK_OLD:
        subscriber = question.subscriber
        if not question.books.reservations.kicks_too_often(subscriber.tenant, subscriber.id, question.at):
            return None  # it is told of when the new session begins and an old one must go
        told += ", and kicked too often"
        question.note("simultaneous-use", told)
    question.told.append(("simultaneous-denied", told))
    return Deny.TOO_MANY_SESSIONS


_BY_MODE = {
    AccessMode.REJECT: Deny.ACCESS_REJECT,
    AccessMode.NONE: Deny.ACCESS_NONE,
    AccessMode.CAPTIVE: Deny.ACCESS_CAPTIVE,
}
_BY_BOUND = {
    Bound.MAC: Deny.MAC_MISMATCH,
    Bound.CIRCUIT: Deny.CIRCUIT_MISMATCH,
    Bound.VLAN: Deny.VLAN_MISMATCH,
    Bound.PORT: Deny.PORT_MISMATCH,
}
ONLY_TOLD = {
    SimultaneousMode.REPORT: "simultaneous-reported",
    SimultaneousMode.SHADOW: "simultaneous-shadow",
}
# What a tenant may treat although nobody has proven to be its subscriber.
UNPROVEN = frozenset({Deny.UNKNOWN_USER, Deny.WRONG_PASSWORD, Deny.MAC_MISMATCH})
# What is not asked of a live session, or cannot be where its accounting does not show it.
_KEPT = UNPROVEN | {Deny.TOO_MANY_SESSIONS, *_BY_BOUND.values()}
_SEVERITY = {Act.REJECT: 0, Act.CAPTIVE: 1, Act.PLAN: 2, Act.RATE: 3, Act.NOTIFY: 4}


def _limit(question: Question, balance: Balance) -> None:
    """Say what is left until the service ends, so that the NAS can end it on the dot."""
    allowance = balance.allowance
    if allowance.then.act not in (Act.REJECT, Act.CAPTIVE):
        return
    if allowance.measure is Measure.SECONDS:
        used_up_at = question.at + balance.left
        if used_up_at < end_of(allowance.window, question.at, question.zone, question.rules.month_day):
            question.end(used_up_at)  # else it counts anew before
    elif allowance.direction is Direction.BOTH:
        least = question.volume_octets
        question.volume_octets = balance.left if least is None else min(least, balance.left)


def _severity(allowance: Allowance) -> tuple[int, int]:
    """Order allowances by what they do, the hardest first; of several rates the lowest."""
    then = allowance.then
    return _SEVERITY[then.act], 0 if then.rate is None else then.rate.download_bps + then.rate.upload_bps


CHECKS: tuple[Check, ...] = (
    access_mode,
    validity,
    has_plan,
    contact,
    login_hours,
    place,
    line,
    binding,
    allowances,
    simultaneous_use,
)


def decide(question: Question) -> Standing:
    """Return what the subscriber may have now."""
    plan = question.plan
    if (
        plan is not None
        and plan.plain
        and question.subscriber.plain
        and question.tenant.contact.known is None
    ):
        return FULL
    for check in CHECKS:
        reason = check(question)
        if reason is not None:
            question.refused_by = check
            return treated(question, reason)
    reason = _kept(question)
    return _permitted(question) if reason is None else treated(question, reason)


def _kept(question: Question) -> Deny | None:
    """Return why a live session was let in as less than its plan, where that cannot be asked of it any more.

    Only a login shows its password, and how many were there before it; some NASes say only then where it is
    attached. Who was one too many stays that until no more of its subscriber are online than allowed.
    """
    session = question.session
    if session is None or session.applied_reason not in _KEPT:
        return None
    reason = Deny(session.applied_reason)
    if reason is Deny.TOO_MANY_SESSIONS:
        limit = question.subscriber.simultaneous_use or question.rules.simultaneous_use
        if limit is None or question.rules.simultaneous_mode in ONLY_TOLD:
            return None
        live = question.books.sessions.live.of_subscriber(session.tenant, session.subscriber)
        return reason if len(live) > limit else None
    shown = question.attachment
    seen = {
        Deny.MAC_MISMATCH: shown.mac,
        Deny.CIRCUIT_MISMATCH: shown.circuit or shown.remote,
        Deny.VLAN_MISMATCH: shown.vlan,
        Deny.PORT_MISMATCH: shown.port,
    }.get(reason)
    return reason if seen is None else None


def _permitted(question: Question) -> Standing:
    """Return the standing of a subscriber that no check refuses: perhaps at another rate."""
    rules = question.rules
    slower = [each for each in question.over if each.then.act is Act.RATE]
    if slower:
        least = min(slower, key=_severity)
        return question.standing(rate=least.then.rate, source=f"allowance {least.name}")
    for each in rules.rate_hours:
        if hours.inside(each.hours, question.at, question.zone):
            return question.standing(rate=each.rate, source="rate_hours")
    return question.standing()
