"""How good predicted probabilities are: ranking (AUC), calibration, and information (log loss, normalised entropy).

All arithmetic is float64. Where a figure is undefined it is NaN, never an error: AUC and normalised entropy of a
single class, calibration without a positive label, anything over no rows or no weight. Rows of weight zero count as
absent. Shape suffixes: R rows, B bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.ArrayLike
Floats = npt.NDArray[np.float64]

CLIP = 1e-7
"""Probabilities are clipped to [CLIP, 1 - CLIP] before their logarithm is taken."""


def auc(labels: Array, scores: Array, weights: Array | None = None) -> float:
    """Probability that a positive scores above a negative, ties counting one half. Exact, by ranks.

    >>> auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.7])
    0.625
    """
    labels_R, scores_R, weights_R = checked_rows(labels, scores, weights)
    order = np.argsort(scores_R, kind="stable")
    _, first = np.unique(scores_R[order], return_index=True)
    if not len(first):
        return math.nan
    weighted_labels = (labels_R * weights_R)[order]
    positives_B = np.add.reduceat(weighted_labels, first)
    negatives_B = np.add.reduceat(weights_R[order] - weighted_labels, first)
    return auc_of_counts(positives_B, negatives_B)


def log_loss(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """Mean of -log p(label), in nats.

    >>> round(log_loss([1, 0], [0.8, 0.4]), 6)
    0.366985
    """
    labels_R, probabilities_R, weights_R = checked_rows(labels, probabilities, weights)
    return ratio(float((weights_R * log_losses(labels_R, probabilities_R)).sum()), float(weights_R.sum()))


def calibration(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """Mean prediction over mean label: 1 is right, above 1 promises too much.

    >>> calibration([1, 0, 0, 0], [0.5, 0.25, 0.25, 0.25])
    1.25
    """
    labels_R, probabilities_R, weights_R = checked_rows(labels, probabilities, weights)
    return ratio(float((weights_R * probabilities_R).sum()), float((weights_R * labels_R).sum()))


def normalised_entropy(labels: Array, probabilities: Array, weights: Array | None = None) -> float:
    """Log loss over that of always predicting the mean label (He et al., ADKDD 2014): below 1 is better than that.

    >>> normalised_entropy([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5])
    1.0
    """
    labels_R, _, weights_R = checked_rows(labels, probabilities, weights)
    rate = ratio(float((weights_R * labels_R).sum()), float(weights_R.sum()))
    return ratio(log_loss(labels, probabilities, weights), entropy(rate))


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of the replay report: a function of labels, probabilities and weights, each [R], its column title and
    the digits shown. NaN where it is undefined."""

    compute: Callable[[Array, Array, Array | None], float]
    title: str
    digits: int = 4


METRICS: dict[str, Metric] = {
    "auc": Metric(auc, "AUC"),
    "log_loss": Metric(log_loss, "log loss"),
    "normalised_entropy": Metric(normalised_entropy, "NE"),
    "calibration": Metric(calibration, "calibration", digits=3),
}
"""The metrics of the replay report by their name in `result.json`, in the order of the columns."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows whose prediction lies in [low, high): their weight, mean prediction and mean label."""

    low: float
    high: float
    weight: float
    predicted: float
    observed: float


def reliability(
    labels: Array, probabilities: Array, weights: Array | None = None, bins: int = 10
) -> list[ReliabilityBin]:
    """Predicted against observed rate in `bins` equal parts of [0, 1]; empty bins are left out.

    >>> [(b.low, b.observed) for b in reliability([0, 1, 1], [0.1, 0.15, 0.9])]
    [(0.1, 0.5), (0.9, 1.0)]
    """
    labels_R, probabilities_R, weights_R = checked_rows(labels, probabilities, weights)
    bin_R = np.clip((probabilities_R * bins).astype(np.int64), 0, bins - 1)
    sums = [np.bincount(bin_R, weights_R * v, bins) for v in (np.ones_like(labels_R), probabilities_R, labels_R)]
    return [
        ReliabilityBin(b / bins, (b + 1) / bins, float(w), float(p / w), float(y / w))
        for b, (w, p, y) in enumerate(zip(*sums, strict=True))
        if w > 0
    ]


@dataclass(frozen=True, slots=True)
class Summary:
    """All figures over some rows. `positives` is the weight of positive labels."""

    rows: int
    weight: float
    positives: float
    auc: float
    log_loss: float
    calibration: float
    normalised_entropy: float

    def to_json(self) -> dict[str, float | int | None]:
        """As a JSON object; undefined figures are null."""
        return {name: None if math.isnan(value) else value for name, value in asdict(self).items()}


