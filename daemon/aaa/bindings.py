"""What the first login of a subscriber has shown, where its plan ties logins to that (learn on first login)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from daemon.aaa.attachment import Attachment
from daemon.replica.rules import Bound
from daemon.store.binding_rows import BindingRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What a subscriber is tied to; None: nothing learned. Octets of a circuit are kept as hex."""

    learned_at: float
    mac: str | None = None
    circuit: str | None = None
    vlan: str | None = None
    port: str | None = None


class Bindings:
    """All bindings in memory; `dirty` are those not yet written, None for one that was taken away."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Binding] = {}
        self.dirty: dict[tuple[str, str], Binding | None] = {}

    def find(self, tenant: str, subscriber: str) -> Binding | None:
        """Return what a subscriber is tied to."""
        return self._held.get((tenant, subscriber))

    def learn(
        self, tenant: str, subscriber: str, bound: tuple[Bound, ...], shown: Attachment, at: float
    ) -> tuple[Bound, ...]:
        """Tie a subscriber to what a login shows and is not tied to yet; return what was learned."""
        known = self.find(tenant, subscriber) or Binding(learned_at=at)
        news = {
            each: seen for each in bound if getattr(known, each) is None and (seen := seen_as(shown, each))
        }
        if news:
            self._put((tenant, subscriber), replace(known, learned_at=at, **news))
        return tuple(news)

    def forget(self, tenant: str, subscriber: str) -> bool:
        """Untie a subscriber, so that its next login is learned anew; False where it was not tied."""
        key = (tenant, subscriber)
        if self._held.pop(key, None) is None:
            return False
        self.dirty[key] = None
        return True

    def _put(self, key: tuple[str, str], binding: Binding) -> None:
        self._held[key] = self.dirty[key] = binding

    def rows(self) -> list[BindingRow]:
        """Return what must be written, and take it for written."""
        changed, self.dirty = self.dirty, {}
        return [
            BindingRow(
                tenant=tenant,
                subscriber=subscriber,
                learned_at=0.0 if binding is None else binding.learned_at,
                detail=None if binding is None else json.dumps(asdict(binding)).encode(),
            )
            for (tenant, subscriber), binding in changed.items()
        ]

    def restore(self, rows: list[BindingRow]) -> int:
        """Take back what the store holds; return how many rows could not be read: those are learned anew."""
        unreadable = 0
        for row in rows:
            if row.detail is None:
                continue
            try:
                self._held[(row.tenant, row.subscriber)] = Binding(**json.loads(row.detail))
            except (ValueError, TypeError):
                unreadable += 1
        return unreadable

    def put_back(self, rows: list[BindingRow]) -> None:
        """Note again what could not be written."""
        for row in rows:
            key = (row.tenant, row.subscriber)
            self.dirty.setdefault(key, self._held.get(key))


def seen_as(shown: Attachment, bound: Bound) -> str | None:
    """Return what an attachment shows of one thing that can be bound."""
    if bound is Bound.CIRCUIT:
        return None if shown.circuit is None else shown.circuit.hex()
    if bound is Bound.MAC:
        return shown.mac
    return shown.vlan if bound is Bound.VLAN else shown.port
