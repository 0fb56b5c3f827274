"""Other indexes of vectors, at the least effort that finds as much as is asked of ours.

hnswlib has no wheels, so its algorithm is measured in faiss; usearch is measured where it is installed
(`pip install usearch`), and no part of the lock. Shape suffixes: N items, E coordinates of a vector, Q queries.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
LINKS, BUILD_EFFORT = 24, 80
EFFORTS = (100, 150, 200, 300, 400, 600, 800)


@dataclass(frozen=True, slots=True)
class Peer:
    """`search(query_E, count)` gives numbers of items, nearest first; more `effort` finds more, and takes longer."""

    name: str
    search: Callable[[Floats, int], list[int]]
    effort: Callable[[int], None]


def peers(vectors_NE: Floats) -> Iterator[Peer]:
    """One after the other, each built when it is asked for."""
    yield _faiss(vectors_NE)
    if importlib.util.find_spec("usearch"):
        yield _usearch(vectors_NE)


def tuned(peer: Peer, recall: Callable[[Peer], float], least: float) -> float:
    """Raise the effort until the recall is at least this; what it is then."""
    found = 0.0
    for effort in EFFORTS:
        peer.effort(effort)
        found = recall(peer)
        if found >= least:
            break
    return found


def _faiss(vectors_NE: Floats) -> Peer:
    import faiss

    index = faiss.IndexHNSWFlat(vectors_NE.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    index.add(vectors_NE)

    def effort(value: int) -> None:
        index.hnsw.efSearch = value

    return Peer("faiss HNSW", lambda query_E, count: index.search(query_E[None], count)[1][0].tolist(), effort)


def _usearch(vectors_NE: Floats) -> Peer:
    from usearch.index import Index

    index: Any = Index(
        ndim=vectors_NE.shape[1], metric="ip", dtype="f32", connectivity=LINKS, expansion_add=BUILD_EFFORT
    )
    index.add(np.arange(len(vectors_NE)), vectors_NE)

    def effort(value: int) -> None:
        index.expansion_search = value

    return Peer("usearch", lambda query_E, count: index.search(query_E, count).keys.tolist(), effort)
