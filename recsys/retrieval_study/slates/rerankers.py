"""Ways to vary a list beside ours, from the same worth and unit vectors, with one column of similarities a step.

All trade log odds for variety at a price `weight`. Shape suffixes: C candidates, F coordinates, K places.
"""

from __future__ import annotations

import numpy as np

from serving.ranking.vendi import Floats

_JITTER = 1.001
"""Of the diagonal of a kernel, which has fewer directions than a list may have places."""


def maximal_marginal_relevance(worth_C: Floats, vectors_CF: Floats, weight: float, count: int) -> list[int]:
    """Worth less `weight` times the greatest similarity to an item above (Carbonell and Goldstein, SIGIR 1998).

    >>> maximal_marginal_relevance(np.array([3.0, 2.9, 1.0]), np.array([[1, 0], [1, 0], [0, 1.0]]), 2.0, 2)
    [0, 2]
    """
    worth_C, near_C = worth_C.copy(), np.zeros(len(worth_C))
    chosen: list[int] = []
    for _ in range(min(count, len(worth_C))):
        chosen.append(int(np.argmax(worth_C - weight * near_C)))
        worth_C[chosen[-1]] = -np.inf
        np.maximum(near_C, vectors_CF @ vectors_CF[chosen[-1]], out=near_C)
    return chosen


def determinantal_process(worth_C: Floats, vectors_CF: Floats, weight: float, count: int) -> list[int]:
    """Greedily the greatest sum of worth plus `weight` times the log determinant of similarities.

    By rows of the Cholesky factor (Chen, Zhang and Zhou, NeurIPS 2018); an item's quality is exp(worth / (2 weight)).

    >>> determinantal_process(np.array([3.0, 2.9, 1.0]), np.array([[1, 0], [1, 0], [0, 1.0]]), 2.0, 2)
    [0, 2]
    """
    quality_C = np.exp(worth_C / (2 * weight))
    rows_KC = np.zeros((count, len(worth_C)))
    left_C = quality_C**2 * _JITTER
    chosen: list[int] = []
    for k in range(min(count, len(worth_C))):
        best = int(np.argmax(left_C))
        kernel_C = quality_C[best] * quality_C * (vectors_CF @ vectors_CF[best])
        kernel_C[best] *= _JITTER
        rows_KC[k] = (kernel_C - rows_KC[:k, best] @ rows_KC[:k]) / np.sqrt(left_C[best])
        left_C -= rows_KC[k] ** 2
        left_C[best] = -np.inf
        chosen.append(best)
    return chosen
