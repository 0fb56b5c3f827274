"""Approximate search in lists around centroids, by faiss.

Shape suffixes: N vectors, E coordinates, K found, Q queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from serving.index.vector_index import Bits, Floats, Slots

_PER_CENTROID = 40
"""Vectors for each centroid that they are trained on."""
_ROUNDS = 8
_PROBES = 8
"""At first."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Let faiss use one thread for what this thread asks of it, so that others keep their processor."""
    import faiss

    before = faiss.omp_get_max_threads()  # a setting of each thread
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class IvfIndex:
    """A `VectorIndex` that compares the query with the vectors of the `probes` lists whose centroids are nearest.

    Vectors are in half precision, in which they are published, so that a search of all lists is exact. A hashtable maps
    slots to their places, so that replacing and removing vectors cost what they change. Centroids stay as they were
    trained, on `slots_N` and `vectors_NE`, the first content; `seed` chooses the sample.
    """

    def __init__(self, slots_N: Slots, vectors_NE: Floats, lists: int = 0, seed: int = 0) -> None:
        import faiss

        self._faiss: Any = faiss
        size = vectors_NE.shape[1]
        self.lists = lists or max(int(2 * np.sqrt(len(slots_N))), 1)
        self.probes = min(_PROBES, self.lists)
        self._centroids = faiss.IndexFlatIP(size)
        half = faiss.ScalarQuantizer.QT_fp16
        self._index = faiss.IndexIVFScalarQuantizer(
            self._centroids, size, self.lists, half, faiss.METRIC_INNER_PRODUCT, False
        )
        self._index.cp.niter = _ROUNDS
        self._index.cp.seed = seed + 1
        rng = np.random.default_rng(seed)
        sample = rng.permutation(len(slots_N))[: _PER_CENTROID * self.lists]
        self._index.cp.min_points_per_centroid = 1
        self._index.train(np.ascontiguousarray(vectors_NE[sample], np.float32))
        self._index.set_direct_map_type(self._faiss.DirectMap.Hashtable)
        self._add(slots_N, vectors_NE)
        self._held = set(slots_N.tolist())

    def __len__(self) -> int:
        return len(self._held)

    def put(self, slots_N: Slots, vectors_NE: Floats) -> None:
        given = slots_N.tolist()
        self._discard([slot for slot in given if slot in self._held])
        with one_thread():
            self._add(slots_N, vectors_NE)
        self._held.update(given)

    def remove(self, slots_N: Slots) -> None:
        gone = [slot for slot in slots_N.tolist() if slot in self._held]
        self._discard(gone)
        self._held.difference_update(gone)

    def search(self, query_E: Floats, count: int, allowed: Bits) -> tuple[Slots, Floats]:
        return self._search(query_E, count, allowed, self.probes)

    def search_all(self, query_E: Floats, count: int, allowed: Bits) -> tuple[Slots, Floats]:
        """As `search`, in all lists: exact."""
        return self._search(query_E, count, allowed, self.lists)

    def vectors(self, slots_N: Slots) -> Floats:
        return np.asarray(self._index.reconstruct_batch(slots_N), np.float32)

    def contents(self) -> tuple[Slots, Floats]:
        slots_N = np.fromiter(self._held, np.int64, len(self._held))
        return slots_N, self.vectors(slots_N)

    def _add(self, slots_N: Slots, vectors_NE: Floats) -> None:
        if len(slots_N):
            self._index.add_with_ids(np.ascontiguousarray(vectors_NE, np.float32), slots_N)

    def _discard(self, slots: list[int]) -> None:
        if slots:
            array = np.array(slots, np.int64)
            self._index.remove_ids(self._faiss.IDSelectorArray(len(array), self._faiss.swig_ptr(array)))

    def _search(self, query_E: Floats, count: int, allowed: Bits, probes: int) -> tuple[Slots, Floats]:
        selector = self._faiss.IDSelectorBitmap(allowed)
        options = self._faiss.SearchParametersIVF(sel=selector, nprobe=probes)
        scores_1K, slots_1K = self._index.search(query_E[None].astype(np.float32), count, params=options)
        found_K = slots_1K[0] >= 0
        return slots_1K[0][found_K], scores_1K[0][found_K]
