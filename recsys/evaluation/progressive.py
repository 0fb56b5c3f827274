"""Metrics of a stream whose rows are predicted before they are trained on. Shape suffixes: R rows, B bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.evaluation.metrics import (
    CLIP,
    Array,
    Floats,
    Summary,
    auc_of_counts,
    checked_rows,
    entropy,
    log_losses,
    ratio,
)


class Progressive:
    """Figures of a stream, predicted before trained on, in memory that does not grow.

    AUC comes from counts in `bins` equal parts of the logit range [-16, 16]; `auc_error` bounds its distance to the
    exact value (pairs within one bin are counted one half). The other figures are exact. Two accumulators over parts
    of a stream may be merged. The state is plain arrays, for a checkpoint.

    >>> p = Progressive()
    >>> p.add([1, 0, 1], [0.9, 0.2, 0.6])
    >>> p.summary().auc, p.auc_error
    (1.0, 0.0)
    """

    RANGE = 16.0

    def __init__(self, bins: int = 1 << 14) -> None:
        if bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        self.bins = bins
        self._positives_B = np.zeros(bins)
        self._negatives_B = np.zeros(bins)
        self._sums = np.zeros(5)  # rows, weight, positives, predictions, losses

    def add(self, labels: Array, probabilities: Array, weights: Array | None = None) -> None:
        """Count rows. ValueError for labels outside [0, 1], negative weights or probabilities that are not finite."""
        labels_R, probabilities_R, weights_R = checked_rows(labels, probabilities, weights)
        bin_R = self._bins(probabilities_R)
        positive_R = labels_R * weights_R
        self._positives_B += np.bincount(bin_R, positive_R, self.bins)
        self._negatives_B += np.bincount(bin_R, weights_R - positive_R, self.bins)
        losses = (weights_R * log_losses(labels_R, probabilities_R)).sum()
        predicted = (weights_R * probabilities_R).sum()
        self._sums += [len(labels_R), weights_R.sum(), positive_R.sum(), predicted, losses]

    def turn_positive(self, probabilities: Array, weights: Array | None = None) -> None:
        """Count rows that were added as negative as positive. Raises ValueError as `add`."""
        labels_R, probabilities_R, weights_R = checked_rows(np.ones_like(probabilities), probabilities, weights)
        moved_B = np.bincount(self._bins(probabilities_R), weights_R, self.bins)
        self._positives_B += moved_B
        self._negatives_B -= moved_B
        more = log_losses(labels_R, probabilities_R) - log_losses(np.zeros_like(labels_R), probabilities_R)
        self._sums += [0, 0, weights_R.sum(), 0, (weights_R * more).sum()]

    def _bins(self, probabilities_R: Floats) -> npt.NDArray[np.int64]:
        clipped_R = np.clip(probabilities_R, CLIP, 1 - CLIP)
        place_R = (np.log(clipped_R / (1 - clipped_R)) + self.RANGE) * (self.bins / (2 * self.RANGE))
        return np.clip(place_R.astype(np.int64), 0, self.bins - 1)

    def merge(self, other: Progressive) -> None:
        """Count the rows of `other` too. ValueError if it has another number of bins."""
        if other.bins != self.bins:
            raise ValueError(f"the other accumulator has {other.bins} bins, this accumulator {self.bins}")
        self.restore({name: value + other.state()[name] for name, value in self.state().items()})

    @property
    def rows(self) -> int:
        """Rows counted so far."""
        return int(self._sums[0])

    def summary(self) -> Summary:
        _, weight, positives, predicted, losses = map(float, self._sums)
        loss = ratio(losses, weight)
        return Summary(
            rows=self.rows,
            weight=weight,
            positives=positives,
            auc=auc_of_counts(self._positives_B, self._negatives_B),
            log_loss=loss,
            calibration=ratio(predicted, positives),
            normalised_entropy=ratio(loss, entropy(ratio(positives, weight))),
        )

    @property
    def auc_error(self) -> float:
        """Most that `summary().auc` can differ from the exact AUC."""
        pairs = float(self._positives_B.sum() * self._negatives_B.sum())
        return ratio(0.5 * float(self._positives_B @ self._negatives_B), pairs)

    def state(self) -> dict[str, Floats]:
        return {"positives": self._positives_B, "negatives": self._negatives_B, "sums": self._sums}

    def restore(self, state: dict[str, Any]) -> None:
        """Replace the counts. ValueError if `state` has another number of bins."""
        arrays = {name: np.array(state[name], np.float64) for name in self.state()}
        if arrays["positives"].shape != (self.bins,) or arrays["negatives"].shape != (self.bins,):
            raise ValueError(f"this state has {len(arrays['positives'])} bins, this accumulator {self.bins}")
        self._positives_B, self._negatives_B, self._sums = arrays["positives"], arrays["negatives"], arrays["sums"]
