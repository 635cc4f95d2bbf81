"""Records of every kind, as the feed can make them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import strategies as st

from daemon.replica.pools import UNIT_LENGTHS, PoolSpec, SelectorSpec, range_space, span_text
from daemon.replica.records import (
    AccessMode,
    AttributeEdit,
    EditOp,
    IdentitySource,
    Nas,
    Plan,
    Record,
    Secret,
    SecretKind,
    Service,
    Staff,
    Subscriber,
    Tenant,
)
from daemon.replica.rules import (
    GARDEN,
    REJECTED,
    Act,
    Allowance,
    Bound,
    Direction,
    Garden,
    Hours,
    LinePolicy,
    Measure,
    RateHours,
    Rules,
    SimultaneousMode,
    Treatment,
    Window,
)
from daemon.sync.wire_rules import OF_TENANTS_ONLY, TREATABLE
from ipam.address import read_span
from ipam.kinds import Kind, Order, PoolState
from ipam.model import Match, Pool, Selector
from radius import vendors
from radius.grant import Access, Burst, Privilege, Rate, Route

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,20}", fullmatch=True)
words = st.text(st.characters(min_codepoint=0x20, exclude_categories=("Cc", "Cs")), max_size=20)
labels = words.filter(lambda text: text != "" and text == text.strip())
octets_of_rate = st.integers(1, 10**12)
rates = st.builds(Rate, download_bps=octets_of_rate, upload_bps=octets_of_rate)
ipv4 = st.integers(1, 0xDFFFFFFF).map(IPv4Address)
ipv6 = st.integers(1, 0xFEFF << 112).map(IPv6Address)
ipv6_prefixes = st.builds(
    lambda number, length: IPv6Network((number >> (128 - length) << (128 - length), length)),
    st.integers(1, (1 << 128) - 1),
    st.integers(1, 128),
)
ipv4_prefixes = st.builds(
    lambda number, length: IPv4Network((number >> (32 - length) << (32 - length), length)),
    st.integers(1, (1 << 32) - 1),
    st.integers(1, 32),
)
macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
# Any value of Reply-Message: the octets of whole attributes, as the encoder makes them.
edits = st.one_of(
    st.binary(min_size=1, max_size=40).map(
        lambda value: AttributeEdit(EditOp.ADD, "Reply-Message", (18,), bytes((18, len(value) + 2)) + value)
    ),
    st.just(AttributeEdit(EditOp.REMOVE, "Reply-Message", (18,))),
)


def unique(of: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.lists(of, max_size=most, unique=True).map(tuple)


def maybe(of: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | of


@st.composite
def services(draw: st.DrawFn, *, with_edits: bool = True) -> Service:
    rate = draw(maybe(rates))
    burst = committed = None
    if rate is not None:
        above = Rate(download_bps=rate.download_bps * 2, upload_bps=rate.upload_bps * 3)
        burst = draw(
            maybe(st.builds(Burst, rate=st.just(above), threshold=rates, seconds=st.integers(1, 999)))
        )
        committed = draw(maybe(st.just(Rate(download_bps=1, upload_bps=rate.upload_bps))))
    return Service(
        rate=rate,
        burst=burst,
        committed=committed,
        priority=draw(maybe(st.integers(1, 8))),
        rate_text=draw(maybe(st.sampled_from(["20M/100M", "1k/2k 3k/4k 1k/1k 8/8"]))),
        **{
            name: draw(maybe(labels))
            for name in (
                "download_policy",
                "upload_policy",
                "qos_profile",
                "group",
                "address_list",
                "filter_id",
                "vrf",
                "ipv4_pool",
                "ipv6_pool",
                "ipv6_address_pool",
                "ipv6_delegated_pool",
            )
        },
        services=draw(unique(labels)),
        dns4=draw(unique(ipv4)),
        dns6=draw(unique(ipv6)),
        session_timeout_s=draw(maybe(st.integers(1, 2**32 - 1))),
        idle_timeout_s=draw(maybe(st.integers(1, 2**32 - 1))),
        interim_interval_s=draw(maybe(st.integers(60, 2**32 - 1))),
        edits=draw(unique(edits, 2)) if with_edits else (),
    )


def cleartext(most: int = 40) -> st.SearchStrategy:
    texts = words.filter(bool).map(lambda text: text.encode()[:most])
    return texts.filter(lambda octets: octets.decode("utf-8", "ignore").encode() == octets).map(
        lambda octets: Secret(SecretKind.CLEARTEXT, octets)
    )


secrets = cleartext() | st.binary(min_size=16, max_size=16).map(
    lambda hashed: Secret(SecretKind.NT_HASH, hashed)
)
other_plans = ids.map(lambda plan: Treatment(act=Act.PLAN, plan=plan))
instead = st.sampled_from([REJECTED, GARDEN]) | other_plans


def treated(slugs: tuple[str, ...]) -> st.SearchStrategy:
    """Return treatments of some of the reasons, in the order in which records have them."""
    return st.dictionaries(st.sampled_from(slugs), instead, max_size=4).map(
        lambda given: tuple((slug, given[slug]) for slug in slugs if slug in given)
    )


minutes = st.integers(0, 24 * 60 - 1)
hours = st.builds(
    Hours,
    days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    start_min=minutes,
    end_min=minutes,
)
then = (
    instead | st.just(Treatment(act=Act.NOTIFY)) | rates.map(lambda rate: Treatment(act=Act.RATE, rate=rate))
)
# Beyond 32 and 53 bits, and round numbers, which are written with a unit.
amounts = st.integers(1, 2**63 - 1) | st.integers(1, 9_000_000).map(lambda count: count * 10**12)
names = labels.filter(lambda text: len(text.encode()) <= 64)


@st.composite
def allowances(draw: st.DrawFn) -> Allowance:
    octets = draw(st.booleans())
    return Allowance(
        name=draw(names),
        most=draw(amounts if octets else st.integers(1, 2**32 - 1)),
        measure=Measure.OCTETS if octets else Measure.SECONDS,
        window=draw(st.sampled_from(Window)),
        direction=draw(st.sampled_from(Direction)) if octets else Direction.BOTH,
        then=draw(then),
        on_gap=draw(st.booleans()),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    bind = draw(unique(st.sampled_from(Bound)))
    return Rules(
        login_hours=draw(st.lists(hours, max_size=2).map(tuple)),
        nases=draw(unique(ids)),
        sites=draw(unique(labels)),
        simultaneous_use=draw(maybe(st.integers(1, 10_000))),
        simultaneous_mode=draw(st.sampled_from(SimultaneousMode)),
        bind=bind,
        bind_learn=bool(bind) and draw(st.booleans()),
        line_policy=draw(st.sampled_from(LinePolicy)),
        allowances=draw(st.lists(allowances(), max_size=2, unique_by=lambda each: each.name).map(tuple)),
        rate_hours=draw(
            st.lists(
                st.builds(RateHours, hours=st.lists(hours, min_size=1, max_size=2).map(tuple), rate=rates),
                max_size=2,
            ).map(tuple)
        ),
        month_day=draw(st.integers(1, 31)),
        treatments=draw(treated(tuple(slug for slug in TREATABLE if slug not in OF_TENANTS_ONLY))),
    )


gardens = st.builds(
    Garden,
    redirect_url=st.sampled_from([None, "https://pay.example.net/", "http://[2001:db8::1]:8080/a?b=%20c"]),
    address_list=labels,
    services=unique(labels),
    filter_id=maybe(labels),
    ipv4_pool=maybe(labels),
    rate=maybe(rates),
    session_timeout_s=st.integers(1, 2**32 - 1),
    interim_interval_s=maybe(st.integers(60, 2**32 - 1)),
)
tenants = st.builds(
    Tenant,
    id=ids,
    name=labels | st.just(""),
    reject_message=labels | st.just(""),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"]),
    garden=maybe(gardens),
    treatments=treated(TREATABLE),
)
nases = st.builds(
    Nas,
    tenant=ids,
    id=ids,
    prefixes=st.lists(ipv4_prefixes | ipv6_prefixes, min_size=1, max_size=3, unique=True).map(tuple),
    secret=cleartext(),
    previous_secret=maybe(cleartext()),
    vendor=st.sampled_from(vendors.names()),
    coa_port=st.integers(1, 65535),
    require_message_authenticator=st.booleans(),
    limit_proxy_state=st.booleans(),
    identities=st.lists(st.sampled_from(IdentitySource), min_size=1, unique=True).map(tuple),
    line_password=maybe(cleartext()),
    strip_realm=st.booleans(),
    site=maybe(labels),
    coa=st.booleans(),
    coa_address=maybe(ipv4 | ipv6),
    coa_secret=maybe(cleartext()),
    coa_message_authenticator=st.booleans(),
    coa_event_timestamp=st.booleans(),
    edits=unique(edits, 2),
)
plans = st.builds(
    Plan,
    tenant=ids,
    id=ids,
    name=labels | st.just(""),
    access=maybe(st.sampled_from(Access)),
    service=services(),
    rules=rules(),
)
staff = st.builds(
    Staff,
    tenant=ids,
    id=ids,
    username=labels,
    secret=secrets,
    privilege=st.sampled_from(Privilege),
    enabled=st.booleans(),
    groups=st.dictionaries(st.sampled_from(vendors.names()), labels, max_size=3).map(
        lambda groups: tuple(sorted(groups.items()))
    ),
    nases=unique(ids),
    sites=unique(labels),
    valid_until=maybe(st.floats(0, 4e9)),
)
routes = st.one_of(
    st.builds(Route, prefix=ipv4_prefixes, gateway=maybe(ipv4), metric=st.integers(0, 65535)),
    st.builds(Route, prefix=ipv6_prefixes, gateway=maybe(ipv6), metric=st.integers(0, 65535)),
)


@st.composite
def subscribers(draw: st.DrawFn) -> Subscriber:
    own = draw(maybe(services()))
    start = draw(maybe(st.floats(0, 2e9)))
    vlan = draw(maybe(st.integers(1, 4094)))
    return Subscriber(
        tenant=draw(ids),
        id=draw(ids),
        access_mode=draw(st.sampled_from(AccessMode)),
        plan=draw(maybe(ids)),
        usernames=draw(unique(labels)),
        secret=draw(maybe(secrets)),
        macs=draw(unique(macs)),
        circuit_id=draw(maybe(labels)),
        remote_id=draw(maybe(labels)),
        status=draw(labels | st.just("")),
        valid_from=start,
        valid_until=draw(maybe(st.floats(2.1e9, 4e9))),
        ipv4_address=draw(maybe(ipv4)),
        ipv6_address=draw(maybe(ipv6)),
        ipv6_prefix=draw(maybe(ipv6_prefixes)),
        ipv6_delegated=draw(maybe(ipv6_prefixes)),
        routes=draw(unique(routes)),
        vlan_id=vlan,
        inner_vlan_id=None if vlan is None else draw(maybe(st.integers(1, 4094))),
        simultaneous_use=draw(maybe(st.integers(1, 10_000))),
        nases=draw(unique(ids)),
        sites=draw(unique(labels)),
        line_policy=draw(maybe(st.sampled_from(LinePolicy))),
        bonus_octets=draw(st.just(0) | amounts),
        service=None if own == Service() else own,
    )


def _span(kind: Kind, first: int, size: int) -> str:
    return span_text(range_space(kind), first, first + size - 1)


@st.composite
def pools(draw: st.DrawFn) -> PoolSpec:
    kind = draw(st.sampled_from([kind for kind in Kind if kind is not Kind.FIXED]))
    shift = {Kind.PD: 72, Kind.V6_PREFIX: 64}.get(kind, 0)
    most = 1000 if kind in (Kind.SVLAN, Kind.CVLAN) else 1 << 24
    starts = draw(st.lists(st.integers(1, most // 8), min_size=1, max_size=4, unique=True))
    sizes = [draw(st.integers(1, 4)) << shift for _ in starts]
    texts = [_span(kind, each * 8 << shift, size) for each, size in zip(starts, sizes, strict=True)]
    cut = draw(st.integers(1, len(texts)))
    low = draw(st.integers(0, 100))
    waits = st.integers(0, 2**32 - 1).map(float)
    spans = st.integers(1, 2**32 - 1).map(float)
    bare = Pool(
        tenant=draw(ids),
        name=draw(ids),
        vrf=draw(labels | st.just("")),
        kind=kind,
        unit_length=64 if kind is Kind.CGN_BLOCK else UNIT_LENGTHS[kind],
        ranges=(),
        site=draw(labels | st.just("")),
        exclusions=tuple(read_span(range_space(kind), each) for each in texts[cut:]),
        order=draw(st.sampled_from(Order)),
        sticky=draw(st.booleans()),
        hold_s=draw(waits),
        quarantine_s=draw(waits),
        min_reuse_s=draw(waits),
        decline_s=draw(waits),
        lease_s=draw(spans),
        tentative_s=draw(spans),
        state=draw(st.sampled_from(PoolState)),
        low_percent=float(low),
        critical_percent=low / 2,
        first_port=draw(st.integers(0, 30_000)),
        last_port=draw(st.integers(30_063, 65_535)),
        any_length=draw(st.booleans()),
    )
    fallbacks = draw(unique(ids.filter(lambda name: name != bare.name)))
    return PoolSpec(pool=replace(bare, fallbacks=fallbacks), ranges=tuple(texts[:cut]))


LEASED = (Kind.V4, Kind.V6_NA, Kind.V6_PREFIX, Kind.PD, Kind.SVLAN, Kind.CVLAN)
some_attributes = st.sampled_from(
    [("NAS-Port-Type", "Ethernet"), ("Called-Station-Id", "x 1"), ("NAS-Port", "7")]
)
selectors = st.builds(
    Selector,
    name=ids,
    priority=st.integers(0, 2**31 - 1),
    match=st.builds(
        Match,
        tenant=ids,
        plan=maybe(ids),
        nas=maybe(ids),
        site=maybe(labels),
        attribute=maybe(some_attributes),
    ),
    pools=st.dictionaries(
        st.sampled_from(LEASED), st.lists(ids, min_size=1, max_size=3, unique=True).map(tuple), min_size=1
    ).map(lambda given: tuple((kind, given[kind]) for kind in LEASED if kind in given)),
).map(lambda selector: SelectorSpec(selector=selector))

records: st.SearchStrategy[Record] = st.one_of(
    tenants, nases, plans, subscribers(), staff, pools(), selectors
)
