"""The index of item vectors: search, changes, and recall after the catalogue has changed ten times.

Shape suffixes: N items, E coordinates of a vector, Q queries, K found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Result, Target, median
from serving.index.item_index import EXACT_BELOW, ItemIndex

Floats = npt.NDArray[np.float32]
SIZE, LATENT, COUNT = 64, 8, 100
CHANGED = 500
TURNOVERS, PARTS = 10, 5


class Towers:
    """Vectors as towers give them: of `LATENT` numbers, by a random perceptron of one hidden layer, length 1.

    `drift` moves the mean of the numbers, as tastes move: what is drawn later lies elsewhere.
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._first = self._rng.normal(size=(LATENT, 128)).astype(np.float32)
        self._second = self._rng.normal(size=(128, SIZE)).astype(np.float32)
        self._mean = np.zeros(LATENT, np.float32)

    def drift(self) -> None:
        self._mean += self._rng.normal(size=LATENT).astype(np.float32) / 3

    def draw(self, count: int) -> Floats:
        latent = self._rng.standard_normal((count, LATENT), np.float32) + self._mean
        vectors = np.maximum(latent @ self._first, 0) @ self._second
        unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit.astype(np.float16).astype(np.float32)


def at_once(work: Callable[[], None]) -> None:
    """Runs what the index would do in another thread."""
    work()


def filled(vectors_NE: Floats, first: int = 0) -> ItemIndex:
    index = ItemIndex(SIZE, start=at_once)
    index.put([f"i{first + n}" for n in range(len(vectors_NE))], vectors_NE)
    index.maintain()
    assert index.kind == "ivf"
    return index


def exact(vectors_NE: Floats, queries_QE: Floats) -> list[set[int]]:
    return [set(np.argpartition(-(vectors_NE @ query_E), COUNT)[:COUNT].tolist()) for query_E in queries_QE]


def share(found: list[list[int]], wanted: list[set[int]]) -> float:
    return sum(len(best & set(one)) for one, best in zip(found, wanted, strict=True)) / (COUNT * len(wanted))


def hnsw(vectors_NE: Floats, queries_QE: Floats, wanted: list[set[int]]) -> Any:
    """faiss's HNSW at the least effort that finds as much as is asked of ours."""
    import faiss

    peer = faiss.IndexHNSWFlat(SIZE, 24, faiss.METRIC_INNER_PRODUCT)
    peer.hnsw.efConstruction = 80
    peer.add(vectors_NE)
    for effort in (100, 150, 200, 300, 400, 600, 800):
        peer.hnsw.efSearch = effort
        if share(peer.search(queries_QE, COUNT)[1].tolist(), wanted) >= 0.99:
            break
    return peer


def searches(index: ItemIndex, peer: Any, queries_QE: Floats) -> dict[str, list[float]]:
    """Milliseconds of each search, one of each in turn."""
    taken: dict[str, list[float]] = {"ours": [], "faiss HNSW": []}
    for query_E in queries_QE:
        start = time.perf_counter()
        index.search(query_E, COUNT)
        between = time.perf_counter()
        peer.search(query_E[None], COUNT)
        taken["ours"].append(1e3 * (between - start))
        taken["faiss HNSW"].append(1e3 * (time.perf_counter() - between))
    return taken


def changes(index: ItemIndex, towers: Towers, rounds: int = 20) -> list[float]:
    """Milliseconds of the processor to replace 500 vectors and to remove 500 items, swept at once."""
    taken = []
    for number in range(rounds):
        new, first = towers.draw(CHANGED), 2 * CHANGED * number
        start = time.process_time()
        index.put([f"i{first + n}" for n in range(CHANGED)], new)
        index.remove(f"i{first + CHANGED + n}" for n in range(CHANGED))
        taken.append(1e3 * (time.process_time() - start))
    return taken


def turned_over(count: int, towers: Towers) -> dict[str, float]:
    """Recall after the whole catalogue was replaced ten times, by one from elsewhere; of a fresh build."""
    present = towers.draw(count)
    index, names = filled(present), np.arange(count)
    for turn in range(TURNOVERS):
        towers.drift()
        for part in np.array_split(np.arange(count), PARTS):
            index.remove(f"i{n}" for n in names[part])
            names[part] = part + count * (turn + 1)
            present[part] = towers.draw(len(part))
            index.put([f"i{n}" for n in names[part]], present[part])
            for query_E in towers.draw(32):
                index.search(query_E, COUNT)
            index.maintain()
    queries = towers.draw(200)
    wanted = [{int(names[n]) for n in best} for best in exact(present, queries)]
    fresh = filled(present, first=count * TURNOVERS)
    found = [[[int(name[1:]) for name in one.search(q, COUNT)[0]] for q in queries] for one in (index, fresh)]
    return {"after": share(found[0], wanted), "fresh": share(found[1], wanted), "built": float(index.built)}


def run(quick: bool) -> Result:
    """60,000 items when quick, else a million, and 200,000 for the turnovers."""
    count = EXACT_BELOW + 10_000 if quick else 1_000_000
    towers = Towers(seed=7)
    vectors, queries = towers.draw(count), towers.draw(500)
    wanted = exact(vectors, queries)
    start = time.perf_counter()
    index = filled(vectors)
    built = time.perf_counter() - start
    peer = hnsw(vectors, queries[:100], wanted[:100])
    searches(index, peer, queries[:50])
    taken = searches(index, peer, queries)
    ours = [[int(name[1:]) for name in index.search(query_E, COUNT)[0]] for query_E in queries]
    theirs = peer.search(queries, COUNT)[1].tolist()
    recall = {"ours": share(ours, wanted), "faiss HNSW": share(theirs, wanted)}
    del peer
    changed = changes(index, towers)
    turned = turned_over(count if quick else 200_000, Towers(seed=8))
    p50, p99 = np.percentile(taken["ours"], [50, 99])
    ratio = median([a / b for a, b in zip(taken["faiss HNSW"], taken["ours"], strict=True)])
    targets = [
        Target(f"recall@{COUNT} against exact search, {count:,} x {SIZE}", recall["ours"], 0.99),
        Target("a search, p50 ms", float(p50), 0.5, better="lower"),
        Target("a search, p99 ms", float(p99), 2.0, better="lower"),
        Target(f"p50 of faiss HNSW at recall {recall['faiss HNSW']:.3f} over ours", ratio, 1.0),
        Target(f"{CHANGED} updates and {CHANGED} removals, CPU ms", median(changed), 10, better="lower"),
        Target("recall lost in ten turnovers", turned["fresh"] - turned["after"], 0.005, better="lower"),
    ]
    raw: dict[str, Any] = {"items": count, "size": SIZE, "latent": LATENT, "count": COUNT, "recall": recall}
    raw |= {"build seconds": built, "search ms": taken, "change CPU ms": changed, "turnovers": turned}
    return Result("retrieval", targets, raw)
