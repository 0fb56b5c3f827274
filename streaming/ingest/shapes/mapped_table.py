"""A table as a source of events, by a mapping of its columns."""

from __future__ import annotations

from collections.abc import Iterator

from streaming.ingest.formats.rows import Table
from streaming.ingest.formats.sources import BEGIN, Block, Position
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes.event_rows import EventRows
from streaming.ingest.shapes.feedback_rows import FeedbackRows
from streaming.ingest.shapes.shown_rows import ShownRows


class MappedTable:
    """The events that the rows of `table` are by `mapping`."""

    def __init__(self, table: Table, mapping: Mapping) -> None:
        self._table = table
        self._shape: EventRows | FeedbackRows | ShownRows
        if mapping.kind == "shown":
            self._shape = ShownRows(mapping, table.name)
        elif mapping.kind == "feedback":
            self._shape = FeedbackRows(mapping, table.name)
        else:
            self._shape = EventRows(mapping, table.name)

    @property
    def name(self) -> str:
        return self._table.name

    def identity(self, before: Position) -> str:
        return self._table.identity(before)

    def blocks(self, start: Position = BEGIN) -> Iterator[Block]:
        return self._shape.blocks(self._table.rows(start))
