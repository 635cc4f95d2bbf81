"""Whatever comes in, the answer is a record or a list of problems, never another exception."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.replica.codec import dump, kind_of, load
from daemon.replica.index import Index
from daemon.store.seal import Sealer
from daemon.sync.check import check
from daemon.sync.document import of_objects, read
from daemon.sync.normalise import IGNORED, SPELLINGS
from daemon.sync.records import KINDS, BodyInvalid, to_record
from daemon.sync.wire import BODIES
from radius.dictionary import shipped

DICTIONARY = shipped()
SEAL = Sealer(bytes(32))
_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        [
            "1M",
            "aa:bb:cc:dd:ee:ff",
            "192.0.2.1",
            "2001:db8::/56",
            "192.0.2.10-192.0.2.99",
            "100-199",
            "v4",
            "pd",
            "cgn-block",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-12:00",
            "active",
            "Reply-Message = x",
            "500GB",
            "7d",
            "mon-fri 08:00-20:00",
            "captive",
            "plan:home",
            "mac",
            "https://pay.example.net/",
            "Europe/Berlin",
            "-Class",
            "$6$x",
            "٣",
            "\ud800",
        ]
    )
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["kind", "value", "prefix", "cidr", "gateway", "op", "name", "download", "upload", "seconds"]
            )
            | st.sampled_from(
                [
                    "v4",
                    "pd",
                    "cgn-block",
                    "plan",
                    "attribute",
                    "octets",
                    "time",
                    "then",
                    "hours",
                    "days",
                    "from",
                    "to",
                    "expired",
                    "cisco",
                ]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)


@st.composite
def _bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    kind = draw(st.sampled_from(KINDS))
    names = [*BODIES[kind].model_fields, *SPELLINGS[kind], *IGNORED.get(kind, ())]
    return kind, draw(st.dictionaries(st.sampled_from(names) | st.text(max_size=3), _values, max_size=6))


@given(_bodies())
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
def test_any_body_is_a_record_that_can_be_stored_or_is_refused(drawn: tuple[str, dict[str, Any]]) -> None:
    kind, body = drawn
    record, faults = None, 0
    try:
        record = to_record(kind, "demo", "x", body, DICTIONARY)
    except BodyInvalid as refused:
        faults = len(refused.faults)
    assert (record is None) == (faults > 0)
    if record is not None:
        assert load(kind_of(record), dump(record, SEAL), SEAL) == record


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["kind", "id", "tenant", "body", "x"]), _values, max_size=5),
        max_size=4,
    )
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_list_of_objects_is_checked(objects: list[dict[str, Any]]) -> None:
    done = check(of_objects("feed", objects), Index(), DICTIONARY)
    assert all(str(problem).isprintable() for problem in done.problems)
    octets = json.dumps(objects).encode()
    if b"NaN" not in octets and b"Infinity" not in octets:
        from_file = check(read(octets, "feed.json"), Index(), DICTIONARY)
        assert len(from_file.problems) == len(done.problems)
