"""MS-CHAP versions 1 and 2: verify a response, prove the server, derive MPPE keys.

RFC 2433, RFC 2759, RFC 2548 section 2, RFC 3079. Only the NT half of version 1 is taken: a response that
offers nothing but the LAN Manager hash is refused, because that hash falls within minutes. Version 2 has not
got it. Nobody should rely on either without a tunnel; PPPoE networks do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha1
from hmac import compare_digest

from radius.des import encrypt
from radius.errors import Malformed
from radius.md4 import md4

_RESPONSE_SIZE = 50
_USE_NT = 0x01  # bit of the flags octet of version 1
_SIGNING = b"Magic server to client signing constant"
_ITERATION = b"Pad to make it do more than one iteration"
_MASTER = b"This is the MPPE Master Key"
_CLIENT_TO_SERVER = b"On the client side, this is the send key; on the server side, it is the receive key."
_SERVER_TO_CLIENT = b"On the client side, this is the receive key; on the server side, it is the send key."
_ZEROS = bytes(40)
_F2S = b"\xf2" * 40


class ErrorCode(IntEnum):
    """Values of E= in a failure (RFC 2759 section 6)."""

    RESTRICTED_LOGON_HOURS = 646
    ACCOUNT_DISABLED = 647
    PASSWORD_EXPIRED = 648
    NO_DIALIN_PERMISSION = 649
    AUTHENTICATION_FAILURE = 691
    CHANGING_PASSWORD = 709


@dataclass(frozen=True, slots=True)
class ResponseV1:
    """The value of MS-CHAP-Response (RFC 2548 section 2.1.3); `uses_nt` False offers the LM half only."""

    identifier: int
    uses_nt: bool
    nt_response: bytes = field(repr=False)  # 24 octets

    @classmethod
    def decode(cls, value: bytes) -> ResponseV1:
        """Return the parts of the 50 octets; raises Malformed("bad-mschap-response") for another length."""
        if len(value) != _RESPONSE_SIZE:
            raise Malformed("bad-mschap-response", f"{len(value)} octets, {_RESPONSE_SIZE} expected")
        return cls(value[0], bool(value[1] & _USE_NT), value[26:])

    def encode(self) -> bytes:
        """Return the 50 octets, the LAN Manager half zero."""
        return bytes((self.identifier, _USE_NT if self.uses_nt else 0)) + bytes(24) + self.nt_response


@dataclass(frozen=True, slots=True)
class ResponseV2:
    """The value of MS-CHAP2-Response (RFC 2548 section 2.3.2)."""

    identifier: int
    peer_challenge: bytes  # 16 octets
    nt_response: bytes = field(repr=False)  # 24 octets

    @classmethod
    def decode(cls, value: bytes) -> ResponseV2:
        """Return the parts of the 50 octets; raises Malformed("bad-mschap2-response") for another length."""
        if len(value) != _RESPONSE_SIZE:
            raise Malformed("bad-mschap2-response", f"{len(value)} octets, {_RESPONSE_SIZE} expected")
        return cls(value[0], value[2:18], value[26:])

    def encode(self) -> bytes:
        """Return the 50 octets; flags and the reserved octets are zero."""
        return bytes((self.identifier, 0)) + self.peer_challenge + bytes(8) + self.nt_response


def nt_hash(password: str) -> bytes:
    """Return the 16 octets MD4(UTF-16LE password): RFC 2759 section 8.3, NtPasswordHash."""
    return md4(password.encode("utf-16-le", "surrogatepass"))


def challenge_response(challenge: bytes, password_hash: bytes) -> bytes:
    """Return the 24 octets that answer the 8-octet `challenge`: RFC 2759 section 8.5, ChallengeResponse.

    `password_hash` is the NT hash, 16 octets.
    """
    return (
        encrypt(password_hash[:7], challenge)
        + encrypt(password_hash[7:14], challenge)
        + encrypt(password_hash[14:16] + bytes(5), challenge)
    )


def challenge_hash(username: bytes, challenge: bytes, peer_challenge: bytes) -> bytes:
    """Return the 8 octets that version 2 answers in the challenge's place: RFC 2759 section 8.2.

    A `DOMAIN\\` before the user name does not take part.
    """
    return sha1(peer_challenge + challenge + username.rpartition(b"\\")[2]).digest()[:8]


def verify_v1(challenge: bytes, response: ResponseV1, password_hash: bytes) -> bool:
    """Tell whether a version 1 response proves the NT hash; an LM-only response never does.

    Raises Malformed("bad-mschap-challenge") unless `challenge` has 8 octets.
    """
    if len(challenge) != 8:
        raise Malformed("bad-mschap-challenge", f"{len(challenge)} octets, 8 expected")
    if not response.uses_nt:
        return False
    return compare_digest(challenge_response(challenge, password_hash), response.nt_response)


def verify_v2(
    username: bytes, challenge: bytes, peer_challenge: bytes, nt_response: bytes, password_hash: bytes
) -> bytes | None:
    """Return the authenticator response `S=...` if the peer's response proves the NT hash, else None.

    `challenge` is the server's, `peer_challenge` and `nt_response` come from the peer's MS-CHAP2-Response.
    Raises Malformed("bad-mschap-challenge") unless `challenge` has 16 octets.
    """
    if len(challenge) != 16:
        raise Malformed("bad-mschap-challenge", f"{len(challenge)} octets, 16 expected")
    hashed = challenge_hash(username, challenge, peer_challenge)
    if not compare_digest(challenge_response(hashed, password_hash), nt_response):
        return None
    return _authenticator_response(hashed, nt_response, md4(password_hash))


def respond_v2(
    identifier: int, username: bytes, challenge: bytes, peer_challenge: bytes, password_hash: bytes
) -> tuple[ResponseV2, bytes]:
    """Return what a peer sends, and the `S=...` by which the server must prove itself to that peer."""
    hashed = challenge_hash(username, challenge, peer_challenge)
    nt_response = challenge_response(hashed, password_hash)
    proof = _authenticator_response(hashed, nt_response, md4(password_hash))
    return ResponseV2(identifier, peer_challenge, nt_response), proof


def success(identifier: int, authenticator_response: bytes) -> bytes:
    """Return the 43 octets of MS-CHAP2-Success (RFC 2548 section 2.3.3)."""
    return bytes((identifier,)) + authenticator_response


def error(
    code: int, challenge: bytes = b"", *, retry: bool = False, version: int = 3, message: str = ""
) -> bytes:
    """Return the text of a failure, for example `E=691 R=0 C=5B5D... V=3 M=wrong password`.

    RFC 2433 section 6, RFC 2759 section 6. `challenge` is a new one for the retry; in version 2 always sent.
    The MS-CHAP-Error attribute (RFC 2548 section 2.1.5) has the response's identifier before it.
    """
    text = f"E={int(code)} R={int(retry)}"
    if challenge:
        text += f" C={challenge.hex().upper()}"
    text += f" V={version}"
    if message:
        text += f" M={message}"
    return text.encode()


def mppe_keys_v1(password_hash: bytes) -> bytes:
    """Return the 24 plain octets of MS-CHAP-MPPE-Keys: LM key (zero) and NT key (RFC 2548 section 2.4.1).

    RFC 2548 asks for the NT hash itself, but peers start from the hash of the hash, as RFC 3079 section 2.4
    says. The attribute is hidden as User-Password is.
    """
    return bytes(8) + md4(password_hash)


def mppe_keys_v2(nt_response: bytes, password_hash: bytes) -> tuple[bytes, bytes]:
    """Return (send, receive) for MS-MPPE-Send-Key and MS-MPPE-Recv-Key, 16 octets each (RFC 3079 section 3).

    They are named from the server's side, which is the NAS; 128-bit start keys.
    """
    master = sha1(md4(password_hash) + nt_response + _MASTER).digest()[:16]
    return (
        sha1(master + _ZEROS + _SERVER_TO_CLIENT + _F2S).digest()[:16],
        sha1(master + _ZEROS + _CLIENT_TO_SERVER + _F2S).digest()[:16],
    )


def _authenticator_response(hashed_challenge: bytes, nt_response: bytes, hash_of_hash: bytes) -> bytes:
    """RFC 2759 section 8.7, GenerateAuthenticatorResponse."""
    digest = sha1(hash_of_hash + nt_response + _SIGNING).digest()
    return b"S=" + sha1(digest + hashed_challenge + _ITERATION).hexdigest().upper().encode()
