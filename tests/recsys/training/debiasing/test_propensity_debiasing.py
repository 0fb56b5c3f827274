"""Debiasing in the online trainer, on planted logs whose truth is known.

Shape suffixes: B training rows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.errors import ConfigError, InvalidValueError
from recsys.search.supernet_training import loss_of
from recsys.training.debiasing.propensity_debiasing import LoggedDebiasing, PropensityDebiasing
from streaming.encode.batch import Jagged, TrainingBatch

ITEMS = 4
FIELDS = 'fields = [{ name = "item", source = "item" }]'


def config_of(debiasing: str = "") -> Config:
    training = "[training]\nsparse_lr = 0.3\naveraging = 0.0"
    text = f'[features]\ndim = 4\n{FIELDS}\n[model]\nname = "lr"\n{training}\n{debiasing}'
    return parse(text, Path("recsys.toml"))


def rows(items_B: Any, labels_B: Any, propensities_B: Any, positions_B: Any = 0, **columns: Any) -> TrainingBatch:
    count = len(items_B)
    ids = np.asarray(items_B).astype(np.uint64) + np.uint64(10)
    made: dict[str, Any] = {
        "ids": {"item": Jagged(ids, np.ones(count, np.int32))},
        "numeric_BN": np.zeros((count, 0), np.float32),
        "labels_B": np.asarray(labels_B, np.float32),
        "counted_B": np.ones(count, np.float32),
        "keys_B": np.arange(count),
        "tasks_B": np.zeros(count, np.int64),
        "weights_B": np.ones(count, np.float32),
        "propensities_B": np.broadcast_to(np.asarray(propensities_B, np.float32), count).copy(),
        "positions_B": np.broadcast_to(np.asarray(positions_B, np.int32), count).copy(),
        "times_B": np.zeros(count, np.int64),
    }
    return TrainingBatch(**(made | columns), now=1_000, cursor=(0,))


def learned(debiasing: str, batch: TrainingBatch) -> np.ndarray:
    """The probabilities of the items after one pass."""
    learner = wiring.learner(config_of(debiasing))
    for part in batch.cut(250):
        learner.step(part)
    return learner.score(rows(np.arange(ITEMS), np.zeros(ITEMS), 1.0))


def planted_policy(count: int = 5_000) -> tuple[TrainingBatch, np.ndarray]:
    """Half of the users like what the others do not, the model does not know which, and the policy shows each what they
    like nine times in ten. Returned is also the click rate of each item if items are drawn at random."""
    rng = np.random.default_rng(0)
    likes = np.array([[0.6, 0.6, 0.1, 0.1], [0.1, 0.2, 0.3, 0.6]])
    policy = np.array([[0.45, 0.45, 0.05, 0.05], [0.05, 0.05, 0.45, 0.45]])
    user_B = rng.integers(0, 2, count)
    item_B = (rng.random(count)[:, None] > np.cumsum(policy, 1)[user_B]).sum(1)
    labels_B = rng.random(count) < likes[user_B, item_B]
    return rows(item_B, labels_B, policy[user_B, item_B]), likes.mean(0)


def error(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.abs(found - truth).mean())


@pytest.mark.parametrize("method", ["ips", "snips"])
def test_logged_propensities_bring_the_model_nearer_the_truth_and_flat_ones_do_not(method: str) -> None:
    batch, truth = planted_policy()
    section = f'[training.debiasing]\nmethod = "{method}"'
    plain, debiased = learned("", batch), learned(section, batch)
    flat = learned(section, replace(batch, propensities_B=np.ones(len(batch), np.float32)))
    assert error(debiased, truth) < error(plain, truth) / 3
    np.testing.assert_array_equal(flat, plain)


def planted_positions(count: int = 8_000) -> tuple[TrainingBatch, np.ndarray]:
    """Two positions, the second examined by four in ten; the policy puts items 0 and 1 first nine times in ten."""
    rng = np.random.default_rng(1)
    rates, examined = np.array([0.3, 0.5, 0.3, 0.5]), np.array([1.0, 0.4])
    position_B = rng.integers(0, 2, count)
    usual_B = rng.random(count) < 0.9
    item_B = rng.integers(0, 2, count) + 2 * np.where(usual_B, position_B, 1 - position_B)
    labels_B = rng.random(count) < rates[item_B] * examined[position_B]
    return rows(item_B, labels_B, np.where(usual_B, 0.45, 0.05), position_B), rates


def test_clicks_at_positions_that_few_examine_bring_the_model_nearer_the_truth() -> None:
    batch, truth = planted_positions()
    plain = learned("", batch)
    debiased = learned("[training.debiasing]\npositions = true", batch)
    control = learned('[training.debiasing]\nmethod = "snips"', batch)
    assert error(debiased, truth) < error(plain, truth) / 2
    assert error(control, truth) > 2 * error(debiased, truth)


def test_the_examination_of_positions_is_found_though_the_policy_puts_the_best_first() -> None:
    batch, _ = planted_positions()
    debiasing = PropensityDebiasing(LoggedDebiasing("none", positions=True))
    debiasing.learned(batch)
    assert debiasing.examination[1] == pytest.approx(0.4, abs=0.05)
    unexplored = PropensityDebiasing(LoggedDebiasing("none", positions=True))
    unexplored.learned(replace(batch, propensities_B=np.ones(len(batch), np.float32)))
    assert unexplored.examination[:2].tolist() == [1.0, 1.0]


def test_two_weights_multiply_and_small_propensities_are_raised_and_counted() -> None:
    batch = rows([0, 1, 2], [0, 1, 0], [0.5, 0.001, 1.0], weights_B=np.array([1, 2, 3], np.float32))
    debiasing = PropensityDebiasing(LoggedDebiasing("ips", min_propensity=0.1))
    np.testing.assert_allclose(debiasing.learned(batch).weights_B, [2, 20, 3], rtol=1e-6)
    assert debiasing.counts == {"drawn": 2, "clipped": 1, "certain": 1}
    normalised = PropensityDebiasing(LoggedDebiasing("snips")).learned(replace(batch, weights_B=np.ones(3, np.float32)))
    assert normalised.weights_B.mean() == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, -0.1, 1.5, np.nan])
def test_propensities_that_are_none(value: float) -> None:
    with pytest.raises(InvalidValueError, match="above 0"):
        PropensityDebiasing(LoggedDebiasing()).learned(rows([0, 1], [0, 0], [0.5, value]))


def test_estimates_are_in_the_checkpoint(tmp_path: Path) -> None:
    batch, _ = planted_positions(600)
    config = config_of('[training.debiasing]\nmethod = "snips"\npositions = true')
    first, *rest = batch.cut(300)
    whole, resumed = wiring.learner(config), wiring.learner(config)
    whole.step(first)
    whole.save(tmp_path)
    resumed.load(tmp_path)
    for learner in (whole, resumed):
        for part in rest:
            learner.step(part)
    assert any(name.startswith("debiasing.") for name in whole.dense_state())
    assert whole.digest() == resumed.digest()


def test_a_checkpoint_of_a_plain_trainer_goes_on_with_debiasing(tmp_path: Path) -> None:
    plain, debiased = wiring.learner(config_of()), wiring.learner(config_of('[training.debiasing]\nmethod = "snips"'))
    plain.save(tmp_path)
    debiased.load(tmp_path)
    assert not any(name.startswith("debiasing.") for name in plain.dense_state())
    assert torch.equal(debiased.dense_state()["debiasing.counts"], torch.zeros(3, dtype=torch.int64))


def test_a_setting_without_effect_is_an_error() -> None:
    with pytest.raises(ConfigError, match="has no effect"):
        config_of("[training.debiasing]\nmin_propensity = 0.1")


def test_a_search_refuses_what_it_does_not_do() -> None:
    with pytest.raises(InvalidValueError, match="does not debias"):
        loss_of(config_of('[training.debiasing]\nmethod = "ips"'))
