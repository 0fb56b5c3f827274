"""A JSON array of objects as JSON lines, without holding it all."""

from __future__ import annotations

import codecs
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final

_CHUNK: Final = 1 << 18
_BETWEEN: Final = " \t\r\n,"
_ONE_LINE: Final = str.maketrans("\r\n", "  ")
_next = JSONDecoder(parse_int=lambda _: 0, parse_float=lambda _: 0.0).raw_decode


def as_lines(stream: Any) -> Any:
    """The stream, or if its content begins with `[` a stream with one element of the array per line."""
    first = stream.read(_CHUNK)
    rest = _Resumed(first, stream)
    text = first.removeprefix(codecs.BOM_UTF8).lstrip()
    return _Elements(rest) if text.startswith(b"[") else rest


class _Resumed:
    """A stream whose first bytes were already read."""

    def __init__(self, first: bytes, stream: Any) -> None:
        self._first = first
        self._stream = stream

    def read(self, size: int) -> bytes:
        if not self._first:
            return bytes(self._stream.read(size))
        found, self._first = self._first[:size], self._first[size:]
        return found


class _Elements:
    """From an unreadable element on, the content stays as it is, so that it is refused and not lost."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text = ""
        self._ready = b""
        self._begun = self._raw = self._done = False

    def read(self, size: int) -> bytes:
        while not self._ready and not self._done:
            data = self._stream.read(_CHUNK)
            self._done = not data
            self._text += self._decoder.decode(data, final=not data)
            self._ready = self._lines().encode(errors="surrogateescape")
        found, self._ready = self._ready[:size], self._ready[size:]
        return found

    def _lines(self) -> str:
        """The complete elements; the last one is complete once something follows it."""
        if not self._begun:
            self._text, self._begun = self._text.lstrip().removeprefix("["), True
        found, at, end = list[str](), 0, len(self._text)
        while not self._raw:
            while at < end and self._text[at] in _BETWEEN:
                at += 1
            if at == end or self._text[at] == "]":
                break
            try:
                _, stop = _next(self._text, at)
            except (JSONDecodeError, RecursionError):
                self._raw = self._done or end - at > _MOST
                break
            if stop == end and not self._done:
                break
            found.append(self._text[at:stop].translate(_ONE_LINE) + "\n")
            at = stop
        text, self._text = self._text[at:], self._text[at:]
        if self._raw:
            found.append(text)
            self._text = ""
        elif self._done and text.lstrip(_BETWEEN).removeprefix("]").strip():
            found.append(text)
        return "".join(found)


_MOST: Final = 1 << 24
"""Characters of one element."""
