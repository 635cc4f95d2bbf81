"""The settings in the words of the parts: each part has small options of its own, and here they are made."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from importlib.metadata import version
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from config.enforcement import read_relay_client, relay_secrets
from config.ipam import read_reach
from config.secrets import resolve
from config.settings import Settings
from daemon.aaa.assembly import Options
from daemon.aaa.authorize import Defaults
from daemon.aaa.coa.hooks import CoaOptions
from daemon.aaa.coa.pace import PaceOptions
from daemon.aaa.endpoint import Port
from daemon.aaa.enforcement import EnforcementOptions
from daemon.aaa.keeper import Retention
from daemon.aaa.loops import LoopLimits
from daemon.aaa.reaper import Options as ReaperOptions
from daemon.aaa.reconcile import Unchangeable
from daemon.aaa.relay.clients import RelayClient
from daemon.aaa.report import Belief
from daemon.aaa.storm import Limits
from daemon.leases.addresses import AddressOptions
from daemon.leases.assembly import WorkOptions
from daemon.leases.nodes import NodeOptions
from daemon.leases.probe import Method
from daemon.leases.prober import ProbeOptions, Reach
from daemon.leases.shared_store import open_shared, read_url
from daemon.store.seal import load_or_create_key, parse_key
from radius.authenticator import Key

_DAY_S = 86_400.0


def request_path(settings: Settings) -> Options:
    """Return the options of the request path."""
    radius, accounting, policy, storm = settings.radius, settings.accounting, settings.policy, settings.storm
    return Options(
        belief=belief(settings),
        retention=Retention(
            memory_s=accounting.closed_memory_s,
            closed_s=accounting.closed_keep_days * _DAY_S,
            journal_s=accounting.journal_keep_days * _DAY_S,
            jobs_s=settings.coa.job_keep_days * _DAY_S,
        ),
        defaults=Defaults(accounting.default_interim_s, policy.timer_spread_percent / 100),
        loops=loops(settings),
        storm=Limits(least_per_s=storm.least_per_s, times_usual=storm.times_usual, calm_s=storm.calm_s),
        trace_permits=radius.trace_permits,
        trace_denials=radius.trace_denials,
        hash_workers=radius.hash_workers,
        max_pending_hashes=radius.max_pending_hashes,
        reject_delay_s=radius.reject_delay_s,
        duplicate_window_s=radius.duplicate_window_s,
        receive_buffer_octets=radius.receive_buffer_octets,
        max_batch_records=accounting.max_batch_records,
        max_pending_records=accounting.max_pending_records,
        session_flush_s=accounting.session_flush_s,
        reservation_s=policy.reservation_s,
        staff_keep_s=settings.staff.keep_days * _DAY_S,
    )


def ports(settings: Settings) -> tuple[tuple[Port, tuple[tuple[str, int], ...]], ...]:
    """Return where each kind of port listens: addresses and numbers."""
    return (
        (Port.AUTH, settings.radius.auth_addresses),
        (Port.ACCT, settings.radius.acct_addresses),
        (Port.STAFF_AUTH, settings.staff.auth_addresses),
        (Port.STAFF_ACCT, settings.staff.acct_addresses),
        (Port.RELAY, settings.coa.relay_addresses),
    )


def belief(settings: Settings) -> Belief:
    """Return how far the clocks of NASes are believed."""
    return Belief(settings.accounting.clock_skew_s, settings.accounting.max_delay_s)


def loops(settings: Settings) -> LoopLimits:
    """Return when refused logins get a pause."""
    policy = settings.policy
    return LoopLimits(
        refusals=policy.retry_refusals, window_s=policy.retry_window_s, pause_s=policy.retry_pause_s
    )


def enforcement(settings: Settings, environ: Mapping[str, str]) -> EnforcementOptions:
    """Return the options of what acts on live sessions. Raises SecretUnavailable for a relay client's secret."""
    coa, policy = settings.coa, settings.policy
    return EnforcementOptions(
        coa=CoaOptions(
            pace=PaceOptions(nas_per_s=coa.nas_per_s, overall_per_s=coa.overall_per_s),
            verify_s=coa.verify_s,
        ),
        reaper=ReaperOptions(
            default_interim_s=settings.accounting.default_interim_s,
            suspect_after=policy.suspect_after,
            close_after=policy.close_after,
        ),
        relay_clients=_relay_clients(coa.relay_clients, environ),
        sources=_sources(settings),
        default_interim_s=settings.accounting.default_interim_s,
        sweep_s=policy.sweep_s,
        unchangeable=Unchangeable(coa.unchangeable),
        disconnects_conflicts=settings.ipam.on_conflict == "disconnect",
    )


