"""Which items' vectors are published, and when.

Shape suffixes: N items, E coordinates of a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from recsys.errors import PublishError
from recsys.training.learner import Learner
from recsys.training.retrieval.item_pool import Numbers
from recsys.training.retrieval.retrieval_learner import RetrievalLearner
from serving.replication.publish.publisher import Publisher
from streaming.catalog import Catalog
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState

_AT_ONCE = 8192
"""Most items computed at once, and most that a sweep brings to one publication."""


class VectorPublication:
    """Publishes the vectors of items that came, were clicked or described recently, and a part of the others.

    Theirs change with the towers' weights: every publication brings the next `share` of the catalogue.
    """

    def __init__(
        self,
        learner: Learner,
        retrieval: RetrievalLearner,
        encoder: Encoder,
        entities: EntityState,
        catalog: Catalog,
        share: float,
    ) -> None:
        self._learner, self._retrieval = learner, retrieval
        self._encoder, self._entities, self._catalog = encoder, entities, catalog
        self._share = share
        self._sweep: Iterator[str] = iter(())
        self._swept_at = -1

    def start(self) -> None:
        """Publish all items next: what Redis holds is unknown."""
        self._catalog.change_all()

    def publish(self, publisher: Publisher, described: Iterable[str]) -> None:
        """Raises PublishError; everything is then published the next time."""
        changes = self._catalog.drain_changes()
        try:
            if changes.full:
                for part in _parts(changes.changed):
                    publisher.vectors.write(part, self._vectors(part))
                publisher.vectors.complete(self._catalog.__contains__)
            else:
                items = dict.fromkeys([*changes.changed, *described, *self._next()])
                known = [item for item in items if item in self._catalog]
                for part in _parts(known):
                    publisher.vectors.change(part, self._vectors(part))
                if changes.removed:
                    publisher.vectors.change([], self._vectors([]), changes.removed)
        except PublishError:
            self._catalog.restore_changes(changes)
            raise

    def _next(self) -> list[str]:
        """The next items of a sweep over the catalogue; none while nothing was learned since the last one began."""
        count = min(int(len(self._catalog) * self._share) + 1, _AT_ONCE)
        items = list(islice(self._sweep, count))
        if len(items) < count and self._swept_at != self._retrieval.steps:
            self._swept_at = self._retrieval.steps
            self._sweep = iter(self._catalog.names())
        return items

    def _vectors(self, items: Sequence[str]) -> Numbers:
        """[N, E] of items, by their latest features."""
        latest = self._entities.items.latest
        ids, numeric_BN = self._encoder.encode_known_items(items, [latest(item) for item in items])
        return self._retrieval.item_vectors(ids, numeric_BN, self._learner.scaling)


def _parts(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
