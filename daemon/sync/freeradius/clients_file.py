"""`clients.conf` of FreeRADIUS: its client sections, whatever else stands around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from daemon.sync.freeradius.findings import Findings, Why
from daemon.sync.freeradius.items import unescape
from daemon.sync.freeradius.nases import Client

_TOKEN = re.compile(
    r"""[ \t\r]*(?:(?P<comment>\#[^\n]*)|(?P<end>\n)|(?P<brace>[{}=])|"(?P<double>(?:[^"\\\n]|\\.)*)"|"""
    r"""'(?P<single>[^'\n]*)'|(?P<bare>[^\s{}=\#"']+))"""
)
_ADDRESSES = ("ipaddr", "ipv4addr", "ipv6addr")
_KNOWN = frozenset(
    {
        *_ADDRESSES,
        "netmask",
        "secret",
        "shortname",
        "nas_type",
        "nastype",
        "require_message_authenticator",
        "limit_proxy_state",
        "proto",
        "coa_server",
    }
)


@dataclass(slots=True)
class _Section:
    name: str
    line: int
    values: dict[str, str] = field(default_factory=dict)


def clients(text: str, findings: Findings) -> list[Client]:
    """Return the clients of a file; what they say and we do not know is told with its line."""
    found: list[Client] = []
    stack: list[_Section | None] = []
    for line, words in _lines(text, findings):
        if words == ["}"]:
            done = stack.pop() if stack else None
            if done is not None:
                made = _client(done, findings)
                found += [made] if made is not None else []
        elif words[-1] == "{":
            stack.append(_Section(" ".join(words[1:-1]), line) if words[0] == "client" else None)
        elif len(words) >= 2 and words[1] == "=" and stack and stack[-1] is not None:
            name, value = words[0].lower(), " ".join(words[2:])
            stack[-1].values[name] = value
            if name not in _KNOWN:
                findings.add(Why.INTERNAL, stack[-1].name, name, "clients have no such thing here", line)
    if stack:
        findings.add(Why.SYNTAX, "(file)", "{", "a section without its end", 0)
    return found


def _lines(text: str, findings: Findings) -> Iterator[tuple[int, list[str]]]:
    """Yield the words of each line, a closing brace by itself."""
    at, line = 0, 1
    words: list[str] = []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.end() == at:
            if text[at:].strip():
                findings.add(Why.SYNTAX, f"line {line}", "(text)", "a quote without its end", line)
                at = text.find("\n", at)
                at = len(text) if at < 0 else at
                words = []
                continue
            break
        at = match.end()
        brace = match["brace"]
        word = match["bare"] or match["single"]
        if match["double"] is not None:
            word = unescape(match["double"])
        if brace == "}" or match["end"] is not None:
            if words:
                yield line, words
            words = []
            if brace:
                yield line, ["}"]
            line += match["end"] is not None
        elif brace == "{":
            yield line, [*words, "{"]
            words = []
        elif match["comment"] is None:
            words.append("=" if brace else word or "")
    if words:
        yield line, words


def _client(section: _Section, findings: Findings) -> Client | None:
    values = section.values
    address = next((values[name] for name in _ADDRESSES if name in values), section.name)
    secret = values.get("secret", "")
    if not secret or "${" in secret or "${" in address:
        text = "a secret and an address of its own are needed"
        findings.add(Why.VALUE, section.name, "secret" if not secret else "${...}", text, section.line)
        return None
    if "netmask" in values and "/" not in address:
        address = f"{address}/{values['netmask']}"
    return Client(
        name=address,
        secret=secret,
        shortname=values.get("shortname", "" if address == section.name else section.name),
        kind=values.get("nas_type", values.get("nastype", "")).lower(),
        require_message_authenticator=values.get("require_message_authenticator", "").lower(),
        limit_proxy_state=values.get("limit_proxy_state", "").lower(),
        line=section.line,
    )


def is_clients(text: str) -> bool:
    """Tell whether a text is a file of clients."""
    return re.search(r"^\s*client\s+\S+\s*\{", text, re.MULTILINE) is not None
