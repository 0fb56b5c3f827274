"""Our id table as TorchRec's `ManagedCollisionModule`. Suffixes: N ids of a call, U distinct ids, R rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torchrec.modules.mc_modules import ManagedCollisionModule
from torchrec.sparse.jagged_tensor import JaggedTensor

from embedding.ids.admission import Mask
from embedding.ids.ids_by_row import IdsByRow
from embedding.rows.row_block import RowMemory
from embedding.sharding import HashBuckets
from embedding.store import Ids, Table
from embedding.torchrec.jagged_ids import as_ids, with_values
from embedding.torchrec.processes.bucket_counts import BucketCounts
from embedding.torchrec.processes.routing import restore, scatter
from embedding.torchrec.rows.resolved_rows import ResolvedRows, TableRows
from embedding.value_checks import check_int
from recsys.errors import CheckpointError, InvalidValueError

Features = dict[str, JaggedTensor]
CLOCK = 48
"""Bits of a row's clock and frequency in `last_seen`; above them is the number of buckets that `counts` are in."""


class CollisionFreeIds(ManagedCollisionModule):  # type: ignore[misc]  # TorchRec is untyped
    """Maps 64-bit ids to rows: no two ids share one, their number is bounded, and ids expire by event time.

    Each id belongs to one of `buckets`. Every process owns as many buckets and rows as the others, and its ids share
    all of its rows, so `buckets` is a multiple of every number of processes. Set `now` (event time, ms) before each
    training step. An id without a row (not yet admitted, or more new ids in a batch than free rows) becomes -1, which
    our collection reads as an empty bag. Raises InvalidValueError if rows or buckets do not divide.

    >>> ids = CollisionFreeIds(Table("film", dim=4), rows=64, buckets=8, seed=0, device=torch.device("cpu"))
    >>> ids.output_size(), ids.buckets()
    (64, 8)
    """

    def __init__(
        self,
        table: Table,
        rows: int,
        buckets: int,
        seed: int,
        device: torch.device,
        span: tuple[int, int] | None = None,
    ) -> None:
        check_int("buckets", buckets)
        check_int("seed", seed)
        if not 1 <= buckets < 1 << (63 - CLOCK):
            raise InvalidValueError(
                f"buckets is {buckets}, choose a multiple of every number of training processes, 1 to 32767"
            )
        if rows % buckets:
            up = -(-rows // buckets) * buckets
            raise InvalidValueError(
                f"table {table.name!r}: {rows} rows do not divide into {buckets} buckets, choose {up}"
            )
        begin, end = span or (0, rows)
        self._bucket_rows, self._buckets, self._all_rows = rows // buckets, buckets, rows
        if begin % self._bucket_rows or end % self._bucket_rows:
            raise InvalidValueError(
                f"table {table.name!r}: {buckets} buckets cannot be divided evenly among the processes"
            )
        segments = list(range(0, rows + 1, self._bucket_rows))
        super().__init__(device, segments)
        # TorchRec shards every persistent buffer along rows, so that only those of output_size() rows may stay.
        del self._output_segments_tensor, self._current_iter_tensor
        self._table, self._seed, self._begin, self._end = table, seed, begin, end
        self._owned = (end - begin) // self._bucket_rows  # buckets
        self.now: int | None = None
        self.mode: Literal["lookup_and_touch", "lookup", "revalidate"] = "lookup_and_touch"
        self.table: IdsByRow | None = None
        self.loaded = False
        """Whether ids of a checkpoint may be in processes that do not own them."""
        # Zeros take no memory until the first state_dict(). There is room for the counts of two candidates per row.
        self.register_buffer("ids", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self.register_buffer("last_seen", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self._candidates = 2 * self._bucket_rows // 16 * 16  # of a bucket, whose filter holds at least 16
        self._counted = table.admission.kind == "count" and self._candidates > 0
        if self._counted:
            self.register_buffer("counts", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self.register_state_dict_pre_hook(lambda module, *_: module.write_buffers())

    def bind(self, rows: RowMemory) -> None:
        """Start with no ids, in the rows of this process."""
        table = replace(self._table, capacity=self.output_size())
        self.table = IdsByRow(table, self._seed, rows, policy=self._bucket_counts())

    def _bucket_counts(self) -> BucketCounts | None:
        rule, first = self._table.admission, self._begin // self._bucket_rows
        if rule.kind != "count":
            return None
        return BucketCounts(rule.threshold, self._candidates, self._buckets, first, self._owned)

    def bound(self) -> IdsByRow:
        """The ids of this process. Raises InvalidValueError if the model is not sharded yet."""
        if self.table is None:
            raise InvalidValueError(
                "shard the model first: DistributedModelParallel(model, sharders=[CollisionFreeSharder()])"
            )
        return self.table

    @property
    def name(self) -> str:
        """The table's."""
        return self._table.name

    def owned(self, ids_U: Ids) -> Mask:
        """Which ids this process owns."""
        ranks = self._all_rows // self.output_size()
        mask_U: Mask = HashBuckets(ranks, self._buckets).owner(ids_U) == self._begin // self.output_size()
        return mask_U

    def train(self, mode: bool = True) -> CollisionFreeIds:
        super().train(mode)
        self.mode = "lookup_and_touch" if mode else "lookup"
        return self

    # ids to rows

    def preprocess(self, features: Features) -> Features:
        """Before the exchange between processes."""
        return {name: with_values(jagged, scatter(as_ids(jagged.values()))) for name, jagged in features.items()}

    def profile(self, features: Features) -> Features:
        return features

    def remap(
        self,
        features: Features,
        mutate_miss_lengths: bool = True,  # noqa: ARG002
        write_weights: torch.Tensor | None = None,
    ) -> Features:
        """After it: ids of this process to rows of the whole table, or -1."""
        if write_weights is not None:
            raise InvalidValueError("write_weights is not supported: only training writes rows")
        remapped = {}
        for name, jagged in features.items():
            mixed_N = as_ids(jagged.values())
            found = ResolvedRows([self.find(mixed_N, 0)], len(mixed_N))
            remapped[name] = with_values(jagged, found.rows_N + self._begin)
        return remapped

    def find(self, mixed_N: Ids, at: int) -> TableRows:
        """The rows of mixed ids that are at position `at` and after it in their call.

        Mode "lookup_and_touch" counts and admits ids and marks them as seen, "lookup" changes nothing, and "revalidate"
        counts ids without a row as stale. Raises InvalidValueError if the model is not sharded yet.
        """
        table, ids_N = self.bound(), restore(mixed_N)
        if self.mode == "lookup_and_touch":
            if self.now is None:
                raise InvalidValueError(f"table {self._table.name!r}: set_time(model, now) before the first step")
            distinct, rows_U = table.lookup_and_touch(ids_N, self.now)
        else:
            distinct = table.distinct(ids_N)
            every_U = np.ones(len(distinct.unique_U), bool)
            stale = self.mode == "revalidate"
            rows_U = table.revalidate(distinct, every_U) if stale else table.ids.find(distinct.unique_U)
        return TableRows(table, slice(at, at + len(mixed_N)), self._begin, distinct, rows_U, table.removals)

    def expire(self, now: int) -> int:
        """Drop ids of this process not seen within the time to live. Returns their number."""
        return sum(self.bound().expiring(now))

    def evict(self) -> None:
        """Nothing for TorchRec to reset: rows are initialised when an id gets them."""

    def forward(self, features: Features, mutate_miss_lengths: bool = True) -> Features:  # noqa: ARG002
        return self.remap(self.profile(self.preprocess(features)))

    # TorchRec's interface

    def output_size(self) -> int:
        return self._end - self._begin

    def input_size(self) -> int:
        """0 (any 64-bit id): TorchRec then sends id % buckets to a bucket."""
        return 0

    def buckets(self) -> int:
        return self._buckets

    def open_slots(self) -> torch.Tensor:
        return torch.tensor([self.output_size() - len(self.bound().ids)])

    def validate_state(self) -> None:
        """Restore the id tables after TorchRec loaded a checkpoint."""
        self.read_buffers()

    def rebuild_with_output_id_range(
        self,
        output_id_range: tuple[int, int],
        output_segments: list[int],  # noqa: ARG002
        device: torch.device | None = None,
    ) -> CollisionFreeIds:
        where = device or self.device
        return type(self)(self._table, self._all_rows, self._buckets, self._seed, where, output_id_range)

    # checkpoints

    def write_buffers(self) -> None:
        """Copy ids, last seen, frequencies and counts of candidates to the buffers that TorchRec saves."""
        if self.table is None:
            return
        ids_R, seen_R = self.table.by_row()
        self.ids[:] = torch.from_numpy(ids_R.view(np.int64))
        self.last_seen[:] = torch.from_numpy(seen_R | self._buckets << CLOCK)
        if self._counted:
            slots = self.table.candidates()["slots"].view(np.int64).reshape(self._owned, -1)
            self.counts.view(self._owned, -1)[:, : slots.shape[1]] = torch.from_numpy(slots)

    def check_rows(self, rows: int) -> None:
        """Raises CheckpointError unless a checkpoint has as many rows as this table."""
        if rows != self._all_rows:
            raise CheckpointError(
                f"table {self._table.name!r}: the checkpoint has {rows} rows, this model has {self._all_rows}: "
                "make it with as many, or embedding.torchrec.checkpoints.taken_over.take_over(model, state, optimizer)"
            )

    def read_buffers(self) -> None:
        """Restore the ids from the buffers; TorchRec loads weights and optimizer state."""
        if self.table is None:
            return
        words_R = self.last_seen.cpu().numpy()
        candidates = {}
        if self._counted:
            slots = self.counts.cpu().numpy().view(np.uint32).reshape(self._owned, -1)
            slots = slots[:, : self._candidates].reshape(-1)
            if (words_R >> CLOCK != self._buckets).any():  # ids are counted in other filters there: begin again
                slots = np.zeros_like(slots)
            candidates = {"slots": slots, "forgotten": np.zeros(1, np.int64)}
        self.table.restore_from_rows(self.ids.cpu().numpy().view(np.uint64), words_R & (1 << CLOCK) - 1, candidates)
        self.loaded = True
