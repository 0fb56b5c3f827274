"""A file that holds one array of objects gives its elements in bounded pieces, and loses nothing when damaged."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.ingest.counts import Counts
from streaming.ingest.formats import json_array
from streaming.ingest.formats.json_array import as_lines
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.ingest.source_offsets import SourceOffsets
from streaming.log.memory_log import MemoryLog
from tests.streaming.strategies import NOW


def whole(data: bytes, size: int = 7) -> bytes:
    stream, found = as_lines(io.BytesIO(data)), b""
    while more := stream.read(size):
        assert len(more) <= size
        found += more
    return found


values = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@given(
    elements=st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=6),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    chunk=st.integers(1, 40),
)
def test_the_elements_are_the_lines(elements: list[Any], indent: int | None, ascii_only: bool, chunk: int) -> None:
    data = ("\ufeff " + json.dumps(elements, indent=indent, ensure_ascii=ascii_only) + "\n").encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_array, "_CHUNK", max(chunk, 8))
        assert [json.loads(line) for line in whole(data).splitlines()] == elements


def test_lines_stay_lines() -> None:
    assert whole(b'{"a": 1}\n[2]\n') == b'{"a": 1}\n[2]\n'
    assert whole(b"") == b""


def event(i: int) -> str:
    return json.dumps({"type": "interaction", "time": i, "impression": f"r{i}", "item": "a"}, indent=1)


@pytest.mark.parametrize(
    ("damage", "read"),
    [("[{a}, {b}]", 2), ("[{a}, {b}", 2), ("[{a}, {b}, {{]", 3), ("[{a}, {b}] x", 3), ("[{a}, {b}, x, {a}]", 3)],
)
def test_an_array_is_ingested_and_a_damaged_end_is_refused(tmp_path: Path, damage: str, read: int) -> None:
    (tmp_path / "a.json").write_text(damage.format(a=event(1), b=event(2)))
    log, offsets = MemoryLog(), SourceOffsets(tmp_path / "offsets")

    def ingest(mapping: Mapping | None = None) -> Counts:
        ingest = Ingest(log, DeadLetters(tmp_path / "dead"), window=10_000, clock=lambda: NOW, source_offsets=offsets)
        return ingest.run(open_source(tmp_path / "a.json", mapping))

    assert ingest().accepted == 2
    again = ingest()
    assert again.duplicate == 2
    assert (again.dead > 0) == (read > 2)
    columns = {"time": "time", "impression": "impression", "item": "item"}
    assert ingest(Mapping("interaction", columns)).duplicate == 2