def sealing_key(settings: Settings, environ: Mapping[str, str]) -> bytes:
    """Return the key that seals secrets in the database; without one in the settings a file of its own is made.

    Raises SecretUnavailable, or what `store.seal` raises for a key that is none.
    """
    reference = settings.secrets.sealing_key
    if reference is None:
        return load_or_create_key(Path(settings.edge.state_dir) / "seal.key")
    directory = environ.get("CREDENTIALS_DIRECTORY")
    return parse_key(resolve(reference, environ, Path(directory) if directory else None), reference)


def address_work(
    settings: Settings,
    environ: Mapping[str, str],
    monotonic: Callable[[], float],
    observe: Callable[[float, bool], None],
) -> WorkOptions:
    """Return the options of everything about addresses; nothing is connected yet.

    Raises StoreUnusable where there is no shared store as the settings name it.
    """
    ipam = settings.ipam
    shared = None
    if ipam.shared_store is not None:
        shared = open_shared(read_url(ipam.shared_store, environ), ipam.node, monotonic, observe)
    return WorkOptions(
        addresses=AddressOptions(node=ipam.node, shared=shared is not None, hint=settings.edge.name),
        nodes=NodeOptions(block_slots=ipam.block_slots, takeover_after_s=ipam.takeover_after_s),
        probe=_probe(settings),
        shared=shared,
        name=settings.edge.name,
        version=version("dotmac-edge"),
        state_dir=Path(settings.edge.state_dir),
        history_s=ipam.history_keep_days * _DAY_S,
    )


def _probe(settings: Settings) -> ProbeOptions:
    probe = settings.probe
    reaches = tuple(
        Reach(
            interface=each.interface,
            prefixes=each.prefixes,
            tenant=each.tenant,
            vrf=each.vrf,
            method=Method(each.method),
        )
        for each in map(read_reach, probe.reaches)
    )
    return ProbeOptions(
        enabled=bool(reaches),
        reaches=reaches,
        per_s=probe.per_s,
        queue=probe.queue,
        count=probe.count,
        wait_s=probe.wait_s,
        ahead_s=probe.ahead_s,
        ignore_macs=frozenset(probe.ignore_macs),
        most_per_mac=probe.most_per_mac,
    )


def _sources(settings: Settings) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the one address of each family that NASes can know us by; without it the system chooses.

    With several, or the loopback, a source of ours could be one that the network of a NAS does not know.
    """
    found: dict[int, set[IPv4Address | IPv6Address]] = {4: set(), 6: set()}
    for host, _ in (*settings.radius.auth_addresses, *settings.radius.acct_addresses):
        address = ip_address(host)
        found[address.version].add(address)
    sole = [next(iter(each)) for each in found.values() if len(each) == 1]
    return tuple(each for each in sole if not each.is_unspecified and not each.is_loopback)


def _relay_clients(texts: tuple[str, ...], environ: Mapping[str, str]) -> tuple[RelayClient, ...]:
    found = zip(map(read_relay_client, texts), relay_secrets(texts, environ), strict=True)
    return tuple(
        RelayClient(name=str(network), tenant=tenant, networks=(network,), keys=(Key(secret),))
        for (tenant, network, _), secret in found
    )


def relay_warnings(settings: Settings, known: Container[str]) -> list[str]:
    """Return a sentence for each relay client whose tenant is not among the `known` ones: it can reach nobody."""
    clients = map(read_relay_client, settings.coa.relay_clients)
    return [
        f"the relay client {network} is of tenant {tenant}, which the data do not have"
        for tenant, network, _ in clients
        if tenant not in known
    ]
