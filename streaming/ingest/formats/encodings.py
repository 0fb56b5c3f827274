"""Encodings that can be told from how a file begins."""

from __future__ import annotations

import codecs
from typing import Final

_MARKS: Final = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""In this order: a mark of UTF-32 begins with one of UTF-16."""
_ZEROS: Final[dict[tuple[bool, ...], str]] = {
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
}


def wide_encoding(head: bytes) -> str:
    """The encoding of two or four bytes a character in which a file begins; empty for none.

    Without a mark it is told by the zeros beside two letters of ASCII, as headers have.

    >>> wide_encoding("id".encode("utf-32")), wide_encoding("id".encode("utf-16-be")), wide_encoding(b"id,time")
    ('utf-32', 'utf-16-be', '')
    """
    marked = next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), "")
    return marked or _ZEROS.get(tuple(byte == 0 for byte in head[:4]), "")
