"""The whole loop in one test process: events to a trained model, to Redis, to answers over HTTP, and back."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from recsys import wiring
from recsys.config.schema import Config
from recsys.training.trainer import Trainer
from serving.assembly import build as build_app
from serving.cache.row_store import RedisRows
from serving.model.scorer import load_scorer
from serving.replication.embedded_redis import connect
from streaming.encode.encoder import Encoder
from streaming.encode.entity_state import EntityState
from streaming.events.schema import Event, Features, Impression, Interaction, ItemUpdate, UserUpdate
from streaming.ingest.codec import to_events
from streaming.join.labeled_impression import LabeledImpression
from streaming.log.event_log import read_partitions
from tests.projects import project
from tests.serving.running import running
from tests.serving.waiting import until

SETTINGS = """
[redis]
publish_every = "50ms"
precision = "PRECISION"
[features]
dim = 8
fields = [
  { name = "user", source = "user" },
  { name = "item", source = "item" },
  { name = "country", source = "request.country" },
  { name = "tags", kind = "multi", source = "item.tags" },
  { name = "interests", kind = "multi", source = "request.tags", table = "tags" },
  { name = "age", kind = "numeric", source = "request.age", transform = "log1p" },
  { name = "price", kind = "numeric", source = "item.price", transform = "log" },
  { name = "hour", source = "time.hour" },
]
[training]
batch_size = 64
wait = "1m"
checkpoint_every = 1000
[serving]
deadline = "30s"
"""
FALLBACKS = {
    "zeros": """
[retrieval]
two_tower = true
""",
    "multiplexed": """
[features.defaults]
admission = "count"
threshold = 150  # about as often as each item is seen: some are admitted, some are not
fallback = "multiplexed"
[features.tables.country]
dim = 3
""",
}
CASES = {"zeros": ("zeros", "float32"), "multiplexed": ("multiplexed", "float32"), "int8": ("multiplexed", "int8")}
"""Of each, what ids without a row read, and the precision of rows in Redis."""
PARAMETERS = {case: pytest.param(case, marks=slow) for case, slow in ((case, [pytest.mark.slow]) for case in CASES)}
TOLERANCE = {"float32": 1e-4, "int8": 0.01}
"""Between a served score and the trained model's: sums in another order, and rows off by a step."""
SAME = 1e-6
"""Between scores of two items with equal rows in one call: an engine may sum each candidate in another order."""
WAIT = 120
"""Seconds, far more than anything here takes."""
START = time.time_ns() // 10**6 - 30 * 86_400_000
"""A month ago: clicks of today must not look like a jump of years (`embedding.ids.event_clock`)."""
TAGS = ["hot", "cold", "sweet", "salty"]


def events(count: int = 400) -> list[Event]:
    rng = np.random.default_rng(3)
    tags: list[list[str | int]] = [list(TAGS[: n % 4]) for n in range(10)]
    made: list[Event] = [
        ItemUpdate(time=START, item=f"i{n}", features={"tags": tags[n], "price": float(n)}) for n in range(10)
    ]
    made += [UserUpdate(time=START, user=f"u{n}", features={"age": 20 + n, "country": "br"}) for n in range(5)]
    for number in range(count):
        time, user = START + 1000 * (number + 1), f"u{rng.integers(8)}"
        items = [f"i{n}" for n in rng.choice(12, 4, replace=False)]
        request: Features = {"tags": [str(tag) for tag in rng.choice(TAGS, rng.integers(3))]}
        made.append(Impression(id=f"n{number}", time=time, user=user, items=items, features=request))
        made.append(Interaction(time=time + 10, impression=f"n{number}", item=items[int(rng.integers(4))]))
    return made


@pytest.fixture(scope="module", params=PARAMETERS.values())
def config(tmp_path_factory: pytest.TempPathFactory, graphs: Path, request: pytest.FixtureRequest) -> Config:
    fallback, precision = CASES[request.param]
    settings = SETTINGS.replace("PRECISION", precision) + FALLBACKS[fallback]
    return project(tmp_path_factory.mktemp("loop"), settings, events(), graphs)


@pytest.fixture(scope="module")
def trainer(config: Config) -> Iterator[Trainer]:
    """Has learned from the log and published."""
    with wiring.trainer(config, publish=True) as trainer:
        trainer.run(follow=False, stop=threading.Event())
        assert trainer.learner.steps > 10
        yield trainer


