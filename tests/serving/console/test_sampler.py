"""What the console remembers of trainers and answers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from serving.api.messages.operator_schemas import ExperimentsResponse
from serving.api.monitoring.server_state import ServerState
from serving.console.sampler import Sampler
from serving.experiments.assignment import Arm, Experiment
from serving.experiments.inference.sums import ClickSums
from serving.experiments.summary import summarise
from serving.replication.trainer_status import TrainerStatus


class State:
    """Of a server with one trainer, whose status a test sets."""

    def __init__(self) -> None:
        self.time, self.rows, self.extra = 0, 0.0, dict[str, Any]()

    def now(self) -> int:
        return self.time

    def aged_trainers(self) -> list[tuple[str, TrainerStatus, float]]:
        return [("online", TrainerStatus(self.time, {"rows": self.rows, **self.extra}), 0.5)]


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def sampler(state: State) -> Sampler:
    async def nothing() -> ExperimentsResponse:
        return ExperimentsResponse([], [])

    async def none() -> dict[str, float]:
        return {}

    return Sampler(cast(ServerState, state), none, nothing, compare=False)


def learn(sampler: Sampler, state: State, seconds: int, rows: float) -> None:
    state.time += 1000 * seconds
    state.rows += rows
    sampler.sample({})


def test_the_rate_is_that_of_the_last_statuses(sampler: Sampler, state: State) -> None:
    assert sampler.rate("online") is None
    for rows in (9_000, 100, 200, 300, 400, 500, 600):
        learn(sampler, state, 2, rows)
    assert sampler.rate("online") == (200 + 300 + 400 + 500 + 600) / 10
    sampler.sample({})  # the trainer has said nothing new
    assert sampler.rate("online") == 200


def test_a_run_that_begins_anew_has_no_rate_yet(sampler: Sampler, state: State) -> None:
    learn(sampler, state, 2, 1000)
    learn(sampler, state, 2, 1000)
    state.rows = 10
    learn(sampler, state, 2, 0)
    assert sampler.rate("online") is None
    learn(sampler, state, 2, 50)
    assert sampler.rate("online") == 25


def test_lines_are_of_tasks_tables_and_models(sampler: Sampler, state: State) -> None:
    state.extra = {
        "lag_events": 3,
        "tasks": {"click": {"log_loss": 0.5, "calibration": 1.1, "auc": 0.7}, "a.buy": {"log_loss": 0.1}},
        "tables": {"item": {"live": 10, "evicted": 4}, "user.x": {"live": 20}},
    }
    sampler.sample({})
    found = {name: values[0] for name, values in sampler.loop.values.items()}
    assert found == {
        "said:online": 0.5,
        "lag:online": 3.0,
        "log_loss.click:online": 0.5,
        "calibration.click:online": 1.1,
        "log_loss.a.buy:online": 0.1,
        "live:online": 30.0,
    }


def test_degraded_answers_are_new_ones(sampler: Sampler) -> None:
    for degraded in ({"rows": 5}, {"rows": 7, "deadline": 1}, {"rows": 3, "deadline": 1}):
        sampler.sample(degraded)
    assert sampler.loop.values["degraded:rows"] == [5.0, 2.0, 0.0]
    assert sampler.loop.values["degraded:deadline"] == [None, 1.0, 0.0]


def test_what_redis_last_said_is_no_sample(sampler: Sampler) -> None:
    experiment = Experiment("shop", (Arm("a"), Arm("b")))
    sums = ClickSums(impressions=100, clicks=10, units=50)
    summary = summarise(experiment, [sums, sums], 1000)
    sampler.compare(ExperimentsResponse([summary], ["redis"]))
    assert sampler.experiments.times == []
    sampler.compare(ExperimentsResponse([summary], []))
    low, high = summary.comparisons[0].interval
    assert sampler.experiments.values == {"difference:shop:b": [0.0], "low:shop:b": [low], "high:shop:b": [high]}
