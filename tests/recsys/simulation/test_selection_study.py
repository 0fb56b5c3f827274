"""Debiasing of planted choices whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from recsys.debiasing.feedback import SelfSelected
from recsys.debiasing.methods import Method
from recsys.debiasing.problem import Problem
from recsys.errors import InvalidValueError
from recsys.simulation import selection_study
from recsys.simulation.selection_study import SelectionResult, SelectionStudy, SelectionWorld, selection_methods
from tests.test_docs import ROOT

FIRST = selection_methods()[:2]
NAMED = {(propensities, method.name): method for propensities, method in selection_methods()}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits of three steps: what models learn is not judged here."""
    monkeypatch.setattr(selection_study, "MODEL", replace(selection_study.MODEL, steps=3))


def test_a_tenth_of_the_pairs_is_observed_and_mostly_what_is_liked() -> None:
    world = SelectionWorld(0, 1.0, users=100, items=80)
    seen = world.problem.seen
    assert 0.08 < len(seen) / world.likes_UI.size < 0.12
    assert seen.labels_R.mean() > world.likes_UI.mean() + 0.2


def test_inverse_propensities_find_the_value_and_the_naive_mean_does_not(small: None) -> None:
    world = SelectionWorld(0, 0.5, users=100, items=80)
    naive, _ = world.errors(NAMED["none", "naive"], 0)
    right, _ = world.errors(NAMED["right", "IPS"], 0)
    seen, likes_UI = world.problem.seen, world.likes_UI
    assert naive == pytest.approx(seen.labels_R.mean() - likes_UI.mean())
    assert abs(right) < 0.1 < naive


@pytest.mark.parametrize("estimator", ["IPS", "DR"])
@pytest.mark.parametrize("choice", ["RKB", "WKB", "AKB"])
def test_balancing_helps_where_propensities_are_wrong(small: None, choice: str, estimator: str) -> None:
    world = SelectionWorld(1, 1.0, users=100, items=80)
    plain, _ = world.errors(NAMED["wrong", estimator], 1)
    balanced, _ = world.errors(NAMED["wrong", f"{choice}-{estimator}"], 1)
    assert abs(balanced) < abs(plain)


def test_what_is_done_is_not_done_again(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_study, "SELECTIONS", (0.5,))
    monkeypatch.setattr(selection_study, "selection_methods", lambda: FIRST)
    study = SelectionStudy(seeds=2)
    first = next(study.rows(study.empty(), lambda doing: None))
    part = SelectionResult.from_json(msgspec.structs.replace(study.empty(), rows=(first,)).to_json())
    said: list[str] = []
    (second,) = study.rows(part, said.append)
    assert said == ["selection 0.5, propensities right: IPS"]
    assert len(second.value) == len(second.pair) == 2
    with pytest.raises(InvalidValueError, match="other seeds"):
        list(SelectionStudy(seeds=3).rows(part, said.append))


def test_figures_are_those_of_all_seeds() -> None:
    row = selection_study.SelectionRow(
        selection=0.5, method="IPS", propensities="right", value=[0.3, -0.1], pair=[1, 3]
    )
    result = SelectionResult(seeds=2, settings={}, rows=(row,))
    assert result.table()[1] == ["0.5", "IPS", "right", "0.2236", "+0.1000", "2.0000 ± 1.0000"]
    assert "| 0.5 | IPS | right | 0.2236 |" in result.markdown()


def test_the_table_of_the_page_is_that_of_the_result() -> None:
    result = SelectionResult.from_json((ROOT / "docs/results/selection/selection.json").read_bytes())
    assert len(result.rows) == len(SelectionStudy(seeds=1).tasks)
    assert result.markdown() in (ROOT / "docs/debiasing.md").read_text("utf-8")


def test_logged_propensities_must_be_there() -> None:
    zero = np.zeros(1, np.int64)
    problem = Problem(SelfSelected(zero, zero, np.ones(1)), np.ones((1, 1)), np.ones((1, 1)))
    with pytest.raises(InvalidValueError, match="no logged propensities"):
        problem.base_weights("logged")
    assert replace(problem, logged_R=np.array([0.5])).base_weights("logged") == [2.0]


def test_methods_are_named_once() -> None:
    assert len(NAMED) == len(selection_methods()) == 19
    assert isinstance(NAMED["wrong", "AKB-DR"], Method)
