"""Kernel balancing in the online trainer, on a planted log that says nothing of its policy.

Shape suffixes: B training rows, K kinds of users, I items.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recsys import wiring
from recsys.config.file import parse
from recsys.config.schema import Config
from recsys.debiasing.balance import Balancing
from recsys.errors import ConfigError, InvalidValueError
from recsys.training.debiasing.balanced_weights import FoundWeights, KernelBalancing
from recsys.training.debiasing.covariates import CovariateReader
from recsys.training.debiasing.kernel_balance import FIRST, WINDOW, KernelBalance
from recsys.training.debiasing.propensity_debiasing import PropensityDebiasing
from recsys.training.dense.model import under
from recsys.training.learner import Learner
from streaming.encode.batch import Jagged, TrainingBatch
from tests.recsys.training.debiasing.test_propensity_debiasing import error, rows

LIKES_KI = np.array([[0.6, 0.6, 0.1, 0.1], [0.1, 0.2, 0.3, 0.6]])
POLICY_KI = np.array([[0.45, 0.45, 0.05, 0.05], [0.05, 0.05, 0.45, 0.45]])
"""Shows each kind of user mostly what it likes, and does not log how likely that was."""
FIELDS = '{ name = "kind", source = "request.kind" }, { name = "item", source = "item" }'
BALANCED = '[training.debiasing]\nbalance = "random"\n'


def config_of(debiasing: str = "", fields: str = FIELDS) -> Config:
    training = "[training]\nsparse_lr = 0.3\naveraging = 0.0"
    text = f'[features]\ndim = 4\nfields = [{fields}]\n[model]\nname = "lr"\n{training}\n{debiasing}'
    return parse(text, Path("recsys.toml"))


def one(values_B: np.ndarray) -> Jagged:
    return Jagged(values_B.astype(np.uint64), np.ones(len(values_B), np.int32))


def shown(kind_B: np.ndarray, item_B: np.ndarray, labels_B: np.ndarray) -> TrainingBatch:
    return replace(rows(item_B, labels_B, 1.0), ids={"kind": one(kind_B + 100), "item": one(item_B + 10)})


def planted(count: int = 6_000) -> TrainingBatch:
    rng = np.random.default_rng(0)
    kind_B = rng.integers(0, 2, count)
    item_B = (rng.random(count)[:, None] > np.cumsum(POLICY_KI, 1)[kind_B]).sum(1)
    return shown(kind_B, item_B, rng.random(count) < LIKES_KI[kind_B, item_B])


def learner_of(debiasing: str, batch: TrainingBatch) -> Learner:
    learner = wiring.learner(config_of(debiasing))
    for part in batch.cut(250):
        learner.step(part)
    return learner


def rates(learner: Learner) -> np.ndarray:
    """The mean probability [I] of each item over the kinds of users."""
    kind_B, item_B = np.divmod(np.arange(LIKES_KI.size), LIKES_KI.shape[1])
    scores_B = learner.score(shown(kind_B, item_B, np.zeros(LIKES_KI.size)))
    means_I: np.ndarray = scores_B.reshape(LIKES_KI.shape).mean(0)
    return means_I


def resumed_options(learner: Learner) -> KernelBalancing:
    debiasing = learner.beside.debiasing
    assert isinstance(debiasing, PropensityDebiasing)
    assert debiasing.balance is not None
    return debiasing.balance.options


def balance_of(options: KernelBalancing | None = None, seed: int = 0) -> KernelBalance:
    return KernelBalance(wiring.spec(config_of()), options or KernelBalancing("random"), seed)


def test_a_log_without_propensities_teaches_what_random_exposure_would() -> None:
    """Which inverse propensities cannot: all are 1. The model has no term for a kind of user and an item together."""
    batch, truth_I = planted(), LIKES_KI.mean(0)
    plain = learner_of("", batch)
    balanced = learner_of(BALANCED, batch)
    propensities = learner_of('[training.debiasing]\nmethod = "snips"', batch)
    assert error(rates(balanced), truth_I) < error(rates(plain), truth_I) / 3
    assert error(rates(propensities), truth_I) > 2 * error(rates(balanced), truth_I)


def test_weights_that_may_not_move_leave_the_model_as_it_is() -> None:
    batch = planted(1_000)
    np.testing.assert_array_equal(rates(learner_of(f"{BALANCED}gamma = 0", batch)), rates(learner_of("", batch)))


@pytest.mark.parametrize("anchors", ["random", "worst", "adaptive"])
@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_rows_weigh_as_pairs_drawn_at_random(anchors: str, kernel: str) -> None:
    """By the weights of the policy the cells are shown .05 or .45 of the time, by those found about a quarter."""
    options = KernelBalancing(anchors, kernel, how=Balancing(gamma=5.0))  # type: ignore[arg-type]
    balance, batch = balance_of(options), planted(4_000)
    weights_B = balance.factors(batch, np.ones(len(batch)))
    kind_B, item_B = (batch.ids[name].values.astype(np.int64) - first for name, first in (("kind", 100), ("item", 10)))
    cells = np.bincount(kind_B * 4 + item_B, weights_B) / weights_B.sum()
    np.testing.assert_allclose(cells, 1 / 8, atol=0.03)
    figures = balance.figures
    assert figures["gap_after"] < 0.05 < 0.1 < figures["gap_before"]
    assert 0.2 < figures["effective_share"] < 0.9


def test_factors_are_1_until_enough_is_known() -> None:
    balance, batch = balance_of(), planted(FIRST)
    first, last = batch.cut(FIRST - 1)
    np.testing.assert_array_equal(balance.factors(first, np.ones(len(first))), 1)
    assert (balance.factors(last, np.ones(len(last))) != 1).all()


def test_corrections_and_later_tasks_weigh_but_are_not_counted() -> None:
    batch = planted(2_000)
    none = np.zeros(len(batch), np.float32)
    for other in (replace(batch, counted_B=none), replace(batch, tasks_B=np.ones(len(batch), np.int64))):
        balance = balance_of()
        np.testing.assert_array_equal(balance.factors(other, np.ones(len(batch))), 1)
        found = balance.factors(batch, np.ones(len(batch)))
        np.testing.assert_allclose(balance.factors(other, np.ones(len(batch))), found)


def test_one_large_batch_counts_as_its_latest_rows() -> None:
    batch = planted(WINDOW + 1_000)
    whole, latest = balance_of(), balance_of()
    whole.factors(batch, np.ones(len(batch)))
    latest.factors(batch.take(np.arange(1_000, len(batch))), np.ones(WINDOW))
    assert whole.figures["gap_before"] == pytest.approx(latest.figures["gap_before"], abs=0.02)


def test_the_same_batches_give_the_same_bits_after_a_checkpoint(tmp_path: Path) -> None:
    batch = planted(1_500)
    whole, resumed = (wiring.learner(config_of(BALANCED)) for _ in range(2))
    parts = list(batch.cut(250))
    for part in parts[:3]:
        whole.step(part)
    whole.save(tmp_path)
    resumed.load(tmp_path)
    for learner in (whole, resumed):
        for part in parts[3:]:
            learner.step(part)
    assert not torch.equal(whole.dense_state()["debiasing.balance.found.multipliers_J"], torch.zeros(0))
    assert whole.digest() == resumed.digest()


@pytest.mark.parametrize("changed", ['kernel = "exponential"', "gamma = 0.1", "functions = 4", "tolerance = 0.2"])
def test_other_options_hold_from_the_first_batch_after_a_checkpoint(tmp_path: Path, changed: str) -> None:
    batch = planted(1_000)
    learner_of(BALANCED, batch).save(tmp_path)
    resumed = wiring.learner(config_of(BALANCED + changed))
    resumed.load(tmp_path)
    named = under("debiasing.balance.found.", resumed.dense_state())
    found = FoundWeights(**{name: tensor.numpy() for name, tensor in named.items()})
    options = resumed_options(resumed)
    contexts, items = (CovariateReader(resumed.spec, of_item=of_item) for of_item in (False, True))
    factors_B = found.factors(contexts.read(batch).beside(items.read(batch)), options)
    assert factors_B.mean() == pytest.approx(1, abs=0.05)
    kept = under("debiasing.balance.found.", learner_of(BALANCED, batch).dense_state())
    assert not torch.equal(kept["multipliers_J"], named["multipliers_J"])


def test_a_checkpoint_of_a_plain_trainer_goes_on_with_balancing(tmp_path: Path) -> None:
    plain, balanced = wiring.learner(config_of()), wiring.learner(config_of(BALANCED))
    plain.save(tmp_path)
    balanced.load(tmp_path)
    balanced.step(planted(500))
    assert balanced.dense_state()["debiasing.balance.clocks"][0] == 500


def test_what_is_balanced_does_not_depend_on_which_rows_are_learned() -> None:
    batch = planted(1_500)
    sampled, whole = (learner_of(f"{more}{BALANCED}", batch) for more in ("[training.negatives]\nrate = 0.3\n", ""))
    assert sampled.beside.negatives is not None
    assert sampled.beside.negatives.counts["learned"] < 0.4 * sampled.beside.negatives.counts["negatives"]
    states = [
        {name: tensor for name, tensor in learner.dense_state().items() if name.startswith("debiasing.balance.")}
        for learner in (sampled, whole)
    ]
    assert states[0].keys() == states[1].keys() != set()
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert error(rates(sampled), LIKES_KI.mean(0)) < error(rates(learner_of("", batch)), LIKES_KI.mean(0))


def test_rows_that_are_all_alike_need_no_weights() -> None:
    batch = planted(500)
    same = shown(np.zeros(500, np.int64), np.zeros(500, np.int64), batch.labels_B)
    np.testing.assert_array_equal(balance_of().factors(same, np.ones(500)), 1)


def test_one_row_among_thousands_that_are_alike() -> None:
    kind_B = (np.arange(WINDOW) == 7).astype(np.int64)
    rare = shown(kind_B, np.zeros(WINDOW, np.int64), np.zeros(WINDOW))
    found = balance_of(KernelBalancing("random", functions=1024)).factors(rare, np.ones(WINDOW))
    assert np.isfinite(found).all()


def test_without_an_item_there_are_no_pairs() -> None:
    config = config_of(BALANCED, fields='{ name = "genre", source = "item.genre" }')
    with pytest.raises(InvalidValueError, match="field of source `item`"):
        wiring.learner(config)


@pytest.mark.parametrize("setting", ['kernel = "exponential"', "gamma = 2.0", "tolerance = 0.1"])
def test_a_setting_without_effect_is_an_error(setting: str) -> None:
    with pytest.raises(ConfigError, match="has no effect"):
        config_of(f'[training.debiasing]\nmethod = "snips"\n{setting}')
