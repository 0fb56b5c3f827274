"""Ingesting a small table, and what became of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streaming.events.schema import Impression, Interaction
from streaming.ingest.counts import Counts
from streaming.ingest.formats.open_source import open_source
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.pipeline import Ingest
from streaming.ingest.refusals.dead_letters import DeadLetters
from streaming.log.memory_log import MemoryLog
from tests.streaming.ingest.test_pipeline import stored
from tests.streaming.strategies import NOW


@dataclass
class Found:
    counts: Counts
    lists: list[Impression]
    done: list[Interaction]
    dead: list[tuple[int, str]]

    @property
    def clicks(self) -> list[tuple[str, str, str]]:
        return [(one.impression, one.item, one.action) for one in self.done]


def ingested(path: Path, content: str, mapping: Mapping, **settings: Any) -> Found:
    """What a file with this content becomes by the mapping."""
    path.write_text(content)
    log, letters = MemoryLog(), DeadLetters(path.with_suffix(".dead"))
    counts = Ingest(log, letters, window=10_000, clock=lambda: NOW).run(open_source(path, mapping, **settings))
    events = stored(log)
    return Found(
        counts,
        [one for one in events if isinstance(one, Impression)],
        [one for one in events if isinstance(one, Interaction)],
        [(entry["line"], entry["reason"]) for entry in letters.read()],
    )
