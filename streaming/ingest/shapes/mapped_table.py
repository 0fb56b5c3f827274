"""A table as a source of events, by a mapping of its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from recsys.errors import InvalidValueError
from streaming.ingest.formats.sources import BEGIN, Block, Columns, Position
from streaming.ingest.formats.table_rows import FileTable, Rows
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes.block_builder import RowFields
from streaming.ingest.shapes.chosen_rows import ChosenRows
from streaming.ingest.shapes.event_rows import EventRows
from streaming.ingest.shapes.feedback_rows import FeedbackRows
from streaming.ingest.shapes.shown_rows import ShownRows
from streaming.ingest.shapes.sorted_rows import by_id, by_time, sorted_rows


class MappedTable:
    """The events that the rows of `table` are by `mapping`.

    With `sort_memory` rows that depend on their order are sorted first, holding about as many bytes: feedback by
    time, scattered rows of a list by their id. Positions are then not in order, see `Ingest.sort`.
    Raises InvalidValueError for scattered rows without it.
    """

    def __init__(self, table: FileTable, mapping: Mapping, sort_memory: int | None = None) -> None:
        self._table = ChosenRows(table, mapping.names, mapping.where) if mapping.where else table
        self._order: Callable[[Iterator[Rows]], Iterator[Rows]] = lambda rows: rows
        if mapping.apart and sort_memory is None:
            raise InvalidValueError(f"{table.name}: rows of one list are scattered (apart = true): ingest with --sort")
        if sort_memory is not None and (mapping.apart or mapping.kind == "feedback"):
            read, key, memory = RowFields(mapping, table.name), by_id if mapping.apart else by_time, sort_memory
            self._order = lambda rows: sorted_rows(rows, read, key, memory)
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

    def blocks(self, start: Position = BEGIN) -> Iterator[Block | Columns]:
        return self._shape.blocks(self._order(self._table.rows(start)))
