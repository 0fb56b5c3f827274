"""Ranking of each user's judged items: NDCG@k, and F1@k of mean precision and mean recall.

Over the items of a user that have labels, not over the catalogue. Ties keep the order of the rows. Shape suffixes: R
rows, U users, k ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluation.metrics import auc, ratio

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JudgedByUser:
    """`ndcg` counts users without a positive as 1, as published tables on Coat do, `ndcg_with_positive` not at all."""

    auc: float
    ndcg: float
    ndcg_with_positive: float
    precision: float
    recall: float
    f1: float


def judged_by_user(
    users_R: npt.ArrayLike, labels_R: npt.ArrayLike, scores_R: npt.ArrayLike, k: int = 5
) -> JudgedByUser:
    """All figures; recall is the mean over users with a positive, precision is hits / k over all users.

    >>> judged_by_user([1, 1, 1, 2, 2], [1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1], k=2).recall
    0.5
    """
    users, labels, scores = np.asarray(users_R), np.asarray(labels_R, np.float64), np.asarray(scores_R, np.float64)
    ndcg_U, hits_U, positives_U = (np.array(figures) for figures in zip(*_users(users, labels, scores, k), strict=True))
    has_U = positives_U > 0
    precision = float((hits_U / k).mean())
    recall = float((hits_U[has_U] / positives_U[has_U]).mean()) if has_U.any() else float("nan")
    return JudgedByUser(
        auc=auc(labels, scores),
        ndcg=float(np.where(has_U, ndcg_U, 1.0).mean()),
        ndcg_with_positive=float(ndcg_U[has_U].mean()) if has_U.any() else float("nan"),
        precision=precision,
        recall=recall,
        f1=ratio(2 * precision * recall, precision + recall),
    )


def _users(
    users_R: npt.NDArray[np.int64], labels_R: Floats, scores_R: Floats, k: int
) -> list[tuple[float, float, float]]:
    """NDCG, hits in the first k, positives; of each user."""
    order = np.lexsort((-scores_R, users_R))
    _, starts = np.unique(users_R[order], return_index=True)
    discount_k = 1 / np.log2(np.arange(k) + 2)
    found = []
    for own in np.split(labels_R[order], starts[1:]):
        top, positives = own[:k], float(own.sum())
        best = discount_k[: int(min(k, positives))].sum()
        found.append((float(top @ discount_k[: len(top)] / best) if best else 0.0, float(top.sum()), positives))
    return found
