"""Our id table as TorchRec's `ManagedCollisionModule`. Suffixes: N ids of a call, U distinct ids, R rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torchrec.modules.mc_modules import ManagedCollisionModule
from torchrec.sparse.jagged_tensor import JaggedTensor

from embedding.ids.id_lifecycle import TableIds
from embedding.rows.row_block import RowMemory
from embedding.store import Ids, RowNumbers, Table
from embedding.torchrec.resolved_rows import BucketRows, ResolvedRows
from embedding.torchrec.routing import restore, scatter

Features = dict[str, JaggedTensor]
Memory = Callable[[int, int], RowMemory]
"""The rows [begin, end) of this process."""


class CollisionFreeIds(ManagedCollisionModule):  # type: ignore[misc]  # TorchRec is untyped
    """Maps 64-bit ids to rows: none shared, reused only when reset, bounded, expiring by event time.

    `rows` rows lie in `buckets` equal buckets, and an id belongs to a bucket: a checkpoint moves between any numbers of
    processes that divide `buckets`. Set `now` (event time, ms) before each training step. An id without a row (not yet
    admitted, or more new ids in a batch than rows) becomes -1, which our collection reads as an empty bag.

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
            raise ValueError(f"buckets is {buckets}: choose a multiple of every number of processes that will train")
        if rows % buckets:
            up = -(-rows // buckets) * buckets
            raise ValueError(f"table {table.name!r}: {rows} rows do not fill {buckets} buckets evenly, choose {up}")
        begin, end = span or (0, rows)
        self._bucket_rows, self._buckets, self._all_rows = rows // buckets, buckets, rows
        if begin % self._bucket_rows or end % self._bucket_rows:
            raise ValueError(f"table {table.name!r}: {buckets} buckets cannot be dealt to processes evenly")
        segments = list(range(0, rows + 1, self._bucket_rows))
        super().__init__(device, segments)
        # TorchRec shards every persistent buffer along rows, so that only those of output_size() rows may stay.
        del self._output_segments_tensor, self._current_iter_tensor
        self._table, self._seed, self._begin, self._end = table, seed, begin, end
        self.now: int | None = None
        self.mode: Literal["lookup_and_touch", "lookup", "revalidate"] = "lookup_and_touch"
        self.tables: list[TableIds] = []
        # Zeros take no memory until the first state_dict(). A row has room for the counts of two candidates.
        self.register_buffer("ids", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self.register_buffer("words", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self._counted = table.admission.kind == "count" and self._bucket_rows >= 8  # a filter's least is 16 candidates
        if self._counted:
            self.register_buffer("counts", torch.zeros(end - begin, dtype=torch.int64, device=device))
        self.register_state_dict_pre_hook(lambda module, *_: module.write_buffers())

    def bind(self, memory: Memory) -> None:
        """Begin with empty tables over the rows of this process."""
        size = self._bucket_rows
        table = replace(self._table, capacity=size)
        firsts = range(0, self._end - self._begin, size)
        self.tables = [TableIds(table, self._seed, memory(first, first + size)) for first in firsts]

    def train(self, mode: bool = True) -> CollisionFreeIds:
        super().train(mode)
        self.mode = "lookup_and_touch" if mode else "lookup"
        return self

    # what happens to ids

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
        """After it: ids of this process become rows of the whole table, or -1."""
        if write_weights is not None:
            raise ValueError("rows are written by training only")
        remapped = {}
        for name, jagged in features.items():
            mixed_N = as_ids(jagged.values())
            remapped[name] = _with_values(
                jagged, ResolvedRows(self.find(mixed_N, 0), len(mixed_N)).rows_N + self._begin
            )
        return remapped

    def find(self, mixed_N: Ids, at: int) -> list[BucketRows]:
        """What has become of ids, as they travelled, that stand at `at` and after it in their call.

        In mode "lookup_and_touch" they are counted, admitted and noted as seen, in mode "lookup" only found; in mode "revalidate" those
        without a row are counted as gone since they were read. Raises ValueError before the model is sharded.
        """
        if not self.tables:
            raise ValueError("shard the model: DistributedModelParallel(model, sharders=[CollisionFreeSharder()])")
        ids_N = restore(mixed_N)
        if len(self.tables) == 1:
            return [self._piece(0, slice(at, at + len(ids_N)), ids_N)]
        first = self._begin // self._bucket_rows
        bucket_N = (mixed_N % np.uint64(self._buckets)).astype(np.int64) - first
        places = [np.flatnonzero(bucket_N == b) for b in range(len(self.tables))]
        return [self._piece(b, at + place, ids_N[place]) for b, place in enumerate(places)]

    def _piece(self, bucket: int, at: slice | RowNumbers, ids: Ids) -> BucketRows:
        table = self.tables[bucket]
        if self.mode == "lookup_and_touch":
            if self.now is None:
                raise ValueError(f"table {self._table.name!r}: set_time(model, now) before the first step")
            batch, rows_U = table.lookup_and_touch(ids, self.now)
        else:
            batch = table.batch(ids)
            every = np.ones(len(batch.unique_U), bool)
            rows_U = table.revalidate(batch, every) if self.mode == "revalidate" else table.ids.find(batch.unique_U)
        return BucketRows(table, at, bucket * self._bucket_rows, self._begin, batch, rows_U, table.removals)

    def expire(self, now: int) -> int:
        """Drop ids of this process not seen within the time to live. Returns how many went."""
        return sum(gone for table in self.tables for gone in table.expiring(now))

    def evict(self) -> None:
        """RowNumbers are reset when they are given out, so there is nothing for TorchRec to reset."""

    def forward(self, features: Features, mutate_miss_lengths: bool = True) -> Features:  # noqa: ARG002
        return self.remap(self.profile(self.preprocess(features)))

    # what TorchRec asks

    def output_size(self) -> int:
        return self._end - self._begin

    def input_size(self) -> int:
        """0: ids are of any size, so TorchRec sends id % buckets to a bucket."""
        return 0

    def buckets(self) -> int:
        return self._buckets

    def open_slots(self) -> torch.Tensor:
        return torch.tensor([self.output_size() - sum(len(table.ids) for table in self.tables)])

    def validate_state(self) -> None:
        """After TorchRec loaded a checkpoint."""
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
        """Put the id, last sighting and frequency of every row where TorchRec saves them, and counts of candidates."""
        for bucket, table in enumerate(self.tables):
            ids_R, packed_R = table.by_row()
            at = slice(bucket * self._bucket_rows, (bucket + 1) * self._bucket_rows)
            self.ids[at] = torch.from_numpy(ids_R.view(np.int64))
            self.words[at] = torch.from_numpy(packed_R)
            if self._counted:
                slots = table.candidates()["slots"].view(np.int64)
                self.counts[at][: len(slots)] = torch.from_numpy(slots)

    def read_buffers(self) -> None:
        """The inverse; weights and optimizer state are TorchRec's to load."""
        for bucket, table in enumerate(self.tables):
            at = slice(bucket * self._bucket_rows, (bucket + 1) * self._bucket_rows)
            candidates = {}
            if self._counted:
                slots = self.counts[at].cpu().numpy().view(np.uint32)[: 2 * self._bucket_rows // 16 * 16]
                candidates = {"slots": slots, "forgotten": np.zeros(1, np.int64)}
            table.restore_from_rows(
                self.ids[at].cpu().numpy().view(np.uint64), self.words[at].cpu().numpy(), candidates
            )


def as_ids(values: torch.Tensor) -> Ids:
    """Values of a feature as unsigned ids. Raises ValueError for values that are no integers."""
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise ValueError(f"ids are {values.dtype}: give integers, such as torch.int64 with the bits of 64-bit hashes")
    ids: Ids = values.to("cpu", torch.int64).contiguous().numpy().view(np.uint64)
    return ids


def _with_values(jagged: JaggedTensor, values: Ids | RowNumbers) -> JaggedTensor:
    tensor = torch.from_numpy(values.view(np.int64)).to(jagged.values().device)
    return JaggedTensor(tensor, lengths=jagged.lengths(), weights=jagged.weights_or_none())
