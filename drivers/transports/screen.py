"""What a terminal shows: octets of a device become plain text. Sans-IO."""

from __future__ import annotations

import codecs
import re

# CSI, OSC and two-character escapes; and the start of one whose end has not arrived.
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_=>78()][0-9A-Za-z]?)")
_HALF = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|\][^\x07]*)?$")
_ERASED = re.compile(r"[^\n\x08]\x08")
_BLANKED = re.compile(r"\r[ \t]*\r")


class Screen:
    """Collects the text of one exchange; colours, cursor movements and erased characters are taken out."""

    __slots__ = ("_decoder", "_half", "text")

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._half = ""
        self.text = ""

    def feed(self, octets: bytes) -> str:
        """Take octets, return the text as it arrived (for the transcript)."""
        arrived = self._decoder.decode(octets)
        text = self._half + arrived
        self._half = ""
        if "\x1b" in text:
            text = _ESCAPE.sub("", text)
            half = _HALF.search(text)
            if half:
                self._half, text = half.group(), text[: half.start()]
        if text.endswith("\r"):  # its line feed may come with the next octets
            self._half, text = "\r" + self._half, text[:-1]
        text = _BLANKED.sub("\r", text.replace("\r\n", "\n")).replace("\x00", "").replace("\x07", "")
        if "\x08" in text:
            text = self._erase(text)
        self.text += text.replace("\r", "")
        return arrived

    def _erase(self, text: str) -> str:
        joined = self.text[-512:] + text
        self.text = self.text[:-512]
        while _ERASED.search(joined):
            joined = _ERASED.sub("", joined, count=1)
        return joined.replace("\x08", "")

    def tail(self, characters: int = 512) -> str:
        """Return the end of the text."""
        return self.text[-characters:]

    def last_line(self) -> str:
        """Return what stands after the last line feed."""
        return self.text.rpartition("\n")[2]
