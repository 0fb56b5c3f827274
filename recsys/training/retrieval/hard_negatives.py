"""Which drawn items are hard negatives. Shape suffixes: P clicked rows, M drawn items, S chosen items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.training.retrieval.item_pool import Ids, Numbers


def hardest(near_PM: Numbers, keys_M: Ids, clicked_P: Ids, count: int) -> npt.NDArray[np.int64]:
    """Places among the drawn items of at most `count` different ones that are near to a user, hardest first.

    Dynamic negative sampling (Zhang et al., SIGIR 2013): of items drawn uniformly, those that the model itself scores
    highest. First come the nearest item of each row, in the order of their nearness `near_PM`, then the second nearest,
    and so on, so that no single user takes all places. A row's own clicked item is none of its negatives.

    >>> near_PM = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3]], np.float32)
    >>> hardest(near_PM, np.array([5, 6, 7], np.uint64), np.array([5, 9], np.uint64), 2).tolist()
    [1, 2]
    """
    keys, first_D = np.unique(keys_M, return_index=True)
    near_PD = np.where(clicked_P[:, None] == keys, -np.inf, near_PM[:, first_D])
    rank_PD = np.argsort(np.argsort(-near_PD, axis=1, kind="stable"), axis=1, kind="stable")
    rank_PD[near_PD == -np.inf] = len(keys)
    nearest_D = np.where(rank_PD == rank_PD.min(0), near_PD, -np.inf).max(0, initial=-np.inf)
    order_D = np.lexsort((first_D, -nearest_D, rank_PD.min(0)))
    chosen_S = order_D[nearest_D[order_D] > -np.inf][:count]
    return np.asarray(first_D[chosen_S], np.int64)
