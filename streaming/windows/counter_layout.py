"""What is counted of one kind of entity, and how a record holds it: what the stream writes and servers read.

Shape suffixes: J pairs of action and window, K fields, C records, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_hexdigest

from streaming.windows import counter_kernels
from streaming.windows.streamed_source import IMPRESSION, Entity, StreamedSource

Numbers = npt.NDArray[np.float64]
_VERSION = 1
"""Of the record."""


@dataclass(frozen=True, slots=True)
class CounterLayout:
    """The counters of one kind of entity: actions by code, and the pairs of action and width of its buckets (ms)."""

    entity: Entity
    actions: tuple[str, ...]
    pairs: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, entity: Entity, sources: Iterable[StreamedSource]) -> Self:
        """What these sources of the entity read."""
        own = [source for source in sources if source.entity == entity]
        pairs = {(source.action, source.window // counter_kernels.BUCKETS) for source in own if source.window}
        pairs |= {(IMPRESSION, source.window // counter_kernels.BUCKETS) for source in own if source.function == "rate"}
        actions = {action for action, _ in pairs} | {source.action for source in own}
        return cls(entity, tuple(sorted(actions)), tuple(sorted(pairs)))

    @property
    def key(self) -> str:
        """Equal for layouts whose records are."""
        return xxh3_64_hexdigest(
            repr((_VERSION, counter_kernels.BUCKETS, self.entity, self.actions, self.pairs)).encode()
        )

    @property
    def kind(self) -> str:
        """What the records are of."""
        return self.entity

    @property
    def times(self) -> int:
        """Times in a record."""
        return 2 * len(self.actions) + len(self.pairs)

    @property
    def counts(self) -> int:
        """Counts in a record."""
        return counter_kernels.RING * len(self.pairs)

    def columns_J2(self) -> npt.NDArray[np.int64]:  # noqa: N802
        """For the kernels: code of the action and width of each pair."""
        columns = [(self.actions.index(action), width) for action, width in self.pairs]
        return np.array(columns, np.int64).reshape(-1, 2)

    def fields_K3(self, sources: Sequence[StreamedSource]) -> npt.NDArray[np.int64]:  # noqa: N802
        """For the kernels: what each of these sources of the entity reads."""
        return np.array([self._field(source) for source in sources], np.int64).reshape(-1, 3)

    def _field(self, source: StreamedSource) -> tuple[int, int, int]:
        if source.function == "last":
            return counter_kernels.LAST, self.actions.index(source.action), 0
        width = source.window // counter_kernels.BUCKETS
        first = self.pairs.index((source.action, width))
        if source.function == "count":
            return counter_kernels.COUNT, first, 0
        return counter_kernels.RATE, first, self.pairs.index((IMPRESSION, width))

    def record(self, times: npt.NDArray[np.int64], counts: npt.NDArray[np.uint32]) -> bytes:
        """An entity's times and counts as bytes, little-endian."""
        return times.astype("<i8").tobytes() + counts.astype("<u4").tobytes()

    def empty(self) -> bytes:
        """The record of an entity of which nothing was counted."""
        return self.record(np.full(self.times, counter_kernels.NEVER), np.zeros(self.counts, np.uint32))


class RecordReader:
    """Values of some sources of one kind of entity, from records."""

    def __init__(self, layout: CounterLayout, sources: Sequence[StreamedSource]) -> None:
        self.layout = layout
        self.names = [source.name for source in sources]
        self._columns_J2, self._fields_K3 = layout.columns_J2(), layout.fields_K3(sources)
        self._empty = layout.empty()

    def values(self, records: Sequence[bytes | None], time: int) -> dict[str, list[Any]]:
        """One value for each record by the name of the source, as of `time` (ms); None where one is missing.

        None is the record of an entity of which nothing was counted, and so is one of another length.
        """
        size = len(self._empty)
        whole = [record if record is not None and len(record) == size else self._empty for record in records]
        bytes_C = np.frombuffer(b"".join(whole), np.uint8).reshape(len(records), size)
        cut = 8 * self.layout.times
        times_C = np.ascontiguousarray(bytes_C[:, :cut]).view("<i8")
        counts_C = np.ascontiguousarray(bytes_C[:, cut:]).view("<u4")
        out_CK = np.empty((len(records), len(self.names)))
        slots_C, actions = np.arange(len(records)), len(self.layout.actions)
        counter_kernels.read(times_C, counts_C, self._columns_J2, actions, self._fields_K3, slots_C, time, out_CK)
        return as_values(self.names, out_CK)


def as_values(names: Sequence[str], values_CK: Numbers) -> dict[str, list[Any]]:
    """The columns by name, with None for what is missing."""
    columns = values_CK.T.tolist()
    if not np.isnan(values_CK).any():
        return dict(zip(names, columns, strict=True))
    return {
        name: [None if math.isnan(value) else value for value in column]
        for name, column in zip(names, columns, strict=True)
    }
