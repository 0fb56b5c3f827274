"""Groups of rows that need the same coordinates.

Shape suffixes: R rows of a part, F sparse fields, K coordinates of a row, C groups.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor

from recsys.search.ihas.gates import GatedNet, chosen
from streaming.encode.batch import TrainingBatch

Floats = npt.NDArray[np.float32]
Groups = npt.NDArray[np.int64]
_SAMPLE = 50_000
"""Most rows that the centroids are found from."""
_CHUNK = 8192


@torch.no_grad()
def open_gates(gated: GatedNet, rows: TrainingBatch) -> Floats:
    """pi of all rows, [R, F * K]."""
    gated.eval()
    return np.concatenate([gated.probabilities(part).flatten(1).numpy() for part in rows.cut(_CHUNK)])


@dataclass(frozen=True, slots=True)
class Grouping:
    """The router: a row belongs to the group whose centroid is nearest to its pi."""

    centroids_CX: Floats
    """X = F * K."""

    @staticmethod
    def of(open_RX: Floats, groups: int, seed: int) -> Grouping:
        """By k-means (k-means++ initialisation) over at most 50,000 rows; of rows that are alike, fewer groups."""
        random = np.random.default_rng(seed)
        sample = random.permutation(len(open_RX))[:_SAMPLE]
        distinct = len(np.unique(open_RX[sample], axis=0))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "One of the clusters is empty")  # it is left out
            found, _ = kmeans2(open_RX[sample], min(groups, distinct), minit="++", seed=random)
        used = np.unique(vq(open_RX[sample], found)[0])
        return Grouping(found[used])

    def groups(self, open_RX: Floats) -> Groups:
        """The group [R] of each row."""
        return np.asarray(vq(open_RX, self.centroids_CX)[0], np.int64)


def mask_of(open_RX: Floats, fields: int) -> Tensor:
    """The coordinates [F, K] that most of these rows keep."""
    kept_X = chosen(torch.from_numpy(open_RX)).mean(0) > 0.5
    return kept_X.float().view(fields, -1)
