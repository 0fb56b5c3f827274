"""Who enters the queue of the ranker's thread, and what becomes of those who leave it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from serving.api.gate.ranking_queue import RankingQueue
from serving.api.gate.service_time import ServiceTime
from serving.api.messages.request_errors import ClientGoneError, OverloadedError

SIZE = 10_000
SECONDS = 0.02
DEADLINE = 0.2


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def taught(executor: ThreadPoolExecutor, deadline: float | None = DEADLINE) -> RankingQueue:
    """A queue that knows that work takes `SECONDS`."""
    queue = RankingQueue(executor, deadline)
    for _ in range(500):
        answer(queue, late=False)
    return queue


def answer(queue: RankingQueue, *, late: bool) -> None:
    with queue.place("rank", SIZE) as place:
        place.spent = SECONDS
        queue.learn(place, late=late)


def entering(queue: RankingQueue) -> int:
    """How many requests enter while none is ranked, of a hundred."""
    with ExitStack() as stack:
        for entered in range(100):
            try:
                stack.enter_context(queue.place("rank", SIZE))
            except OverloadedError:
                return entered
        return 100


def test_as_many_enter_as_are_ranked_within_the_deadline(executor: ThreadPoolExecutor) -> None:
    queue = taught(executor)
    entered = entering(queue)
    assert DEADLINE / 2 < entered * SECONDS < DEADLINE
    assert queue.refused == 1
    assert len(queue) == 0
    assert queue.ahead == 0
    assert entering(queue) == entered, "who leaves makes room"


def test_without_a_deadline_everyone_enters(executor: ThreadPoolExecutor) -> None:
    assert entering(taught(executor, None)) == 100


def test_one_always_enters_so_that_its_time_is_measured(executor: ThreadPoolExecutor) -> None:
    assert entering(taught(executor, 0.001)) == 1


def test_work_that_is_half_done_leaves_room(executor: ThreadPoolExecutor) -> None:
    queue = taught(executor)
    with queue.place("rank", SIZE) as place:
        before = queue.ahead
        place.spent = SECONDS / 2
        assert queue.ahead == pytest.approx(before / 2, rel=0.05)
        place.spent = 10 * SECONDS
        assert queue.ahead == 0


def test_answers_that_were_late_let_fewer_in_until_others_were_in_time(executor: ThreadPoolExecutor) -> None:
    queue = taught(executor)
    before = entering(queue)
    for _ in range(5):
        answer(queue, late=True)
    fewer = entering(queue)
    assert 1 <= fewer < before
    for _ in range(1000):
        answer(queue, late=False)
    assert entering(queue) == before


def test_what_was_cut_short_by_the_deadline_took_what_it_took_at_least(executor: ThreadPoolExecutor) -> None:
    """Else only the quick ones would be learned from when work has become slower than the deadline allows."""
    queue = taught(executor)
    for spent, known in ((DEADLINE / 2, DEADLINE / 2), (9.0, DEADLINE), (0.0, DEADLINE)):
        for _ in range(300):
            with queue.place("rank", SIZE) as place:
                place.spent = spent
                queue.learn(place, late=True)
        with queue.place("rank", SIZE) as place:
            assert place.expected == pytest.approx(known, rel=0.01)


@pytest.mark.parametrize(("deadline", "wait"), [(DEADLINE, 1), (10.0, 7)])
def test_the_wait_is_told_in_whole_seconds(executor: ThreadPoolExecutor, deadline: float, wait: int) -> None:
    queue = taught(executor, deadline)
    with ExitStack() as stack, pytest.raises(OverloadedError) as refused:
        fill(queue, stack)
    assert refused.value.retry_after == wait


def fill(queue: RankingQueue, stack: ExitStack) -> None:
    while True:
        stack.enter_context(queue.place("rank", SIZE))


class Client:
    """Leaves when told to."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    @property
    def request(self) -> Request:
        return cast(Request, self)

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}


def test_who_leaves_before_its_work_begins_costs_none(executor: ThreadPoolExecutor) -> None:
    queue = RankingQueue(executor, DEADLINE)
    begun, go_on, done = threading.Event(), threading.Event(), []

    def work(name: str) -> str:
        begun.set()
        assert go_on.wait(120)
        done.append(name)
        return name

    async def ask(client: Client, name: str) -> str:
        with queue.place("rank", 1) as place:
            return await queue.run(place, client.request, work, name)

    async def both() -> None:
        stays, leaves = Client(), Client()
        first = asyncio.ensure_future(ask(stays, "stays"))
        await asyncio.to_thread(begun.wait, 120)
        second = asyncio.ensure_future(ask(leaves, "leaves"))
        while len(queue) < 2:
            await asyncio.sleep(0)
        leaves.gone.set()
        with pytest.raises(ClientGoneError):
            await second
        assert len(queue) == 1
        stays.gone.set()  # too late: its work goes on, and its time counts
        go_on.set()
        assert await first == "stays"

    asyncio.run(both())
    assert done == ["stays"]


sizes = st.floats(0, 1e7)


class TestServiceTime:
    @given(st.lists(st.tuples(sizes, st.floats(0, 100)), max_size=50), sizes)
    def test_never_less_than_nothing_and_never_less_for_more(
        self, seen: list[tuple[float, float]], size: float
    ) -> None:
        times = ServiceTime()
        for one, seconds in seen:
            times.learn(one, seconds)
        assert 0 <= times.of(size) <= times.of(2 * size)

    def test_is_the_weighted_least_squares_line(self) -> None:
        rng = np.random.default_rng(0)
        sizes_N = rng.uniform(0, 1e4, 300)
        seconds_N = 0.003 + 2e-6 * sizes_N + rng.normal(0, 2e-4, 300)
        times = ServiceTime()
        for size, seconds in zip(sizes_N, seconds_N, strict=True):
            times.learn(float(size), float(seconds))
        weights_N = np.sqrt(0.98 ** np.arange(301, -1, -1))
        all_sizes_N, all_seconds_N = np.append([0, 1e4], sizes_N), np.append([0.001, 0.011], seconds_N)
        slope, intercept = np.polyfit(all_sizes_N, all_seconds_N, 1, w=weights_N)
        assert times.of(5000) == pytest.approx(intercept + slope * 5000, rel=1e-6)
        assert times.of(0) == pytest.approx(intercept, rel=1e-5)

    def test_the_first_guess_is_forgotten(self) -> None:
        times = ServiceTime()
        for _ in range(2000):
            times.learn(SIZE, 1.0)
        assert times.of(SIZE) == pytest.approx(1.0)
        assert times.of(10) == pytest.approx(1.0), "of one size alone there is no slope"
