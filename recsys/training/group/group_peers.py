"""Each process's share of a batch, and what the processes exchange to learn from it as one.

Shape suffix: B training rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from embedding.torchrec.processes.ranks import Ranks
from recsys.training.dense.peers import Peers, Scores
from streaming.encode.batch import Jagged, TrainingBatch


class GroupPeers(Peers):
    """The processes of `ranks`. Every method is collective, with equal batches and flags of equal meaning."""

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def share(self, batch: TrainingBatch) -> TrainingBatch:
        start, stop = self._bounds(len(batch), self._ranks.rank)
        if start == stop:
            return _blank(batch)
        own = batch.take(np.arange(start, stop))
        return replace(own, weights_B=own.weights_B * np.float32((stop - start) / len(batch)))

    def scores(self, scores_B: Scores, rows: int) -> Scores:
        parts = self._ranks.gather(scores_B)
        sizes = [stop - start for start, stop in (self._bounds(rows, rank) for rank in range(self._ranks.size))]
        return np.concatenate([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        kept = list(tensors)
        if kept:
            total = self._ranks.sum(parameters_to_vector(kept))
            with torch.no_grad():
                vector_to_parameters(total, kept)

    def any(self, flag: bool) -> bool:
        return bool(self._ranks.largest(int(flag)))

    def generator(self, common: torch.Generator) -> torch.Generator:
        """Of this process alone: rows of two processes must not share their dropout masks."""
        seed = int(torch.randint(1 << 62, (), generator=common))
        return torch.Generator().manual_seed(seed + self._ranks.rank)

    def _bounds(self, rows: int, rank: int) -> tuple[int, int]:
        return rows * rank // self._ranks.size, rows * (rank + 1) // self._ranks.size


def _blank(batch: TrainingBatch) -> TrainingBatch:
    """One row of which nothing is known and from which nothing is learned."""
    row = batch.take(np.zeros(1, np.int64))
    nothing = Jagged(np.zeros(0, np.uint64), np.zeros(1, np.int32))
    return replace(
        row,
        ids=dict.fromkeys(row.ids, nothing),
        numeric_BN=np.zeros_like(row.numeric_BN),
        weights_B=np.zeros(1, np.float32),
    )