def summarise(labels: Array, probabilities: Array, weights: Array | None = None) -> Summary:
    """Every figure of these rows.

    >>> summarise([1, 0], [0.8, 0.4]).auc
    1.0
    """
    labels_R, probabilities_R, weights_R = checked_rows(labels, probabilities, weights)
    rows = (labels_R, probabilities_R, weights_R)
    return Summary(
        rows=len(labels_R),
        weight=float(weights_R.sum()),
        positives=float((weights_R * labels_R).sum()),
        auc=auc(*rows),
        log_loss=log_loss(*rows),
        calibration=calibration(*rows),
        normalised_entropy=normalised_entropy(*rows),
    )


def by_group(groups: Array, labels: Array, probabilities: Array, weights: Array | None = None) -> dict[str, Summary]:
    """A summary per value of `groups` (a slice's name per row), in sorted order.

    >>> {name: s.rows for name, s in by_group(["new", "known", "new"], [1, 0, 0], [0.6, 0.2, 0.3]).items()}
    {'known': 1, 'new': 2}
    """
    names, start_G, order = _groups(groups)
    labels_R, probabilities_R, weights_R = (
        np.asarray(a)[order] for a in (labels, probabilities, np.ones(len(order)) if weights is None else weights)
    )
    ends = [*start_G, len(order)][1:]
    return {
        str(name): summarise(labels_R[a:b], probabilities_R[a:b], weights_R[a:b])
        for name, a, b in zip(names, start_G, ends, strict=True)
    }


def grouped_auc(groups: Array, labels: Array, scores: Array, *, row_weighted: bool = True) -> float:
    """Mean AUC over the groups that have both classes, each counting by its rows or all alike (`row_weighted=False`).

    >>> grouped_auc([1, 1, 2, 2, 2, 2], [1, 0, 1, 0, 0, 0], [0.9, 0.1, 0.2, 0.8, 0.9, 0.1])
    0.5555555555555555
    """
    sizes, values = [], []
    for summary in by_group(groups, labels, scores).values():
        if not math.isnan(summary.auc):
            sizes.append(summary.rows if row_weighted else 1)
            values.append(summary.auc)
    return float(np.average(values, weights=sizes)) if values else math.nan


def checked_rows(labels: Array, scores: Array, weights: Array | None) -> tuple[Floats, Floats, Floats]:
    """Checked float64 copies without the rows of weight zero."""
    labels_R, scores_R = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    weights_R = np.ones(len(labels_R)) if weights is None else np.asarray(weights, np.float64)
    if not labels_R.shape == scores_R.shape == weights_R.shape or labels_R.ndim != 1:
        raise ValueError(f"one label, score and weight per row: got {labels_R.shape, scores_R.shape, weights_R.shape}")
    for message, holds in (
        ("labels must be within [0, 1]", (labels_R >= 0) & (labels_R <= 1)),
        ("scores must be finite", np.isfinite(scores_R)),
        ("weights must be finite and not negative", np.isfinite(weights_R) & (weights_R >= 0)),
    ):
        if not holds.all():
            raise ValueError(message)
    kept = weights_R > 0
    return (labels_R, scores_R, weights_R) if kept.all() else (labels_R[kept], scores_R[kept], weights_R[kept])


def log_losses(labels_R: Floats, probabilities_R: Floats) -> Floats:
    clipped_R = np.clip(probabilities_R, CLIP, 1 - CLIP)
    losses_R: Floats = -(labels_R * np.log(clipped_R) + (1 - labels_R) * np.log1p(-clipped_R))
    return losses_R


def auc_of_counts(positives_B: Floats, negatives_B: Floats) -> float:
    """AUC from the weight of each class at each score, scores ascending."""
    below_B = np.cumsum(negatives_B) - 0.5 * negatives_B
    return ratio(float(positives_B @ below_B), float(positives_B.sum() * negatives_B.sum()))


def entropy(rate: float) -> float:
    if not 0 < rate < 1:
        return math.nan
    return -(rate * math.log(rate) + (1 - rate) * math.log(1 - rate))


def ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def _groups(groups: Array) -> tuple[npt.NDArray[Any], list[int], npt.NDArray[np.int64]]:
    """Distinct names, where each begins in `order`, and rows ordered by name (stable)."""
    values = np.asarray(groups)
    order = np.argsort(values, kind="stable")
    names, starts = np.unique(values[order], return_index=True)
    return names, [int(start) for start in starts], order
