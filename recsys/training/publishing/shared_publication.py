"""What all models share and one trainer publishes: features, counters, catalogue, sets, items clicked together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from recsys.errors import PublishError
from serving.limits import CATALOG_SIZE
from serving.replication.publish.publisher import Publisher
from streaming.catalog import Catalog
from streaming.co_visits import CoVisits
from streaming.encode.entity_state import EntityState
from streaming.item_sets import ItemSets
from streaming.windows.streamed_features import StreamedFeatures


class SharedPublication:
    """Publishes of them what is this trainer's to write (see `SharedFacts`). Raises PublishError."""

    def __init__(
        self,
        publisher: Publisher,
        entities: EntityState,
        catalog: Catalog,
        streamed: StreamedFeatures,
        visits: CoVisits | None,
        item_sets: ItemSets | None,
    ) -> None:
        self._publisher = publisher
        self._entities, self._catalog, self._streamed = entities, catalog, streamed
        self._visits, self._item_sets = visits, item_sets
        self._owns = False
        """Whether this trainer writes what all models share."""
        self._counts: frozenset[str] = frozenset()
        """The layouts of the counters that it writes."""

    def change_all(self) -> None:
        """Publish all of it next."""
        self._publisher.forget_catalog()
        self._entities.change_all()
        self._streamed.change_all()
        if self._visits is not None:
            self._visits.change_all()
        if self._item_sets is not None:
            self._item_sets.change_all()

    def take(self, *, has_caught_up: bool) -> None:
        """Find out which of it is this trainer's to write; what is new is written in full."""
        facts = self._publisher.facts
        owns, layouts = facts.owned(caught_up=has_caught_up), self._streamed.layouts
        counts = layouts if owns else frozenset()
        if layouts and not owns and has_caught_up:
            counts = layouts - facts.layouts_of_champion()
        if owns and not self._owns:
            self.change_all()
        elif counts != self._counts:
            self._streamed.change_all()
        self._owns, self._counts = owns, counts

    def publish(self, described: Callable[[Iterable[str]], None] = lambda _items: None) -> None:
        """Publish what changed; `described` is called with the items whose features did."""
        users, items = self._entities.drain_changes()
        if self._item_sets is not None:
            self._item_sets.update(items)
        with _again_if_it_fails(lambda: self._entities.restore_changes(users, items)):
            if self._owns:
                self._publisher.publish_entity_changes(users, items)
            described(items.latest)
        counters = self._streamed.drain_changes()
        with _again_if_it_fails(lambda: self._streamed.restore_changes(counters)):
            self._publisher.publish_records([one for one in counters if one.layout.key in self._counts])
        if not self._owns:
            return
        if (visits := self._visits) is not None:
            visited = visits.drain_changes()
            with _again_if_it_fails(lambda: visits.restore_changes(visited)):
                self._publisher.visits.apply(visited)
        if (sets := self._item_sets) is not None:
            members = sets.drain_changes()
            with _again_if_it_fails(lambda: sets.restore_changes(members)):
                self._publisher.item_sets.apply(members)
        self._publisher.publish_catalog(self._catalog.popular(CATALOG_SIZE), self._catalog.recent(CATALOG_SIZE))


@contextmanager
def _again_if_it_fails(restore: Callable[[], None]) -> Iterator[None]:
    """Changes that were drained and cannot be published are counted as changed again."""
    try:
        yield
    except PublishError:
        restore()
        raise
