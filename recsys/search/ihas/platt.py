"""Platt scaling: scores of several models on one scale. Shape suffixes: R rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.evaluation.metrics import CLIP

Floats = npt.NDArray[np.float64]
_STEPS = 25
_RIDGE = 1e-6


def platt(scores_R: Floats, labels_R: Floats) -> tuple[float, float]:
    """a, b of sigmoid(a logit(score) + b) with the least log loss (Platt 1999), by Newton's method.

    1, 0 where labels of one class say nothing.

    >>> a, b = platt(np.array([0.2, 0.2, 0.2, 0.8, 0.8, 0.8]), np.array([0.0, 0.0, 1.0, 0.0, 1.0, 1.0]))
    >>> round(a, 3), round(b, 3)
    (0.5, 0.0)
    """
    if not 0 < labels_R.mean() < 1:
        return 1.0, 0.0
    inputs_R2 = np.stack([_logit(scores_R), np.ones(len(scores_R))], 1)
    weights_2 = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        scores_R = 1 / (1 + np.exp(-inputs_R2 @ weights_2))
        gradient_2 = inputs_R2.T @ (scores_R - labels_R)
        hessian_22 = (inputs_R2 * (scores_R * (1 - scores_R))[:, None]).T @ inputs_R2 + _RIDGE * np.eye(2)
        weights_2 = weights_2 - np.linalg.solve(hessian_22, gradient_2)
    return float(weights_2[0]), float(weights_2[1])


def scaled(scores_R: Floats, a: float, b: float) -> Floats:
    """sigmoid(a logit(score) + b)."""
    return np.asarray(1 / (1 + np.exp(-(a * _logit(scores_R) + b))))


def _logit(scores_R: Floats) -> Floats:
    clipped_R = np.clip(scores_R, CLIP, 1 - CLIP)
    return np.log(clipped_R) - np.log1p(-clipped_R)
