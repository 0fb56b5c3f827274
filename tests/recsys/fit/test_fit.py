"""Training in epochs: repeatable, resumable, and ended by the validation part."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embedding.local.store import LocalStore
from embedding.store import Optimizer, Table
from recsys import wiring
from recsys.config.file import load
from recsys.errors import StateError
from recsys.fit.fit import Fit, best_checkpoints, fit_folder, load_best
from recsys.fit.fit_result import FitResult
from recsys.fit.parts import read_parts
from recsys.fit.scoring import figures
from recsys.training.learner import Learner
from tests.recsys.fit.conftest import CONFIG, LISTS, append

pytestmark = pytest.mark.slow

BY_HEART = CONFIG.replace("epochs = 4", "epochs = 50").replace("sparse_lr = 0.1", "sparse_lr = 2.0")
"""Learns every row so fast that the figures of other rows soon get worse."""


class KilledError(Exception):
    """The process was killed."""


def fit_of(path: Path, crash: Callable[[str], None] = lambda _point: None, until: int | None = None) -> Fit:
    config = load(path)
    log = wiring.event_log(config)
    parts = read_parts(config, log, until)
    log.close()
    return Fit(config, wiring.learner(config), parts, fit_folder(config), crash)


def finished(fit: Fit) -> FitResult:
    result = fit.run(threading.Event())
    assert result is not None
    return result


def digest(fit: Fit) -> str:
    return fit._learner.digest()


def test_it_learns_what_the_log_shows(path: Path) -> None:
    result = finished(fit_of(path))
    assert len(result.epochs) == 4
    last = result.epochs[-1].validation["click"]
    assert last["auc"] is not None
    assert last["auc"] > 0.75
    assert result.epochs[-1].training_log_loss < result.epochs[0].training_log_loss
    assert [epoch.steps for epoch in result.epochs] == [10, 20, 30, 40]  # 640 rows by 64


def test_the_same_log_and_seed_give_the_same_bits(path: Path, tmp_path: Path) -> None:
    results = []
    for folder in ("one", "two"):
        path.write_text(CONFIG.replace("[training]", f'[training]\ncheckpoints = "{folder}"'))
        fit = fit_of(path)
        results.append((finished(fit).to_json(), digest(fit)))
    assert results[0] == results[1]


@pytest.mark.parametrize(("point", "times"), [("step", 9), ("step", 10), ("best written", 2), ("manifest written", 3)])
def test_a_killed_fit_goes_on_to_the_same_bits(path: Path, point: str, times: int) -> None:
    left = [times]

    def crash(at: str) -> None:
        left[0] -= at == point
        if at == point and left[0] == 0:
            raise KilledError

    path.write_text(CONFIG.replace("[training]", '[training]\ncheckpoints = "whole"'))
    whole = fit_of(path)
    expected = finished(whole).to_json(), digest(whole)
    path.write_text(CONFIG.replace("[training]", '[training]\ncheckpoints = "killed"'))
    with pytest.raises(KilledError):
        fit_of(path, crash).run(threading.Event())
    assert left == [0]
    fit = fit_of(path)
    assert fit.resume() is not None
    assert (finished(fit).to_json(), digest(fit)) == expected


def test_stopped_it_goes_on_from_where_it_was(path: Path) -> None:
    stop = threading.Event()
    fit = fit_of(path)
    assert fit.run(stop, lambda state: stop.set() if state.batch == 5 else None) is None
    again = fit_of(path)
    again.resume()
    assert again.state.batch == 5
    assert digest(again) == digest(fit)


def test_it_ends_when_the_validation_part_gets_no_better(path: Path) -> None:
    path.write_text(
        CONFIG.replace("epochs = 4", "epochs = 50\npatience = 3").replace("sparse_lr = 0.1", "sparse_lr = 2.0")
    )
    fit = fit_of(path)
    result = finished(fit)
    losses = [epoch.validation["click"]["log_loss"] or 0 for epoch in result.epochs]
    assert len(losses) < 50
    assert result.best == int(np.argmin(losses)) == len(losses) - 1 - 3


def test_the_best_epoch_is_kept(path: Path) -> None:
    path.write_text(BY_HEART)
    fit = fit_of(path)
    result = finished(fit)
    learner: Learner = wiring.learner(load(path))
    load_best(learner, best_checkpoints(fit_folder(load(path))))
    assert learner.steps == result.epochs[result.best].steps
    assert figures(learner, fit._parts.validation) == result.epochs[result.best].validation


def test_a_schedule_sets_the_rates_of_dense_weights_and_rows(path: Path) -> None:
    path.write_text(CONFIG + 'schedule = "cosine"\n')
    result = finished(fit_of(path))
    assert [epoch.rate for epoch in result.epochs] == pytest.approx([1.0, 0.8535, 0.5, 0.1464], abs=1e-4)


def test_scaled_rates_are_those_of_other_rates() -> None:
    ids_N, grads_ND = np.array([1, 2], np.uint64), np.ones((2, 4), np.float32)
    for kind in ("rowwise_adagrad", "adagrad", "adam", "ftrl"):
        values = []
        for lr, factor in ((0.5, 0.25), (0.125, 1.0)):
            store = LocalStore([Table("item", 4, optimizer=Optimizer(kind, lr))])
            store.scale_rates(factor)
            for _ in range(3):
                store.update(store.lookup("item", ids_N, now=0), grads_ND)
            values.append(store.peek("item", ids_N).values_ND)
        np.testing.assert_array_equal(values[0], values[1])


def test_a_fit_that_an_earlier_release_began_goes_on_if_new_settings_have_their_defaults(path: Path) -> None:
    """The earlier release knew no L2."""
    fit = fit_of(path)
    learned = msgspec.structs.replace(fit.state, training={k: v for k, v in fit.state.training.items() if k != "l2"})
    learned.check(fit.state)
    path.write_text(CONFIG.replace("[training]\n", "[training]\nl2 = 0.1\n"))
    with pytest.raises(StateError, match=r"other settings of \[training\]: l2. Restore them"):
        learned.check(fit_of(path).state)


def test_a_fit_of_another_log_or_split_is_refused_with_the_remedy(path: Path) -> None:
    finished(fit_of(path))
    append(path, LISTS, 100)
    with pytest.raises(StateError, match="it learned from a log with 800 rows, which now has 1,200: give --until"):
        fit_of(path).resume()
    assert fit_of(path, until=10_000 * LISTS).resume() is not None
    path.write_text(CONFIG.replace("batch_size = 64", "batch_size = 32"))
    with pytest.raises(StateError, match=r"it began with other settings of \[training\]: batch_size. Restore them"):
        fit_of(path, until=10_000 * LISTS).resume()
    path.write_text(CONFIG + "test = 0.2\n")
    with pytest.raises(StateError, match=r"split by time, validation = 0.1, test = 0.1, seed = 0, and \[fit\]"):
        fit_of(path).resume()


@pytest.mark.parametrize("split", ["time", "random"])
def test_each_task_has_figures_of_its_own(path: Path, split: str) -> None:
    """The second task is labelled by the same clicks, after a longer wait."""
    path.write_text(CONFIG + f'split = "{split}"\n[[tasks]]\nname = "later"\nactions = ["click"]\nwait = "1m"\n')
    fit = fit_of(path)
    last = finished(fit).epochs[-1].validation
    assert list(last) == ["click", "later"]
    assert all((figures["auc"] or 0) > 0.7 for figures in last.values())
    assert [figures["rows"] for figures in last.values()] == 2 * [len(fit._parts.validation) / 2]
