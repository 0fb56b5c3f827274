"""Building a block from rows: lines of events, each with the row that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
from xxhash import xxh3_64_hexdigest

from recsys.errors import InvalidValueError
from streaming.ingest.formats.sources import Block, Position
from streaming.ingest.formats.table_rows import Rows
from streaming.ingest.mapping.column_mapping import Mapping
from streaming.ingest.mapping.row_mapper import RowMapper
from streaming.ingest.shapes.nested_items import NestedItems

Fields = dict[str, Any]
"""An event before it is encoded, see `RowMapper`."""


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """A row in its file."""

    rows: Rows
    index: int

    @property
    def position(self) -> Position:
        return self.rows.position(self.index)


@dataclass(slots=True)
class BlockBuilder:
    """Collects the lines and faults of a block."""

    lines: list[bytes] = field(default_factory=list)
    places: list[RecordPlace] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)

    def add(self, place: RecordPlace, *events: Fields) -> None:
        """Events of one row; none of them is added if one cannot be encoded."""
        try:
            lines = [msgspec.json.encode(event) for event in events]
        except UnicodeEncodeError:
            self.refuse(place, f"not {place.rows.encoding.upper()}")
            return
        self.lines += lines
        self.places += [place] * len(lines)

    def refuse(self, place: RecordPlace, reason: str) -> None:
        """Add the fault of a row that becomes no event."""
        self.faults[len(self.lines)] = reason
        self.lines.append(b"")
        self.places.append(place)

    def block(self, start: Position, end: Position, ended: bool = True, divisible: bool = True) -> Block:
        """The block of what was collected from the rows between two positions."""
        places = self.places
        return Block(
            self.lines,
            start,
            end,
            self.faults,
            position_of=lambda i: places[i].position,
            raw_of=lambda i: places[i].rows.raw(places[i].index),
            ended=ended,
            divisible=divisible,
        )


class RowFields:
    """The fields of each row of a table; rules of the mapping fill in what the table lacks."""

    def __init__(self, mapping: Mapping, source: str) -> None:
        self._mapping = mapping
        self._id = {"feedback": True, "interaction": "id" in mapping.columns}.get(mapping.kind, False)
        self._start, self._interval = mapping.start, mapping.interval
        self._source = xxh3_64_hexdigest(source.encode())

    @cached_property
    def _mapper(self) -> RowMapper:  # made where it is needed: it costs more than a small file that is read by columns
        return RowMapper(self._mapping)

    @cached_property
    def _nested(self) -> NestedItems | None:
        one_each = "item" in self._mapping.columns and self._mapping.kind != "item"
        return NestedItems(self._mapping) if one_each else None

    def several(self, rows: Rows) -> bool:
        """Whether a row names its item by a list."""
        return self._nested is not None and any(map(self._nested.is_list, rows.cells))

    def of(self, rows: Rows, refuse: Callable[[RecordPlace, str], None]) -> Iterator[tuple[RecordPlace, Fields]]:
        """All rows that can be read; the others go to `refuse`."""
        for i in range(len(rows)):
            yield from self.at(RecordPlace(rows, i), refuse)

    def at(
        self, place: RecordPlace, refuse: Callable[[RecordPlace, str], None]
    ) -> Iterator[tuple[RecordPlace, Fields]]:
        """The fields of one row, for each item that it names if a row is an item."""
        if fault := place.rows.faults.get(place.index):
            refuse(place, fault)
        elif place.rows.fields is not None:
            yield place, place.rows.fields[place.index]
        else:
            cells = place.rows.cells[place.index]
            for part, one in enumerate(self._nested.rows(cells) if self._nested else (cells,)):
                try:
                    fields = self._mapper.fields(one)
                except InvalidValueError as error:
                    refuse(place, str(error))
                    continue
                if self._start is not None:
                    fields["time"] = self._start + (place.position.line - 1) * self._interval
                if part and self._id:
                    fields["id"] = f"{fields.get('id') or self.id(place)}-{part}"
                yield place, fields

    def events(self, rows: Rows) -> Block:
        """A block in which each row is the event that its fields are."""
        lines, faults = list[bytes](), dict(rows.faults)
        read, encode = self._mapper.fields, msgspec.json.encode
        for i, cells in enumerate(rows.cells):
            try:
                lines.append(b"" if i in faults else encode(read(cells)))
            except UnicodeEncodeError:
                lines.append(b"")
                faults[i] = f"not {rows.encoding.upper()}"
            except InvalidValueError as error:
                lines.append(b"")
                faults[i] = str(error)
        faults = dict(sorted(faults.items()))
        return Block(lines, rows.start, rows.end, faults, position_of=rows.position, raw_of=rows.raw, ended=rows.ended)

    def id(self, place: RecordPlace) -> str:
        """An id for a row without one: the same whenever this file is read."""
        return f"{self._source}-{place.position.line}"
