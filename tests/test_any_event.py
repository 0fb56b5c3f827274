"""No event that the edge accepts stops training or replay, or makes a score that is not finite."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.errors import InvalidValueError
from recsys.evaluation.replay.evaluation import evaluate
from recsys.evaluation.replay.online_stage import NOTHING_SHOWN, Share
from streaming.events.schema import LARGEST, Event, Impression
from streaming.ingest.codec import encode_events
from streaming.ingest.decoding import decode_events
from streaming.log.event_log import EventLog

pytestmark = pytest.mark.slow

NOW = 1_800_000_000_000
SETTINGS = """
[features]
dim = 4
entities = 3
fields = [
  {{ name = "user", source = "user" }},
  {{ name = "item", source = "item" }},
  {{ name = "tags", kind = "multi", source = "item.tags" }},
  {{ name = "kinds", kind = "multi", source = "request.kinds", table = "tags" }},
  {{ name = "hour", kind = "numeric", source = "time.hour" }},
  {{ name = "age", kind = "numeric", source = "request.age" }},
  {{ name = "price", kind = "numeric", source = "item.price", scale = "none" }},
  {{ name = "size", kind = "numeric", source = "item.size", transform = "log" }},
  {{ name = "heat", kind = "numeric", source = "item.heat", transform = "log1p", scale = "none" }},
]
[features.defaults]
capacity = 20
ttl = "1h"
[model]
name = "{model}"
mlp = [4]
[training]
batch_size = 4
optimizer = "{optimizer}"
wait = "30m"
max_pending = 5
dense_lr = 0.1
checkpoint_every = 1000
"""

extremes = [0.0, -0.0, 5e-324, 1e-38, 1e15, -1e15, 1e16, 1e21, 3.4e38, 1.7e308, 2**63 - 1, -(2**63), 0.1]
numbers = st.sampled_from(extremes) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9) | st.none()
text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
names = st.sampled_from(["a", "b", "c", "\x00", "\x00missing", "é", "e\u0301", "\U0001f600", "x" * 512]) | text
tags = st.none() | st.lists(text | st.integers(-(2**63), 2**63 - 1), max_size=3) | st.just(["t"] * 300)
times = st.integers(NOW - 4_000_000, NOW) | st.sampled_from([0, 1, 999, 2**31, NOW + 300_000, 2**62])
of_request = st.fixed_dictionaries({}, optional={"age": numbers, "kinds": tags, "unread": numbers | tags})
of_item = {"tags": tags, "price": numbers, "size": numbers, "heat": numbers}


@st.composite
def impressions(draw: st.DrawFn, number: int) -> dict[str, Any]:
    items = draw(st.lists(names, min_size=1, max_size=5, unique=True) | st.just([f"i{n}" for n in range(40)]))
    columns = draw(st.sets(st.sampled_from(sorted(of_item))))
    features = {
        name: draw(st.lists(of_item[name], min_size=len(items), max_size=len(items)))
        if len(items) <= 5
        else [draw(of_item[name])] * len(items)
        for name in columns
    }
    shown = {"type": "impression", "id": f"n{number}", "user": draw(names), "time": draw(times), "items": items}
    return shown | {"features": draw(of_request), "item_features": features}


@st.composite
def streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Lists, clicks on them and updates."""
    found: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 8))):
        shown = draw(impressions(number))
        found.append(shown)
        if draw(st.booleans()):
            clicked, value = draw(st.sampled_from(shown["items"])), draw(numbers)
            click = {"type": "interaction", "impression": shown["id"], "item": clicked, "time": draw(times)}
            found.append(click | ({} if value is None else {"value": value}))
        if draw(st.booleans()):
            found.append({"type": "user", "user": draw(names), "time": draw(times), "features": draw(of_request)})
            features = draw(st.fixed_dictionaries({}, optional=of_item))
            found.append({"type": "item", "item": draw(names), "time": draw(times), "features": features})
    return found


def config_of(folder: Path, model: str, optimizer: str) -> Config:
    return parse(SETTINGS.format(model=model, optimizer=optimizer), folder / "recsys.toml").rooted(folder)


def accepted(config: Config, stream: list[dict[str, Any]]) -> list[Event]:
    events, refused = decode_events([msgspec.json.encode(event) for event in stream], NOW, wiring.rules(config))
    assert len(events) + len(refused) == len(stream)
    return events


def write(config: Config, events: list[Event]) -> None:
    log = wiring.event_log(config)
    log.append(encode_events(events))
    log.close()


def train(config: Config) -> None:
    """Twice, as a restart does; each time everything is finite."""
    for _ in range(2):
        with wiring.trainer(config, publish=False) as trainer:
            trainer.resume()
            trainer.run(follow=False, stop=threading.Event())
            for batch in (*trainer._feed.finish(),):
                assert np.isfinite(trainer.learner.score(batch)).all()
                assert np.isfinite(trainer.learner.step(batch)).all()
            assert all(torch.isfinite(weight).all() for weight in trainer.learner.model.parameters())
            assert all(np.isfinite(trainer.learner.scaling.means + trainer.learner.scaling.scales))


@settings(max_examples=20)
@given(streams(), st.sampled_from(["fm", "autoint"]), st.sampled_from(["rowwise_adagrad", "adagrad", "adam", "ftrl"]))
def test_training_and_replay_go_on_whatever_the_edge_accepts(
    stream: list[dict[str, Any]], model: str, optimizer: str
) -> None:
    with TemporaryDirectory() as name:
        config = config_of(Path(name), model, optimizer)
        events = accepted(config, stream)
        write(config, events)
        train(config)
        log = wiring.event_log(config)
        with suppress(_NothingToEvaluateError):
            replay(config, log)
        log.close()


class _NothingToEvaluateError(Exception):
    pass


def replay(config: Config, log: EventLog) -> None:
    try:
        result = evaluate(config, log, batch_until=Share(0.5), refreshes=["10m"])
    except InvalidValueError as error:
        if any(
            words in str(error)
            for words in (
                NOTHING_SHOWN,
                "the end of the batch stage",
                "the batch stage would end",
                "no example was learned",
                "all impressions are of one time",
            )
        ):
            raise _NothingToEvaluateError from error
        raise
    assert result.counts["rows_scored"] > 0


@pytest.mark.parametrize(("model", "optimizer"), [("fm", "adam"), ("autoint", "rowwise_adagrad")])
@pytest.mark.parametrize("price", [1e21, -1e300])
def test_a_number_that_an_older_edge_accepted_neither_stops_training_nor_replay(
    tmp_path: Path, model: str, optimizer: str, price: float
) -> None:
    config = config_of(tmp_path, model, optimizer)
    ordinary: list[Event] = [
        Impression(
            id=f"n{n}",
            time=NOW - 4_000_000 + 60_000 * n,
            user="u",
            items=["a", "b"],
            features={"age": float(n)},
            item_features={"price": [1.0, 2.0], "size": [1.0, 2.0], "heat": [1.0, 2.0]},
        )
        for n in range(60)
    ]
    huge: list[Any] = [price, 1.0]
    absurd = Impression(
        id="absurd",
        time=NOW - 4_000_000 + 60_000 * 10,
        user="u",
        items=["a", "b"],
        features={"age": price},
        item_features={"price": huge, "size": huge, "heat": huge},
    )
    assert abs(price) > LARGEST
    assert not accepted(config, [msgspec.to_builtins(absurd)])
    write(config, [*ordinary[:10], absurd, *ordinary[10:]])
    train(config)
    log = wiring.event_log(config)
    replay(config, log)
    log.close()
