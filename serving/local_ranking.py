"""The answers of a server, given in this process: the same models, features, candidates and ranking, without HTTP."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from recsys.errors import UnavailableError
from serving.api.messages.asked_features import check_asked_features
from serving.api.messages.schemas import RankRequest, RecommendRequest
from serving.experiments.traffic import Traffic
from serving.model.loaded_model import OpenScorer
from serving.process_settings import Settings
from serving.ranking.boost import Boost
from serving.ranking.query import Query
from serving.ranking.trace import Trace
from serving.ranking_parts import candidates, ranker
from serving.replica import Replica
from serving.replication.embedded_redis import connect
from serving.retrieval.retriever import RetrievalQuery
from streaming.events.schema import Impression, Value
from streaming.ingest.validation import check_items_differ, check_request_features

_CATCH_UP = 60.0
"""Longest time (s) to load what is published."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A ranked list, with the other fields of the server's answer."""

    shown: Impression
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where a recommended item came from."""
    degraded: tuple[str, ...] = ()
    """See `serving.api.messages.schemas.RankResponse`."""
    probabilities: Mapping[str, list[float]] = field(default_factory=dict)
    """The model's, of the shown items, by task; empty for a ranking by popularity."""
    boosted: tuple[float, ...] = ()
    """What the shown items were ranked by in the place of their scores, if there are boosts."""


class LocalRanking:
    """Ranks with what is published to a running Redis, and follows it until closed.

    Nothing is logged, and there is no deadline. Raises UnavailableError if Redis does not answer. Not thread-safe.
    """

    def __init__(self, settings: Settings, open_scorer: OpenScorer) -> None:
        self._traffic = Traffic(settings.experiments, settings.holdout)
        self._rules = settings.rules
        self._retrieve = settings.retrieve
        self._replica = Replica(
            settings.models,
            partial(connect, settings.redis_url, settings.redis_folder, project=settings.project),
            open_scorer,
            cache_rows=settings.cache_rows,
            entity_ttl=settings.entity_ttl / 1000,
        )
        self._ranker = ranker(settings, self._replica, math.inf)
        self._retriever = candidates(settings, self._replica)
        self._replica.start()
        if not self._replica.wait(_CATCH_UP):
            self.close()
            raise UnavailableError(settings.unanswered(_CATCH_UP))

    @property
    def missing(self) -> Mapping[str, str]:
        """Models that are not published yet, and why."""
        return self._replica.models.missing

    def rank(self, asked: RankRequest) -> Answer:
        """Raises InvalidValueError with the field's name first, where the server refuses the request."""
        check_items_differ(asked.items)
        query = self._query(asked, asked.items, asked.item_features, asked.count or len(asked.items))
        return self._ranked(query, {})

    def recommend(self, asked: RecommendRequest) -> Answer:
        """As `rank`, with retrieved items."""
        query = self._query(asked, (), {}, asked.count)
        user = RetrievalQuery(query.user, query.time, query.features, query.arm, asked.where, asked.basket)
        hidden = frozenset(asked.exclude).union(asked.basket)
        found = self._retriever.retrieve(user, max(self._retrieve, asked.count), hidden)
        query = self._query(asked, found.ids, {}, asked.count)
        return self._ranked(query, dict(zip(found.ids, found.source, strict=True)))

    def close(self) -> None:
        self._replica.close()

    def _query(
        self,
        asked: RankRequest | RecommendRequest,
        items: list[str] | tuple[str, ...],
        item_features: dict[str, list[Value]],
        count: int,
    ) -> Query:
        check_request_features(len(items), asked.features, item_features, self._rules)
        check_asked_features(asked, self._rules)
        now = time.time_ns() // 1_000_000 if asked.time is None else asked.time
        place = self._traffic.place(asked.user, now)
        impression = uuid.uuid4().hex
        query = Query(
            asked.user, items, now, asked.features, item_features, count, place.experiment, place.arm, impression
        )
        return replace(query, boosts=Boost.asked(asked.boosts))

    def _ranked(self, query: Query, sources: Mapping[str, str]) -> Answer:
        trace = Trace(0.0, time.perf_counter)
        ranked = self._ranker.rank(query, trace)
        return Answer(ranked.shown, sources, tuple(trace.degraded), ranked.probabilities, tuple(ranked.boosted))
