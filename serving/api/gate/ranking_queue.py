"""The thread that ranks, and the requests that wait for it: one that would wait too long is refused at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request

from serving.api.gate.service_time import ServiceTime
from serving.api.messages.request_errors import ClientGoneError, OverloadedError

_T = TypeVar("_T")
_LARGEST, _SMALLEST = 0.7, 0.1
"""Of the deadline, for the work ahead and the request's own. The rest is for pauses; a longer queue would not rank
more, since a thread that is never idle ranks all it can."""
_GROWTH, _CUT = 0.001, 0.9


@dataclass(slots=True, eq=False)
class QueuePlace:
    """A request in the queue: the bytes of its body, the seconds that its work should take and those that it took."""

    kind: str
    size: int
    expected: float
    spent: float = 0.0

    @property
    def left(self) -> float:
        return max(self.expected - self.spent, 0.0)


class RankingQueue:
    """Runs work on `executor`, whose one thread ranks, in the order in which requests enter.

    A request enters if the work ahead and its own are expected to end within a share of `deadline` (seconds), or if no
    other is there: then its time is measured, so that no estimate can shut everybody out. The expectation is the line
    through what such work took recently (ServiceTime). The share corrects what the expectation does not know, such as
    other load on the machine: it shrinks to nine tenths with each answer that missed the deadline and grows by a
    thousandth with each other one (additive increase, multiplicative decrease), so that about one in a hundred misses
    while requests are refused. Without a deadline everyone enters.

    Only its event loop's thread may call it.
    """

    def __init__(self, executor: Executor, deadline: float | None) -> None:
        self._executor = executor
        self._deadline = math.inf if deadline is None else deadline
        self._share = _LARGEST
        self._times: dict[str, ServiceTime] = defaultdict(ServiceTime)
        self._places: set[QueuePlace] = set()
        self.refused = 0
        """Requests so far."""

    def __len__(self) -> int:
        """Requests that wait or are ranked."""
        return len(self._places)

    @property
    def ahead(self) -> float:
        """Seconds that their work is expected to take."""
        return sum(place.left for place in self._places)

    def check(self, kind: str, size: int) -> None:
        """Raise OverloadedError if a request with work of this kind and size would wait too long."""
        ahead = self.ahead
        if self._places and ahead + self._times[kind].of(size) > self._share * self._deadline:
            self.refused += 1
            wait = max(math.ceil(ahead), 1)
            raise OverloadedError(
                f"this request would not be ranked in time, {len(self)} wait already; send it again after {wait} s",
                retry_after=wait,
            )

    @contextmanager
    def place(self, kind: str, size: int) -> Iterator[QueuePlace]:
        """A place for a request. Raises OverloadedError if it would wait too long."""
        self.check(kind, size)
        place = QueuePlace(kind, size, self._times[kind].of(size))
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.discard(place)

    async def run(self, place: QueuePlace, request: Request, work: Callable[..., _T], *arguments: object) -> _T:
        """What the work returns. Raises ClientGoneError if the client of the request leaves before it begins."""

        def timed() -> _T:
            began = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                place.spent += time.perf_counter() - began

        job = self._executor.submit(timed)
        done, gone = asyncio.wrap_future(job), asyncio.ensure_future(_gone(request))
        either: set[asyncio.Future[Any]] = {done, gone}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and job.cancel():
                raise ClientGoneError("the client has gone")
            return await done
        finally:
            gone.cancel()

    def learn(self, place: QueuePlace, *, late: bool) -> None:
        """Remember what the work of an answered request took.

        `late`: it missed the deadline, so part was left out: it would have taken what it took at least. To forget such
        requests would leave those that were quick, just when work has become slower. One counts as the deadline at
        most, since a pause of the machine says nothing of the work.
        """
        if late:
            self._share = max(_CUT * self._share, _SMALLEST)
            self._times[place.kind].learn(place.size, max(min(place.spent, self._deadline), place.expected))
        else:
            self._share = min(self._share + _GROWTH, _LARGEST)
            self._times[place.kind].learn(place.size, place.spent)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
