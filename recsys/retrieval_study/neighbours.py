"""Baselines of retrieval that are solved, not trained, from what users liked. Shape suffixes: U users, I items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.datasets.ml1m_by_time import Bools

Floats = npt.NDArray[np.float32]


def ease(liked_UI: Bools, l2: float = 500.0) -> Floats:
    """Item weights B [I, I] of EASE (Steck, WWW 2019): scores are `liked @ B`, an item has no weight for itself.

    B minimises |X - X B|^2 + l2 |B|^2 with a diagonal of zeros: B_ij = -P_ij / P_jj with P = (X'X + l2 I)^-1.
    """
    inverse_II = np.linalg.inv(_together(liked_UI) + l2 * np.eye(liked_UI.shape[1]))
    weights_II = -inverse_II / np.diag(inverse_II)
    np.fill_diagonal(weights_II, 0)
    return weights_II.astype(np.float32)


def item_knn(liked_UI: Bools, neighbours: int = 100, shrink: float = 20.0) -> Floats:
    """Item weights [I, I]: cosines drawn towards 0, n_ij / (sqrt(n_i n_j) + shrink), of the nearest items alone.

    Each item gives its scores to those to which it is a neighbour (Sarwar et al., WWW 2001).
    """
    both_II = _together(liked_UI)
    length_I = np.sqrt(np.diag(both_II))
    near_II = both_II / (np.outer(length_I, length_I) + shrink)
    np.fill_diagonal(near_II, 0)
    kept = min(neighbours, len(near_II) - 1)
    least_I = np.partition(near_II, -kept, axis=0)[-kept]
    return np.where(near_II >= np.maximum(least_I, 1e-12), near_II, 0).astype(np.float32)


def scores(liked_UI: Bools, weights_II: Floats) -> Floats:
    """Of each item for each user [U, I]."""
    return np.asarray(liked_UI.astype(np.float32) @ weights_II)


def popularity(liked_UI: Bools) -> Floats:
    """How many users liked each item [I]."""
    return np.asarray(liked_UI.sum(0), np.float32)


def _together(liked_UI: Bools) -> npt.NDArray[np.float64]:
    """How many users liked both items [I, I]."""
    ones_UI = liked_UI.astype(np.float32)
    return (ones_UI.T @ ones_UI).astype(np.float64)
