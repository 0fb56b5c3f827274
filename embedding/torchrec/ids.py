"""Our id table as TorchRec's `ManagedCollisionModule`. Suffixes: N ids of a call, U distinct ids, R rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torchrec.modules.mc_modules import ManagedCollisionModule
from torchrec.sparse.jagged_tensor import JaggedTensor

from embedding.ids.id_lifecycle import LastSeen, TableIds
from embedding.rows.row_block import RowMemory
from embedding.store import Ids, RowNumbers, Table
from embedding.torchrec.resolved_rows import BucketRows, ResolvedRows
from embedding.torchrec.routing import buckets_of, divide, in_their_buckets, restore, scatter
from recsys.errors import CheckpointError, InvalidValueError

Features = dict[str, JaggedTensor]
MakeRows = Callable[[int, int], RowMemory]
"""Makes the memory of rows [begin, end) of this process."""


class CollisionFreeIds(ManagedCollisionModule):  # type: ignore[misc]  # TorchRec is untyped
    """Maps 64-bit ids to rows: no two ids share one, their number is bounded, and ids expire by event time.

    The `rows` rows are divided into `buckets` equal buckets, and each id belongs to one: a checkpoint can be loaded by
    any number of processes that divides `buckets`. Set `now` (event time, ms) before each training step. An id without
    a row (not yet admitted, or more new ids in a batch than free rows) becomes -1, which our collection reads as an
    empty bag. Raises InvalidValueError if rows or buckets do not divide.

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
        if buckets < 1:
            raise InvalidValueError(f"buckets is {buckets}, choose a multiple of every number of training processes")
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
        self.now: int | None = None
        self.mode: Literal["lookup_and_touch", "lookup", "revalidate"] = "lookup_and_touch"
        self.tables: list[TableIds] = []
        # Zeros take no memory until the first state_dict(). There is room for the counts of two candidates per row.
        self.register_buffer("ids", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self.register_buffer("last_seen", torch.zeros(end - begin, dtype=torch.int64, device=device))
        # A filter holds at least 16 candidates.
        self._counted = table.admission.kind == "count" and self._bucket_rows >= 8
        if self._counted:
            self.register_buffer("counts", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self.register_state_dict_pre_hook(lambda module, *_: module.write_buffers())

    def bind(self, make_rows: MakeRows) -> None:
        """Start with empty id tables for the rows of this process."""
        size = self._bucket_rows
        table = replace(self._table, capacity=size)
        firsts = range(0, self._end - self._begin, size)
        self.tables = [TableIds(table, self._seed, make_rows(first, first + size)) for first in firsts]

    def train(self, mode: bool = True) -> CollisionFreeIds:
        super().train(mode)
        self.mode = "lookup_and_touch" if mode else "lookup"
        return self

    # ids to rows

    def preprocess(self, features: Features) -> Features:
        """Before the exchange between processes."""
        return {name: _with_values(jagged, scatter(as_ids(jagged.values()))) for name, jagged in features.items()}

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
            remapped[name] = _with_values(
                jagged, ResolvedRows(self.find(mixed_N, 0), len(mixed_N)).rows_N + self._begin
            )
        return remapped

    def find(self, mixed_N: Ids, at: int) -> list[BucketRows]:
        """The rows of mixed ids that are at position `at` and after it in their call.

        Mode "lookup_and_touch" counts and admits ids and marks them as seen, "lookup" changes nothing, and "revalidate"
        counts ids without a row as stale. Raises InvalidValueError if the model is not sharded yet.
        """
        if not self.tables:
            raise InvalidValueError(
                "shard the model first: DistributedModelParallel(model, sharders=[CollisionFreeSharder()])"
            )
        if len(self.tables) == 1:
            return [self._piece(0, slice(at, at + len(mixed_N)), restore(mixed_N))]
        first = self._begin // self._bucket_rows
        divided = divide(mixed_N, self._buckets, first, len(self.tables))
        return [self._piece(bucket, places + at, ids) for bucket, (places, ids) in enumerate(divided)]

    def _piece(self, bucket: int, at: slice | RowNumbers, ids: Ids) -> BucketRows:
        table = self.tables[bucket]
        if self.mode == "lookup_and_touch":
            if self.now is None:
                raise InvalidValueError(f"table {self._table.name!r}: set_time(model, now) before the first step")
            distinct, rows_U = table.lookup_and_touch(ids, self.now)
        else:
            distinct = table.distinct(ids)
            every_U = np.ones(len(distinct.unique_U), bool)
            stale = self.mode == "revalidate"
            rows_U = table.revalidate(distinct, every_U) if stale else table.ids.find(distinct.unique_U)
        return BucketRows(table, at, bucket * self._bucket_rows, self._begin, distinct, rows_U, table.removals)

    def expire(self, now: int) -> int:
        """Drop ids of this process not seen within the time to live. Returns their number."""
        return sum(gone for table in self.tables for gone in table.expiring(now))

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
        return torch.tensor([self.output_size() - sum(len(table.ids) for table in self.tables)])

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
        for bucket, table in enumerate(self.tables):
            ids_R, seen_R = table.by_row()
            at = slice(bucket * self._bucket_rows, (bucket + 1) * self._bucket_rows)
            self.ids[at] = torch.from_numpy(ids_R.view(np.int64))
            self.last_seen[at] = torch.from_numpy(seen_R)
            if self._counted:
                slots = table.candidates()["slots"].view(np.int64)
                self.counts[at][: len(slots)] = torch.from_numpy(slots)

    def check_placement(self, ids_R: Ids, seen_R: LastSeen, begin: int, rows: int) -> None:
        """Raises CheckpointError unless a checkpoint's ids lie in the buckets of this table.

        `ids_R` are those of its rows from `begin` on, of `rows` in all.
        """
        live = np.flatnonzero(seen_R)
        theirs = buckets_of(ids_R[live], live + begin, rows)
        if rows != self._all_rows or not in_their_buckets(ids_R[live], live + begin, self._buckets, rows):
            raise CheckpointError(
                f"table {self._table.name!r}: the checkpoint has {rows} rows in {theirs} buckets, this model has "
                f"{self._all_rows} in {self._buckets}: make it with those"
            )

    def read_buffers(self) -> None:
        """Restore the id tables from the buffers; TorchRec loads weights and optimizer state."""
        for bucket, table in enumerate(self.tables):
            at = slice(bucket * self._bucket_rows, (bucket + 1) * self._bucket_rows)
            candidates = {}
            if self._counted:
                slots = self.counts[at].cpu().numpy().view(np.uint32)[: 2 * self._bucket_rows // 16 * 16]
                candidates = {"slots": slots, "forgotten": np.zeros(1, np.int64)}
            table.restore_from_rows(
                self.ids[at].cpu().numpy().view(np.uint64), self.last_seen[at].cpu().numpy(), candidates
            )


def as_ids(values: torch.Tensor) -> Ids:
    """Values of a feature as unsigned ids. Raises InvalidValueError for values that are not integers."""
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise InvalidValueError(
            f"ids are {values.dtype}, expected integers, such as torch.int64 with the bits of 64-bit hashes"
        )
    ids: Ids = values.to("cpu", torch.int64).contiguous().numpy().view(np.uint64)
    return ids


def _with_values(jagged: JaggedTensor, values: Ids | RowNumbers) -> JaggedTensor:
    tensor = torch.from_numpy(values.view(np.int64)).to(jagged.values().device)
    return JaggedTensor(tensor, lengths=jagged.lengths(), weights=jagged.weights_or_none())
