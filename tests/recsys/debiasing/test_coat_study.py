"""The Coat study on planted ratings, and on Coat where it is there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from recsys.cli import main
from recsys.datasets.coat import coat
from recsys.debiasing import coat_study
from recsys.debiasing.coat_study import CoatResult, CoatStudy
from recsys.debiasing.fitting import FitSettings, fit_method
from recsys.debiasing.methods import methods
from recsys.debiasing.problem import Problem
from recsys.errors import InvalidValueError
from tests.recsys.datasets.test_datasets import shared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """12 users, 10 items, one covariate each; users choose what they like."""
    rng = np.random.default_rng(0)
    liked = rng.integers(1, 6, (12, 10))
    chosen, drawn = liked * (rng.random(liked.shape) < liked / 8), liked * (rng.random(liked.shape) < 0.4)
    users, items = np.eye(12)[:, :4], np.eye(10)[:, :3]
    for name, table in (("train", chosen), ("test", drawn), ("user_features", users), ("item_features", items)):
        np.savetxt(tmp_path / f"{name}.ascii", table, fmt="%g")
    return tmp_path


@pytest.mark.slow
def test_every_method_learns_finite_scores(folder: Path) -> None:
    study = CoatStudy(coat(folder), seeds=1)
    (problem, _), *_ = study._problems("naive bayes")
    everything, settings = np.arange(len(problem.seen)), FitSettings(l2=0.1, steps=60, anchors=4)
    for method in methods("naive bayes"):
        assert np.isfinite(fit_method(method, problem, everything, settings, seed=0)).all(), method.name


def test_what_is_done_is_not_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoatStudy, "tasks", property(lambda self: TASKS))
    monkeypatch.setattr(coat_study, "L2", (0.1,))
    study = CoatStudy(coat(folder), seeds=2)
    study._settings = replace(study._settings, steps=3)
    first = study.empty()
    one = next(study.rows(first, lambda doing: None))
    part = CoatResult.from_json(msgspec.structs.replace(first, rows=(one,)).to_json())
    said: list[str] = []
    rest = list(study.rows(part, said.append))
    assert said == ["biases, logistic: IPS", "biases, logistic: SNIPS"]
    assert len(rest[0].figures["auc"]) == 2
    assert next(study.rows(first, lambda doing: None)) == one
    with pytest.raises(InvalidValueError, match="other seeds"):
        list(CoatStudy(coat(folder), seeds=3).rows(part, said.append))


TASKS = [("biases, logistic", method) for method in methods("logistic")[:3]]


def test_a_folder_without_coat_says_where_it_is_from(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["reproduce", "coat", str(tmp_path)])
    assert done.exit_code != 0
    assert "schnabts/mnar" in done.output
    assert "train.ascii, test.ascii, user_features.ascii, item_features.ascii" in done.output


def test_naive_bayes_needs_a_slice(folder: Path) -> None:
    (problem, _), *_ = CoatStudy(coat(folder), seeds=1)._problems("logistic")
    with pytest.raises(InvalidValueError, match="exploration slice"):
        problem.base_weights("naive bayes")


@pytest.mark.shared_data
def test_coat_as_published() -> None:
    data = coat(shared("coat/train.ascii").parent)
    assert (data.chosen_UI > 0).sum() == 6_960
    assert (data.random_UI > 0).sum() == 4_640
    assert isinstance(CoatStudy(data, 1)._problems("logistic").__next__()[0], Problem)
