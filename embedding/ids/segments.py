"""The memory of an id table: segments of the hash space that grow and shrink one at a time.

Suffix: S segments. See `embedding.kernels.id_table.lines` for lines and slots.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding.hashing import mix
from embedding.ids.packed import aged
from embedding.kernels.id_table.table_segment import probe_lengths, rebuild
from embedding.lazy_arrays import give_back, lazy_zeros

LOAD = 0.69
"""The share of slots in use in a full table; 16 bytes per slot / 0.69 = 23.2 bytes per id."""
_IDS = 1 << 14  # per full segment, at most twice that: a growth step rewrites what fits the processor's cache
_GROW_FROM, _GROW_SPREAD = (
    0.52,
    0.16,
)  # segments grow at loads spread over this range, so that they do not all grow at once
_CRAMPED = 0.78  # from this load on, a segment with more ids than planned grows beyond its planned size


class Segments:
    """Lines for up to `capacity` ids. A segment starts small and doubles up to its planned size, or beyond if needed.

    >>> segments = Segments(capacity=1_000_000)
    >>> len(segments), segments.slots < 200_000  # it starts small
    (32, True)
    """

    def __init__(self, capacity: int, huge: bool = True, zeros: Callable[..., npt.NDArray[Any]] = lazy_zeros) -> None:
        self._huge, self._zeros = huge, zeros
        self.bits = max(1, math.ceil(math.log2(max(2, capacity / (2 * _IDS)))))
        mean = capacity / (1 << self.bits)
        self._full = math.ceil(mean / LOAD / 4) + 1  # lines of a segment when the table is full
        self._lay_out(stride=math.ceil((mean + 6 * math.sqrt(mean) + 8) / LOAD / 4) + 1)

    def _lay_out(self, stride: int) -> None:
        segments = 1 << self.bits
        self.stride = stride
        self.table = self._zeros(segments * stride * 8, np.uint64, self._huge)
        self._smallest = min(stride, max(4, math.ceil(self._full / (1 << max(0, self._full.bit_length() - 3)))))
        self.lines_S = np.full(segments, self._smallest, np.uint32)
        self.counts_S, self.limits_S = np.zeros(segments, np.int64), np.zeros(segments, np.int64)
        self.scratch, self.going = lazy_zeros(stride * 8, np.uint64), lazy_zeros(stride * 8, np.uint64)
        lower = self.table.reshape(segments, -1)[
            : segments // 2
        ]  # in the upper half of the hash space the empty word is 0
        lower[:, : self._smallest * 8 : 2] = ~np.uint64(0)
        for segment in range(segments):
            self._set_limit(segment)

    def __len__(self) -> int:
        return len(self.lines_S)

    @property
    def where(self) -> tuple[Any, ...]:
        """The first arguments of every kernel."""
        return self.table, self.lines_S, np.uint64(self.bits), np.uint64(self.stride)

    @property
    def slots(self) -> int:
        """Slots in use or free, of 16 bytes each."""
        return 4 * int(self.lines_S.sum())

    def of(self, one_id: np.uint64) -> int:
        """The segment of an id."""
        return int(mix(np.array([one_id]))[0] >> np.uint64(64 - self.bits))

    def _set_limit(self, segment: int) -> None:
        lines, turn = int(self.lines_S[segment]), segment / len(self)
        load = _GROW_FROM + _GROW_SPREAD * turn if lines < self._full else _CRAMPED
        self.limits_S[segment] = max(1, int(4 * lines * load))

    def grow(self, segment: int) -> None:
        """Give a segment that is over its limit more lines."""
        lines = int(self.lines_S[segment])
        wanted = min(2 * lines, self._full) if lines < self._full else lines + max(1, lines // 8)
        if wanted > self.stride:
            self._widen()
        self.resize(segment, wanted)

    def make_room(self, ids: int) -> None:
        """Give empty segments the lines that so many ids need together; a few may still grow."""
        mean = ids / len(self)
        for segment in range(len(self)):
            while self.limits_S[segment] <= mean + 3 * math.sqrt(mean) and self.lines_S[segment] < self._full:
                self.grow(segment)

    def shrink(self) -> Iterator[int]:
        """Shrink segments that have twice the lines they need, one per step; yields the bytes given back."""
        for segment in range(len(self)):
            lines = int(self.lines_S[segment])
            wanted = lines
            while wanted // 2 >= self._smallest and self.counts_S[segment] <= 4 * (wanted // 2) * _GROW_FROM:
                wanted //= 2
            if wanted < lines:
                self.resize(segment, wanted)
                first = segment * self.stride
                give_back(self.table[(first + wanted) * 8 : (first + lines) * 8])
            yield (lines - wanted) * 64

    def resize(self, segment: int, lines: int) -> None:
        """Rebuild one segment with `lines` lines: the unit of growing and shrinking."""
        rebuild(*self.where, segment, lines, self.scratch)
        self._set_limit(segment)

    def _widen(self) -> None:
        """Make room for a segment with too many ids: needed only for ids chosen to collide under splitmix64."""
        old, stride, lines_S, counts_S = self.table, self.stride, self.lines_S, self.counts_S
        self._lay_out(2 * stride)
        self.table.reshape(len(lines_S), -1)[:, : stride * 8] = old.reshape(len(lines_S), -1)
        self.lines_S, self.counts_S = lines_S, counts_S
        for segment in range(len(lines_S)):
            self._set_limit(segment)

    def age(self, minutes: int) -> None:
        """Move all last-seen stamps back by so many minutes; those that would leave the range become 1."""
        for packed in self.table.reshape(len(self), -1)[:, 1::2]:
            packed[:] = aged(packed, minutes)

    def probe_lengths(self, longest: int = 8) -> npt.NDArray[np.int64]:
        """The number of ids found in the first line read, in the second, and so on."""
        histogram = np.zeros(longest, np.int64)
        probe_lengths(*self.where, histogram)
        return histogram
