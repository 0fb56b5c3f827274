"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeVar, Unpack

import httpx

from recsys.client import api_calls
from recsys.client.api_calls import ApiCall, RankOptions, RecommendOptions
from recsys.client.retries import Retries
from serving.api.messages.request_errors import ApiError
from serving.api.messages.schemas import BatchAnswer, EventsResponse, RankResponse
from streaming.events.schema import ClientEvent

T = TypeVar("T")


class AsyncClient:
    """As `Client`, for one event loop.

    >>> async with AsyncClient("http://127.0.0.1:8000") as shop:  # doctest: +SKIP
    ...     shown = await shop.recommend("u1", count=10)
    ...     await shop.interact(shown, shown.items[0].item)
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 2.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = Retries() if retries is None else retries
        self._http = httpx.AsyncClient(
            base_url=api_calls.base(url), headers=api_calls.headers(key), timeout=timeout, transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def rank(self, user: str, items: Sequence[str], **options: Unpack[RankOptions]) -> RankResponse:
        """These items for the user, best first; it becomes an impression, to which interactions belong."""
        return await self._do(api_calls.rank(user, items, options))

    async def recommend(self, user: str, **options: Unpack[RecommendOptions]) -> RankResponse:
        """Items for the user, retrieved and ranked; an impression too."""
        return await self._do(api_calls.recommend(user, options))

    async def recommend_batch(self, users: Sequence[str], **options: Unpack[RecommendOptions]) -> list[BatchAnswer]:
        """Lists for users in the order of `users`, 200 at most, with the options of `recommend`.

        Each answer has either the list or an `error`. `log=False` makes lists to be kept, and shown later.
        """
        answers: list[BatchAnswer] = (await self._do(api_calls.recommend_batch(users, options))).answers
        return answers

    async def show(self, answer: RankResponse, at: int | None = None) -> EventsResponse:
        """Say that a list which was asked for with `log=False` is shown: from now on it is an impression.

        `at` is the event time in ms (default: now). Raises InvalidValueError for a list that is an impression already,
        InvalidFieldError if the server rejects it.
        """
        return await self._do(api_calls.show(answer, at))

    async def interact(
        self, shown: RankResponse | str, item: str, action: str = "click", value: float = 1.0, at: int | None = None
    ) -> EventsResponse:
        """Say what the user did with an item of a list, which is an answer or its impression's id.

        `at` is the event time in ms (default: now). Raises InvalidFieldError if the server rejects it.
        """
        return await self._do(api_calls.interact(shown, item, action, value, at))

    async def send(self, events: Iterable[ClientEvent | Mapping[str, Any]]) -> EventsResponse:
        """Store events, which are objects of `streaming.events.schema` or dicts as in JSON.

        The answer has one result for each: look at `rejected`. Raises InvalidValueError if there are none.
        """
        return await self._do(api_calls.send(events))

    async def forget(self, user: str) -> int:
        """Erase a user; returns how much is left of the user, in all places."""
        return await self._do(api_calls.forget(user))

    async def ready(self) -> bool:
        """Whether the server has every model that it needs."""
        return await self._do(api_calls.ready())

    async def _do(self, call: ApiCall[T]) -> T:
        attempt = 0
        while True:
            try:
                answer = await self._http.request(call.method, call.path, content=call.body)
                return call.result(answer.status_code, answer.content, answer.headers)
            except (httpx.RequestError, ApiError) as error:
                pause = self._retries.pause_after(error, attempt, repeatable=call.repeatable)
            await asyncio.sleep(pause)
            attempt += 1
