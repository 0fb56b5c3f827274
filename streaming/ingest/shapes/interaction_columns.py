"""Rows that are interactions, column by column: no Python object for each row, which is what most files cost.

Shape suffixes: N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streaming.events.columns import INTERACTION
from streaming.events.schema import EVENT_SCHEMA, LARGEST, Interaction
from streaming.ingest.codec import content_id
from streaming.ingest.mapping.column_mapping import TIME_OF_DAY, Mapping
from streaming.ingest.mapping.event_time import IN_MS

LONGEST_ID: Final = 512
LONGEST_LINE: Final = 1 << 14
"""Bytes of JSON that an interaction with ids of at most `LONGEST_ID` characters does not reach."""
_DIGITS: Final = 20
Cells = Sequence[Any]


class InteractionColumns:
    """Reads interactions with one column a field, if no value of theirs needs a closer look; the rows are then read
    one by one, which also says what is wrong with them. Both ways give the same events.
    """

    def __init__(self, mapping: Mapping) -> None:
        single = all(isinstance(column, str) for column in mapping.columns.values())
        plain = not mapping.time_format and mapping.origin is None and TIME_OF_DAY not in mapping.columns
        self.fits = mapping.kind == "interaction" and single and plain and mapping.time_unit in IN_MS
        """Whether rows of this mapping can be read by columns at all."""
        if self.fits:
            self._places = {name: mapping.names.index(str(column)) for name, column in mapping.columns.items()}
            self._times, self._parts = IN_MS[mapping.time_unit]
            self._nulls = frozenset(mapping.null_values)
            self._action = mapping.action or "click"

    def events(self, cells: Sequence[Sequence[Any]]) -> pa.RecordBatch | None:
        """The rows as events; None if some of them have to be read one by one."""
        columns = list(zip(*cells, strict=True))
        try:
            found = {name: self._column(name, columns[place]) for name, place in self._places.items()}
        except (_CloserLookError, pa.ArrowException, UnicodeEncodeError, OverflowError):
            return None
        return _batch(found, len(cells), self._action)

    def _column(self, name: str, cells: Cells) -> pa.Array:
        if name == "time":
            return self._millis(cells)
        if name == "value":
            return self._numbers(cells)
        ids = self._ids(cells)
        _require(name != "item" or not pc.any(pc.starts_with(ids, "[")).as_py())  # may be a list of several
        return ids

    def _ids(self, cells: Cells) -> pa.Array:
        if set(map(type, cells)) == {int}:
            return pa.array(list(map(str, cells)), pa.string())
        texts = self._texts(cells)
        _require(not pc.any(pc.ends_with(texts, ".0")).as_py())  # a whole number, which is written without it
        lengths = pc.min_max(pc.utf8_length(texts))
        _require(lengths["min"].as_py() >= 1 and lengths["max"].as_py() <= LONGEST_ID)
        return texts

    def _millis(self, cells: Cells) -> pa.Array:
        if set(map(type, cells)) == {int}:
            times = pa.array(cells, pa.int64())
        else:
            texts = self._texts(cells)
            plain = pc.and_(pc.string_is_ascii(texts), pc.utf8_is_digit(texts))
            _require(pc.all(plain).as_py() and pc.max(pc.utf8_length(texts)).as_py() < _DIGITS)
            times = pc.cast(texts, pa.int64())
        _require(pc.min(times).as_py() >= 0)
        return pc.divide(pc.multiply_checked(times, self._times), self._parts)

    def _numbers(self, cells: Cells) -> pa.Array:
        if set(map(type, cells)) <= {int, float}:
            values = pa.array(list(map(float, cells)), pa.float64())
        else:
            values = pc.cast(self._texts(cells), pa.float64())
        values_N = values.to_numpy()
        _require(bool((np.abs(values_N) <= LARGEST).all()))  # false for what is not a number, too
        _require(not (np.signbit(values_N) & (values_N == 0)).any())  # "-0" and "-0.0" differ
        return values

    def _texts(self, cells: Cells) -> pa.Array:
        _require(set(map(type, cells)) == {str} and self._nulls.isdisjoint(cells))
        return pa.array(cells, pa.string())


class _CloserLookError(Exception):
    """Rows have to be read one by one."""


def _require(plain: bool) -> None:
    if not plain:
        raise _CloserLookError


def _batch(found: dict[str, pa.Array], count: int, action: str) -> pa.RecordBatch:
    found = {
        "kind": pa.array(np.full(count, INTERACTION, np.uint8)),
        "action": pa.repeat(action, count),
        "value": pa.repeat(1.0, count),
    } | found
    if "id" not in found:
        found["id"] = _content_ids(found)
    columns = [found.get(field.name, pa.nulls(count, field.type)) for field in EVENT_SCHEMA]
    return pa.RecordBatch.from_arrays(columns, schema=EVENT_SCHEMA)


def _content_ids(found: dict[str, pa.Array]) -> pa.Array:
    columns = (found[name].to_pylist() for name in ("time", "impression", "item", "action", "value"))
    return pa.array(list(map(content_id, map(Interaction, *columns))), pa.string())
