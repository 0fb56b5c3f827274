"""Tables with one event per row; a list of items may have its interactions in the same row."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from streaming.ingest.formats.sources import Block, Columns
from streaming.ingest.formats.table_rows import Rows
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.shapes.block_builder import BlockBuilder, Fields, RowFields
from streaming.ingest.shapes.interaction_columns import LONGEST_LINE, InteractionColumns
from streaming.ingest.shapes.rules import complete, interactions, keep_once, name_user


class EventRows:
    """Each row is an event; with `actions.NAME` an impression and its interactions, or an interaction an action."""

    def __init__(self, mapping: Mapping, source: str) -> None:
        self._mapping = mapping
        self._fields = RowFields(mapping, source)
        self._columns = InteractionColumns(mapping)
        nested = {name.partition(".")[0] for name in mapping.columns}
        ruled = mapping.anonymous != "refuse" or mapping.repeated_items != "refuse" or mapping.start is not None
        self._plain = "actions" not in nested and not ruled  # each row is exactly one event: most files, and faster

    def blocks(self, table: Iterator[Rows]) -> Iterator[Block | Columns]:
        """The rows of a table as blocks of events."""
        for rows in table:
            block: Block | Columns | None = self._by_columns(rows) if self._plain else None
            if block is None and self._plain and not self._fields.several(rows):
                block = self._fields.events(rows)
            yield block or self._one_by_one(rows)

    def _one_by_one(self, rows: Rows) -> Block:
        found = BlockBuilder()
        for place, fields in self._fields.of(rows, found.refuse):
            found.add(place, *self._events(fields))
        return found.block(rows.start, rows.end, rows.ended)

    def _by_columns(self, rows: Rows) -> Columns | None:
        if not self._columns.fits or rows.faults or not rows.cells:
            return None
        events = self._columns.events(rows.cells)
        if events is None:
            return None
        return Columns(events, rows.end, rows.position, partial(self._fields.events, rows), LONGEST_LINE, rows.ended)

    def _events(self, fields: Fields) -> list[Fields]:
        done = fields.pop("actions", None)
        if self._mapping.kind == "interaction" and done is not None:
            return [fields | {"action": action} for action, happened in done.items() if happened]
        if self._mapping.kind != "impression":
            return [fields]
        keep_once(fields, self._mapping.repeated_items)
        if self._mapping.anonymous == "request":
            name_user(fields)
        if not done or not complete(fields):
            return [fields]
        return [fields, *interactions(fields["id"], fields["time"], done)]
