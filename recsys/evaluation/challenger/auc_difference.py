"""The AUC of one model less that of another on the same rows, with users as what is independent.

Shape suffixes: R rows, U users.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.evaluation.metrics import Floats
from recsys.off_policy.estimates import Estimate, interval_of_sums


def auc_difference(labels_R: Floats, scores_R: Floats, others_R: Floats, users_R: npt.NDArray[np.integer]) -> Estimate:
    """AUC of `scores_R` less that of `others_R`, with an interval of 95 %.

    What each row adds is its placement among the rows of the other label (DeLong, DeLong and Clarke-Pearson 1988),
    summed by user (Obuchowski 1997). NaN of rows with one label.

    >>> auc_difference(np.array([1.0, 0.0]), np.array([0.9, 0.1]), np.array([0.1, 0.9]), np.array([1, 2])).value
    1.0
    """
    positive_R = labels_R > 0
    if positive_R.all() or not positive_R.any():
        return Estimate(float("nan"), None, None)
    placed_R = _placements(positive_R, scores_R) - _placements(positive_R, others_R)
    difference = float(placed_R[positive_R].mean())
    counts_R = np.where(positive_R, positive_R.sum(), (~positive_R).sum())
    return interval_of_sums(difference, (placed_R - difference) / counts_R, users_R)


def _placements(positive_R: npt.NDArray[np.bool_], scores_R: Floats) -> Floats:
    """Of each row, the share of rows of the other label that it is ranked rightly against; ties count one half."""
    placed_R = np.zeros(len(scores_R))
    for own_R, sign in ((positive_R, 1.0), (~positive_R, -1.0)):
        others = np.sort(sign * scores_R[~own_R])
        mine = sign * scores_R[own_R]
        below, not_above = np.searchsorted(others, mine), np.searchsorted(others, mine, side="right")
        placed_R[own_R] = (below + not_above) / 2 / len(others)
    return placed_R
