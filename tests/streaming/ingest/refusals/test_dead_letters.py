"""Dead letters say where a record stood and why it was refused, and keep it in a readable form."""

from __future__ import annotations

import base64
from pathlib import Path

from streaming.ingest.refusals.dead_letters import DeadLetter, DeadLetters


def letter(raw: bytes, line: int = 1) -> DeadLetter:
    return DeadLetter("a.jsonl", line, 10, "because", raw)


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "new" / "dead.jsonl")
    assert list(letters.read()) == []
    letters.write([letter("é\n".encode())])
    letters.write([])
    DeadLetters(letters.path).write([letter(b"\xff\x00", 2)])
    first, second = letters.read()
    assert first == {
        "source": "a.jsonl", "line": 1, "byte": 10, "reason": "because", "raw": "é\n", "encoding": "utf-8",
        "truncated": False,
    }  # fmt: skip
    assert (second["line"], second["encoding"]) == (2, "base64")
    assert base64.b64decode(second["raw"]) == b"\xff\x00"


def test_long_records_are_cut(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead.jsonl", max_raw=5)
    letters.write([letter(b"123456789")])
    (entry,) = letters.read()
    assert (entry["raw"], entry["truncated"]) == ("12345", True)


def test_half_a_line_of_a_killed_writer_spoils_no_other(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "dead.jsonl")
    letters.write([letter(b"a")])
    whole = letters.path.read_bytes()
    letters.path.write_bytes(whole + whole[:20])
    letters.write([letter(b"b")])
    assert [entry["raw"] for entry in letters.read()] == ["a", "b"]
