"""How far sources were read is remembered for one log."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.errors import LogError
from streaming.ingest.formats.sources import Position
from streaming.ingest.source_offsets import SourceOffset, SourceOffsets

OFFSET = SourceOffset(Position(2, 10), "content", 1, 0)


def test_the_offsets_of_another_log_are_not_taken(tmp_path: Path) -> None:
    SourceOffsets(tmp_path / "a", "cluster/topic").save({"file": OFFSET})
    assert SourceOffsets(tmp_path / "a", "cluster/topic").find(["file"]) == {"file": OFFSET}
    for identity, why in (("cluster/other", "was removed and made anew"), ("other/topic", "is on another cluster")):
        with pytest.raises(LogError, match=f"{tmp_path / 'a'} .*: it {why}.* move the folder away"):
            SourceOffsets(tmp_path / "a", identity)


def test_a_log_without_an_identity_takes_what_is_in_its_folder(tmp_path: Path) -> None:
    SourceOffsets(tmp_path).save({"file": OFFSET})
    assert SourceOffsets(tmp_path, "cluster/topic").find(["file"]) == {"file": OFFSET}
    assert SourceOffsets(tmp_path).find(["file"]) == {"file": OFFSET}
