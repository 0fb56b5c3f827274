"""What learns beside the model, from the same batches. Every part has a state and figures of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from recsys.training.debiasing.debiasing import Debiasing, NoDebiasing
from recsys.training.dense.model import under
from recsys.training.negative_sampling import NegativeSampling
from recsys.training.retrieval.retrieval_learner import RetrievalLearner
from recsys.training.ssl.item_contrast import ItemContrast
from streaming.encode.batch import TrainingBatch
from streaming.encode.scaling import Scaling


@dataclass
class Companions:
    """`debiasing` changes what is learned from a batch, not how it is scored; with `negatives` it is a sample, then.

    `ssl` learns after each step, on rows of item fields; `retrieval` after that, without changing the model.
    """

    debiasing: Debiasing = field(default_factory=NoDebiasing)
    negatives: NegativeSampling | None = None
    retrieval: RetrievalLearner | None = None
    ssl: ItemContrast | None = None

    def step(self, batch: TrainingBatch, scaling: Scaling) -> None:
        """Learn from a batch, after the model."""
        if self.ssl is not None:
            self.ssl.step(batch, scaling)
        if self.retrieval is not None:
            self.retrieval.step(batch, scaling)

    @property
    def report(self) -> dict[str, Mapping[str, float]]:
        """Figures by part, for the trainer's status; parts without any are omitted."""
        found = {name: part.report for name, part in self._parts.items()}
        return {name: figures for name, figures in found.items() if figures}

    def state(self) -> dict[str, torch.Tensor]:
        """The states of all parts, each under its name."""
        return {f"{name}.{key}": tensor for name, part in self._parts.items() for key, tensor in part.state().items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned; other tensors may be beside it."""
        for name, part in self._parts.items():
            part.restore(under(f"{name}.", state))

    @property
    def _parts(self) -> dict[str, Debiasing | NegativeSampling | RetrievalLearner | ItemContrast]:
        found = {
            "debiasing": self.debiasing,
            "negatives": self.negatives,
            "retrieval": self.retrieval,
            "ssl": self.ssl,
        }
        return {name: part for name, part in found.items() if part is not None}
