"""What a process that ranks keeps of everything that trainers publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from serving.cache.entity_cache import EntityFeatures
from serving.cache.item_set_members import ItemSetMembers
from serving.cache.visited_items import VisitedItems
from serving.model.loaded_model import OpenScorer
from serving.ranking.popularity import CatalogSnapshot
from serving.replication.connection.redis_client import RedisClient
from serving.replication.connection.server_settings import warn
from serving.replication.follow.followed_models import FollowedModels
from serving.replication.follow.model_loader import ModelLoader
from serving.replication.follow.stream_follower import Sink, StreamFollower
from serving.replication.health import Availability
from serving.replication.promotions import Promotion, latest, promoted
from serving.replication.trainer_status import TrainerStatuses

_REQUEST_TIMEOUT = 0.1
"""Longest time (s) that one Redis command may hold up a request."""
_FOLLOW_TIMEOUT = 5.0
_SHOWN = 20
"""Promotions that are kept to be looked at."""


class Replica:
    """The models `names`, the catalogue and the latest features, current from `start` until `close`; models `beside`,
    which no answer needs, too.

    `connect` returns a client with a time-out in seconds, and `revive` starts a Redis that is gone. `refresh` is called
    whenever the catalogue is read anew. `cache_rows` rows of each model are kept; features are used for at most
    `entity_ttl` seconds without a notice of change.
    """

    def __init__(
        self,
        names: Sequence[str],
        connect: Callable[[float], RedisClient],
        open_scorer: OpenScorer,
        *,
        cache_rows: int,
        entity_ttl: float,
        beside: Sequence[str] = (),
        refresh: Callable[[RedisClient], None] = lambda _: None,
        revive: Callable[[], None] = lambda: None,
    ) -> None:
        self._stack, self._also = ExitStack(), refresh
        client = self._stack.enter_context(connect(_REQUEST_TIMEOUT))
        self.availability = Availability(up=False)
        self._inspected = False
        self.catalog = CatalogSnapshot()
        self.models = FollowedModels(
            names,
            lambda name: ModelLoader(name, client, open_scorer, cache_rows, self.availability, time.monotonic),
            beside,
        )
        self.trainers = TrainerStatuses(self.models.loaders)
        self.promotions: Sequence[Promotion] = []
        """The last ones, the newest first."""
        self.entities = EntityFeatures(client, entity_ttl, 1_000_000, time.monotonic, self.availability)
        self.visited = VisitedItems(client, self.availability)
        self.item_sets = ItemSetMembers(client, self.availability)
        self._follower = StreamFollower(
            lambda: connect(_FOLLOW_TIMEOUT), self._sinks(), self.availability, self._refresh, revive
        )
        self._stack.callback(self._follower.close)

    def start(self) -> None:
        """Follow what is published, in a thread."""
        self._follower.start()

    def wait(self, timeout: float) -> bool:
        """Wait until everything published before `start` is here; False when that took over `timeout` seconds."""
        return self._follower.wait(timeout)

    def is_behind(self, name: str) -> bool:
        """Whether the trainer of a model says that it has still to read a part of the log."""
        trainer = self.trainers.by_model.get(name)
        return trainer is not None and not trainer.status.get("caught_up", True)

    def close(self) -> None:
        self._stack.close()

    def _sinks(self) -> list[Sink]:
        return [self.entities, *self.models.loaders.values()]

    def _refresh(self, client: RedisClient) -> None:
        if not self._inspected:
            warn(client)
            self._inspected = True
        self._crown(client)
        self.catalog.refresh(client)
        self.trainers.refresh(client)
        for loader in self.models.loaders.values():
            loader.maintain()
        self._also(client)

    def _crown(self, client: RedisClient) -> None:
        """Serve the champion, if a model was promoted or gone back to."""
        self.promotions = latest(client, _SHOWN)
        found = promoted(client)
        if found is not None and self.models.crown(found):
            self._follower.follow(self._sinks())
            self.trainers.follow(self.models.loaders)
