"""`POST /v1/recommend/batch`."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from serving.api.clock_and_ids import ClockAndIds
from serving.api.gate.access import Access
from serving.api.messages.request_body import decoded, read
from serving.api.messages.request_errors import ApiError, ClientGoneError
from serving.api.messages.schemas import BatchAnswer, BatchRequest, BatchResponse, RecommendRequest
from serving.api.monitoring.prometheus import Metrics
from serving.api.routes import Routes, Unlogged, after
from serving.limits import Limits
from serving.ranking.trace import Trace

_decoder = msgspec.json.Decoder(BatchRequest)


class BatchRoute:
    """Lists for many users, each a request of its own in the queue: other clients' requests come in between."""

    def __init__(self, routes: Routes, metrics: Metrics, access: Access, limits: Limits, source: ClockAndIds) -> None:
        self._routes, self._metrics, self._access = routes, metrics, access
        self._limits, self._source = limits, source

    async def recommend(self, request: Request) -> Response:
        """All lists are logged together, when there are all: of a client that leaves before, nobody saw any."""
        asked = decoded(_decoder, await read(request, self._limits.body))
        self._access.count_more(request, len(asked.requests) - 1)
        waiting: list[Unlogged] = []
        traces: list[Trace] = []
        answers = BatchResponse([await self._answer(request, one, waiting, traces) for one in asked.requests])
        await self._routes.log(request, waiting)
        for trace in traces:
            self._metrics.trace(trace)
        return Response(msgspec.json.encode(answers), media_type="application/json", background=after(request))

    async def _answer(
        self, request: Request, asked: RecommendRequest, waiting: list[Unlogged], traces: list[Trace]
    ) -> BatchAnswer:
        """Raises ClientGoneError, since nobody would see the others either."""
        trace = Trace(self._source.clock(), self._source.clock)
        try:
            answer = await self._routes.answered(request, asked, trace, len(msgspec.json.encode(asked)), waiting)
        except ClientGoneError:
            raise
        except ApiError as error:
            return BatchAnswer(error=error.detail)
        traces.append(trace)
        return BatchAnswer(answer)
