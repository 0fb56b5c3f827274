"""Imbalance before and after, by the definition, on planted selection."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.debiasing.feedback import SelfSelected
from recsys.debiasing.problem import Problem
from recsys.debiasing.weight_diagnostics import WeightDiagnostics, weight_diagnostics


@pytest.fixture(scope="module")
def problem() -> Problem:
    """Two covariates of users and of items; the larger their first ones are, the more often they meet."""
    rng = np.random.default_rng(3)
    users_UF, items_IF = rng.random((80, 2)), rng.random((60, 2))
    users_R, items_R = np.nonzero(rng.random((80, 60)) < 0.5 * users_UF[:, :1] * items_IF[:, 0])
    return Problem(SelfSelected(users_R, items_R, np.ones(len(users_R))), users_UF, items_IF)


def test_equal_weights_are_as_far_from_balance_as_plain_means_say(problem: Problem) -> None:
    found = weight_diagnostics(problem)
    kernel_RK, target_K = problem.kernel("gaussian", 0)
    gaps_K = np.abs(kernel_RK.mean(0) - target_K) / kernel_RK.std(0)
    equal = found.weights[0]
    assert equal.name == "equal"
    assert equal.gaps == pytest.approx(sorted(gaps_K, reverse=True), abs=1e-6)
    assert equal.effective == 1


def test_balanced_weights_are_nearer_and_cost_a_part_of_the_sample(problem: Problem) -> None:
    equal, _, *balanced = weight_diagnostics(problem).weights
    assert max(equal.gaps) > 0.2  # the planted selection is seen
    for one in balanced:
        assert np.mean(one.gaps) < 0.25 * np.mean(equal.gaps)
        assert 0.2 < one.effective < 1
        assert sum(one.shares) == pytest.approx(1, abs=1e-4)


def test_what_was_written_is_read(problem: Problem) -> None:
    found = weight_diagnostics(problem)
    assert WeightDiagnostics.from_json(found.to_json()) == found
    assert found.markdown().count("\n") == 6
