"""Rankings for a person's eyes: looks that leave no trace, real requests, and clicks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from starlette.requests import Request

from serving.api.clock_and_ids import ClockAndIds
from serving.api.gate.ranking_queue import RankingQueue
from serving.api.messages.schemas import EventsResponse, RankRequest, RankResponse, RecommendRequest
from serving.api.monitoring.prometheus import Metrics
from serving.api.rankings import Rankings, answer_of
from serving.api.routes import Routes
from serving.ranking.trace import Trace
from streaming.events.schema import Features, Interaction, Value

_MOST_FEATURES: Final = 16


@dataclass(frozen=True, slots=True)
class TriedList:
    """An answer, and the features that its model read: of the request, and by name one value of each shown item."""

    answer: RankResponse
    features: Features = field(default_factory=dict)
    item_features: Mapping[str, Sequence[Value]] = field(default_factory=dict)


class UserTrial:
    """`look` ranks as a request would be, but nothing is logged and nothing counts: no impression, no experiment."""

    def __init__(
        self, rankings: Rankings, routes: Routes, queue: RankingQueue, metrics: Metrics, source: ClockAndIds
    ) -> None:
        self._rankings, self._routes, self._queue = rankings, routes, queue
        self._metrics, self._source = metrics, source

    async def look(self, request: Request, asked: RankRequest | RecommendRequest) -> TriedList:
        """Raises ApiError as the routes do."""
        trace, sources = Trace(self._source.clock(), self._source.clock), dict[str, str]()
        with self._queue.place("console", 0) as place:
            if isinstance(asked, RankRequest):
                query = self._rankings.of_items(asked)
            else:
                query = self._rankings.of_user(asked)
                query, sources = await self._rankings.retrieved(request, place, asked, query)
            if not query.items:
                return TriedList(RankResponse("", [], query.experiment, query.arm.name, "", ["no_items"]))
            ranking = await self._rankings.ranked(request, place, query, trace)
        answer = msgspec.structs.replace(answer_of(ranking, trace, sources), impression="")
        return TriedList(answer, ranking.shown.features, ranking.shown.item_features)

    async def ask(self, request: Request, asked: RankRequest | RecommendRequest) -> TriedList:
        """A real request: its answer is an impression, as if a client had asked."""
        trace = Trace(self._source.clock(), self._source.clock)
        answer = await self._routes.answered(request, asked, trace, len(msgspec.json.encode(asked)))
        self._metrics.trace(trace)
        if not answer.items:
            return TriedList(answer)
        looked = await self.look(request, RankRequest(asked.user, [one.item for one in answer.items]))
        order = {one.item: place for place, one in enumerate(looked.answer.items)}
        columns = {
            name: [values[order[one.item]] for one in answer.items] for name, values in looked.item_features.items()
        }
        return TriedList(answer, looked.features, columns)

    async def effects(self, request: Request, user: str, shown: TriedList) -> dict[str, dict[str, float]]:
        """By shown item and feature, its score less the one without the feature, for at most `_MOST_FEATURES`.

        Leave one covariate out (Lei et al. 2018, in its local form): features that say the same as another show little.
        """
        items = [one.item for one in shown.answer.items]
        found: dict[str, dict[str, float]] = {item: {} for item in items}
        names = [*sorted(shown.item_features), *sorted(shown.features)][:_MOST_FEATURES]
        if not names:
            return found
        _, whole = await self.scores(request, RankRequest(user, items))
        for name in names:
            of_items = name in shown.item_features
            without: dict[str, list[Value]] = {name: [None] * len(items)} if of_items else {}
            asked = RankRequest(user, items, {} if of_items else {name: None}, without)
            _, left = await self.scores(request, asked)
            for item in items:
                found[item][name] = whole[item] - left[item]
        return found

    async def scores(self, request: Request, asked: RankRequest) -> tuple[str, dict[str, float]]:
        """The model, and its scores of the items now, best first, whatever exploration makes of their order."""
        shown = await self.look(request, asked)
        ordered = sorted(shown.answer.items, key=lambda one: -one.score)
        return shown.answer.model.partition("@")[0], {one.item: one.score for one in ordered}

    async def click(self, impression: str, item: str, action: str) -> EventsResponse:
        """Send an interaction the way that clients' events go. Raises NotStoredError."""
        event = Interaction(self._source.now(), impression, item, action)
        return await self._routes.accepted(msgspec.json.encode(event))
