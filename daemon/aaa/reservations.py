"""Permits whose session has not begun yet: who was let in with what, and who counts as online meanwhile.

A permit is found by its number when the Start comes with our Class token. Two generations are kept, turned
over by count: the last 100,000 permits at least. For a subscriber with a limit on sessions a permit is also a
reservation: it counts as a session until the Start comes or its time is over, so that two logins at the same
moment cannot both get the last place.
"""

from __future__ import annotations

from daemon.aaa.attachment import Attachment, same_equipment
from daemon.aaa.prepared import Prepared
from daemon.replica.records import Subscriber

_MOST = 100_000


class Permit:
    """One Access-Accept. `attachment` is known only where it is a reservation."""

    __slots__ = (
        "at",
        "attachment",
        "kick_old",
        "limit",
        "nas",
        "prepared",
        "reason",
        "subscriber",
        "uid",
    )

    def __init__(
        self, uid: int, subscriber: Subscriber, prepared: Prepared, reason: str, at: float, nas: str
    ) -> None:
        self.uid = uid
        self.subscriber = subscriber
        self.prepared = prepared
        self.reason = reason  # why it is less than the plan
        self.at = at
        self.nas = nas
        self.attachment: Attachment | None = None
        self.limit: int | None = None  # of sessions at the same time, looked at again when this one begins
        self.kick_old = False  # what is one too many then is the oldest of other equipment


class Reservations:
    """The permits of late. `hold_s` is how long one counts without a Start."""

    __slots__ = ("_held", "_old", "hold_s", "young")

    def __init__(self, hold_s: float) -> None:
        self.hold_s = hold_s
        self.young: dict[int, Permit] = {}
        self._old: dict[int, Permit] = {}
        self._held: dict[tuple[str, str], list[Permit]] = {}

    def turn(self) -> None:
        """Forget the oldest; to be called once in each batch."""
        if len(self.young) >= _MOST:
            self._old, self.young = self.young, {}

    def find(self, uid: int) -> Permit | None:
        """Return the permit of that number, if it was given lately."""
        return self.young.get(uid) or self._old.get(uid)

    def hold(self, permit: Permit) -> None:
        """Let a permit count as a session until its Start comes."""
        key = (permit.subscriber.tenant, permit.subscriber.id)
        self._held.setdefault(key, []).append(permit)

    def held(self, tenant: str, subscriber: str, at: float) -> list[Permit]:
        """Return what counts for a subscriber now; what has expired is dropped."""
        held = self._held.get((tenant, subscriber))
        if held is None:
            return []
        live = [each for each in held if abs(at - each.at) < self.hold_s]  # also where the clock was set back
        if len(live) != len(held):
            self._keep((tenant, subscriber), live)
        return live

    def begin(self, permit: Permit) -> None:
        """The session of a permit has begun: it does not count twice, nor do earlier tries of its equipment."""
        key = (permit.subscriber.tenant, permit.subscriber.id)
        held = self._held.get(key)
        if held is not None:
            self._keep(key, [each for each in held if each is not permit and not _given_up(each, permit)])

    def _keep(self, key: tuple[str, str], permits: list[Permit]) -> None:
        if permits:
            self._held[key] = permits
        else:
            self._held.pop(key, None)

    def all_held(self, at: float) -> list[Permit]:
        """Return every reservation that counts now, for a listing."""
        keys = list(self._held)
        return [permit for key in keys for permit in self.held(key[0], key[1], at)]


def _given_up(earlier: Permit, begun: Permit) -> bool:
    """Tell whether a permit is of a try that its equipment has given up for another, which has begun."""
    if earlier.uid >= begun.uid or earlier.attachment is None or begun.attachment is None:
        return False
    return same_equipment(earlier.attachment, begun.attachment)
