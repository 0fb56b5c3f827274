"""The configured model over one matrix of embedding rows, each coordinate of which has a factor.

All that a search compares is such a model: with a mask of zeros and ones it is one with pruned rows, or with narrower
ones, since narrower rows are followed by zeros wherever they are read.

Shape suffixes: V ids of the vocabulary, K coordinates of a row, B rows of a batch, F sparse fields, N numeric fields,
E ids of a batch, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recsys import wiring
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.search.id_vocabulary import Vocabulary
from streaming.encode.batch import TrainingBatch
from streaming.encode.scaling import RunningMoments, Scaling


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
    def of(config: Config, training: TrainingBatch, validation: TrainingBatch, test: TrainingBatch) -> Space:
        """Vocabulary and scaling are those of the training part alone. Raises InvalidValueError for other fields."""
        spec = wiring.spec(config)
        if not spec.sparse:
            raise InvalidValueError("no field reads ids, so there are no embedding dimensions to search: add one")
        if attended := [f"{field.name} is {field.pooling}" for field in spec.sparse if field.pooling != "mean"]:
            raise InvalidValueError(
                f'a search reads the mean of a history\'s rows, but pooling of {", ".join(attended)}: set it to "mean"'
            )
        vocabulary = Vocabulary.of(spec, training)
        moments = RunningMoments(spec.numeric)
        moments.add(training.numeric_BN)
        numbered = [vocabulary.numbered(rows) for rows in (training, validation, test)]
        return Space(config, vocabulary, numbered[0], numbered[1], numbered[2], moments.scaling())

    @property
    def dim(self) -> int:
        """K."""
        return self.config.features.dim


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
        numbers_E, slots_E, shares_E = _flat(batch, len(self.rows_VK))
        rows_EK = self.rows_VK[numbers_E] * shares_E
        if factors_VK is not None:
            rows_EK = rows_EK * factors_VK[numbers_E]
        pooled = rows_EK.new_zeros(len(batch) * self._fields, self.rows_VK.shape[1])
        return pooled.index_add(0, slots_E, rows_EK).view(len(batch), self._fields, -1)

    def logits(self, embedded_BFK: Tensor, batch: TrainingBatch) -> Tensor:
        """Logits [B, T] of rows whose fields are embedded."""
        logits_BT: Tensor = self.model(embedded_BFK, torch.from_numpy(self._scaling.apply(batch.numeric_BN)))
        return logits_BT


def _flat(batch: TrainingBatch, known: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each known id of a batch: its number, the number of its row and field, and its share of their mean."""
    fields = list(batch.ids.values())
    rows = np.arange(len(batch))
    numbers = np.concatenate([each.values for each in fields]).astype(np.int64)
    slots = np.concatenate([np.repeat(rows * len(fields) + f, each.lengths_B) for f, each in enumerate(fields)])
    shares = np.concatenate(
        [np.repeat(1 / np.maximum(each.lengths_B, 1), each.lengths_B).astype(np.float32) for each in fields]
    )
    kept = numbers < known
    tensors = (torch.from_numpy(values[kept]) for values in (numbers, slots, shares))
    numbers_E, slots_E, shares_E = tensors
    return numbers_E, slots_E, shares_E.unsqueeze(1)
