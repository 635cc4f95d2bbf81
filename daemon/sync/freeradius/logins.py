"""From rows of tables to logins with their blocks, and a digest that tells whether anything of one has changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import Block, Login, Row, row
from daemon.sync.freeradius.safe_names import meant
from daemon.sync.freeradius.sql_rows import CHECK, GROUP, GroupRow, UserRow

RAW = 8  # octets of the digest of a login's rows


@dataclass(frozen=True, slots=True)
class Group:
    """A group as a block, and a digest of its rows."""

    block: Block
    digest: bytes


@dataclass(slots=True)
class Groups:
    """All groups of a pass, by name."""

    fold: bool  # names are the same in upper and lower case
    findings: Findings
    found: dict[str, Group] = field(default_factory=dict)

    def read(self, rows: Iterable[GroupRow]) -> None:
        """Take the rows of the tables of groups."""
        gathered: dict[str, tuple[str, list[Row], list[Row], list[str]]] = {}
        for each in rows:
            name, checks, replies, text = gathered.setdefault(self._key(each.group), (each.group, [], [], []))
            made = row(each.attribute, each.op, each.value)
            text.append(_text(each.table, each.attribute, each.op, each.value))
            if made is None:
                self.findings.add(
                    Why.ROW, name, each.attribute or "(none)", "no attribute, operator or value"
                )
            else:
                (checks if each.table == CHECK else replies).append(made)
        for key, (name, checks, replies, text) in gathered.items():
            block = Block(name, tuple(checks), tuple(replies), shared=True)
            self.found[key] = Group(block, _digest(text))

    def of(self, name: str) -> Group:
        """Return a group; one without any row is there too, and ends what comes after it."""
        key = self._key(name)
        found = self.found.get(key)
        if found is None:
            found = self.found[key] = Group(Block(name, shared=True), _digest([name]))
        return found

    def _key(self, name: str) -> str:
        return name.lower() if self.fold else name


@dataclass(frozen=True, slots=True)
class Gathered:
    """One login of a pass: its rows, and their digest with that of its groups."""

    name: str
    raw: bytes
    rows: int
    _checks: Sequence[UserRow]
    _replies: Sequence[UserRow]
    _groups: Sequence[Group]

    def login(self, findings: Findings) -> Login:
        """Return the login with its blocks. Without checks of its own a user is not looked at for replies."""
        blocks = [each.block for each in self._groups]
        if self._checks:
            own = Block(
                self.name,
                tuple(_rows(self._checks, self.name, findings)),
                tuple(_rows(self._replies, self.name, findings)),
                goes_on=True,
            )
            blocks.insert(0, own)
        return Login(self.name, tuple(blocks))


def _rows(given: Sequence[UserRow], owner: str, findings: Findings) -> list[Row]:
    made: list[Row] = []
    for each in given:
        one = row(each.attribute, each.op, each.value)
        if one is None:
            findings.add(Why.ROW, owner, each.attribute or "(none)", "no attribute, operator or value")
        else:
            made.append(one)
    return made


async def gather(
    chunks: AsyncIterator[list[UserRow]], groups: Groups, salt: bytes
) -> AsyncIterator[list[Gathered]]:
    """Yield the logins of sorted rows, as many at a time as a chunk holds.

    Who has no checks and no groups cannot log in and is left out. `salt` goes into every digest.
    """
    pending: list[UserRow] = []
    async for chunk in chunks:
        done: list[Gathered] = []
        for each in chunk:
            if pending and pending[0].key != each.key:
                done += gathered(pending, groups, salt)
                pending = []
            pending.append(each)
        yield done
    if pending:
        yield gathered(pending, groups, salt)


def gathered(rows: list[UserRow], groups: Groups, salt: bytes) -> list[Gathered]:
    """Return the login of sorted rows of one user, none where it cannot log in; see `gather`."""
    checks = [each for each in rows if each.table == CHECK]
    members = [groups.of(each.attribute) for each in rows if each.table == GROUP]
    if not (checks or members) or not rows[0].username:
        return []
    replies = [each for each in rows if each.table not in (CHECK, GROUP)]
    text = [_text(each.table, each.attribute, each.op, each.value) for each in (*checks, *replies)]
    made = blake2b("\x1e".join(text).encode("utf-8", "surrogatepass"), digest_size=RAW, key=salt)
    for each in members:
        made.update(each.digest)
    made.update(rows[0].username.encode("utf-8", "surrogatepass"))
    return [Gathered(meant(rows[0].username), made.digest(), len(rows), checks, replies, members)]


def _text(kind: int, attribute: str | None, op: str | None, value: str | None) -> str:
    return f"{kind}\x1f{attribute}\x1f{op}\x1f{value}"


def _digest(text: Iterable[str]) -> bytes:
    return blake2b("\x1e".join(text).encode("utf-8", "surrogatepass"), digest_size=RAW).digest()
