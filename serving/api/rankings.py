"""Rankings for requests: whose they are, their candidates and their order. Nothing is logged here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import numpy as np
from starlette.requests import Request

from recsys.errors import ArtefactError, InvalidValueError
from serving.api.clock_and_ids import ClockAndIds
from serving.api.gate.ranking_queue import QueuePlace, RankingQueue
from serving.api.messages.asked_features import check_asked_features
from serving.api.messages.request_errors import InvalidFieldError, parse_reason
from serving.api.messages.schemas import (
    AttentionWeights,
    FieldPair,
    Preranked,
    RankedItem,
    RankRequest,
    RankResponse,
    RecommendRequest,
)
from serving.experiments.traffic import Traffic
from serving.limits import Limits
from serving.model.explanation import Explanation
from serving.ranking.boost import Boost
from serving.ranking.query import Query
from serving.ranking.ranker import LoggedRanking, Ranker
from serving.ranking.trace import Trace
from serving.retrieval.retriever import RetrievalQuery, Retriever
from streaming.events.schema import Value
from streaming.ingest.codec import Rules
from streaming.ingest.validation import check_items_differ, check_request_features

DIGITS = 5
"""Of attention weights: more is longer and says no more."""


class Rankings:
    """Makes queries of requests, and ranks them in the `queue`, one at a time.

    A ranking may become an impression in the log, so the `rules` for impressions apply to the requests.
    """

    def __init__(
        self,
        ranker: Ranker,
        retriever: Retriever,
        queue: RankingQueue,
        *,
        traffic: Traffic,
        rules: Rules,
        limits: Limits,
        source: ClockAndIds,
    ) -> None:
        self._ranker = ranker
        self._retriever = retriever
        self._queue = queue
        self._traffic = traffic
        self._rules = rules
        self._limits = limits
        self._source = source

    def of_items(self, asked: RankRequest) -> Query:
        """Raises InvalidFieldError."""
        if len(asked.items) > self._limits.candidates:
            raise InvalidFieldError(f"{len(asked.items)} items; at most {self._limits.candidates}", "items")
        with _naming_the_field():
            check_items_differ(asked.items)
        query = self._query(asked, asked.item_features, len(asked.items))
        return replace(query, items=asked.items, count=asked.count or len(asked.items), explain=asked.explain)

    def of_user(self, asked: RecommendRequest) -> Query:
        """Its candidates are still to be retrieved. Raises InvalidFieldError."""
        return replace(self._query(asked, {}, 0), count=asked.count)

    async def retrieved(
        self, request: Request, place: QueuePlace, asked: RecommendRequest, query: Query
    ) -> tuple[Query, dict[str, str]]:
        """The query with its candidates, if there are any, and where each came from."""
        user = RetrievalQuery(query.user, query.time, query.features, query.arm, asked.where, asked.basket)
        count, exclude = max(self._limits.retrieve, asked.count), frozenset(asked.exclude).union(asked.basket)
        found = await self._queue.run(place, request, self._retriever.retrieve, user, count, exclude)
        return replace(query, items=found.ids), dict(zip(found.ids, found.source, strict=True))

    async def ranked(self, request: Request, place: QueuePlace, query: Query, trace: Trace) -> LoggedRanking:
        """Raises ClientGoneError if the client of the request leaves before it begins, InvalidFieldError if it asks a
        model to explain that does not."""
        try:
            return await self._queue.run(place, request, self._ranker.rank, query, trace)
        except ArtefactError as error:
            raise InvalidFieldError(str(error), "explain") from error

    def _query(self, asked: RankRequest | RecommendRequest, item_features: dict[str, list[Value]], items: int) -> Query:
        """The query of a request over this number of items, which are still to be filled in."""
        now = self._source.now()
        time = now if asked.time is None else asked.time
        if time > now + self._rules.max_future:
            raise InvalidFieldError(f"{time} is more than {self._rules.max_future} ms in the future", "time")
        with _naming_the_field():
            check_request_features(items, asked.features, item_features, self._rules)
            check_asked_features(asked, self._rules)
        try:
            place = self._traffic.place(asked.user, time, asked.experiment)
        except InvalidValueError as error:
            raise InvalidFieldError(str(error), "experiment") from None
        query = Query(
            asked.user, (), time, asked.features, item_features, 0, place.experiment, place.arm, self._source.new_id()
        )
        return replace(query, boosts=Boost.asked(asked.boosts)) if asked.boosts else query


def answer_of(ranking: LoggedRanking, trace: Trace, sources: Mapping[str, str]) -> RankResponse:
    """What clients see of a ranking; `sources` says by item where a candidate came from."""
    shown = ranking.shown
    rows = zip(shown.items, shown.scores, shown.propensities, _by_item(ranking), strict=True)
    items = [RankedItem(item, score, chance, sources.get(item, ""), tasks) for item, score, chance, tasks in rows]
    answer = RankResponse(shown.id, items, shown.experiment, shown.arm, shown.model, trace.degraded)
    if ranking.boosted:
        answer = _boosted(answer, ranking.boosted)
    if ranking.explanation is not None:
        answer = _explained(answer, ranking.explanation)
    before = trace.preranking
    if before is None or not before.left_out:
        return answer
    return msgspec.structs.replace(answer, preranked=Preranked(before.by, before.left_out))


def _boosted(answer: RankResponse, boosted: Sequence[float]) -> RankResponse:
    """With what the items were ranked by, where that is not their score."""
    items = [
        item if by == item.score else msgspec.structs.replace(item, boosted=by)
        for item, by in zip(answer.items, boosted, strict=True)
    ]
    return msgspec.structs.replace(answer, items=items)


def _explained(answer: RankResponse, explanation: Explanation) -> RankResponse:
    """With pairs of fields for the first items, and the attention of the first."""
    items = list(answer.items)
    for place in range(len(explanation.attention_CLHMM)):
        pairs = [FieldPair((a, b), round(weight, DIGITS)) for a, b, weight in explanation.pairs(place)]
        items[place] = msgspec.structs.replace(items[place], pairs=pairs)
    weights = np.round(explanation.attention_CLHMM[0].astype(np.float64), DIGITS).tolist()
    attention = AttentionWeights(list(explanation.fields), weights)
    return msgspec.structs.replace(answer, items=items, attention=attention)


def _by_item(ranking: LoggedRanking) -> Sequence[dict[str, float] | msgspec.UnsetType]:
    """Probabilities by task of each shown item, if there are several tasks."""
    tasks = ranking.probabilities
    if len(tasks) < 2:
        return [msgspec.UNSET] * len(ranking.shown.items)
    return [dict(zip(tasks, one, strict=True)) for one in zip(*tasks.values(), strict=True)]


@contextmanager
def _naming_the_field() -> Iterator[None]:
    """Answer a broken rule with the field that its message names."""
    try:
        yield
    except ValueError as error:
        raise InvalidFieldError.of(parse_reason(str(error))) from error
