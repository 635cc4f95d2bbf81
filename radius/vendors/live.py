"""Changes in a live session (RFC 5176 section 3): which attributes of a CoA-Request say the difference.

What a session has and what it shall have are both rendered as a login would be. An attribute of a
CoA-Request takes the place of the one that the session has; where nothing takes a place, the vendor needs
words for the end of a thing, and where it has none the change cannot be made live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from radius.grant import Grant, Rendered
from radius.vendors.difference import NEVER_MATTERS

Place = tuple[object, ...]


def content(each: Rendered) -> bytes:
    """Return the value of an attribute, of a vendor attribute without vendor and type."""
    return each.octets[2 if len(each.oid) == 1 else 8 :]


def _by_type(each: Rendered) -> tuple[Place, bytes]:
    return each.oid, content(each)


def _as_at_login(each: Rendered, _wanted: Grant) -> Rendered | None:
    return each


def _no_words(_each: Rendered, _wanted: Grant) -> tuple[Rendered, ...] | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """How one vendor says a change; the functions also get the grant that is wanted.

    `place` says what an attribute takes the place of, and what then stands there: two with one place exclude
    each other, and equal contents are no change. `begin` turns an attribute of a login into that of a CoA;
    None where it cannot. `end` says that a thing shall be no more: None where there are no words for it,
    nothing where none are needed.
    """

    place: Callable[[Rendered], tuple[Place, bytes]] = _by_type
    begin: Callable[[Rendered, Grant], Rendered | None] = _as_at_login
    end: Callable[[Rendered, Grant], tuple[Rendered, ...] | None] = _no_words


PLAIN = Words()


def say(
    have: Iterable[Rendered], shall: Iterable[Rendered], wanted: Grant, changes: frozenset[str], words: Words
) -> tuple[Rendered, ...] | None:
    """Return the attributes that turn `have` into `shall`, the rendering of `wanted`; ends come first.

    Empty where the two say the same; None where a field outside `changes` made the difference, or the
    vendor has no words for it.
    """
    before, after = _Places(have, words), _Places(shall, words)
    moved = [place for place in before.contents | after.contents if before.at(place) != after.at(place)]
    said: list[Rendered] = []
    for place in moved:
        if not before.sources(place) | after.sources(place) <= changes:
            return None
        for each in before.attributes.get(place, ()) if place not in after.contents else ():
            ended = words.end(each, wanted)
            if ended is None:
                return None
            said += (one for one in ended if one not in said)
    for place in moved:
        for each in after.attributes.get(place, ()):
            begun = words.begin(each, wanted)
            if begun is None:
                return None
            said.append(begun)
    return tuple(said)


class _Places:
    """What stands at each place of a rendering, in wire order."""

    def __init__(self, rendered: Iterable[Rendered], words: Words) -> None:
        self.attributes: dict[Place, list[Rendered]] = {}
        self.contents: dict[Place, list[bytes]] = {}
        for each in _lasting(rendered):
            place, octets = words.place(each)
            self.attributes.setdefault(place, []).append(each)
            self.contents.setdefault(place, []).append(octets)

    def at(self, place: Place) -> list[bytes] | None:
        return self.contents.get(place)

    def sources(self, place: Place) -> set[str]:
        return {each.source for each in self.attributes.get(place, ())}


def _lasting(rendered: Iterable[Rendered]) -> Iterator[Rendered]:
    return (each for each in rendered if each.source not in NEVER_MATTERS)
