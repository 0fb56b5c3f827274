"""Vectors of items by name: what is nearest to a user's vector.

Shape suffixes: N items, E coordinates of a vector, Q queries.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from serving.index.exact_index import ExactIndex
from serving.index.ivf_index import IvfIndex, one_thread
from serving.index.shared_lock import SharedLock
from serving.index.slot_names import SlotNames
from serving.index.vector_index import Floats, VectorIndex

_logger = logging.getLogger(__name__)

EXACT_BELOW = 50_000
"""Catalogues smaller than this are searched exactly, which takes about a millisecond."""
RECALL = 0.99
"""Of an approximate search against an exact one; below this, `probes` rise, or the centroids are trained anew."""
_SLACK = 0.005
_JUDGED_ON = 100
"""Items of a search whose recall is measured."""
_QUERIES = 32
_SWEEP = 256
"""Hidden items at which the index is swept."""
_MEASURE_EVERY = 0.05
"""Share of the items that must have changed before recall is measured again."""


class ItemIndex:
    """Exact search in a small catalogue, lists of faiss in one of `exact_below` items or more; `size` is E.

    A removed item is hidden at once, and its vector is removed with others later. `maintain`, called now and then from
    the thread that changes the index, measures in another thread what an approximate search finds. Where that falls
    below `RECALL`, or the catalogue has grown, an index is built there from what this one holds, while it goes on to
    answer and to change, and takes its place with one assignment. Thread-safe.
    """

    def __init__(
        self,
        size: int,
        exact_below: int = EXACT_BELOW,
        start: Callable[[Callable[[], None]], None] = lambda work: threading.Thread(
            target=work, name="index", daemon=True
        ).start(),
    ) -> None:
        self.size = size
        self.recall = 1.0
        """Of searches when it was last measured."""
        self.built = 0
        """How many indexes took the place of another one."""
        self._exact_below = exact_below
        self._start = start
        self._names = SlotNames()
        self._index: VectorIndex = ExactIndex(size)
        self._lock = SharedLock()
        self._queries: deque[Floats] = deque(maxlen=_QUERIES)
        self._working = False
        self._changed = 0
        self._since_snapshot: set[int] | None = None
        """Slots that changed since a build began; None while none is built."""

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, item: str) -> bool:
        return item in self._names

    def items(self) -> list[str]:
        """All items that a search may find."""
        with self._lock.reading():
            return list(self._names)

    @property
    def kind(self) -> str:
        """`exact` or `ivf`."""
        return "ivf" if isinstance(self._index, IvfIndex) else "exact"

    def put(self, items: Sequence[str], vectors_NE: Floats) -> None:
        """Add items or replace their vectors; of a duplicate item the last vector counts.

        Raises ValueError if vectors have another size.
        """
        if vectors_NE.shape != (len(items), self.size):
            raise ValueError(f"vectors have shape {vectors_NE.shape}, this index takes {(len(items), self.size)}")
        last = {item: number for number, item in enumerate(items)}
        if not last:
            return
        with self._lock.writing():
            slots_N = self._names.take(last)
            self._index.put(slots_N, vectors_NE[list(last.values())].astype(np.float32))
            self._note(slots_N.tolist())

    def remove(self, items: Iterable[str]) -> None:
        """No search finds these items any more; those that are not there are ignored."""
        with self._lock.writing():
            self._note(self._names.hide(items).tolist())
            if len(self._names.hidden) >= _SWEEP and self._since_snapshot is None:
                self._index.remove(np.array(self._names.hidden, np.int64))
                self._names.free()

    def search(
        self, query_E: Floats, count: int, exclude: AbstractSet[str] = frozenset()
    ) -> tuple[list[str], list[float]]:
        """At most `count` items with the greatest inner products, greatest first, and these; none in `exclude`."""
        with self._lock.reading():
            if not len(self._names):
                return [], []
            slots_K, scores_K = self._index.search(query_E, count, self._names.without(exclude))
            self._queries.append(query_E)
            return self._names.of(slots_K.tolist()), scores_K.tolist()

    def products(self, query_E: Floats, items: Sequence[str]) -> Floats:
        """The inner product with each item's vector; NaN for an item without one."""
        with self._lock.reading():
            slots_N = self._names.find(items)
            known_N = slots_N >= 0
            products_N = np.full(len(items), np.nan, np.float32)
            products_N[known_N] = self._index.vectors(slots_N[known_N]) @ query_E
            return products_N

    def maintain(self) -> None:
        """Start a measurement or a build if one is due and none runs."""
        with self._lock.writing():
            large = len(self._names) >= self._exact_below
            exact = isinstance(self._index, ExactIndex)
            shrunk = not exact and len(self._names) < self._exact_below // 2
            due = self._changed > _MEASURE_EVERY * len(self._names) and not exact
            if self._working or not (shrunk or due or (large and exact)):
                return
            self._working, self._changed = True, 0
        self._start(self._work)

    def _work(self) -> None:
        try:
            index, small = self._index, len(self._names) < self._exact_below // 2
            if not isinstance(index, IvfIndex) or small or not self._tuned(index, 4 * index.probes, RECALL - _SLACK):
                self._build()
        except Exception:  # the index that is there goes on to answer
            _logger.exception("the index of item vectors could not be measured or built anew")
        finally:
            self._working, self._since_snapshot = False, None

    def _build(self) -> None:
        """Build an index of what there is, then bring it up to date and use it."""
        with self._lock.writing():
            slots_N, vectors_NE = self._index.contents()
            there_N = self._names.shows(slots_N)
            slots_N, vectors_NE = slots_N[there_N], vectors_NE[there_N]
            self._since_snapshot = set()
        if len(slots_N) >= self._exact_below:
            with one_thread():
                built: VectorIndex = IvfIndex(slots_N, vectors_NE)
        else:
            built = ExactIndex(self.size)
            built.put(slots_N, vectors_NE)
        with self._lock.writing():
            self._bring_up_to_date(built)
            self._index, self._since_snapshot = built, None
            self.built += 1
        if isinstance(built, IvfIndex):
            self._tuned(built, built.lists, RECALL)
        else:
            self.recall = 1.0

    def _bring_up_to_date(self, built: VectorIndex) -> None:
        changed = np.array(sorted(self._since_snapshot or ()), np.int64)
        built.remove(changed)
        slots_N, vectors_NE = self._index.contents()
        again_N = np.isin(slots_N, changed)
        built.put(slots_N[again_N], vectors_NE[again_N])

    def _tuned(self, index: IvfIndex, most: int, enough: float) -> bool:
        """Measure recall, and search up to `most` lists until it is `enough`; False if they were not."""
        with one_thread():
            while True:
                self.recall = self._measured(index)
                if self.recall >= enough or index.probes >= index.lists:
                    return True
                more = min(index.probes + index.probes // 4 + 1, index.lists)
                if more > most:
                    return False
                index.probes = more

    def _measured(self, index: IvfIndex) -> float:
        """The share of the items of exact searches that approximate ones find, over recent queries."""
        queries = list(self._queries) or list(index.contents()[1][:_QUERIES])
        found = wanted = 0
        for query_E in queries:
            with self._lock.reading():
                near = index.search(query_E, _JUDGED_ON, self._names.visible)[0]
                exact = index.search_all(query_E, _JUDGED_ON, self._names.visible)[0]
            found += len(np.intersect1d(near, exact))
            wanted += len(exact)
        return found / max(wanted, 1)

    def _note(self, slots: list[int]) -> None:
        self._changed += len(slots)
        if self._since_snapshot is not None:
            self._since_snapshot.update(slots)
