"""Simulated users do what their model says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.errors import InvalidValueError
from recsys.simulation.habits import Habits
from recsys.simulation.platform import LoggingPolicy
from recsys.simulation.simulation import Simulation, Truth
from recsys.simulation.user_model import DAY, PlantedUsers, UserModel
from streaming.events.schema import Event, Impression, Interaction
from streaming.ingest.codec import Rules, decode_lines
from tests.test_docs import ROOT

START = 1_767_225_600_000


def simulated(
    habits: Habits | None = None, *, selection: float = 1.0, seed: int = 0, model: UserModel | None = None
) -> tuple[list[Event], Truth]:
    events: list[Event] = []
    model = model or PlantedUsers(60, 30, seed=seed)
    platform = LoggingPolicy(model, events.append, selection=selection, seed=seed)
    simulation = Simulation(model, habits or Habits(visits=20.0), platform, START, seed)
    times = list(simulation.run(DAY))
    assert times == sorted(times)
    assert times[-1] < DAY
    return events, simulation.truth


def of_kind(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_the_log_is_one_that_ingest_takes_and_in_order() -> None:
    events, truth = simulated()
    batch, rejects = decode_lines([msgspec.json.encode(event) for event in events], START + 10**9, Rules())
    assert (batch.num_rows, rejects) == (len(events), [])
    times = [event.time for event in events]
    assert times == sorted(times)
    lists = {one.id: one for one in of_kind(events, Impression)}
    clicks = of_kind(events, Interaction)
    assert len(lists) == truth.visits == truth.arms["logged"].lists > 1000
    assert len(clicks) == truth.arms["logged"].clicks > 1000
    assert all(click.item in lists[click.impression].items for click in clicks)
    assert all(click.time >= lists[click.impression].time for click in clicks)


def test_a_user_model_is_asked_once_a_visit() -> None:
    class Asked(PlantedUsers):
        times = 0

        def likes(self, user: int, seconds: float) -> Any:
            self.times += 1
            return super().likes(user, seconds)

    model = Asked(5, 30, seed=0)
    _, truth = simulated(model=model)
    assert model.times == truth.visits > 10


def test_a_seed_decides_everything() -> None:
    assert simulated(seed=1) == simulated(seed=1)
    assert simulated(seed=1)[0] != simulated(seed=2)[0]


def test_clicks_are_as_many_as_expected_and_fall_with_the_position() -> None:
    events, truth = simulated(Habits(visits=60.0, position=1.0), selection=0.0)
    arm = truth.arms["logged"]
    assert abs(arm.clicks - arm.expected) < 4 * np.sqrt(arm.expected)
    assert truth.value("logged") == pytest.approx(truth.random, rel=0.03)
    assert truth.random < truth.best
    lists = {one.id: one.items for one in of_kind(events, Impression)}
    at = Counter(lists[click.impression].index(click.item) for click in of_kind(events, Interaction))
    for place in (1, 3, 9):
        share, looks = at[place] / at[0], 1 / (place + 1)
        assert abs(share - looks) < 5 * np.sqrt(looks / at[0])


def test_what_follows_taste_is_worth_more() -> None:
    values = [simulated(selection=selection)[1].value("logged") for selection in (0.0, 0.5, 2.0)]
    assert values == sorted(values)


def test_propensities_tell_what_random_lists_would_have_brought() -> None:
    """Of the first position, by inverse propensities, within four standard errors."""
    events, truth = simulated(Habits(visits=60.0))
    clicked = {(click.impression, click.item) for click in of_kind(events, Interaction)}
    worth = np.array([
        ((one.id, one.items[0]) in clicked) / 30 / one.propensities[0] for one in of_kind(events, Impression)
    ])  # fmt: skip
    expected = truth.random / Habits().looks(10).sum()
    assert abs(worth.mean() - expected) < 4 * worth.std() / np.sqrt(len(worth))
    naive = np.mean([(one.id, one.items[0]) in clicked for one in of_kind(events, Impression)])
    assert naive > 1.3 * expected  # the log alone says more, since users have selected


def test_users_who_clicked_come_back_sooner() -> None:
    def visits(loyalty: float) -> int:
        return simulated(Habits(visits=20.0, loyalty=loyalty))[1].visits

    assert visits(1.0) > 1.5 * visits(0.0)


@pytest.mark.parametrize("wrong", [{"shown": 0}, {"visits": 0.0}, {"delay": -1.0}, {"position": float("nan")}])
def test_habits_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match=next(iter(wrong))):
        Habits(**wrong)


def test_nobody_and_nothing_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="two items"):
        PlantedUsers(1, 1)
    with pytest.raises(InvalidValueError, match="selection"):
        LoggingPolicy(PlantedUsers(1, 2), list[Event]().append, selection=-1.0)


def test_the_command(tmp_path: Path) -> None:
    arguments = ["simulate", "--users", "20", "--items", "12", "--days", "0.5", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    truth = msgspec.json.decode((tmp_path / "out" / "truth.json").read_bytes(), type=Truth)
    assert f"{truth.value('logged'):.3f}" in done.output
    first = (tmp_path / "out" / "events.jsonl").read_bytes()
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert (tmp_path / "out" / "events.jsonl").read_bytes() == first


def test_users_of_ones_own() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/simulation.md").read_text("utf-8"), re.DOTALL)
    found: dict[str, Any] = {}
    exec(block, found)
    assert found["simulation"].truth.visits > 0
    assert len(of_kind(found["events"], Impression)) == found["simulation"].truth.visits
