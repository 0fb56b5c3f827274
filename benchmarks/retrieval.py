"""The index of item vectors: search, changes, and recall after the catalogue has changed ten times.

Shape suffixes: N items, E coordinates of a vector, Q queries, K found.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks._vector_peers import Peer, peers, tuned
from benchmarks.harness import Result, Target, median, ratio
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


def compared(count: int, rounds: int = 300) -> tuple[dict[str, dict[str, list[float]]], dict[str, float]]:
    """Of each peer the milliseconds of its searches and, in turn with them, of ours, among `count` items; recalls."""
    towers = Towers(seed=9)
    vectors, queries = towers.draw(count), towers.draw(rounds)
    index, wanted = filled(vectors), exact(vectors, queries)
    taken: dict[str, dict[str, list[float]]] = {}
    recalls = {"ours": share([numbers(index.search(q, COUNT)[0]) for q in queries], wanted)}
    for peer in peers(vectors):
        recalls[peer.name] = tuned(peer, lambda one: share([one.search(q, COUNT) for q in queries], wanted), 0.99)
        searches(index, peer, queries[:50])
        taken[peer.name] = searches(index, peer, queries)
    return taken, recalls


def searches(index: ItemIndex, peer: Peer, queries_QE: Floats) -> dict[str, list[float]]:
    """Milliseconds of each search, one of each in turn."""
    taken: dict[str, list[float]] = {"ours": [], "peer": []}
    for query_E in queries_QE:
        taken["ours"].append(searched(index, query_E))
        start = time.perf_counter()
        peer.search(query_E, COUNT)
        taken["peer"].append(1e3 * (time.perf_counter() - start))
    return taken


def searched(index: ItemIndex, query_E: Floats) -> float:
    """Milliseconds of a search."""
    start = time.perf_counter()
    index.search(query_E, COUNT)
    return 1e3 * (time.perf_counter() - start)


def numbers(names: list[str]) -> list[int]:
    """Of items named i0, i1, ..."""
    return [int(name[1:]) for name in names]


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
    found = [[numbers(one.search(q, COUNT)[0]) for q in queries] for one in (index, fresh)]
    return {"after": share(found[0], wanted), "fresh": share(found[1], wanted), "built": float(index.built)}


def run(quick: bool) -> Result:
    """60,000 items when quick, else a million; peers among 60,000 and 200,000."""
    count, among = (EXACT_BELOW + 10_000,) * 2 if quick else (1_000_000, 200_000)
    towers = Towers(seed=7)
    vectors, queries = towers.draw(count), towers.draw(500)
    wanted = exact(vectors, queries)
    start = time.perf_counter()
    index = filled(vectors)
    built = time.perf_counter() - start
    recall = share([numbers(index.search(query_E, COUNT)[0]) for query_E in queries], wanted)
    taken = [searched(index, query_E) for query_E in queries]
    changed = changes(index, towers)
    del index, vectors
    turned = turned_over(count, Towers(seed=8))
    beside, recalls = compared(among)
    p50, p99 = np.percentile(taken, [50, 99])
    targets = [
        Target(f"recall@{COUNT} against exact search, {count:,} x {SIZE}", recall, 0.99),
        Target("a search, p50 ms", float(p50), 0.5, better="lower"),
        Target("a search, p99 ms", float(p99), 2.0, better="lower"),
        Target(f"{CHANGED} updates and {CHANGED} removals, CPU ms", median(changed), 10, better="lower"),
        Target("recall lost in ten turnovers", turned["fresh"] - turned["after"], 0.005, better="lower"),
    ]
    for name, both in beside.items():
        what = f"p50 of {name} at recall {recalls[name]:.3f} over ours, {among:,}"
        targets.append(Target(what, ratio(both["peer"], both["ours"]), 1.0))
    raw: dict[str, Any] = {"items": count, "size": SIZE, "latent": LATENT, "count": COUNT, "recall": recall}
    raw |= {"build seconds": built, "search ms": taken, "change CPU ms": changed, "turnovers": turned}
    raw |= {"peers among": among, "peers ms": beside, "peers recall": recalls}
    return Result("retrieval", targets, raw)
