"""Which pools a login is served from: ordered selectors, and only the fallbacks that somebody wrote down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ipam.kinds import Kind
from ipam.model import Match, Pool, Problem, Selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What selectors may ask of a login."""

    tenant: str
    plan: str = ""
    nas: str = ""
    site: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """The pools for one kind, in the order in which they are tried; `selector` is who said so."""

    kind: Kind
    pools: tuple[str, ...]
    selector: str


class Selectors:
    """All selectors of a node, in their order."""

    def __init__(self, selectors: Iterable[Selector]) -> None:
        self._ordered = tuple(sorted(selectors, key=lambda each: (each.priority, each.name)))
        named = (each.match.attribute for each in self._ordered)
        self.attributes = frozenset(
            each[0] for each in named if each is not None
        )  # that any of them asks for

    def choose(self, facts: Facts) -> tuple[Choice, ...]:
        """Return a choice for each kind that any matching selector names; the first to name a kind decides it."""
        found: dict[Kind, Choice] = {}
        for selector in self._ordered:
            if _matches(selector.match, facts):
                for kind, pools in selector.pools:
                    if kind not in found:
                        found[kind] = Choice(kind, pools, selector.name)
        return tuple(found.values())


def _matches(match: Match, facts: Facts) -> bool:
    if match.tenant != facts.tenant:
        return False
    if match.attribute is not None:
        name, value = match.attribute
        if facts.attributes.get(name) != value:
            return False
    return (
        match.plan in (None, facts.plan)
        and match.nas in (None, facts.nas)
        and match.site in (None, facts.site)
    )


def check(selectors: Iterable[Selector], pools: Iterable[Pool]) -> tuple[Problem, ...]:
    """Return what selectors and fallbacks name wrongly: pools that are missing, or of another kind."""
    kinds = {(pool.tenant, pool.name): pool.kind for pool in pools}
    problems: list[Problem] = []

    def look(tenant: str, what: str, kind: Kind, name: str) -> None:
        found = kinds.get((tenant, name))
        if found is None:
            text = f"{what} names the pool {name}, which does not exist"
            problems.append(Problem(slug="pool-unknown", names=(what, name), text=text))
        elif found is not kind:
            text = f"{what} names the pool {name} for {kind}, which leases {found}"
            problems.append(Problem(slug="pool-of-other-kind", names=(what, name), text=text))

    for selector in selectors:
        for kind, names in selector.pools:
            for name in names:
                look(selector.match.tenant, f"selector {selector.name}", kind, name)
    for pool in pools:
        for name in pool.fallbacks:
            look(pool.tenant, f"pool {pool.name}", pool.kind, name)
    return tuple(problems)
