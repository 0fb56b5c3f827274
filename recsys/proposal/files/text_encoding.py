"""The beginning of a file as text, in the encoding that fits."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys.errors import InvalidValueError
from recsys.proposal.columns.vocabulary import known
from streaming.ingest.formats.encodings import wide_encoding

_OTHERS: Final = ("cp1251", "cp932", "euc_jp", "cp949", "big5", "cp1250", "cp1254", "cp1256", "koi8_r")


@dataclass(frozen=True)
class Decoded:
    """The beginning of a file as text without a torn last line."""

    text: str
    encoding: str
    whole: bool


def decode(path: Path, head: bytes, *, whole: bool) -> Decoded:
    """The text of `head`, in the encoding that fits. Raises InvalidValueError for lines that end with CR alone."""
    text, encoding = _decoded(head, whole)
    text = text.removeprefix("\ufeff")
    if "\n" not in text and text.strip().count("\r"):
        raise InvalidValueError(f"{path}: its lines end with a carriage return alone; let them end with a newline")
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    return Decoded(text, encoding, whole)


def _decoded(head: bytes, whole: bool) -> tuple[str, str]:
    if wide := wide_encoding(head):
        return codecs.getincrementaldecoder(wide)("replace").decode(head), wide
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(head, whole), "utf-8"
    except UnicodeDecodeError:
        western = "cp1252" if re.search(rb"[\x80-\x9f]", head) else "latin-1"
        encoding = max("gb18030" if _chinese(head) else western, *_OTHERS, key=lambda one: _names_known(head, one))
        return codecs.getincrementaldecoder(encoding)("replace").decode(head), encoding


def _names_known(head: bytes, encoding: str) -> int:
    """How many names of the first line have a known word beyond ASCII in this encoding; of equals the first counts."""
    try:
        line = head.partition(b"\n")[0].decode(encoding)
    except UnicodeDecodeError:
        return 0
    return sum(not name.isascii() and known(name) for name in re.split(r"[,;|\t]", line))


def _chinese(head: bytes) -> bool:
    """Whether bytes above ASCII come in pairs, as in GBK; in Western encodings most stand alone."""
    runs = [len(run) for run in re.findall(rb"[\x81-\xfe]+", head)]
    return sum(run for run in runs if not run % 2) > 0.9 * sum(runs)
