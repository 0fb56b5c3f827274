"""Learning from a sample of the rows without a positive, with scores that are of all traffic.

Shape suffixes: B training rows, K rows of them that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from embedding.hashing import salt_of, uniform
from recsys.errors import InvalidValueError
from recsys.training.dense.peers import Scores
from streaming.encode.batch import TrainingBatch

Rates = npt.NDArray[np.float64]

_DECAY = 0.999
"""Of the running mean of scores, for each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledBatch(TrainingBatch):
    """The rows of a batch that are learned from."""

    shifts_B: npt.NDArray[np.float32]
    """What sampling adds to the log-odds of each row: the loss is that of the logit plus this."""


@dataclass(frozen=True, slots=True)
class NegativeRates:
    """The share of rows without a positive to learn from: the same of all, or by their score, at least `min_rate`."""

    rate: float
    method: Literal["uniform", "score"] = "uniform"
    min_rate: float = 0.01

    def __post_init__(self) -> None:
        for name in ("rate", "min_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidValueError(f"{name} is {getattr(self, name)}: it must be within (0, 1]")


class NegativeSampling:
    r"""Keeps all positive rows, and one without a positive if a hash of its key in [0, 1) is below its rate w.

    Of the rows kept, the odds of a positive are 1 / w times those of all traffic. So they are learned at the logit
    z - ln w, and z, which is scored and served, is of all traffic (Fithian and Hastie, Annals of Statistics 2014).
    w is `rate`, or by score min(max(rate p / m, min_rate), 1), for the row's score p before it is learned from and the
    running mean m of the scores of rows without a positive: an item that nobody would click says little by its silence
    (Wang, Zhang and Wang, NeurIPS 2021).

    A click that corrects a silence (`counted_B` 0) knows by the same hash whether that was kept; if not, it is learned
    as a positive that comes for the first time. Then at each age of a shown item its rows come to p positives for
    p + w (1 - p) rows, as they must, whatever the delays of clicks are. By score, w is that of the click's own moment
    in both places: each moment has the right proportion, though w moves.

    The choice is a function of the row's key and, by score, of the model: it is the same after a restart, and in all
    processes of a group. Weights of rows are divided by the size of the whole batch, so that a row counts the same
    whatever is kept beside it.
    """

    def __init__(self, rates: NegativeRates, seed: int = 0) -> None:
        self._rates, self._salt = rates, salt_of(seed, "negatives")
        self._scores = np.zeros(2)  # sum of the scores of rows without a positive, and their number
        self._counts = np.zeros(2, np.int64)

    @property
    def counts(self) -> dict[str, int]:
        """Rows without a positive so far, and those of them that were learned."""
        return dict(zip(("negatives", "learned"), self._counts.tolist(), strict=True))

    @property
    def report(self) -> dict[str, int]:
        """Figures of the trainer's status."""
        return self.counts

    def learned(self, batch: TrainingBatch, scores_B: Scores) -> SampledBatch | None:
        """What to learn of a batch that was scored before; None if nothing is kept."""
        negative_B = batch.labels_B <= 0
        rates_B = self._rates_of(negative_B, scores_B)
        kept_B = uniform(batch.keys_B.view(np.uint64), self._salt, step=0) < rates_B
        self._counts += negative_B.sum(), (negative_B & kept_B).sum()
        corrects_B = ~negative_B & (batch.counted_B == 0)
        whole = replace(batch, counted_B=np.where(corrects_B & ~kept_B, np.float32(1), batch.counted_B))
        rows_K = np.flatnonzero(kept_B | ~negative_B)
        if not len(rows_K):
            return None
        own = whole.take(rows_K)
        columns = {name: getattr(own, name) for name in TrainingBatch.columns()}
        columns["weights_B"] = own.weights_B * np.float32(len(rows_K) / len(batch))
        shifts_K = (-np.log(rates_B[rows_K])).astype(np.float32)
        return SampledBatch(ids=own.ids, now=own.now, cursor=own.cursor, shifts_B=shifts_K, **columns)

    def state(self) -> dict[str, torch.Tensor]:
        """The running mean and the counts, for a checkpoint."""
        return {name: torch.from_numpy(values.copy()) for name, values in self._arrays().items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned; of a checkpoint that did not sample, nothing is known."""
        if state:
            for name, values in self._arrays().items():
                values[:] = state[name].numpy()

    def _arrays(self) -> dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int64]]:
        return {"scores": self._scores, "counts": self._counts}

    def _rates_of(self, negative_B: npt.NDArray[np.bool_], scores_B: Scores) -> Rates:
        """w of each row [B]."""
        rates = self._rates
        if rates.method == "uniform":
            return np.full(len(scores_B), rates.rate)
        scores_B = scores_B.astype(np.float64)
        self._scores[:] = self._scores * _DECAY + (scores_B[negative_B].sum(), negative_B.sum())
        mean = self._scores[0] / max(self._scores[1], 1.0)
        rates_B: Rates = np.clip(rates.rate * scores_B / max(mean, 1e-12), rates.min_rate, 1.0)
        return rates_B
