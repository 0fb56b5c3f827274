"""The client for programs without asyncio."""

from __future__ import annotations

import os
import time
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


class Client:
    """Asks the server at `url`, over connections that stay open; thread-safe, and usable after a fork.

    `key` is an API key. `timeout` is in seconds, of an attempt: to connect, and for each wait for more of the answer.
    `retries` says when another one is made. Every method raises ApiError, with the server's message, for what it
    refuses (`serving.api.messages.request_errors`), and UnavailableError where no answer comes.

    >>> with Client("http://127.0.0.1:8000") as shop:  # doctest: +SKIP
    ...     shown = shop.recommend("u1", count=10)
    ...     shop.interact(shown, shown.items[0].item)
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout: float = 2.0,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = Retries() if retries is None else retries
        self._options: dict[str, Any] = {
            "base_url": api_calls.base(url),
            "headers": api_calls.headers(key),
            "timeout": timeout,
            "transport": transport,
        }
        self._open()

    def _open(self) -> None:
        self._http, self._process = httpx.Client(**self._options), os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def rank(self, user: str, items: Sequence[str], **options: Unpack[RankOptions]) -> RankResponse:
        """These items for the user, best first; it becomes an impression, to which interactions belong."""
        return self._do(api_calls.rank(user, items, options))

    def recommend(self, user: str, **options: Unpack[RecommendOptions]) -> RankResponse:
        """Items for the user, retrieved and ranked; an impression too."""
        return self._do(api_calls.recommend(user, options))

    def recommend_batch(self, users: Sequence[str], **options: Unpack[RecommendOptions]) -> list[BatchAnswer]:
        """Lists for users in the order of `users`, 200 at most, with the options of `recommend`.

        Each answer has either the list or an `error`. `log=False` makes lists to be kept, and shown later.
        """
        answers: list[BatchAnswer] = (self._do(api_calls.recommend_batch(users, options))).answers
        return answers

    def show(self, answer: RankResponse, at: int | None = None) -> EventsResponse:
        """Say that a list which was asked for with `log=False` is shown: from now on it is an impression.

        `at` is the event time in ms (default: now). Raises InvalidValueError for a list that is an impression already,
        InvalidFieldError if the server rejects it.
        """
        return self._do(api_calls.show(answer, at))

    def interact(
        self, shown: RankResponse | str, item: str, action: str = "click", value: float = 1.0, at: int | None = None
    ) -> EventsResponse:
        """Say what the user did with an item of a list, which is an answer or its impression's id.

        `at` is the event time in ms (default: now). Raises InvalidFieldError if the server rejects it.
        """
        return self._do(api_calls.interact(shown, item, action, value, at))

    def send(self, events: Iterable[ClientEvent | Mapping[str, Any]]) -> EventsResponse:
        """Store events, which are objects of `streaming.events.schema` or dicts as in JSON.

        The answer has one result for each: look at `rejected`. Raises InvalidValueError if there are none.
        """
        return self._do(api_calls.send(events))

    def forget(self, user: str) -> int:
        """Erase a user; returns how much is left of the user, in all places."""
        return self._do(api_calls.forget(user))

    def ready(self) -> bool:
        """Whether the server has every model that it needs."""
        return self._do(api_calls.ready())

    def _do(self, call: ApiCall[T]) -> T:
        if self._process != os.getpid():
            self._open()  # on connections shared with the process that forked, each would read the other's answers
        attempt = 0
        while True:
            try:
                answer = self._http.request(call.method, call.path, content=call.body)
                return call.result(answer.status_code, answer.content, answer.headers)
            except (httpx.RequestError, ApiError) as error:
                pause = self._retries.pause_after(error, attempt, repeatable=call.repeatable)
            time.sleep(pause)
            attempt += 1
