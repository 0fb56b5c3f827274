"""What a learner does with numbers: scaled ones, and rows that would break its weights.

Shape suffixes: B training rows.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from embedding.local.store import LocalStore
from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.training.learner import Learner
from streaming.encode.batch import TrainingBatch
from streaming.encode.encoder import Encoder
from streaming.events.schema import Value
from streaming.join.labeled_impression import LabeledImpression

SETTINGS = """
[features]
dim = 4
fields = [
  {{ name = "user", source = "user" }},
  {{ name = "item", source = "item" }},
  {{ name = "price", kind = "numeric", source = "item.price", scale = "{scale}" }},
]
[model]
name = "{model}"
mlp = [8]
mlp_dropout = {dropout}
[training]
dense_lr = 0.01
"""


def config_of(model: str = "fm", scale: str = "standard", dropout: float = 0.0) -> Config:
    return parse(SETTINGS.format(model=model, scale=scale, dropout=dropout), Path("recsys.toml"))


def batch_of(config: Config, prices: Sequence[Value], labels: Sequence[float], user: str = "u") -> TrainingBatch:
    """One impression of as many items."""
    shown = LabeledImpression(
        id="A",
        time=1_000,
        user=user,
        items=tuple(f"i{n}" for n in range(len(prices))),
        features={},
        item_features={"price": list(prices)},
        propensities=(),
        experiment="",
        arm="",
        model="",
        positions=tuple(range(len(prices))),
        labels=tuple(labels),
        decided=2_000,
        sequence=9,
        number=7,
    )
    return Encoder(wiring.spec(config)).encode_impressions([shown], None, (9,))


def dear_ones(rows: int, unit: float, seed: int = 0) -> tuple[list[Value], list[float]]:
    """Items that are clicked when their price is above the mean."""
    drawn = np.random.default_rng(seed).normal(size=rows)
    return [float(unit * (x + 3)) for x in drawn], [float(x > 0) for x in drawn]


def poison(learner: Learner, value: float) -> None:
    """Set the embedding row of one item that the learner knows to `value`."""
    spec = learner.spec
    ids = Encoder(spec).encode_items(["i2"], [{}])[0]["item"].values
    found = learner.store.peek("item", ids)
    assert isinstance(learner.store, LocalStore)
    table = learner.store._by_name["item"]
    rows_U = table.ids.find(ids)
    table.rows.put(rows_U, np.full((1, table.rows.dim), value, np.float32), table.rows.states(rows_U))
    assert not np.array_equal(learner.store.peek("item", ids).values_ND, found.values_ND, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e9])
def test_what_a_number_is_measured_in_changes_nothing(unit: float) -> None:
    config = config_of()
    learner = wiring.learner(config)
    for seed in range(150):
        learner.step(batch_of(config, *dear_ones(64, unit, seed)))
    prices, labels = dear_ones(256, unit, seed=999)
    scores_B = learner.score(batch_of(config, prices, labels))
    high, low = scores_B[np.array(labels) == 1], scores_B[np.array(labels) == 0]
    assert (high[:, None] > low).mean() > 0.95


def test_numbers_alone_are_learned_from() -> None:
    text = "\n".join(line for line in SETTINGS.splitlines() if '"user"' not in line and '"item"' not in line)
    config = parse(text.format(model="fm", scale="standard", dropout=0.0), Path("recsys.toml"))
    learner = wiring.learner(config)
    for seed in range(60):
        learner.step(batch_of(config, *dear_ones(64, 1.0, seed)))
    prices, labels = dear_ones(64, 1.0, seed=999)
    scores_B = learner.score(batch_of(config, prices, labels))
    assert scores_B[np.array(labels) == 1].mean() > scores_B[np.array(labels) == 0].mean() + 0.2


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["standard", "none"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("model", ["autoint", "fm"])
@pytest.mark.parametrize("price", [1e21, 1e38, -1e300, 1e15])
def test_an_absurd_number_neither_stops_learning_nor_leaves_a_weight_that_is_not_finite(
    model: str, scale: str, dropout: float, price: float
) -> None:
    config = config_of(model, scale, dropout)
    learner = wiring.learner(config)
    for seed in range(6):
        prices, labels = dear_ones(16, 1.0, seed)
        prices[3] = price if seed == 2 else prices[3]
        assert np.isfinite(learner.step(batch_of(config, prices, labels))).all()
    assert learner.steps == 6
    assert all(torch.isfinite(weight).all() for weight in learner.model.parameters())
    before_B = learner.score(batch_of(config, prices, labels))
    learner.step(batch_of(config, prices, labels))
    assert np.abs(learner.score(batch_of(config, prices, labels)) - before_B).max() > 1e-5
    if scale == "standard":
        assert learner.left_out == {}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_rows_of_a_broken_embedding_row_are_left_out_and_the_others_are_learned(
    value: float, dropout: float, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(dropout=dropout)
    learner = wiring.learner(config)
    batch = batch_of(config, [1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1])
    learner.step(batch)
    poison(learner, value)
    others = batch.take(np.array([0, 1, 3]))
    before_B = learner.score(others)
    with caplog.at_level(logging.WARNING, "recsys.training.dense.soundness"):
        scores_B = learner.step(batch)
    assert learner.left_out == {"item": 1}
    assert "1 rows left out" in caplog.text
    assert "item 2 of impression 7 of the log, shown at 1970-01-01T00:00:01" in caplog.text
    assert "field item" in caplog.text
    np.testing.assert_allclose(scores_B[[0, 1, 3]], before_B, rtol=1e-5)
    assert np.isfinite(scores_B).all()
    assert np.isfinite(learner.score(batch)).all()
    assert np.abs(learner.score(others) - before_B).max() > 1e-5
    assert all(torch.isfinite(weight).all() for weight in learner.model.parameters())


def test_a_batch_none_of_whose_rows_can_be_learned_changes_no_weight() -> None:
    config = parse(
        SETTINGS.format(model="fm", scale="standard", dropout=0.0) + "averaging = 0.0\n", Path("recsys.toml")
    )
    learner = wiring.learner(config)
    batch = batch_of(config, [1.0, 2.0], [0, 1])
    learner.step(batch)
    with torch.no_grad():
        next(iter(learner.model.parameters())).fill_(float("nan"))
    others = [weight.clone() for weight in list(learner.model.parameters())[1:]]
    rows_BD = learner.store.peek("item", batch.ids["item"].values).values_ND.copy()
    scores_B = learner.step(batch)
    assert scores_B.tolist() == [0.5, 0.5]
    assert learner.left_out == {"whole batch": 2}
    assert all(torch.equal(a, b) for a, b in zip(others, list(learner.model.parameters())[1:], strict=True))
    np.testing.assert_array_equal(learner.store.peek("item", batch.ids["item"].values).values_ND, rows_BD)


def test_what_was_left_out_and_the_moments_of_numbers_survive_a_restart(tmp_path: Path) -> None:
    config = config_of()
    learner, other = wiring.learner(config), wiring.learner(config)
    batch = batch_of(config, [1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1])
    learner.step(batch)
    poison(learner, np.nan)
    learner.step(batch)
    learner.save(tmp_path)
    other.load(tmp_path)
    assert (other.left_out, other.scaling) == ({"item": 1}, learner.scaling)
    learner.step(batch)
    other.step(batch)
    assert other.digest() == learner.digest()


def test_evaluation_does_not_move_the_moments() -> None:
    config = config_of()
    learner = wiring.learner(config)
    learner.step(batch_of(config, [1.0, 2.0], [0, 1]))
    before = learner.scaling
    learner.score(batch_of(config, [500.0, 900.0], [0, 1]))
    assert learner.scaling == before
