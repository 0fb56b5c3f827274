"""Finds the rows of a batch whose gradients are not finite or too large.

Shape suffixes: B training rows, F sparse fields, N numeric fields, M = F + N fields, D embedding dimension,
S = F * D, T tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recsys.training.dense.peers import Peers
from streaming.encode.batch import TrainingBatch
from streaming.encode.feature_spec import FeatureSpec
from streaming.encode.row_keys import read_key
from streaming.encode.scaling import CLIP

logger = logging.getLogger(__name__)

LARGEST_GRADIENT = 1e6
"""Optimizers sum the squares of gradients: a single larger one would end learning of its weight for ten thousand steps,
and one of 1e20 for ever, because its square overflows."""
WHOLE_BATCH = "whole batch"
"""The cause counted when a whole batch is left out because no single row is to blame."""

Mask = npt.NDArray[np.bool_]


def sound(tensors: Iterable[Tensor]) -> bool:
    """Whether all numbers are finite and at most `LARGEST_GRADIENT`."""
    largest = torch.nn.utils.get_total_norm(list(tensors), float("inf"))
    return bool(largest <= LARGEST_GRADIENT)


class UnsoundRows:
    """Finds the rows to leave out, and counts them by their field, over all `peers`."""

    def __init__(self, spec: FeatureSpec, peers: Peers) -> None:
        self._peers = peers
        self._names = [field.name for field in (*spec.sparse, *spec.numeric)]
        self.counts_M = torch.zeros(len(self._names) + 1, dtype=torch.int64)
        """Rows by field, sparse fields first; the last entry counts rows of whole batches."""
        self._warnings = 0

    @property
    def by_field(self) -> dict[str, int]:
        """Number of rows left out, by field; fields without any are omitted."""
        names = [*self._names, WHOLE_BATCH]
        return {name: count for name, count in zip(names, self.counts_M.tolist(), strict=True) if count}

    def find(self, logits_BT: Tensor, embedded_BFD: Tensor, gradient_BS: Tensor, numeric_BN: Tensor) -> Mask:
        """A mask of rows that cannot be learned from; all False if only the sum over the batch is at fault.

        These are rows whose logit or gradient is not finite or too large. If there are none, the gradient of a dense
        weight is: then those with a number that no scaling has bounded.
        """
        bad_B = ~torch.isfinite(logits_BT.detach()).all(1)
        bad_B |= ~(gradient_BS.abs() <= LARGEST_GRADIENT).all(1)
        bad_B |= ~torch.isfinite(embedded_BFD.detach()).flatten(1).all(1)
        found = self._peers.any(bool(bad_B.any()))
        return (bad_B if found else (numeric_BN.abs() > CLIP).any(1)).numpy()

    def fields(self, out_B: Mask, embedded_BFD: Tensor, numeric_BN: Tensor) -> list[int]:
        """For each of the rows `out_B` the number of the field with the largest input."""
        return _sizes(embedded_BFD, numeric_BN).argmax(1)[torch.from_numpy(out_B)].tolist()

    def count(self, batch: TrainingBatch, out_B: Mask, fields: Sequence[int]) -> None:
        """Count the rows `out_B` by their `fields`; warns of the first row now and then."""
        counts_M = torch.bincount(torch.tensor(fields, dtype=torch.int64), minlength=len(self.counts_M))
        self._peers.add_up([counts_M])
        self.counts_M += counts_M
        if not fields:
            return  # they are of other processes, which warn
        self._warnings += 1
        if self._warnings & (self._warnings - 1) == 0:  # the 1st, 2nd, 4th, 8th ... batch: there may be many
            first = _described(batch, int(np.flatnonzero(out_B)[0]))
            name = [*self._names, WHOLE_BATCH][fields[0]]
            message = "%d rows left out, because their loss or gradient is not finite; the first is %s, field %s"
            logger.warning(message, len(fields), first, name)

    def count_all(self, batch: TrainingBatch) -> None:
        """Count the whole batch."""
        self.count(batch, np.ones(len(batch), np.bool_), [len(self._names)] * len(batch))


def _sizes(embedded_BFD: Tensor, numeric_BN: Tensor) -> Tensor:
    """The largest input of each field, [B, M]; infinite where one is NaN."""
    sparse_BF = embedded_BFD.detach().abs().amax(2) if embedded_BFD.shape[1] else embedded_BFD.new_zeros(0, 0)
    inputs_BM = torch.cat([sparse_BF, numeric_BN.abs()], 1) if len(sparse_BF) else numeric_BN.abs()
    return torch.nan_to_num(inputs_BM, nan=float("inf"), posinf=float("inf"))


def _described(batch: TrainingBatch, row: int) -> str:
    _, number, position = read_key(int(batch.keys_B[row]))
    time = int(batch.times_B[row])
    try:
        shown = datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        shown = f"{time} ms"
    return f"item {position} of impression {number:,} of the log, shown at {shown}"
