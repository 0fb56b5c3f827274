"""Lists judged by what users liked later, over the full catalogue. Shape suffixes: U users, I items, K places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.datasets.ml1m_by_time import Bools, Ints
from recsys.retrieval_study.neighbours import Floats


def best(scores_UI: Floats, hidden_UI: Bools, count: int) -> Ints:
    """The `count` items [U, K] with the greatest scores that are not hidden, best first; of equal ones the first."""
    shown_UI = np.where(hidden_UI, -np.inf, scores_UI)
    return np.argsort(-shown_UI, axis=1, kind="stable")[:, :count]


def recall(lists_UK: Ints, relevant_UI: Bools) -> float:
    """Hits / min(K, relevant items), mean over users, who have at least one.

    >>> recall(np.array([[0, 1], [1, 2]]), np.array([[True, False, True], [True, True, True]]))
    0.75
    """
    hits_U = np.take_along_axis(relevant_UI, lists_UK, 1).sum(1)
    return float((hits_U / np.minimum(lists_UK.shape[1], relevant_UI.sum(1))).mean())


def ndcg(lists_UK: Ints, relevant_UI: Bools) -> float:
    """Sum over hits of 1 / log2(place + 1), over that of the best list, mean over users, who have a relevant item.

    >>> ndcg(np.array([[1, 0]]), np.array([[True, False]])).__round__(4)
    0.6309
    """
    discount_K = 1 / np.log2(np.arange(lists_UK.shape[1]) + 2)
    gains_U = np.take_along_axis(relevant_UI, lists_UK, 1) @ discount_K
    most_U = np.minimum(lists_UK.shape[1], relevant_UI.sum(1))
    return float((gains_U / discount_K.cumsum()[most_U - 1]).mean())


def mean_average_precision(lists_UK: Ints, relevant_UI: Bools) -> float:
    """Sum over hits of the precision down to them / min(K, relevant items), mean over users, who have one.

    >>> mean_average_precision(np.array([[1, 0]]), np.array([[True, False]]))
    0.5
    """
    hits_UK = np.take_along_axis(relevant_UI, lists_UK, 1)
    precision_UK = hits_UK.cumsum(1) / np.arange(1, lists_UK.shape[1] + 1)
    found_U = (precision_UK * hits_UK).sum(1) / np.minimum(lists_UK.shape[1], relevant_UI.sum(1))
    return float(found_U.mean())


def shares_shown(lists_UK: Ints) -> npt.NDArray[np.float64]:
    """Of all places in the lists, the share of each item that is shown."""
    shown_I = np.bincount(lists_UK.ravel())
    return np.asarray(shown_I[shown_I > 0] / lists_UK.size)
