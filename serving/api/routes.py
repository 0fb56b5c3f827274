"""The HTTP routes: decode, ask, encode. What they ask is in other modules."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import redis
from starlette.requests import Request
from starlette.responses import Response

from serving.api.errors import BadRequestError, parse_reason
from serving.api.events_body import answer, decode
from serving.api.prometheus import Metrics
from serving.api.schemas import ExperimentsResponse, RankedItem, RankRequest, RankResponse, RecommendRequest
from serving.event_writer import EventWriter
from serving.experiments.assignment import Experiment, ExperimentCounters, Summary
from serving.ranking.ranker import Query, Ranker, Trace
from serving.ranking.retriever import Retriever
from serving.replication.model_loader import Models
from streaming.events.schema import Impression, Value
from streaming.ingest.codec import Rules, check_impression
from streaming.ingest.decode_errors import explain

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_rank_decoder = msgspec.json.Decoder(RankRequest)
_recommend_decoder = msgspec.json.Decoder(RecommendRequest)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a request: candidates it may bring, candidates retrieved for it, bytes of its body."""

    candidates: int = 2000
    retrieve: int = 200
    body: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Where a server takes time and names from; tests give their own."""

    clock: Callable[[], float]
    """Seconds, monotonic."""
    now: Callable[[], int]
    """Milliseconds since the epoch."""
    new_id: Callable[[], str]


class Routes:
    """Handlers over the parts of a server. `executor` runs one ranking at a time."""

    def __init__(
        self,
        ranker: Ranker,
        retriever: Retriever,
        models: Models,
        impressions: EventWriter,
        counters: ExperimentCounters,
        metrics: Metrics,
        executor: Executor,
        *,
        experiments: Sequence[Experiment],
        rules: Rules,
        limits: Limits,
        source: Source,
    ) -> None:
        self._ranker = ranker
        self._retriever = retriever
        self._models = models
        self._impressions = impressions
        self._counters = counters
        self._metrics = metrics
        self._executor = executor
        self._experiments = {experiment.name: experiment for experiment in experiments}
        self._first = experiments[0].name
        self._rules = rules
        self._limits = limits
        self._source = source
        self._summaries: list[Summary] = []

    async def rank(self, request: Request) -> Response:
        trace = Trace(self._source.clock(), self._source.clock)
        body = await self._body(request)
        with trace.stage("parse"):
            asked = _decoded(_rank_decoder, body)
            if len(asked.items) > self._limits.candidates:
                raise BadRequestError(422, "items", f"{len(asked.items)} items; at most {self._limits.candidates}")
            query = self._query(asked, asked.items, asked.item_features, asked.count or len(asked.items))
            self._check(query)
        return await self._ranked(query, trace)

    async def recommend(self, request: Request) -> Response:
        trace = Trace(self._source.clock(), self._source.clock)
        body = await self._body(request)
        with trace.stage("parse"):
            asked = _decoded(_recommend_decoder, body)
        with trace.stage("retrieve"):
            items = self._retriever.retrieve(max(self._limits.retrieve, asked.count), frozenset(asked.exclude))
        query = self._query(asked, items, {}, asked.count)
        self._check(query)
        if items:
            return await self._ranked(query, trace)
        trace.degraded.append("no_items")
        self._metrics.trace(trace)
        arm = query.arm
        return _json(RankResponse(query.impression, [], query.experiment, arm.name, "", trace.degraded))

    async def events(self, request: Request) -> Response:
        body = await self._body(request)
        batch, lines, rejects = await asyncio.to_thread(decode, body, self._source.now(), self._rules)
        if batch.num_rows:
            try:
                await asyncio.wrap_future(self._impressions.append(batch))
            except Exception as error:
                self._metrics.events.labels("failed").inc(batch.num_rows)
                raise BadRequestError(503, "", f"the events are not stored, send them again later: {error}") from error
        self._metrics.events.labels("accepted").inc(batch.num_rows)
        self._metrics.events.labels("rejected").inc(len(rejects))
        return _json(answer(batch, lines, rejects), 200 if batch.num_rows else 422)

    async def experiments(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        degraded = []
        try:
            self._summaries = await asyncio.to_thread(self._summarise)
        except redis.RedisError:
            degraded.append("redis")
        return _json(ExperimentsResponse(self._summaries, degraded))

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        return Response("ok\n", media_type="text/plain")

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        missing = self._models.missing
        if not missing:
            return Response("ready\n", media_type="text/plain")
        reasons = "".join(f"{name}: {reason}\n" for name, reason in missing.items())
        return Response(reasons, 503, media_type="text/plain")

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        return Response(self._metrics.render(), media_type="text/plain; version=0.0.4")

    async def _ranked(self, query: Query, trace: Trace) -> Response:
        loop = asyncio.get_running_loop()
        shown = await loop.run_in_executor(self._executor, self._ranker.rank, query, trace)
        if self._impressions.failing:
            trace.degraded.append("log")
        with trace.stage("respond"):
            items = [RankedItem(*row) for row in zip(shown.items, shown.scores, shown.propensities, strict=True)]
            response = _json(RankResponse(shown.id, items, shown.experiment, shown.arm, shown.model, trace.degraded))
        self._impressions.append(shown)
        self._metrics.trace(trace)
        return response

    def _query(
        self,
        asked: RankRequest | RecommendRequest,
        items: Sequence[str],
        item_features: dict[str, list[Value]],
        count: int,
    ) -> Query:
        name = asked.experiment or self._first
        if name not in self._experiments:
            raise BadRequestError(422, "experiment", f"no experiment {name!r}; there are {sorted(self._experiments)}")
        arm = self._experiments[name].arm(asked.user)
        time = self._source.now() if asked.time is None else asked.time
        return Query(asked.user, items, time, asked.features, item_features, count, name, arm, self._source.new_id())

    def _check(self, query: Query) -> None:
        """The rules that hold for logged impressions hold for requests, which become such."""
        horizon = self._source.now() + self._rules.max_future
        if query.time > horizon:
            raise BadRequestError(422, "time", f"{query.time} is more than {self._rules.max_future} ms in the future")
        shown = Impression(
            query.impression, query.time, query.user, list(query.items), query.features, query.item_features
        )
        try:
            check_impression(shown, self._rules)
        except ValueError as error:
            raise BadRequestError.of(422, parse_reason(str(error))) from error

    def _summarise(self) -> list[Summary]:
        return [self._counters.summary(experiment) for experiment in self._experiments.values()]

    async def _body(self, request: Request) -> bytes:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self._limits.body:
                raise BadRequestError(413, "", f"the body is larger than {self._limits.body} bytes; send it in parts")
            parts.append(part)
        return b"".join(parts)


def _decoded(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise BadRequestError.of(422, parse_reason(explain(body, error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        problem = parse_reason(explain(body, error))
        raise BadRequestError(400, problem.field, f"the body is not JSON: {problem.message}") from error


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(content), status, headers, media_type="application/json")
