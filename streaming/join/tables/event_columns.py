"""Arrow columns of events as the arrays that kernels read, without a copy.

Shape suffixes: N events, E entries of all lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streaming.events.columns import kinds, times

Bytes = npt.NDArray[np.uint8]
Ends = npt.NDArray[np.int32]

_EMPTY: Any = np.frombuffer(b"", np.uint8)


class Text(NamedTuple):
    """Texts as UTF-8: number n is `data[offsets[n] : offsets[n + 1]]`; null is empty."""

    offsets: Ends
    data: Bytes


NO_TEXT = Text(np.frombuffer(bytes(4), np.int32), _EMPTY)
"""No texts."""


def text_of(strings: Sequence[str]) -> Text:
    return _text(pa.array(strings, pa.string()))


class EventColumns(NamedTuple):
    """What is joined of events. Lists of number n are the entries from `offsets[n]` up to `offsets[n + 1]`."""

    kinds_N: npt.NDArray[np.uint8]
    times_N: npt.NDArray[np.int64]
    values_N: npt.NDArray[np.float64]
    """1 where there is none."""
    id: Text
    impression: Text
    item: Text
    action: Text
    user: Text
    features: Text
    item_features: Text
    experiment: Text
    arm: Text
    model: Text
    item_offsets: Ends
    items: Text
    """[E]"""
    propensity_offsets: Ends
    propensities_E: npt.NDArray[np.float64]

    @staticmethod
    def of(events: pa.RecordBatch) -> EventColumns:
        """Of events (`EVENT_SCHEMA`), at least one."""
        items, propensities = (events.column(name) for name in ("items", "propensities"))
        texts: Any = {name: _text(events.column(name)) for name in EventColumns._fields[3:13]}
        return EventColumns(
            kinds_N=kinds(events),
            times_N=times(events),
            values_N=_values(events.column("value")),
            item_offsets=_offsets(items),
            items=_text(items.values),
            propensity_offsets=_offsets(propensities),
            propensities_E=_floats(propensities.values),
            **texts,
        )

    @property
    def text_bytes(self) -> int:
        """Bytes of all that a joiner keeps of impressions, at most."""
        own = (self.id, self.user, self.features, self.item_features, self.experiment, self.arm, self.model)
        first, last = self.item_offsets[0], self.item_offsets[-1]
        return sum(map(_size, own)) + int(self.items.offsets[last] - self.items.offsets[first])

    @property
    def key_bytes(self) -> int:
        """Bytes of all ids of impressions, at most."""
        return _size(self.id) + _size(self.impression)

    @property
    def shown(self) -> int:
        """Shown items."""
        return int(self.item_offsets[-1] - self.item_offsets[0])

    @property
    def propensities(self) -> int:
        return int(self.propensity_offsets[-1] - self.propensity_offsets[0])


def _size(text: Text) -> int:
    return int(text.offsets[-1] - text.offsets[0])


def _text(column: pa.Array) -> Text:
    data = column.buffers()[-1]
    return Text(_offsets(column), np.frombuffer(data, np.uint8) if data is not None else _EMPTY)


def _offsets(column: pa.Array) -> Ends:
    """[len + 1], of a column of texts or lists; an empty one may have no buffer of them."""
    buffer = column.buffers()[1]
    if buffer is None or not buffer.size:
        return np.frombuffer(bytes(4), np.int32)
    return np.frombuffer(buffer, np.int32)[column.offset : column.offset + len(column) + 1]


def _floats(column: pa.Array) -> npt.NDArray[np.float64]:
    data, end = column.buffers()[1], column.offset + len(column)
    return np.frombuffer(data if end else b"", np.float64, end)[column.offset :]


def _values(column: pa.Array) -> npt.NDArray[np.float64]:
    values_N = _floats(column)[: len(column)]
    if column.null_count:
        bits = np.unpackbits(np.frombuffer(column.buffers()[0], np.uint8), bitorder="little")
        values_N = np.where(bits[column.offset : column.offset + len(column)], values_N, 1.0)
        values_N.setflags(write=False)
    return values_N