@pytest.fixture(scope="module")
def http(config: Config, trainer: Trainer) -> Iterator[httpx.Client]:
    log = wiring.event_log(config)
    app = build_app(wiring.server(config), log, partial(load_scorer, engine="openvino"))
    with running(app) as client:
        until(lambda: not client.post("/v1/rank", json={"user": "u0", "items": ["i0"]}).json()["degraded"], WAIT)
        yield client
    log.close()


def served(http: httpx.Client, question: dict[str, Any]) -> dict[str, float]:
    answer = http.post("/v1/rank", json=question).raise_for_status().json()
    assert answer["degraded"] == []
    return {item["item"]: item["score"] for item in answer["items"]}


@contextmanager
def following(trainer: Trainer) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=trainer.run, kwargs={"follow": True, "stop": stop})
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(WAIT)
    assert not thread.is_alive()


def learn_of_click(config: Config, trainer: Trainer, http: httpx.Client, impression: str, item: str) -> None:
    """Post the click, and let the trainer follow the log until all clicks are learned.

    No question may be asked meanwhile: its items would be shown again, and learned from as not clicked. That the item
    was shown may be learned in an earlier step.
    """
    click = {"type": "interaction", "time": time.time_ns() // 10**6, "impression": impression, "item": item}
    assert http.post("/v1/events", json=click).json()["accepted"] == 1
    with closing(wiring.event_log(config)) as log:
        chunks = [chunk for partition in read_partitions(log) for chunk in partition]
    clicks = sum(isinstance(event, Interaction) for chunk in chunks for event in to_events(chunk.events))
    with following(trainer):
        until(lambda: trainer.progress.labels["click"][1] >= clicks, WAIT)


def trained(config: Config, trainer: Trainer, question: dict[str, Any]) -> dict[str, float]:
    """The same question put to the model itself, by the way of a training example."""
    entities = EntityState(100)
    latest_items = {e.item: e.features for e in events(0) if isinstance(e, ItemUpdate)}
    latest_users = {e.user: e.features for e in events(0) if isinstance(e, UserUpdate)}
    items = question["items"]
    example = LabeledImpression(
        id="q", time=question["time"], user=question["user"], items=tuple(items),
        features=question.get("features", {}), item_features=question.get("item_features", {}),
        propensities=(), experiment="", arm="", model="",
        positions=tuple(range(len(items))), labels=(0.0,) * len(items), decided=question["time"], sequence=1,
        latest_user=latest_users.get(question["user"], {}), latest_items=[latest_items.get(i, {}) for i in items],
    )  # fmt: skip
    batch = Encoder(wiring.spec(config)).encode_impressions([example], entities, (0,))
    return dict(zip(items, trainer.learner.score(batch).tolist(), strict=True))


QUESTIONS: dict[str, dict[str, Any]] = {
    "known user and items": {"user": "u1", "items": [f"i{n}" for n in range(10)]},
    "unknown user": {"user": "nobody", "items": ["i1", "i2"]},
    "unknown items": {"user": "u1", "items": ["never seen", "i3"]},
    "one candidate": {"user": "u2", "items": ["i4"]},
    "features of the request": {"user": "u1", "items": ["i1", "i5"], "features": {"country": "de", "age": 3.5}},
    "empty lists": {"user": "u1", "items": ["i3"], "features": {"tags": []}, "item_features": {"tags": [[]]}},
    "missing values": {"user": "u9", "items": ["i3"], "features": {"age": None, "country": None}},
    "lists": {"user": "u1", "items": ["i3", "i7"], "features": {"tags": ["hot", "new", "sweet"]}},
    "unknown category": {"user": "u1", "items": ["i3"], "features": {"country": "atlantis"}},
    "item features go before updates": {"user": "u1", "items": ["i2"], "item_features": {"price": [99.0]}},
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_server_scores_as_the_trained_model(
    config: Config, trainer: Trainer, http: httpx.Client, name: str
) -> None:
    question = QUESTIONS[name] | {"time": START + 86_400_000}
    expected = trained(config, trainer, question)
    assert served(http, question) == pytest.approx(expected, abs=TOLERANCE[config.redis.precision])


@pytest.mark.parametrize("config", [PARAMETERS["int8"]], indirect=True)
def test_rows_in_redis_are_off_by_at_most_a_step(config: Config, trainer: Trainer) -> None:
    ids, _ = Encoder(wiring.spec(config)).encode_items([f"i{n}" for n in range(10)], [{}] * 10)
    read = trainer.learner.store.peek("item", ids["item"].values)
    with connect(config.redis.url, config.redis.folder) as client:
        store = RedisRows(client, wiring.ONLINE, {"item": config.features.dim}, run=trainer.run_id)
        served_rows = store.read({"item": read.ids_N})["item"]
    found_N = read.rows_N >= 0
    assert served_rows.found_N.tolist() == found_N.tolist()
    off_ND = np.abs(served_rows.values_ND - read.values_ND)[found_N]
    assert off_ND.max() > 0
    assert (off_ND <= np.abs(read.values_ND[found_N]).max(axis=1, keepdims=True) / 127 * 1.0001).all()


def test_those_questions_are_about_ids_with_and_without_a_row(config: Config, trainer: Trainer) -> None:
    names = [f"i{n}" for n in range(10)] + ["never seen"]
    ids, _ = Encoder(wiring.spec(config)).encode_items(names, [{}] * len(names))
    read = trainer.learner.store.peek("item", ids["item"].values)
    live = read.rows_N[:-1] >= 0
    assert read.rows_N[-1] == -1
    if config.features.defaults.fallback == "multiplexed":
        assert 0 < live.sum() < 10
        assert read.values_ND.any(axis=1).all()
    else:
        assert live.all()
        assert not read.values_ND[-1].any()


@pytest.mark.parametrize("config", [PARAMETERS["zeros"]], indirect=True)
def test_a_click_changes_the_score_of_what_was_clicked(config: Config, trainer: Trainer, http: httpx.Client) -> None:
    question = {"user": "a new user", "items": ["new item", "other new item"]}
    answer = http.post("/v1/rank", json=question).json()
    before = {item["item"]: item["score"] for item in answer["items"]}
    assert abs(before["new item"] - before["other new item"]) < SAME
    learn_of_click(config, trainer, http, answer["impression"], "new item")

    def differ() -> bool:
        """Which of the two is ahead after one step from rows of zeros is up to the network."""
        after = served(http, question)
        return abs(after["new item"] - after["other new item"]) >= SAME

    until(differ, WAIT)


def test_what_is_learned_while_serving_is_served(config: Config, trainer: Trainer, http: httpx.Client) -> None:
    question: dict[str, Any] = {"user": "another new user", "items": ["newer item", "other newer item", "i1"]}
    impression = http.post("/v1/rank", json=question).json()["impression"]
    learn_of_click(config, trainer, http, impression, "newer item")
    question |= {"time": START + 86_400_000}
    expected = pytest.approx(trained(config, trainer, question), abs=TOLERANCE[config.redis.precision])
    until(lambda: served(http, question) == expected, WAIT)


@pytest.mark.parametrize("config", [PARAMETERS["zeros"]], indirect=True)
def test_a_new_item_is_found_by_its_vector_after_its_event(trainer: Trainer, http: httpx.Client) -> None:
    """`python -m benchmarks freshness` measures how long after."""

    def source() -> str | None:
        answer = http.post("/v1/recommend", json={"user": "u0", "count": 50}).raise_for_status().json()
        return {item["item"]: item["source"] for item in answer["items"]}.get("fresh")

    assert source() is None
    event = {"type": "item", "time": time.time_ns() // 10**6, "item": "fresh", "features": {"tags": ["hot"]}}
    with following(trainer):
        assert http.post("/v1/events", json=event).json()["accepted"] == 1
        until(lambda: source() == "two_tower", WAIT)


@pytest.mark.parametrize("config", [PARAMETERS["zeros"]], indirect=True)
def test_a_withdrawn_item_is_not_recommended_until_it_comes_back(trainer: Trainer, http: httpx.Client) -> None:
    def recommended() -> bool:
        answer = http.post("/v1/recommend", json={"user": "u0", "count": 50}).raise_for_status().json()
        return "i1" in {item["item"] for item in answer["items"]}

    def say(**more: bool) -> None:
        event = {"type": "item", "time": time.time_ns() // 10**6, "item": "i1"} | more
        assert http.post("/v1/events", json=event).json()["accepted"] == 1

    with following(trainer):
        for available in (True, False, True):
            say(available=available)
            until(lambda available=available: recommended() == available, WAIT)  # type: ignore[misc]
            assert served(http, {"user": "u0", "items": ["i1"]}).keys() == {"i1"}
