"""A log that says nothing of a target is refused."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.off_policy.overlap import effective_sample_size, no_overlap


def test_a_target_like_the_log_has_overlap() -> None:
    assert no_overlap(np.ones(200)) == ""


def test_few_lists_that_count_are_refused() -> None:
    weights = np.zeros(10_000)
    weights[:50] = 200.0
    assert no_overlap(weights) == "10,000 lists say as much as 50 of its own, fewer than 100"
    assert "as 0 of its own" in no_overlap(np.zeros(10))


def test_a_target_that_wants_what_was_never_shown_is_refused() -> None:
    assert "the mean weight is 0.50 and not 1" in no_overlap(np.random.default_rng(0).uniform(0.4, 0.6, 5_000))


def test_equal_weights_are_as_many_as_they_are() -> None:
    assert effective_sample_size(np.full(7, 3.0)) == pytest.approx(7)
    assert effective_sample_size(np.zeros(3)) == 0.0
