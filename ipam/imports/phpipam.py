"""phpIPAM exports of subnets and addresses: CSV, JSON of the API, and rows of its tables."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from ipam.imports import parse
from ipam.imports.collector import Collector
from ipam.imports.records import Block, Imported, PrefixRecord, Refused, ReservationRecord, Source, Standing
from ipam.imports.tables import Row, note_columns, rows

_SUBNET = frozenset(
    {
        "id",
        "subnet",
        "mask",
        "vrf",
        "vrfid",
        "vrf_name",
        "section",
        "sectionid",
        "description",
        "isfolder",
        "ispool",
        "location",
        "customer",
        "mastersubnetid",
        "master_subnet",
    }
)
_ADDRESS = frozenset(
    {
        "id",
        "ip",
        "ip_addr",
        "ip_address",
        "ipaddress",
        "subnetid",
        "subnet",
        "state",
        "ip_state",
        "tag",
        "is_gateway",
        "gateway",
        "description",
        "hostname",
        "mac",
        "owner",
        "vrf",
    }
)
_IP = ("ip", "ip_addr", "ip_address", "ipaddress")
_STATE = ("tag", "state", "ip_state")
_TRUE = frozenset({"1", "true", "yes"})
# The four states that phpIPAM comes with, by number and by name; operators can add more.
_STANDING = {
    "1": Standing.FIXED,
    "offline": Standing.FIXED,
    "2": Standing.FIXED,
    "used": Standing.FIXED,
    "online": Standing.FIXED,
    "3": Standing.RESERVED,
    "reserved": Standing.RESERVED,
}
_DYNAMIC = frozenset({"4", "dhcp"})


class _Reader:
    """One import. An address says its VRF only through its subnet, which may stand in a later file."""

    def __init__(self) -> None:
        self.collector = Collector()
        self._vrf_of: dict[str, str] = {}
        self._waiting: list[tuple[Row, Block, Standing]] = []

    def subnet(self, row: Row) -> None:
        if row.get("isfolder").lower() in _TRUE:
            self.collector.note(row.finding("isfolder", "a subnet", "folders hold no addresses"))
            return
        prefix = _prefix(row.get("subnet"), row.get("mask"))
        if prefix is None:
            got = "/".join(filter(None, (row.get("subnet"), row.get("mask"))))
            self.collector.problem(row.finding("subnet", "an address and a mask", got=got))
            return
        vrf = _vrf(row)
        if row.get("id"):
            self._vrf_of[row.get("id")] = vrf
        record = PrefixRecord(
            prefix=prefix,
            vrf=vrf,
            whole=row.get("ispool").lower() in _TRUE,
            tenant=row.get("customer"),
            site=row.get("location"),
            role=row.get("section", "sectionid"),
            description=row.get("description"),
            file=row.file,
            line=row.line,
        )
        self.collector.prefix(record)

    def address(self, row: Row) -> None:
        block = parse.number_or_host(row.get(*_IP))
        state = row.get(*_STATE).lower() or "used"
        if block is None:
            self.collector.problem(row.finding("ip", "an address", got=row.get(*_IP)))
        if state in _DYNAMIC:
            remedy = "who has a dynamic one is known to its server only"
            self.collector.note(row.finding("tag", "a fixed address", remedy, state))
        elif state not in _STANDING:
            expected = "Offline (1), Used (2), Reserved (3) or DHCP (4)"
            self.collector.problem(row.finding("tag", expected, "give the address one of these tags", state))
        elif block is not None:
            self._waiting.append((row, block, _STANDING[state]))

    def finish(self) -> Imported | Refused:
        for row, block, standing in self._waiting:
            subnet = row.get("subnetid")
            vrf = _vrf(row)
            if subnet and self._vrf_of and not vrf:
                if subnet not in self._vrf_of:
                    self.collector.problem(
                        row.finding("subnetid", "a subnet of these files", "export it as well")
                    )
                    continue
                vrf = self._vrf_of[subnet]
            record = ReservationRecord(
                block=block,
                last=block,
                standing=standing,
                owner=row.get("owner", "hostname", "mac", "description"),
                vrf=vrf,
                description=row.get("description"),
                file=row.file,
                line=row.line,
            )
            self.collector.reservation(record)
        return self.collector.finish()


def read(sources: Iterable[Source]) -> Imported | Refused:
    """Return subnets as prefixes and addresses as reservations; complete or refused.

    Which kind a file is follows from its columns. The VRF of an address is that of its subnet, where the subnets
    are read as well.
    """
    reader = _Reader()
    for source in sources:
        for spot, row in enumerate(rows(source, reader.collector, ((*_IP, "subnet"),))):
            is_address = row.has(*_IP)
            if spot == 0:
                note_columns(row, _ADDRESS if is_address else _SUBNET, reader.collector)
            if is_address:
                reader.address(row)
            else:
                reader.subnet(row)
    return reader.finish()


def _vrf(row: Row) -> str:
    vrf = row.get("vrf", "vrf_name", "vrfid")
    return "" if vrf in ("0", "default") else vrf


def _prefix(subnet: str, mask: str) -> Block | None:
    """Return the prefix of a subnet and a mask apart (24, /24 or 255.255.255.0), or together."""
    address, _, joined = subnet.partition("/")
    base = parse.number_or_host(address.strip())
    length = (joined or mask).strip().lstrip("/")
    if base is None or not length:
        return None
    try:
        return ip_network(f"{base.network_address}/{length}")
    except ValueError:
        return None
