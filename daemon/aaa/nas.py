"""The NASes as the request path sees them: keys ready to use, vendor profile, who has spoken unasked."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from daemon.replica.index import Index, TenantIndex
from daemon.replica.records import Nas
from radius import vendors
from radius.authenticator import Key
from radius.udp import source_octets
from radius.vendors.base import VendorProfile

_CANDIDATES_MOST = 1000


class Client:
    """One NAS entry made ready. `keys` are the secrets that are valid: one, or two during a rotation."""

    __slots__ = ("index", "keys", "label", "liked", "nas", "profile", "signed", "unsigned")

    def __init__(self, nas: Nas, index: TenantIndex, profile: VendorProfile) -> None:
        self.nas = nas
        self.index = index
        self.profile = profile
        self.label = nas.id
        self.keys = [Key(nas.secret.value)]
        if nas.previous_secret is not None:
            self.keys.append(Key(nas.previous_secret.value))
        self.liked: dict[bytes, Key] = {}
        self.signed = 0  # Access-Requests with a Message-Authenticator
        self.unsigned = 0

    def keys_for(self, peer: bytes) -> list[Key]:
        """Return the keys, first the one that this box used last: boxes of one entry rotate at their own time."""
        if len(self.keys) > 1 and self.liked.get(source_octets(peer)) is self.keys[1]:
            return self.keys[::-1]
        return self.keys

    def prefer(self, peer: bytes, key: Key) -> None:
        """Note which key a box uses, during a rotation."""
        if len(self.keys) > 1:
            if len(self.liked) > _CANDIDATES_MOST:
                self.liked.clear()
            self.liked[source_octets(peer)] = key


@dataclass(slots=True)
class Candidate:
    """A source that sends RADIUS and is no NAS of ours."""

    address: bytes
    first_at: float
    last_at: float
    packets: int
    code: int
    nas_identifier: str


class Clients:
    """Finds the client of a source address; keeps unknown sources as candidates, bounded."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._generation = -1
        self._clients: dict[tuple[str, str], Client] = {}
        self._found: dict[bytes, Client] = {}
        self._candidates: OrderedDict[bytes, Candidate] = OrderedDict()

    def turn(self) -> None:
        """Take up changes of the NAS table; to be called once in each batch."""
        if self._generation == self._index.nas_generation:
            return
        self._generation = self._index.nas_generation
        self._found.clear()
        before, self._clients = self._clients, {}
        for tenant in self._index.tenants.values():
            for nas in tenant.nases.values():
                old = before.get((nas.tenant, nas.id))
                profile = vendors.find(nas.vendor)
                assert profile is not None, "the wire models admit known vendors only"
                client = old if old is not None and old.nas is nas else Client(nas, tenant, profile)
                if old is not None and client is not old:
                    client.signed, client.unsigned = old.signed, old.unsigned
                self._clients[(nas.tenant, nas.id)] = client

    def find(self, address: bytes) -> Client | None:
        """Return the client of a source address, 4 or 16 octets; None for a stranger."""
        client = self._found.get(address)
        if client is None:
            nas = self._index.find_nas(address)
            if nas is None:
                return None
            if len(self._found) > 50_000:
                self._found.clear()
            client = self._found[address] = self._clients[(nas.tenant, nas.id)]
        return client

    def get(self, tenant: str, nas: str) -> Client | None:
        """Return the client of a NAS by name, None where it is gone."""
        return self._clients.get((tenant, nas))

    def note_stranger(self, address: bytes, code: int, nas_identifier: str, at: float) -> bool:
        """Remember an unknown source; True the first time."""
        known = self._candidates.get(address)
        if known is not None:
            known.last_at = at
            known.packets += 1
            known.code = code
            return False
        if len(self._candidates) >= _CANDIDATES_MOST:
            self._candidates.popitem(last=False)
        self._candidates[address] = Candidate(address, at, at, 1, code, nas_identifier)
        return True

    def candidates(self) -> list[Candidate]:
        """Return the unknown sources that are still unknown, latest first."""
        strangers = [each for each in self._candidates.values() if self._index.find_nas(each.address) is None]
        return sorted(strangers, key=lambda each: -each.last_at)
