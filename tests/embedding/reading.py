"""A reader beside a writer under which ids come, learn, expire and are evicted all the time."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from embedding.hashing import mix
from embedding.store import Floats, Ids, Optimizer, Table

MINUTE = 60_000
DIM, CAPACITY, BATCH, IDS = 64, 1_500, 1_000, 4_000
TABLE = Table("t", DIM, capacity=CAPACITY, ttl=20 * MINUTE, optimizer=Optimizer("adagrad", lr=1.0), init_scale=0.0)


def signs(ids_N: Ids) -> Floats:
    """The directions that ids learn in [N, D]: bits of the mixed id, so that a row tells whose it is."""
    bits_ND = (mix(ids_N)[:, None] >> np.arange(DIM, dtype=np.uint64)) & np.uint64(1)
    return bits_ND.astype(np.float32) * 2 - 1


def whole(ids_N: Ids, values_ND: Floats) -> bool:
    """Whether each row is of its own id, and at one step of it: every column has come as far as the others."""
    steps_ND = -values_ND * signs(ids_N)
    return bool((steps_ND >= 0).all() and (steps_ND == steps_ND[:, :1]).all())


class Reader:
    """Peeks in a thread of its own until told to stop."""

    def __init__(self, store: Any) -> None:
        self._store, self._stop = store, threading.Event()
        self.seen: set[float] = set()
        """How far the rows had come."""
        self.torn = 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        rng = np.random.default_rng(0)
        while not self._stop.is_set():
            found = self._store.peek("t", rng.integers(0, IDS, BATCH).astype(np.uint64))
            self.torn += not whole(found.ids_N, found.values_ND)
            self.seen.update(np.abs(found.values_ND[:, 0]).tolist())

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def write(store: Any, reader: Reader, least: int, most: int = 5_000) -> None:
    """Train on ids that move on, until the reader has seen `least` different rows and ids have gone both ways."""
    store.subscribe("c")
    for step in range(most):
        now = (step + step // 50 * 30) * MINUTE  # now and then all ids expire at once, else the coldest go
        found = store.lookup("t", (np.arange(BATCH) + step * 40).astype(np.uint64) % np.uint64(IDS), now)
        store.update(found, signs(found.ids_N))
        if step % 10 == 0:
            store.expire(now)
            sum(store.shrinking() if hasattr(store, "shrinking") else [])  # so that it grows again
            store.acknowledge("c", store.delta("c").sequence)
        counters = store.counters("t")
        if len(reader.seen) >= least and counters["expired"] and counters["evicted"]:
            return


def check(store: Any, least: int = 20) -> None:
    """A reader never sees a half-written row, nor another id's."""
    with Reader(store) as reader:
        write(store, reader, least)
    counters = store.counters("t")
    assert len(reader.seen) >= least, "the reader saw the writer at work"
    assert counters["expired"] > 0
    assert counters["evicted"] > 0
    assert reader.torn == 0
