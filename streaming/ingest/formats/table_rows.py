"""Rows of a table, whatever its format, with the position of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from recsys.errors import InvalidValueError
from streaming.ingest.formats.sources import Block, Position


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows: the cells of the mapped columns, in the order of the mapping's names."""

    cells: Sequence[Sequence[Any]]
    start: Position
    end: Position
    position: Callable[[int], Position]
    """Where a row begins, by its index."""
    raw: Callable[[int], bytes]
    """A row as written in the file."""
    faults: Mapping[int, str] = field(default_factory=dict)
    """Why a row has no cells, by its index."""
    ended: bool = True
    """See `Block`."""
    encoding: str = "utf-8"
    fields: Sequence[dict[str, Any]] | None = None
    """Instead of cells, the values already read from them."""

    def __len__(self) -> int:
        return len(self.cells if self.fields is None else self.fields)


def rows_of_lines(block: Block, places: Sequence[int], read: Callable[[bytes], Sequence[Any]]) -> Rows:
    """A row for each of the lines `places` of a block; `read` raises InvalidValueError for a line without cells."""
    cells, faults = list[Sequence[Any]](), dict[int, str]()
    for i, place in enumerate(places):
        try:
            cells.append(read(block.lines[place]))
        except InvalidValueError as error:
            cells.append(())
            faults[i] = str(error)
    return Rows(
        cells,
        block.start,
        block.end,
        position=lambda i: block.position(places[i]),
        raw=lambda i: block.raw(places[i]),
        faults=faults,
        ended=block.ended,
    )


class FileTable(Protocol):
    """A file of rows."""

    @property
    def name(self) -> str: ...

    def rows(self, start: Position) -> Iterator[Rows]:
        """All rows from `start` on: the position of a row, or the end of earlier rows of this table."""
        ...

    def identity(self, before: Position) -> str:
        """As of a source."""
        ...
