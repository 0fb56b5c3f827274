"""The processes that learn from one batch together. Shape suffix: B training rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streaming.encode.batch import TrainingBatch

Scores = npt.NDArray[np.float32]


class Peers:
    """This process alone: what it has is all there is."""

    def share(self, batch: TrainingBatch) -> TrainingBatch:
        """The rows that this process learns from, weighted so that the losses of all processes sum to that of `batch`.

        At least one row: where a process has none, it is a row without ids and of weight 0.
        """
        return batch

    def scores(self, scores_B: Scores, rows: int) -> Scores:  # noqa: ARG002
        """The scores of all `rows` of a batch, from those of this process's share."""
        return scores_B

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process."""
        return flag

    def generator(self, common: torch.Generator) -> torch.Generator:
        """The source of random numbers of one step, from the one that is the same in all processes."""
        return common
