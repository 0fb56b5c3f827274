"""Scores of a baseline as probabilities. Shape suffix: R pairs of a user and an item."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.ranking.vendi import Floats

_STEPS = 50


@dataclass(frozen=True, slots=True)
class ClickModel:
    """log(p / (1 - p)) = slope * score + intercept (Platt, 1999)."""

    slope: float
    intercept: float

    def worth(self, scores: npt.ArrayLike) -> Floats:
        """Log odds of scores."""
        return np.asarray(self.slope * np.asarray(scores, np.float64) + self.intercept)


def fitted(scores_R: npt.ArrayLike, labels_R: npt.ArrayLike) -> ClickModel:
    """The most likely model, by Newton's method.

    >>> model = fitted(np.array([0.0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0]))
    >>> (1 / (1 + np.exp(-model.worth([0.0, 1.0])))).round(3).tolist()
    [0.25, 0.5]
    """
    inputs_R2 = np.column_stack([np.asarray(scores_R, np.float64), np.ones(np.size(scores_R))])
    labels, weights_2 = np.asarray(labels_R, np.float64), np.zeros(2)
    for _ in range(_STEPS):
        chances_R = 1 / (1 + np.exp(-inputs_R2 @ weights_2))
        curvature_22 = inputs_R2.T @ (inputs_R2 * (chances_R * (1 - chances_R))[:, None])
        step_2 = np.linalg.solve(curvature_22 + 1e-9 * np.eye(2), inputs_R2.T @ (labels - chances_R))
        weights_2 += step_2
        if np.abs(step_2).max() < 1e-9:
            break
    return ClickModel(float(weights_2[0]), float(weights_2[1]))
