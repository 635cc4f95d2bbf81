"""NETCONF framing, RFC 6242: end-of-message marks (1.0) and chunks (1.1). Sans-IO."""

from __future__ import annotations

END = b"]]>]]>"
_LONGEST_MESSAGE = 128 * 1024 * 1024
_LONGEST_HEADER = 12  # "\n#4294967295"


class FramingError(ValueError):
    """The octets are no NETCONF frame; the session cannot go on."""


def encode(message: bytes, *, chunked: bool) -> bytes:
    """Return a message as it goes on the wire."""
    if chunked:
        return b"\n#%d\n%s\n##\n" % (len(message), message)
    return message + END


class Framer:
    """Cuts arriving octets into messages. `chunked` is switched after the hello, also with octets left over."""

    __slots__ = ("_buffer", "_message", "_wanted", "chunked")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message = bytearray()
        self._wanted = 0  # octets of the current chunk that are still to come
        self.chunked = False

    def feed(self, octets: bytes) -> None:
        """Take octets from the wire."""
        self._buffer += octets
        if len(self._buffer) + len(self._message) > _LONGEST_MESSAGE:
            raise FramingError("a message is too long")

    def next(self) -> bytes | None:
        """Return the next whole message, or None until more has arrived. FramingError for what is no frame."""
        return self._next_chunked() if self.chunked else self._next_marked()

    def _next_marked(self) -> bytes | None:
        end = self._buffer.find(END)
        if end < 0:
            return None
        message = bytes(self._buffer[:end])
        del self._buffer[: end + len(END)]
        return message.strip()

    def _next_chunked(self) -> bytes | None:
        while True:
            if self._wanted:
                taken = self._buffer[: self._wanted]
                self._message += taken
                self._wanted -= len(taken)
                del self._buffer[: len(taken)]
                if self._wanted:
                    return None
            header = self._header()
            if header is None:
                return None
            if header == 0:
                message, self._message = bytes(self._message), bytearray()
                return message
            self._wanted = header

    def _header(self) -> int | None:
        """Return the size of the next chunk, 0 at the end of a message, None until it has arrived."""
        if len(self._buffer) < 4:
            return None
        if self._buffer[:2] != b"\n#":
            raise FramingError(f"no chunk starts with {bytes(self._buffer[:12])!r}")
        end = self._buffer.find(b"\n", 2, _LONGEST_HEADER + 2)
        if end < 0:
            if len(self._buffer) > _LONGEST_HEADER:
                raise FramingError("the size of a chunk is too long")
            return None
        size = bytes(self._buffer[2:end])
        del self._buffer[: end + 1]
        if size == b"#":
            return 0
        if not size.isdigit() or size.startswith(b"0") or int(size) > 4294967295:
            raise FramingError(f"{size!r} is no size of a chunk")
        return int(size)
