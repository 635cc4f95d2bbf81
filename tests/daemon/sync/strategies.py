"""Records of every kind, as the feed can make them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypothesis import strategies as st

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
    Subscriber,
    Tenant,
)
from radius import vendors
from radius.grant import Access, Burst, Rate, Route

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
tenants = st.builds(Tenant, id=ids, name=labels | st.just(""), reject_message=labels | st.just(""))
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
    edits=unique(edits, 2),
)
plans = st.builds(
    Plan,
    tenant=ids,
    id=ids,
    name=labels | st.just(""),
    access=maybe(st.sampled_from(Access)),
    service=services(),
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
        service=None if own == Service() else own,
    )


records: st.SearchStrategy[Record] = st.one_of(tenants, nases, plans, subscribers())
