"""What turns a batch into the one that is learned from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch

from streaming.encode.batch import TrainingBatch


class Debiasing(Protocol):
    """Turns a batch into the one that is learned from, and keeps what it estimates from batches."""

    def learned(self, batch: TrainingBatch) -> TrainingBatch:
        """`batch`, which counts for the estimates, with other weights and labels."""
        ...

    @property
    def report(self) -> Mapping[str, float]:
        """Figures of the trainer's status."""
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """The estimates, for a checkpoint."""
        ...

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned; of a checkpoint without estimates nothing is known."""
        ...


class NoDebiasing:
    """Learns from batches as they are."""

    def learned(self, batch: TrainingBatch) -> TrainingBatch:
        return batch

    @property
    def report(self) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        pass
