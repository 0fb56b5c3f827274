"""Lists judged by what users liked later, over the full catalogue. Shape suffixes: U users, I items, K places."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.datasets.ml1m_by_time import Bools, Ints
from recsys.evaluation import list_metrics
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
    return float(list_metrics.recall(*hits(lists_UK, relevant_UI)).mean())


def ndcg(lists_UK: Ints, relevant_UI: Bools) -> float:
    """The gain of hits by place over that of the best list, mean over users, who have a relevant item."""
    return float(list_metrics.ndcg(*hits(lists_UK, relevant_UI)).mean())


def hits(lists_UK: Ints, relevant_UI: Bools) -> tuple[Bools, Ints]:
    """Which places [U, K] of the lists hit, and how many items [U] are relevant."""
    return np.take_along_axis(relevant_UI, lists_UK, 1), relevant_UI.sum(1)


def shares_shown(lists_UK: Ints) -> npt.NDArray[np.float64]:
    """Of all places in the lists, the share of each item that is shown."""
    shown_I = np.bincount(lists_UK.ravel())
    return np.asarray(shown_I[shown_I > 0] / lists_UK.size)
