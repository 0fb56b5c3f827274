"""The HTTP routes: decode the request, call the parts of the server, encode the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import msgspec
import redis
from starlette.background import BackgroundTasks
from starlette.requests import Request
from starlette.responses import Response

from serving.api.clock_and_ids import ClockAndIds
from serving.api.gate.ranking_queue import QueuePlace, RankingQueue
from serving.api.messages.events_body import answer, decode
from serving.api.messages.operator_schemas import ExperimentsResponse, ReadyResponse
from serving.api.messages.request_body import decoded, read
from serving.api.messages.request_errors import ClientGoneError, NotStoredError
from serving.api.messages.schemas import EventsResponse, RankRequest, RankResponse, RecommendRequest
from serving.api.monitoring.all_processes import AllProcesses
from serving.api.monitoring.prometheus import Metrics
from serving.api.monitoring.request_spans import TRACES
from serving.api.rankings import Rankings, answer_of
from serving.event_writer import NOTHING, EventWriter, Stored
from serving.experiments.assignment import Experiment
from serving.experiments.counts.counters import ExperimentCounters
from serving.limits import Limits
from serving.ranking.query import Query
from serving.ranking.trace import Trace
from serving.shadow import Shadow
from streaming.events.schema import Impression
from streaming.ingest.codec import Rules

_Asked = RankRequest | RecommendRequest
_rank_decoder: msgspec.json.Decoder[_Asked] = msgspec.json.Decoder(RankRequest)
_recommend_decoder: msgspec.json.Decoder[_Asked] = msgspec.json.Decoder(RecommendRequest)
_encode = msgspec.json.Encoder().encode


class Unlogged(NamedTuple):
    """A list that is to be an impression, and `event` as it is logged."""

    query: Query
    shown: Impression
    event: Impression
    trace: Trace


class Routes:
    """Handlers of the routes.

    `queue` ranks one request at a time; `learned` are the actions that decide labels; an answer waits `log_patience`
    seconds at most until its impression is stored.
    """

    def __init__(
        self,
        rankings: Rankings,
        processes: AllProcesses,
        events: EventWriter,
        counters: ExperimentCounters,
        metrics: Metrics,
        queue: RankingQueue,
        *,
        experiments: Sequence[Experiment],
        rules: Rules,
        learned: Collection[str],
        limits: Limits,
        source: ClockAndIds,
        shadow: Shadow,
        log_patience: float = 0.0,
    ) -> None:
        self._rankings = rankings
        self._processes = processes
        self._events = events
        self._counters = counters
        self._metrics = metrics
        self._queue = queue
        self._experiments = experiments
        self._rules = rules
        self._learned = learned
        self._limits = limits
        self._source = source
        self._shadow = shadow
        self._log_patience = log_patience
        self._results = ExperimentsResponse([], [])

    async def rank(self, request: Request) -> Response:
        return await self._ranked(request, "rank", _rank_decoder)

    async def recommend(self, request: Request) -> Response:
        return await self._ranked(request, "recommend", _recommend_decoder)

    async def answered(
        self, request: Request, asked: _Asked, trace: Trace, size: int, waiting: list[Unlogged] | None = None
    ) -> RankResponse:
        """The answer to a request whose body has `size` bytes, logged, or put into `waiting` for `log`."""
        request.scope[TRACES].append(trace)
        if isinstance(asked, RankRequest):
            with trace.stage("parse"):
                query = self._rankings.of_items(asked)
            with self._queue.place("rank", size) as place:
                return await self._answer(request, place, query, trace, waiting, log=asked.log)
        with trace.stage("parse"):
            query = self._rankings.of_user(asked)
        with self._queue.place("recommend", size) as place:
            with trace.stage("retrieve"):
                query, sources = await self._rankings.retrieved(request, place, asked, query)
            if query.items:
                return await self._answer(request, place, query, trace, waiting, sources, log=asked.log)
        trace.degraded.append("no_items")
        return RankResponse(query.impression, [], query.experiment, query.arm.name, "", trace.degraded)

    async def events(self, request: Request) -> Response:
        result = await self.accepted(await read(request, self._limits.body))
        return _json(result, 422 if result.rejected == len(result.results) else 200)

    async def accepted(self, body: bytes) -> EventsResponse:
        """What became of the events in a body. Raises NotStoredError when the log does not take them."""
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
        return result

    async def experiments(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's signature
        return _json(await self.summarised())

    async def summarised(self) -> ExperimentsResponse:
        """Results now; those of the last time, and `degraded` says so, while Redis does not answer."""
        try:
            self._results = await asyncio.to_thread(self._summarise)
        except redis.RedisError:
            return msgspec.structs.replace(self._results, degraded=["redis"])
        return self._results

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        return Response("ok\n", media_type="text/plain")

    async def ready(self, request: Request) -> Response:
        readiness = await self._processes.readiness()
        shown = readiness if "admin" in request.scope["scopes"] else ReadyResponse(readiness.ready, {}, {})
        return _json(shown, 200 if readiness.ready else 503)

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        return Response(await self._processes.metrics(), media_type="text/plain; version=0.0.4")

    async def _admitted(self, request: Request, kind: str) -> bytes:
        """The body, unread if it would be in vain."""
        declared = request.headers.get("content-length")
        if declared is not None:
            self._queue.check(kind, int(declared))
        return await read(request, self._limits.body)

    async def _ranked(self, request: Request, kind: str, decoder: msgspec.json.Decoder[_Asked]) -> Response:
        trace = Trace(self._source.clock(), self._source.clock)
        body = await self._admitted(request, kind)
        with trace.stage("parse"):
            asked = decoded(decoder, body)
        answered = await self.answered(request, asked, trace, len(body))
        with trace.stage("respond"):
            response = _json(answered)
        response.background = after(request)
        self._metrics.trace(trace)
        return response

    async def _answer(
        self,
        request: Request,
        place: QueuePlace,
        query: Query,
        trace: Trace,
        waiting: list[Unlogged] | None,
        sources: Mapping[str, str] | None = None,
        *,
        log: bool,
    ) -> RankResponse:
        """Rank and log, if the client does not; `sources` says by item where a candidate came from.

        A client that has gone is shown nothing (ClientGoneError): silence about its list is not a judgement.
        """
        ranking = await self._rankings.ranked(request, place, query, trace)
        self._queue.learn(place, late="deadline" in trace.degraded)
        if await request.is_disconnected():
            raise ClientGoneError("the client has gone")
        answer, event = answer_of(ranking, trace, sources or {}), _measured(ranking.shown, trace)
        if not log:
            return msgspec.structs.replace(answer, event=event)
        if waiting is not None:
            waiting.append(Unlogged(query, ranking.shown, event, trace))
        else:
            await self.log(request, [Unlogged(query, ranking.shown, event, trace)])
        return answer

    async def log(self, request: Request, lists: Sequence[Unlogged]) -> None:
        """Log lists of a request, whose answers say so if they may not be in the log."""
        appending = [self._events.append(one.event) for one in lists]
        await asyncio.gather(*map(self._await_log, lists, appending))
        for one in lists:
            after(request).add_task(self._shadow.offer, one.query, one.shown)

    async def _await_log(self, one: Unlogged, appending: Future[Stored]) -> None:
        with one.trace.stage("log"):
            stored = await self._stored(appending)
        if self._events.failing or not stored:
            one.trace.degraded.append("log")

    async def _stored(self, appending: Future[Stored]) -> bool:
        """Whether an impression is stored, if answers wait for that; else True at once."""
        if not self._log_patience:
            return True
        waiting = asyncio.wrap_future(appending)
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())  # so that no late error is logged
        await asyncio.wait([waiting], timeout=self._log_patience)
        return waiting.done() and not waiting.cancelled() and waiting.exception() is None

    def _summarise(self) -> ExperimentsResponse:
        summaries = [self._counters.summary(experiment) for experiment in self._experiments]
        return ExperimentsResponse(summaries, [], self._counters.judged())


def after(request: Request) -> BackgroundTasks:
    """What is to be done when the request is answered."""
    if not hasattr(request.state, "after"):
        request.state.after = BackgroundTasks()
    tasks: BackgroundTasks = request.state.after
    return tasks


def _measured(shown: Impression, trace: Trace) -> Impression:
    """As it is logged: with what its request has met so far."""
    return msgspec.structs.replace(shown, latency=round(1000 * trace.elapsed(), 3), degraded=list(trace.degraded))


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(content), status, headers, media_type="application/json")
