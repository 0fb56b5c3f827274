"""Visits of a news site as Globo.com's log has them: two articles that a visitor sees, one of which is clicked.

Shape suffix: V visits.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.datasets.event_batches import Ints, lists, strings, table
from recsys.datasets.globo import CONTEXT

ARTICLES, VISITORS = 46_000, 320_000
"""About as many as Globo's two weeks have."""
EXPONENT = 1.1
"""Of the Zipf law by which articles are read."""
_VALUES = 5
"""Different values of each feature of a visit."""


class Visits:
    """Batches of an impression and its click a visit, made when they are asked for; ids are counted."""

    def __init__(self, seed: int) -> None:
        self._rng, self._next = np.random.default_rng(seed), 0
        weights = np.arange(1, ARTICLES + 1) ** -EXPONENT
        self._below = np.cumsum(weights / weights.sum())

    def take(self, visits: int, at: int) -> pa.RecordBatch:
        """The next ones, all at the event time `at` (ms): impression, its click, the next impression, ..."""
        shown = self._impressions(visits, at)
        clicked = np.arange(visits) * 2 + self._rng.integers(2, size=visits)
        clicks = table(
            "interaction",
            id=pc.binary_join_element_wise(shown["id"], "click", "-"),
            time=np.full(visits, at + 1),
            impression=shown["id"],
            item=shown["items"].combine_chunks().values.take(pa.array(clicked)),
            action="click",
            value=np.ones(visits),
        )
        in_turns = np.arange(2 * visits).reshape(2, -1).T.ravel()
        return pa.concat_tables([shown, clicks]).combine_chunks().take(pa.array(in_turns)).to_batches()[0]

    def _impressions(self, visits: int, at: int) -> pa.Table:
        numbers = np.arange(self._next, self._next + visits)
        self._next += visits
        return table(
            "impression",
            id=strings(numbers, "visit-"),
            time=np.full(visits, at),
            user=strings(self._rng.integers(VISITORS, size=visits), "user-"),
            items=lists(strings(self._pairs(visits).ravel(), "item-"), np.full(visits, 2)),
            features=self._context(visits),
        )

    def _pairs(self, visits: int) -> Ints:
        """Numbers of two different articles [V, 2]."""
        pairs_V2 = np.searchsorted(self._below, self._rng.random((visits, 2)))
        pairs_V2[:, 1] += pairs_V2[:, 0] == pairs_V2[:, 1]
        return pairs_V2 % ARTICLES

    def _context(self, visits: int) -> pa.Array:
        """The features of each visit as JSON."""
        parts: list[object] = []
        for number, name in enumerate(CONTEXT):
            parts += [f'{"," if number else "{"}"{name}":', strings(self._rng.integers(_VALUES, size=visits))]
        return pc.binary_join_element_wise(*parts, "}", "").cast(pa.binary())
