from __future__ import annotations

import numpy as np

from serving.index.exact_index import ExactIndex
from serving.index.ivf_index import IvfIndex
from tests.contracts.vector_index import SIZE, VectorIndexContract, vectors


class TestExactIndex(VectorIndexContract):
    def make(self) -> ExactIndex:
        return ExactIndex(SIZE)


class TestIvfIndex(VectorIndexContract):
    """It is trained on vectors that are then removed, and all lists are searched."""

    def make(self) -> IvfIndex:
        slots = np.arange(20)
        index = IvfIndex(slots, vectors(7, 20), lists=3)
        index.remove(slots)
        index.probes = index.lists
        return index
