"""Permits whose session has not begun yet: who was let in with what, and who counts as online meanwhile.

A permit is found by its number when the Start comes with our Class token. Two generations are kept, turned
over by count: the last 100,000 permits at least. For a subscriber with a limit on sessions a permit is also a
reservation: it counts as a session until the Start comes or its time is over, so that two logins at the same
moment cannot both get the last place.
"""

from __future__ import annotations

from collections import OrderedDict

from daemon.aaa.attachment import Attachment, same_equipment
from daemon.aaa.prepared import Prepared
from daemon.replica.records import Nas, Subscriber
from daemon.replica.rules import SimultaneousMode
from radius.codes import Attr
from radius.packet import Packet

_MOST = 100_000
_TREATED_MOST = 10_000
KICKS_MOST = 3
"""How many sessions of a subscriber are kicked for its newer ones within `KICKS_S`; then the newer is refused."""
KICKS_S = 600.0

Caller = tuple[str, str, str, bytes]
"""Who calls, where no Class tells: tenant, NAS, user name and Calling-Station-Id as it is."""


def caller_of(nas: Nas, packet: Packet) -> Caller:
    """Return who calls, as a request of that NAS says it."""
    station = packet.find(Attr.CALLING_STATION_ID) or b""
    return nas.tenant, nas.id, packet.find_text(Attr.USER_NAME) or "", station


class Permit:
    """One Access-Accept. `attachment` is known where a check has looked at it, as for every reservation."""

    __slots__ = (
        "at",
        "attachment",
        "bundle_id",
        "limit",
        "mode",
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
        self.bundle_id = 0  # of the leases that go with it
        self.limit: int | None = None  # of sessions at the same time, looked at again when this one begins
        self.mode = SimultaneousMode.REJECT_NEW  # what becomes of those that are too many then

    @property
    def stranger(self) -> bool:
        """Whether this let somebody in who has not proven to be a subscriber."""
        return not self.subscriber.id


class Reservations:
    """The permits of late. `hold_s` is how long one counts without a Start."""

    __slots__ = ("_held", "_kicks", "_old", "_treated", "hold_s", "young")

    def __init__(self, hold_s: float) -> None:
        self.hold_s = hold_s
        self.young: dict[int, Permit] = {}
        self._old: dict[int, Permit] = {}
        self._held: dict[tuple[str, str], list[Permit]] = {}
        self._kicks: dict[tuple[str, str], list[float]] = {}
        self._treated: OrderedDict[Caller, Permit] = OrderedDict()

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

    def give_back(self, permit: Permit) -> None:
        """A permit was not told to anybody: it does not count any more."""
        key = (permit.subscriber.tenant, permit.subscriber.id)
        held = self._held.get(key)
        if held is not None:
            self._keep(key, [each for each in held if each is not permit])

    def _keep(self, key: tuple[str, str], permits: list[Permit]) -> None:
        if permits:
            self._held[key] = permits
        else:
            self._held.pop(key, None)

    def remember(self, caller: Caller, permit: Permit) -> None:
        """Remember what a caller was let in as, less than a plan: its Start may come without our Class."""
        self._treated[caller] = permit
        self._treated.move_to_end(caller)
        if len(self._treated) > _TREATED_MOST:
            self._treated.popitem(last=False)

    def forget(self, caller: Caller) -> None:
        """The same caller was let in to its plan meanwhile."""
        self._treated.pop(caller, None)

    def recall(self, caller: Caller, at: float) -> Permit | None:
        """Return the permit of a caller that was let in as less than its plan, for as long as its Start may come."""
        permit = self._treated.get(caller)
        return permit if permit is not None and abs(at - permit.at) < self.hold_s else None

    @property
    def remembers(self) -> bool:
        """Whether anybody is remembered."""
        return bool(self._treated)

    def kicked(self, tenant: str, subscriber: str, at: float) -> None:
        """Note that a session of a subscriber has to end for a newer one of it."""
        self._kicks[tenant, subscriber] = [*self._kicks_of(tenant, subscriber, at), at]
        if len(self._kicks) > _MOST:
            self._kicks.pop(next(iter(self._kicks)))

    def kicks_too_often(self, tenant: str, subscriber: str, at: float) -> bool:
        """Tell whether equipment of a subscriber keeps throwing out each other."""
        return len(self._kicks_of(tenant, subscriber, at)) >= KICKS_MOST

    def _kicks_of(self, tenant: str, subscriber: str, at: float) -> list[float]:
        return [each for each in self._kicks.get((tenant, subscriber), ()) if abs(at - each) < KICKS_S]

    def all_held(self, at: float) -> list[Permit]:
        """Return every reservation that counts now, for a listing."""
        keys = list(self._held)
        return [permit for key in keys for permit in self.held(key[0], key[1], at)]


def _given_up(earlier: Permit, begun: Permit) -> bool:
    """Tell whether a permit is of a try that its equipment has given up for another, which has begun."""
    if earlier.uid >= begun.uid or earlier.attachment is None or begun.attachment is None:
        return False
    return same_equipment(earlier.attachment, begun.attachment)
