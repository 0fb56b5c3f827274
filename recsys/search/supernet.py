"""The configured model over one matrix of embedding rows, each coordinate of which has a factor.

All that a search compares is such a model: with a mask of zeros and ones it is one with pruned rows, or with narrower
ones, since narrower rows are followed by zeros wherever they are read.

Shape suffixes: V ids of the vocabulary, K coordinates of a row, B rows of a batch, F sparse fields, N numeric fields,
E ids of a batch, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.search.id_vocabulary import Vocabulary
from streaming.encode.batch import TrainingBatch
from streaming.encode.scaling import RunningMoments, Scaling

NARROWEST = 2
"""Coordinates that a model's rows have at least: some models keep a first-order weight apart."""


@dataclass(frozen=True, slots=True)
class Space:
    """What is searched: the rows of the parts, numbered, and the scaling of their numbers."""

    config: Config
    vocabulary: Vocabulary
    training: TrainingBatch
    validation: TrainingBatch
    test: TrainingBatch
    scaling: Scaling

    @staticmethod
    def of(
        config: Config,
        training: TrainingBatch,
        validation: TrainingBatch,
        test: TrainingBatch,
        scaling: Scaling | None = None,
    ) -> Space:
        """The vocabulary is that of the training part alone, and so is the scaling, unless it is given.

        Raises InvalidValueError for other fields.
        """
        spec = wiring.spec(config)
        if not spec.sparse:
            raise InvalidValueError("no field reads ids, so there are no embedding dimensions to search: add one")
        if attended := [f"{field.name} is {field.pooling}" for field in spec.sparse if field.pooling != "mean"]:
            raise InvalidValueError(
                f'a search reads the mean of a history\'s rows, but pooling of {", ".join(attended)}: set it to "mean"'
            )
        vocabulary = Vocabulary.of(spec, training)
        if scaling is None:
            moments = RunningMoments(spec.numeric)
            moments.add(training.numeric_BN)
            scaling = moments.scaling()
        numbered = [vocabulary.numbered(rows) for rows in (training, validation, test)]
        return Space(config, vocabulary, numbered[0], numbered[1], numbered[2], scaling)

    @property
    def dim(self) -> int:
        """K."""
        return self.config.features.dim

    def narrowed(self, dim: int) -> Space:
        """The same rows, for models whose embedding rows have `dim` coordinates."""
        features = self.config.features.model_copy(update={"dim": dim})
        return replace(self, config=self.config.model_copy(update={"features": features}))


class Supernet(nn.Module):
    """`[model]` as configured, with Xavier-normal rows as in the code of AutoSrh."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        seed = space.config.training.seed
        rows_VK = torch.empty(len(space.vocabulary), space.dim)
        self.rows_VK = nn.Parameter(nn.init.xavier_normal_(rows_VK, generator=torch.Generator().manual_seed(seed)))
        self.model = wiring.model(space.config)
        self._fields = len(space.vocabulary.table_of)
        self._scaling = space.scaling

    def forward(self, batch: TrainingBatch, factors_VK: Tensor | None = None) -> Tensor:
        """Logits [B, T]; row v counts as `factors_VK[v] * rows_VK[v]`."""
        return self.logits(self.embedded(batch, factors_VK), batch)

    def with_factors(self, factors_VK: Tensor) -> Callable[[TrainingBatch], Tensor]:
        """`forward` with these factors."""
        return lambda batch: self(batch, factors_VK)

    def embedded(self, batch: TrainingBatch, factors_VK: Tensor | None = None) -> Tensor:
        """The mean row of each field [B, F, K]; ids that are not in the vocabulary read zeros."""
        rows_VK = self.rows_VK if factors_VK is None else self.rows_VK * factors_VK
        numbers_E, shares_E, starts = _bags(batch, len(rows_VK))
        means = nn.functional.embedding_bag(numbers_E, rows_VK, starts, mode="sum", per_sample_weights=shares_E)
        return means.view(self._fields, len(batch), -1).transpose(0, 1)

    def logits(self, embedded_BFK: Tensor, batch: TrainingBatch) -> Tensor:
        """Logits [B, T] of rows whose fields are embedded."""
        logits_BT: Tensor = self.model(embedded_BFK, torch.from_numpy(self._scaling.apply(batch.numeric_BN)))
        return logits_BT


def _bags(batch: TrainingBatch, known: int) -> tuple[Tensor, Tensor, Tensor]:
    """The number of each id of a batch, its share of its field's mean, and [F * B] where each field's ids start.

    Fields are one after the other, each with all rows. An unknown id reads nothing: its share is 0.
    """
    fields = list(batch.ids.values())
    numbers = np.concatenate([each.values for each in fields]).astype(np.int64)
    lengths = np.concatenate([each.lengths_B for each in fields])
    shares = np.repeat((1 / np.maximum(lengths, 1)).astype(np.float32), lengths)
    unknown = numbers >= known
    numbers[unknown], shares[unknown] = 0, 0.0
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    numbers_E, shares_E = torch.from_numpy(numbers), torch.from_numpy(shares)
    return numbers_E, shares_E, torch.from_numpy(starts)
