"""Two tasks from the log to the answer: what is clicked and what is bought are not the same items."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from rich.console import Console

from recsys import wiring
from recsys.commands.output.replay_tables import tables
from recsys.commands.output.training_progress import dashboard
from recsys.config.schema import Config
from recsys.errors import StateError
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.evaluation.replay.report import replay_report
from recsys.training.trainer import Trainer
from serving.assembly import build as build_app
from serving.model.scorer import load_scorer
from streaming.events.schema import Event, Impression, Interaction, UserUpdate
from streaming.ingest.codec import encode_events
from streaming.log.memory_log import MemoryLog
from tests.projects import project
from tests.serving.running import running
from tests.serving.waiting import until

pytestmark = pytest.mark.slow

SETTINGS = """
[redis]
publish_every = "50ms"
[features]
dim = 8
fields = [
  { name = "user", source = "user" },
  { name = "item", source = "item" },
]
[model]
layers = 1
[training]
batch_size = 64
sparse_lr = 0.1
wait = "1m"
checkpoint_every = 40
[[tasks]]
name = "buy"
actions = ["buy"]
wait = "1h"
[serving]
deadline = "30s"
score = { click = 1.0, buy = 5.0 }
"""
START = 1_760_000_000_000
COUNT = 800
BAIT, GOOD = "bait", "good"
"""What everybody clicks and nobody buys; what few click and all of those buy, ten minutes later."""


def events() -> list[Event]:
    rng = np.random.default_rng(5)
    made: list[Event] = [UserUpdate(time=START, user="on trial", features={"plan": "trial"})]
    for number in range(COUNT):
        time, id_ = START + 10_000 * number, f"n{number}"
        made.append(Impression(id=id_, time=time, user=f"u{rng.integers(9)}", items=[BAIT, GOOD, "dull"]))
        if rng.random() < 0.8:
            made.append(Interaction(time=time + 100, impression=id_, item=BAIT))
        if rng.random() < 0.4:
            made.append(Interaction(time=time + 200, impression=id_, item=GOOD))
            made.append(Interaction(time=time + 600_000, impression=id_, item=GOOD, action="buy"))
    return sorted(made, key=lambda event: event.time)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, graphs: Path) -> Config:
    config = project(tmp_path_factory.mktemp("tasks"), SETTINGS, events(), graphs)
    wiring.set_threads(config)
    return config


@pytest.fixture(scope="module")
def trainer(config: Config) -> Iterator[Trainer]:
    """Has learned from the log and published."""
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        yield trainer


@contextmanager
def server(config: Config) -> Iterator[httpx.Client]:
    log = wiring.event_log(config)
    with running(build_app(wiring.server(config), log, partial(load_scorer, engine="onnxruntime"))) as client:
        until(lambda: client.get("/readyz").status_code == 200, seconds=120)
        yield client
    log.close()


def ranked_by(config: Config, score: dict[str, float]) -> dict[str, Any]:
    """The answer of a server with these weights."""
    serving = replace(config.serving, score=score)
    with server(config.model_copy(update={"serving": serving})) as http:
        asked = {"user": "u1", "items": ["dull", GOOD, BAIT]}
        answer: dict[str, Any] = http.post("/v1/rank", json=asked).raise_for_status().json()
    return answer


def test_arms_rank_by_scores_of_their_own(config: Config, trainer: Trainer) -> None:
    assert trainer.learner.tasks == ("click", "buy")
    arms = [{"name": "clicks"}, {"name": "buys", "score": {"click": 1.0, "buy": 5.0}}]
    buy = {"name": "buy", "actions": ["buy"], "wait": "1h"}
    experiments = Config(experiments=[{"name": "ab", "arms": arms}], tasks=[buy]).experiments
    serving = replace(config.serving, score={"click": 1.0})
    first: dict[str, set[str]] = {}
    with server(config.model_copy(update={"serving": serving, "experiments": experiments})) as http:
        for number in range(12):
            asked = {"user": f"u{number}", "items": ["dull", GOOD, BAIT]}
            answer: dict[str, Any] = http.post("/v1/rank", json=asked).raise_for_status().json()
            first.setdefault(answer["arm"], set()).add(order(answer)[0])
    assert first == {"clicks": {BAIT}, "buys": {GOOD}}


def test_groups_of_users_have_scores_of_their_own(config: Config, trainer: Trainer) -> None:
    """By the request's feature, else by the user's latest; what told the group is logged with the list."""
    assert trainer.learner.tasks == ("click", "buy")
    groups = {"trial": {"click": 1.0, "buy": 5.0}, "7": {"buy": -1.0}}
    serving = replace(config.serving, score={"click": 1.0}, score_by="request.plan", scores=groups)

    def first(user: str, features: dict[str, Any]) -> tuple[str, Any]:
        asked = {"user": user, "items": ["dull", GOOD, BAIT], "features": features, "log": False}
        answer: dict[str, Any] = http.post("/v1/rank", json=asked).raise_for_status().json()
        assert answer["degraded"] == []
        return order(answer)[0], answer["event"]["features"].get("plan")

    with server(config.model_copy(update={"serving": serving})) as http:
        assert first("u1", {}) == (BAIT, None)
        assert first("u1", {"plan": "gold"}) == (BAIT, "gold")
        assert first("u1", {"plan": "trial"}) == (GOOD, "trial")
        assert first("on trial", {}) == (GOOD, "trial")
        assert first("on trial", {"plan": 7}) == ("dull", 7)


def order(answer: dict[str, Any]) -> list[str]:
    return [item["item"] for item in answer["items"]]


def test_the_ranking_follows_the_weights_of_the_tasks(config: Config, trainer: Trainer) -> None:
    assert trainer.learner.steps > 10
    by_click, by_buy = ranked_by(config, {"click": 1.0}), ranked_by(config, {"click": 1.0, "buy": 5.0})
    assert (order(by_click)[0], order(by_buy)[0]) == (BAIT, GOOD)
    assert order(ranked_by(config, {"buy": -1.0}))[-1] == GOOD
    for answer, weights in ((by_click, (1.0, 0.0)), (by_buy, (1.0, 5.0))):
        assert answer["degraded"] == []
        for item in answer["items"]:
            assert list(item["scores"]) == ["click", "buy"]
            assert item["score"] == pytest.approx(np.dot(list(item["scores"].values()), weights))
    scores = {item["item"]: item["scores"] for item in by_buy["items"]}
    assert scores[BAIT]["click"] == pytest.approx(0.8, abs=0.15)
    assert scores[BAIT]["buy"] < 0.1
    assert scores[GOOD]["buy"] == pytest.approx(0.4, abs=0.15)


def test_tasks_that_the_model_lacks_are_named_and_count_nothing(config: Config, trainer: Trainer) -> None:
    assert trainer.learner.tasks == ("click", "buy")
    some = ranked_by(config, {"click": 1.0, "share": 9.0})
    assert (some["degraded"], order(some)[0], some["model"].partition("@")[0]) == (["tasks"], BAIT, "online")
    none = ranked_by(config, {"share": 9.0})
    assert (none["degraded"], none["model"]) == (["tasks"], "popularity")


def test_each_task_has_progressive_figures_and_only_clicks_make_items_popular(config: Config, trainer: Trainer) -> None:
    clicks, buys = trainer.progress.total("click"), trainer.progress.total("buy")
    assert clicks.positives / clicks.weight == pytest.approx(0.4, abs=0.05)  # 0.8 + 0.4 of three items
    assert buys.positives / buys.weight == pytest.approx(0.4 / 3, abs=0.05)
    assert min(clicks.auc, buys.auc) > 0.7
    shown = Console(width=120, record=True)
    shown.print(dashboard(trainer.progress))
    printed = shown.export_text()
    assert [name in printed for name in ("click, all", "click, recent", "buy, all", "buy, recent")] == [True] * 4
    with wiring.trainer(_without_tasks(config), publish=False) as alone:
        alone.run(follow=False, stop=threading.Event())
        assert dict(trainer._state.catalog.popular(9)) == pytest.approx(dict(alone._state.catalog.popular(9)), rel=0.05)


def _without_tasks(config: Config, folder: str = "alone") -> Config:
    training = config.training.model_copy(update={"checkpoints": config.training.checkpoints.parent / folder})
    return config.model_copy(update={"tasks": [], "training": training})


def test_training_that_is_interrupted_ends_in_the_same_state(config: Config) -> None:
    def to(name: str) -> Config:
        training = config.training.model_copy(update={"checkpoints": config.training.checkpoints.parent / name})
        return config.model_copy(update={"training": training})

    def train(name: str, until: int | None = None) -> str:
        with wiring.trainer(to(name), publish=False) as trainer:
            trainer.resume()
            trainer.run(follow=False, stop=threading.Event(), until=until)
            return trainer.digest()

    whole = train("whole")
    assert train("parts", START + 3_000_000) != whole
    assert train("parts") == whole
    fewer = to("parts").model_copy(update={"tasks": []})
    with (
        wiring.trainer(fewer, publish=False) as trainer,
        pytest.raises(StateError, match=r"tasks is \['click', 'buy'\]"),
    ):
        trainer.resume()


@pytest.fixture(scope="module")
def result(config: Config) -> ReplayResult:
    log = MemoryLog()
    log.append(encode_events(events()))
    return evaluate(config, log, batch_until=START + 4_000_000, refreshes=["10m"])


def test_a_replay_judges_each_task_by_its_own_labels(result: ReplayResult) -> None:
    by_task = result.of_tasks()
    assert list(by_task) == ["click", "buy"]
    rows = [one.arms[0].all["rows"] for one in by_task.values()]
    assert rows == [1200, 1200]
    clicks, buys = ((one.arms[1].all["positives"] or 0) / 1200 for one in by_task.values())
    assert clicks == pytest.approx(0.4, abs=0.05)
    assert buys == pytest.approx(0.4 / 3, abs=0.05)
    assert all((arm.all["auc"] or 0) > 0.7 for one in by_task.values() for arm in one.arms)
    assert result.counts["items_shown"] == 3 * COUNT
    assert ReplayResult.from_json(result.to_json()) == result


def test_the_report_of_a_further_task_is_in_a_folder_of_its_name(result: ReplayResult, tmp_path: Path) -> None:
    replay_report.write(result, tmp_path)
    first, buy = ((folder / "table.md").read_text() for folder in (tmp_path, tmp_path / "buy"))
    assert (first, buy) == tuple(map(replay_report.markdown, result.of_tasks().values()))
    assert first != buy
    assert "<h1>Replay: buy</h1>" in (tmp_path / "buy" / "report.html").read_text()
    assert [str(table.title)[:10] for table in tables(result)] == ["Task click", "Task buy. "]
