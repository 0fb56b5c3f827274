"""Ids to row numbers on a GPU: the promises of `embedding.ids.id_table.IdTable`, on torch tensors.

Suffixes: N ids of a call, G ids that are gone, R rows. Ids are int64 tensors that hold the bits of 64-bit ids; uint64
tensors are taken too.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from embedding.gpu import kernels, sweep
from embedding.gpu.launch import launch
from embedding.value_checks import check_int
from recsys.errors import InvalidValueError

_FIRST_HALF = 1 << 8  # slots of each ring of a new table
_SLOT = 16  # bytes
_EVERYTHING = 1 << 62  # hotter than any id


class GpuIdTable:
    """A hash table from ids to rows in [0, capacity), with the time each id was last seen, and its frequency.

    Times are minutes since the epoch. Calls go to the current CUDA stream and wait for the device only when the table
    may have to grow, and where the size of an answer depends on the data (`len`, `expire`, `evict`, `entries`).

    >>> table = GpuIdTable(capacity=100, device="cuda")  # doctest: +SKIP
    >>> rows_N, new_N = table.find_or_insert(torch.tensor([7, -1, 7, 0], device="cuda"), minute=0)  # doctest: +SKIP
    >>> bool(rows_N[0] == rows_N[2]), int(new_N.sum()), len(table)  # doctest: +SKIP
    (True, 3, 3)
    """

    def __init__(self, capacity: int, device: torch.device | str = "cuda", block: int = 128) -> None:
        """`block` ids (a power of two, at least 32 on a GPU) are one program's, which is one warp."""
        check_int("capacity", capacity)
        if not 0 < capacity < 1 << 31:
            raise InvalidValueError(f"capacity is {capacity}, choose 1 to 2**31 - 1 rows")
        self.capacity = capacity
        self.device = torch.device(device)
        check_int("block", block)
        if block < (32 if self.device.type == "cuda" else 1) or block & (block - 1):
            raise InvalidValueError(f"block is {block}: choose a power of two, on a GPU at least 32 (a warp)")
        if self.device.type == "cpu" and not triton.knobs.runtime.interpret:
            raise InvalidValueError(
                "a table on the CPU needs Triton's interpreter: set TRITON_INTERPRET=1 before Python starts, "
                "or use embedding.ids.id_table.IdTable, which is made for CPUs"
            )
        self._block = block
        self._full = max(32, capacity)  # slots of a ring that never overflows before the rows run out
        self._half = min(self._full, _FIRST_HALF)
        self._table = self._empty(self._half)
        self._frequency_R = torch.zeros(capacity, dtype=torch.int32, device=self.device)
        self._free_R = torch.arange(capacity - 1, -1, -1, dtype=torch.int32, device=self.device)
        self._state = torch.tensor([capacity, 0, 0], device=self.device)
        self._used_at_most = 0

    def _empty(self, half: int) -> torch.Tensor:
        table = torch.zeros(2 * half, 2, dtype=torch.int64, device=self.device)
        table[:half, 0] = -1
        return table

    @property
    def _slots(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._table, self._table.view(torch.int32)

    def _checked(self, ids_N: torch.Tensor) -> torch.Tensor:
        if ids_N.dim() != 1 or ids_N.dtype not in (torch.int64, torch.uint64):
            raise InvalidValueError(f"ids are {ids_N.dtype} {list(ids_N.shape)}: give int64 or uint64 of one dimension")
        if ids_N.device != self._table.device:
            raise InvalidValueError(f"ids are on {ids_N.device}: move them to {self._table.device}")
        return ids_N.contiguous().view(torch.int64)

    def _counter(self, which: tl.constexpr) -> int:
        return int(self._state[which.value])

    def __len__(self) -> int:
        return self.capacity - self._counter(kernels.FREE)

    @property
    def refused(self) -> int:
        """Sightings of ids that found no row left: each was answered -1."""
        return self._counter(kernels.REFUSED)

    @property
    def tombstones(self) -> int:
        """Slots whose id is gone, not taken again yet."""
        return self._counter(kernels.USED) - len(self)

    @property
    def slots(self) -> int:
        return 2 * self._half

    @property
    def load(self) -> float:
        """The share of slots that hold an id."""
        return len(self) / self.slots

    @property
    def nbytes(self) -> int:
        """Bytes on the device: 16 a slot, and a row's place in the stack of free rows and its frequency."""
        return self.slots * _SLOT + self.capacity * 8

    def probe_lengths(self, longest: int = 8) -> torch.Tensor:
        """Number of ids found in the first slot read, the second, and so on; the last counts all from there on."""
        slot = torch.arange(self.slots, device=self.device)
        word, ring = self._table[:, 0], slot // self._half
        home = (((word >> 31) & 0xFFFFFFFF) * self._half >> 32) + ring * self._half
        steps = (slot - home) % self._half
        return steps[(word < 0) == (ring > 0)].clamp(max=longest - 1).bincount(minlength=longest)

    def find(self, ids_N: torch.Tensor) -> torch.Tensor:
        """Rows of ids, -1 where there is none. Changes nothing."""
        ids_N = self._checked(ids_N)
        rows_N = torch.empty_like(ids_N)
        launch(kernels.find, len(ids_N), self._block, *self._slots, self._half, ids_N, rows_N, len(ids_N))
        return rows_N

    def find_or_insert(self, ids_N: torch.Tensor, minute: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of ids, seen at `minute`, and a mask with one place for each id that is new.

        A row is -1 when all are taken; `refused` counts those. Which of an id's places the mask names is the choice of
        the race between programs; so are row numbers.
        """
        ids_N = self._checked(ids_N)
        _check_minute(minute)
        rows_N = torch.full_like(ids_N, -1)
        self._touch(ids_N, rows_N, minute, last=False)
        self._make_room(rows_N)
        new_N = self._claim(ids_N, rows_N, minute)
        self._touch(ids_N, rows_N, minute, last=True)
        return rows_N, new_N

    def _touch(self, ids_N: torch.Tensor, rows_N: torch.Tensor, minute: int, last: bool) -> None:
        notes = (self._frequency_R, self._state, self._half)
        launch(
            kernels.touch, len(ids_N), self._block, *self._slots, *notes, ids_N, rows_N, len(ids_N), minute, LAST=last
        )

    def _claim(self, ids_N: torch.Tensor, rows_N: torch.Tensor, minute: int) -> torch.Tensor:
        new_N = torch.zeros(len(ids_N), dtype=torch.int8, device=self.device)
        supply = (self._frequency_R, self._free_R, self._state, self._half)
        launch(kernels.claim, len(ids_N), self._block, *self._slots, *supply, ids_N, rows_N, new_N, len(ids_N), minute)
        self._state[kernels.FREE.value].clamp_(min=0)  # draws from the empty stack
        return new_N.bool()

    def _make_room(self, rows_N: torch.Tensor) -> None:
        """Rebuild before the ids without a row could crowd a ring. Waits for the device only when they might."""
        limit = self._half if self._half < self._full else self._full * 3 // 2
        if self._used_at_most + len(rows_N) <= limit:
            self._used_at_most += len(rows_N)
            return
        used, live = self._counter(kernels.USED), len(self)
        coming = int((rows_N < 0).sum()) if live < self.capacity else 0
        if used + coming > limit:
            self._rebuild(max(self._half, self._fitting(live + min(coming, self.capacity - live))))
            used = live
        self._used_at_most = used + coming

    def _fitting(self, wanted: int) -> int:
        """Slots of a ring with room to spare for `wanted` ids."""
        half = min(self._full, _FIRST_HALF)
        while half < self._full and wanted > half * 3 // 4:
            half = min(2 * half, self._full)
        return half

    def _rebuild(self, half: int) -> None:
        """Move all ids to a table of another size, without tombstones."""
        old, slots = self._slots, self.slots
        self._table = self._empty(half)
        idle = torch.zeros(self._block, dtype=torch.int64, device=self.device)
        launch(kernels.move, slots, self._block, *old, self._half, *self._slots, half, idle)
        self._half = half
        self._state[kernels.USED.value] = self.capacity - self._state[kernels.FREE.value]

    def shrink(self) -> None:
        """Give back memory that ids gone since no longer need, and clear all tombstones."""
        live = len(self)
        self._rebuild(self._fitting(live))
        self._used_at_most = live

    def restore(self, ids_N: torch.Tensor, priorities_N: torch.Tensor) -> torch.Tensor:
        """Insert ids of `entries` with their priorities. Returns their new rows, -1 where none is left."""
        rows_N, _ = self.find_or_insert(ids_N, -(2**31))
        seen_N, often_N = priorities_N >> 8, priorities_N & 255
        what = (*self._slots, self._frequency_R, self._half, self._checked(ids_N), seen_N, often_N, len(ids_N))
        launch(kernels.recall, len(ids_N), self._block, *what)
        return rows_N

    def remove(self, ids_N: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Drop these ids: those that were here, ascending, and the rows they had, now free."""
        ids_U = torch.unique(self._checked(ids_N))
        rows_U = torch.empty_like(ids_U)
        what = (self._free_R, self._state, self._half, ids_U, rows_U, len(ids_U))
        launch(kernels.drop, len(ids_U), self._block, *self._slots, *what)
        return ids_U[rows_U >= 0], rows_U[rows_U >= 0]

    def expire(self, before: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Drop ids last seen before the minute `before`: the ids that went and the rows they had, now free."""
        _check_minute(before)
        ids_G, rows_G, _ = self._list(before << 8, drop=True)
        return ids_G, rows_G

    def evict(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Drop the n ids of lowest eviction priority. Returns the ids and their rows.

        The order is last seen, then frequency, then `hashing.eviction_ties(ids, 0)`.
        """
        ids, _, priorities = self.entries()
        priority, tie = _EVERYTHING, 0
        if n < len(ids):
            priority = int(priorities.kthvalue(n + 1).values)
            equals = ids[priorities == priority]
            ties = torch.empty_like(equals)
            launch(kernels.eviction_ties, len(equals), self._block, equals, ties, len(equals))
            sign = torch.iinfo(torch.int64).min  # flips signed order into that of the unsigned hashes
            rest = n - int((priorities < priority).sum())
            tie = int((ties ^ sign).kthvalue(rest + 1).values ^ sign)
        ids_G, rows_G, _ = self._list(priority, tie, drop=True)
        return ids_G, rows_G

    def entries(self, touched: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """All ids, their rows and their priorities (last seen << 8 | frequency up to 255), in slot order.

        With `touched`, an int32 bitmap of rows (bit r % 32 of word r // 32), only those whose row's bit is set.
        """
        return self._list(_EVERYTHING, touched=touched)

    def _list(
        self, priority: int, tie: int = 0, touched: torch.Tensor | None = None, drop: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        limits = torch.tensor([priority, tie], device=self.device)
        what = (*self._slots, self._frequency_R, touched, self._half, limits)
        counts = torch.zeros(triton.cdiv(self.slots, self._block), dtype=torch.int64, device=self.device)
        launch(sweep.count, self.slots, self._block, *what, counts)
        ends = counts.cumsum(0)
        total = int(ends[-1])
        ids, rows, priorities = torch.empty(3, total, dtype=torch.int64, device=self.device)
        if total:
            lists = (ends, ids, rows, priorities, self._free_R, self._state)
            launch(sweep.collect, self.slots, self._block, *what, *lists, DROP=drop)
        if drop:
            self._state[kernels.FREE.value] += total
        return ids, rows, priorities


def _check_minute(minute: int) -> None:
    if not -(2**31) <= minute < 2**31:
        raise InvalidValueError(f"minute {minute} lies beyond the year 6000: check its unit (minutes since the epoch)")
