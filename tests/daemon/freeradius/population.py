"""Users whom FreeRADIUS and the edge are both asked about: each shows one thing that the tables can say."""

from __future__ import annotations

from dataclasses import dataclass

from tests.daemon.freeradius.databases import Rows

P = "Cleartext-Password"
HASHES = {
    "nthash": ("NT-Password", "8846f7eaee8fb117ad06bdd830b7586c"),
    "crypted": ("Crypt-Password", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"),
    "md5": ("MD5-Password", "5f4dcc3b5aa765d61d8327deb882cf99"),
    "sha": ("SHA-Password", "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8"),
    "ssha": ("SSHA-Password", "pZQXuk5FbZmyjjVwRqy44mFcRzZzYWx0"),
    "header": ("Password-With-Header", "{clear}password"),
    "headerless": ("Password-With-Header", "password"),
    "sha2": ("SHA2-Password", "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"),
}

# Of each user: checks, replies, groups by priority. The password is `password`.
_SET, _ADD, _EQ, _IS = ":=", "+=", "=", "=="
Item = tuple[str, str, str]


@dataclass(frozen=True)
class User:
    """What the tables hold of one user."""

    checks: tuple[Item, ...] = ((P, _SET, "password"),)
    replies: tuple[Item, ...] = ()
    groups: tuple[str, ...] = ()


CLEAR = (P, _SET, "password")
SERVICE: tuple[Item, ...] = (
    ("Service-Type", _SET, "Framed-User"),
    ("Framed-Protocol", _SET, "PPP"),
    ("Acct-Interim-Interval", _SET, "300"),
)
USERS: dict[str, User] = {
    "plain": User(),
    "paying": User(
        replies=(
            *SERVICE,
            ("Framed-IP-Address", _SET, "203.0.113.10"),
            ("Framed-IPv6-Prefix", _SET, "2001:db8:1::/64"),
            ("Delegated-IPv6-Prefix", _SET, "2001:db8:1000::/56"),
            ("Mikrotik-Rate-Limit", _SET, "10M/50M"),
            ("Framed-Route", _ADD, "198.51.100.0/29 0.0.0.0 1"),
            ("Framed-Route", _ADD, "198.51.100.8/29 203.0.113.10 5"),
        )
    ),
    "committed": User(replies=(("Mikrotik-Rate-Limit", _SET, "10M/50M 0/0 0/0 0/0 8 2M/10M"),)),
    "bursting": User(replies=(("Mikrotik-Rate-Limit", _SET, "10M/50M 20M/80M 8M/40M 8/8"),)),
    "unlimited": User(replies=(("Mikrotik-Rate-Limit", _SET, "0/0"),)),
    "timed": User(replies=(("Session-Timeout", _SET, "3600"), ("Idle-Timeout", _EQ, "600"))),
    "numbers": User(replies=(("Session-Timeout", _SET, "0"), ("Acct-Interim-Interval", _SET, "30"))),
    "named": User(
        replies=(
            ("Framed-Pool", _SET, "home"),
            ("Filter-Id", _SET, "gold"),
            ("Mikrotik-Address-List", _SET, "customers"),
            ("Mikrotik-Group", _SET, "ppp-gold"),
            ("Reply-Message", _SET, "Hello, you"),
        )
    ),
    "vendors": User(
        replies=(
            ("Mikrotik-Rate-Limit", _SET, "1M/2M"),
            ("Cisco-AVPair", _ADD, "ip:sub-qos-policy-in=gold"),
            ("Cisco-AVPair", _ADD, "ip:sub-qos-policy-out=gold"),
            ("WISPr-Bandwidth-Max-Up", _SET, "1000000"),
        )
    ),
    "tunnel": User(
        replies=(
            ("Tunnel-Type:1", _SET, "VLAN"),
            ("Tunnel-Medium-Type:1", _SET, "IEEE-802"),
            ("Tunnel-Private-Group-Id:1", _SET, "100"),
        )
    ),
    "twice": User(
        replies=(("Reply-Message", _SET, "a"), ("Reply-Message", _SET, "b"), ("Class", _SET, "x1"))
    ),
    "compared": User(
        replies=(("Port-Limit", _IS, "1"), ("Filter-Id", "-=", "a"), ("Session-Timeout", "<=", "9"))
    ),
    "quoted": User(checks=((P, _SET, '"password"'),), replies=(("Reply-Message", _SET, "'two words'"),)),
    "any case": User(
        checks=(("cleartext-password", _SET, "password"),), replies=(("framed-pool", _SET, "p"),)
    ),
    "chosen": User(replies=(("Framed-IP-Address", _SET, "255.255.255.254"),)),
    "o=27neil": User(replies=(("Reply-Message", _SET, "o'neil, it's you"),)),
    "rejected": User(checks=(CLEAR, ("Auth-Type", _SET, "Reject"))),
    "rejected with service": User(checks=(CLEAR, ("Auth-Type", _EQ, "Reject")), replies=()),
    "not rejected": User(checks=(CLEAR, ("Auth-Type", _IS, "Reject"))),
    "wrong operator": User(checks=((P, _IS, "password"),)),
    "no operator": User(checks=((P, "", "password"),)),
    "added": User(checks=((P, _ADD, "password"),)),
    "old name": User(checks=(("User-Password", _SET, "password"),)),
    "never met": User(checks=(CLEAR, ("Simultaneous-Use", _IS, "1"))),
    "elsewhere": User(checks=(CLEAR, ("NAS-Port-Type", _IS, "ISDN"))),
    "here": User(checks=(CLEAR, ("NAS-IP-Address", _IS, "127.0.0.1"))),
    "framed": User(checks=(CLEAR, ("Service-Type", _IS, "Framed-User"))),
    "first of two": User(checks=(CLEAR, (P, _SET, "other"))),
    "other first": User(checks=((P, _SET, "other"), CLEAR)),
    "no password": User(checks=()),
    "expired": User(checks=(CLEAR, ("Expiration", _SET, "24 Dec 2020 18:00:00"))),
    "always": User(checks=(CLEAR, ("Login-Time", _SET, "Any"))),
    "at no time": User(checks=(CLEAR, ("Login-Time", _SET, "Never"))),
    "limited": User(checks=(CLEAR, ("Simultaneous-Use", _SET, "3"))),
    # groups
    "gold": User(groups=("gold",)),
    "gold with own": User(
        groups=("gold",), replies=(("Idle-Timeout", _SET, "77"), ("Port-Limit", _SET, "4"))
    ),
    "gold with other": User(
        groups=("gold",), replies=(("Filter-Id", _SET, "mine"), ("Framed-Pool", _SET, "mine"))
    ),
    "adds with address": User(groups=("adds",), replies=(("Framed-IP-Address", _SET, "203.0.113.20"),)),
    "gold but not further": User(groups=("gold", "silver")),
    "extra then gold": User(groups=("extra", "gold")),
    "own fall-through": User(
        groups=("gold",), replies=(("Fall-Through", _EQ, "No"), ("Port-Limit", _SET, "1"))
    ),
    "own yes": User(groups=("gold",), replies=(("Fall-Through", _EQ, "Yes"), ("Port-Limit", _SET, "1"))),
    "suspended": User(groups=("suspended",)),
    "in an empty group": User(groups=("nothing", "gold")),
    "past a condition": User(groups=("isdn", "gold")),
    "pool of group": User(groups=("nas-chooses",), replies=(("Framed-IP-Address", _SET, "203.0.113.30"),)),
    "password of group": User(checks=(), groups=("shared",)),
    "two groups add": User(groups=("extra", "adds")),
    "two groups set": User(groups=("extra", "sets")),
    "bounds": User(
        groups=("bounds",),
        replies=(("Session-Timeout", _SET, "10"), ("Idle-Timeout", _SET, "10"), ("Port-Limit", _SET, "10")),
    ),
    "taken away": User(
        groups=("takes",), replies=(("Reply-Message", _SET, "one"), ("Reply-Message", _SET, "two"))
    ),
}
USERS |= {name: User(checks=((attribute, _SET, value),)) for name, (attribute, value) in HASHES.items()}
GROUPS: dict[str, tuple[tuple[Item, ...], tuple[Item, ...]]] = {
    "gold": (
        (("Simultaneous-Use", _SET, "100"),),
        (
            *SERVICE,
            ("Mikrotik-Rate-Limit", _SET, "20M/100M"),
            ("Idle-Timeout", _SET, "900"),
            ("Filter-Id", _EQ, "gold"),
            ("Port-Limit", _EQ, "2"),
            ("Framed-Pool", _EQ, "gold"),
        ),
    ),
    "silver": ((), (("Reply-Message", _ADD, "silver"),)),
    "extra": ((), (("Reply-Message", _ADD, "extra"), ("Fall-Through", _EQ, "Yes"))),
    "adds": ((), (("Reply-Message", _ADD, "adds"),)),
    "sets": ((), (("Reply-Message", _SET, "sets"), ("Session-Timeout", _SET, "60"))),
    "bounds": (
        (),
        (("Session-Timeout", ">=", "9"), ("Idle-Timeout", "<=", "9"), ("Port-Limit", ">=", "11")),
    ),
    "takes": ((), (("Reply-Message", "-=", "two"),)),
    "suspended": ((("Auth-Type", _SET, "Reject"),), ()),
    "isdn": ((("NAS-Port-Type", _IS, "ISDN"),), (("Reply-Message", _SET, "isdn"),)),
    "shared": (((P, _SET, "password"),), (("Reply-Message", _SET, "shared"),)),
    "nas-chooses": ((), (("Framed-IP-Address", _EQ, "255.255.255.254"),)),
}
# What we do otherwise on purpose, by user; `docs/freeradius.md` says why.
UNKNOWN = {
    "unknown": User(replies=(("X-Bandwidth-Profile-ID", _SET, "7"), ("Filter-Id", _SET, "gold"))),
    "unknown check": User(checks=(CLEAR, ("X-Nonsense", _SET, "7"))),
    "zero": User(replies=(("Framed-IP-Address", _SET, "0.0.0.0"), ("Filter-Id", _SET, "gold"))),
    "pool and address": User(
        replies=(("Framed-Pool", _SET, "p"), ("Framed-IP-Address", _SET, "203.0.113.40"))
    ),
    "spelled otherwise": User(replies=(("Mikrotik-Rate-Limit", _SET, "10000k/50000k"),)),
    "without a password": User(checks=(("Auth-Type", _SET, "Accept"),)),
    "one at a time": User(replies=(("Simultaneous-Use", _SET, "1"),)),
    "iso date": User(checks=(CLEAR, ("Expiration", _SET, "2040-12-24T18:00:00"))),
    "condition kept out": User(checks=(CLEAR, ("Calling-Station-Id", _IS, "aa-bb"))),
    "message of a reject": User(replies=(("Reply-Message", _SET, "secret words"),)),
}


def rows(users: dict[str, User] | None = None) -> Rows:
    """Return the rows of the tables."""
    users = USERS | UNKNOWN if users is None else users
    return {
        "radcheck": [(name, *each) for name, user in users.items() for each in user.checks],
        "radreply": [(name, *each) for name, user in users.items() for each in user.replies],
        "radusergroup": [
            (name, group, place) for name, user in users.items() for place, group in enumerate(user.groups, 1)
        ],
        "radgroupcheck": [(name, *each) for name, (checks, _) in GROUPS.items() for each in checks],
        "radgroupreply": [(name, *each) for name, (_, replies) in GROUPS.items() for each in replies],
        "nas": [("127.0.0.1", "lab", "mikrotik", "testing123")],
    }
