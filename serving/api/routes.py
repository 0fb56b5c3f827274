"""The HTTP routes: decode the request, call the parts of the server, encode the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import redis
from starlette.requests import Request
from starlette.responses import Response

from recsys.errors import InvalidValueError
from serving.api.events_body import answer, decode
from serving.api.prometheus import Metrics
from serving.api.ranking_queue import Place, RankingQueue
from serving.api.request_body import decoded, read
from serving.api.request_errors import ClientGoneError, InvalidFieldError, NotStoredError, parse_reason
from serving.api.schemas import (
    ExperimentsResponse,
    RankedItem,
    RankRequest,
    RankResponse,
    ReadyResponse,
    RecommendRequest,
)
from serving.api.server_state import ServerState
from serving.event_writer import NOTHING, EventWriter, Stored
from serving.experiments.assignment import Experiment
from serving.experiments.counters import ExperimentCounters
from serving.experiments.traffic import Traffic
from serving.limits import Limits
from serving.ranking.ranker import LoggedRanking, Query, Ranker, Trace
from serving.retrieval.source import RetrievalQuery, Retriever
from streaming.events.schema import Impression, Value
from streaming.ingest.codec import Rules
from streaming.ingest.validation import check_items_differ, check_request_features

_rank_decoder = msgspec.json.Decoder(RankRequest)
_recommend_decoder = msgspec.json.Decoder(RecommendRequest)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ClockAndIds:
    """Clocks and ids of a server."""

    clock: Callable[[], float]
    """Seconds, monotonic."""
    now: Callable[[], int]
    """Milliseconds since the epoch."""
    new_id: Callable[[], str]


class Routes:
    """Handlers of the routes.

    `queue` ranks one request at a time; `learned` are the actions that decide labels; an answer waits `log_patience`
    seconds at most until its impression is stored.
    """

    def __init__(
        self,
        ranker: Ranker,
        retriever: Retriever,
        state: ServerState,
        events: EventWriter,
        counters: ExperimentCounters,
        metrics: Metrics,
        queue: RankingQueue,
        *,
        experiments: Sequence[Experiment],
        traffic: Traffic,
        rules: Rules,
        learned: Collection[str],
        limits: Limits,
        source: ClockAndIds,
        log_patience: float = 0.0,
    ) -> None:
        self._ranker = ranker
        self._retriever = retriever
        self._state = state
        self._events = events
        self._counters = counters
        self._metrics = metrics
        self._queue = queue
        self._experiments = experiments
        self._traffic = traffic
        self._rules = rules
        self._learned = learned
        self._limits = limits
        self._source = source
        self._log_patience = log_patience
        self._results = ExperimentsResponse([], [])

    async def rank(self, request: Request) -> Response:
        trace = Trace(self._source.clock(), self._source.clock)
        body = await self._admitted(request, "rank")
        with trace.stage("parse"):
            asked = decoded(_rank_decoder, body)
            if len(asked.items) > self._limits.candidates:
                raise InvalidFieldError(f"{len(asked.items)} items; at most {self._limits.candidates}", "items")
            with _naming_the_field():
                check_items_differ(asked.items)
            query = self._query(asked, asked.item_features, len(asked.items))
            query = replace(query, items=asked.items, count=asked.count or len(asked.items))
        with self._queue.place("rank", len(body)) as place:
            return await self._ranked(request, place, query, trace)

    async def recommend(self, request: Request) -> Response:
        trace = Trace(self._source.clock(), self._source.clock)
        body = await self._admitted(request, "recommend")
        with trace.stage("parse"):
            asked = decoded(_recommend_decoder, body)
            query = self._query(asked, {}, 0)
        user = RetrievalQuery(query.user, query.time, query.features, query.arm, asked.where)
        count = max(self._limits.retrieve, asked.count)
        with self._queue.place("recommend", len(body)) as place:
            with trace.stage("retrieve"):
                exclude = frozenset(asked.exclude)
                found = await self._queue.run(place, request, self._retriever.retrieve, user, count, exclude)
            if found.ids:
                sources = dict(zip(found.ids, found.source, strict=True))
                query = replace(query, items=found.ids, count=asked.count)
                return await self._ranked(request, place, query, trace, sources)
        trace.degraded.append("no_items")
        self._metrics.trace(trace)
        return _json(RankResponse(query.impression, [], query.experiment, query.arm.name, "", trace.degraded))

    async def events(self, request: Request) -> Response:
        body = await read(request, self._limits.body)
        batch, lines, rejects = await asyncio.to_thread(decode, body, self._source.now(), self._rules)
        stored = NOTHING
        if batch.num_rows:
            try:
                stored = await asyncio.wrap_future(self._events.append(batch))
            except Exception as error:
                self._metrics.events.labels("failed").inc(batch.num_rows)
                raise NotStoredError(f"the events are not stored, send them again later: {error}") from error
        result = answer(batch, lines, rejects, stored, self._learned)
        for status in ("accepted", "duplicate", "rejected"):
            self._metrics.events.labels(status).inc(getattr(result, status))
        return _json(result, 422 if result.rejected == lines else 200)

    async def experiments(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        try:
            self._results = await asyncio.to_thread(self._summarise)
        except redis.RedisError:
            return _json(msgspec.structs.replace(self._results, degraded=["redis"]))
        return _json(self._results)

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        return Response("ok\n", media_type="text/plain")

    async def ready(self, request: Request) -> Response:
        readiness = self._state.readiness()
        shown = readiness if "admin" in request.scope["scopes"] else ReadyResponse(readiness.ready, {}, {})
        return _json(shown, 200 if readiness.ready else 503)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4")

    async def _admitted(self, request: Request, kind: str) -> bytes:
        """The body, unread if it would be in vain."""
        declared = request.headers.get("content-length")
        if declared is not None:
            self._queue.check(kind, int(declared))
        return await read(request, self._limits.body)

    async def _ranked(
        self, request: Request, place: Place, query: Query, trace: Trace, sources: Mapping[str, str] | None = None
    ) -> Response:
        """Rank, log and answer; `sources` says by item where a candidate came from.

        A client that has gone shows nobody the answer, so it is no impression: silence about it is not a judgement.
        """
        ranking = await self._queue.run(place, request, self._ranker.rank, query, trace)
        self._queue.learn(place, late="deadline" in trace.degraded)
        if await request.is_disconnected():
            raise ClientGoneError("the client has gone")
        with trace.stage("log"):
            stored = await self._stored(self._events.append(_measured(ranking.shown, trace)))
        if self._events.failing or not stored:
            trace.degraded.append("log")
        with trace.stage("respond"):
            response = _json(_answer(ranking, trace, sources or {}))
        self._metrics.trace(trace)
        return response

    async def _stored(self, appending: Future[Stored]) -> bool:
        """Whether an impression is stored, if answers wait for that; else True at once."""
        if not self._log_patience:
            return True
        waiting = asyncio.wrap_future(appending)
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # so that no late error is logged
        await asyncio.wait([waiting], timeout=self._log_patience)
        return waiting.done() and not waiting.cancelled() and waiting.exception() is None

    def _query(self, asked: RankRequest | RecommendRequest, item_features: dict[str, list[Value]], items: int) -> Query:
        """The query of a request over this number of items, which are still to be filled in.

        A ranking becomes an impression in the log, so the rules for impressions apply to the request.
        """
        now = self._source.now()
        time = now if asked.time is None else asked.time
        if time > now + self._rules.max_future:
            raise InvalidFieldError(f"{time} is more than {self._rules.max_future} ms in the future", "time")
        with _naming_the_field():
            check_request_features(items, asked.features, item_features, self._rules)
        try:
            place = self._traffic.place(asked.user, time, asked.experiment)
        except InvalidValueError as error:
            raise InvalidFieldError(str(error), "experiment") from None
        return Query(
            asked.user, (), time, asked.features, item_features, 0, place.experiment, place.arm, self._source.new_id()
        )

    def _summarise(self) -> ExperimentsResponse:
        summaries = [self._counters.summary(experiment) for experiment in self._experiments]
        return ExperimentsResponse(summaries, [], self._counters.judged())


@contextmanager
def _naming_the_field() -> Iterator[None]:
    """Answer a broken rule with the field that its message names."""
    try:
        yield
    except ValueError as error:
        raise InvalidFieldError.of(parse_reason(str(error))) from error


def _measured(shown: Impression, trace: Trace) -> Impression:
    """As it is logged: with what its request has met so far."""
    return msgspec.structs.replace(shown, latency=round(1000 * trace.elapsed(), 3), degraded=list(trace.degraded))


def _answer(ranking: LoggedRanking, trace: Trace, sources: Mapping[str, str]) -> RankResponse:
    shown = ranking.shown
    rows = zip(shown.items, shown.scores, shown.propensities, _by_item(ranking), strict=True)
    items = [RankedItem(item, score, chance, sources.get(item, ""), tasks) for item, score, chance, tasks in rows]
    return RankResponse(shown.id, items, shown.experiment, shown.arm, shown.model, trace.degraded)


def _by_item(ranking: LoggedRanking) -> Sequence[dict[str, float] | msgspec.UnsetType]:
    """Probabilities by task of each shown item, if there are several tasks."""
    tasks = ranking.probabilities
    if len(tasks) < 2:
        return [msgspec.UNSET] * len(ranking.shown.items)
    return [dict(zip(tasks, one, strict=True)) for one in zip(*tasks.values(), strict=True)]


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(content), status, headers, media_type="application/json")
