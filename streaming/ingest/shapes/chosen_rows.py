"""The rows of a table that are of a mapping's kind, in files with rows of several kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from streaming.ingest.formats.sources import Position
from streaming.ingest.formats.table_rows import FileTable, Rows
from streaming.ingest.mapping.values import identifier


class ChosenRows:
    """The rows of `table` that have in each column of `where` one of its values. Other rows do not count as read.

    `names` are the columns in the order of the cells. A row without cells is kept, so that its fault is reported.
    """

    def __init__(self, table: FileTable, names: Sequence[str], where: Mapping[str, Sequence[str]]) -> None:
        self._table = table
        self._wanted = [(names.index(column), frozenset(values)) for column, values in where.items()]

    @property
    def name(self) -> str:
        return self._table.name

    def identity(self, before: Position) -> str:
        return self._table.identity(before)

    def rows(self, start: Position) -> Iterator[Rows]:
        return map(self._chosen, self._table.rows(start))

    def _chosen(self, rows: Rows) -> Rows:
        kept = [i for i in range(len(rows)) if i in rows.faults or self._is_wanted(rows.cells[i])]
        return replace(
            rows,
            cells=[rows.cells[i] for i in kept],
            position=lambda i: rows.position(kept[i]),
            raw=lambda i: rows.raw(kept[i]),
            faults={n: rows.faults[i] for n, i in enumerate(kept) if i in rows.faults},
        )

    def _is_wanted(self, cells: Sequence[object]) -> bool:
        return all(_text(cells[place]) in values for place, values in self._wanted)


def _text(cell: object) -> str | None:
    if isinstance(cell, bool):
        return str(cell).lower()
    return None if isinstance(cell, list | dict) else identifier(cell, ())
