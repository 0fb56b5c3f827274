"""What readers click next by what was clicked last: popularity, and sessions like theirs.

Shape suffixes: P clicks, Q queries, H clicks of a query's user before it, C candidates, S sessions, I articles.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recsys.datasets.event_batches import Ints
from recsys.datasets.globo_sessions import Clicks

Floats = npt.NDArray[np.float32]
HOUR = 60 * 60 * 1000
HISTORY = 20
"""Clicks of a user that every method knows."""


class NextClicks(Protocol):
    """A method that scores articles for the next click, and learns from those there were."""

    def learn(self, end: int) -> None:
        """From all clicks before number `end`."""
        ...

    def scores(self, rows_Q: Ints, items_C: Ints) -> Floats:
        """[Q, C], of these articles for the clicks of these numbers, which are not known yet."""
        ...


class Popularity:
    """Clicks in the `window` ms before the last click that is known."""

    def __init__(self, clicks: Clicks, window: int = HOUR) -> None:
        self._clicks, self._window = clicks, window
        self._counts_I = np.zeros(clicks.items, np.float32)

    def learn(self, end: int) -> None:
        start = self._clicks.until(int(self._clicks.times_P[end - 1]) - self._window)
        self._counts_I = np.bincount(self._clicks.items_P[start:end], minlength=self._clicks.items).astype(np.float32)

    def scores(self, rows_Q: Ints, items_C: Ints) -> Floats:
        return np.broadcast_to(self._counts_I[items_C], (len(rows_Q), len(items_C)))


class SessionNeighbours:
    """Articles of the `neighbours` sessions most like the reader's clicks, of the last `sessions` that there were.

    Vector multiplication session-based kNN (Ludewig and Jannach, UMUAI 2018): an earlier click counts
    1 / its place back, sessions are compared by the cosine, and each gives what it has its similarity.
    """

    def __init__(self, clicks: Clicks, sessions: int, neighbours: int) -> None:
        self._clicks, self._most, self._neighbours = clicks, sessions, neighbours
        self._read_SI = sparse.csr_array((0, clicks.items), dtype=np.float32)

    def learn(self, end: int) -> None:
        """Sessions are those whose clicks were among the last 8 for each session that is kept."""
        start = max(0, end - 8 * self._most)
        own_P, items_P = self._clicks.sessions_P[start:end], self._clicks.items_P[start:end]
        names_S, last_S = np.unique(own_P[::-1], return_index=True)
        kept_S = names_S[np.argsort(last_S)[: self._most]]
        row = np.full(int(names_S[-1]) + 1, -1)
        row[kept_S] = np.arange(len(kept_S))
        known_P = row[own_P] >= 0
        pairs = np.unique(np.stack([row[own_P[known_P]], items_P[known_P]]), axis=1)
        ones = np.ones(pairs.shape[1], np.float32)
        self._read_SI = sparse.csr_array((ones, tuple(pairs)), shape=(len(kept_S), self._clicks.items))

    def scores(self, rows_Q: Ints, items_C: Ints) -> Floats:
        length_S = np.sqrt(np.maximum(self._read_SI.sum(1), 1))
        near_QS = (self._asked(rows_Q) @ self._read_SI.T).toarray() / length_S
        if near_QS.shape[1] > self._neighbours:
            least_Q1 = -np.partition(-near_QS, self._neighbours - 1)[:, self._neighbours - 1 : self._neighbours]
            near_QS[near_QS < least_Q1] = 0
        return np.asarray((sparse.csr_array(near_QS) @ self._read_SI[:, items_C]).toarray(), np.float32)

    def _asked(self, rows_Q: Ints) -> sparse.csr_array:
        before_QH = self._clicks.before(rows_Q, HISTORY)
        query, place = np.nonzero(before_QH >= 0)
        weights = (1 / (place + 1)).astype(np.float32)
        items = self._clicks.items_P[before_QH[query, place]]
        return sparse.csr_array((weights, (query, items)), shape=(len(rows_Q), self._clicks.items))
