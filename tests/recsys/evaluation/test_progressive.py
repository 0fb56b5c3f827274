"""The accumulator over a stream against the same figures over all rows at once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.evaluation.metrics import summarise
from recsys.evaluation.progressive import Progressive

RNG = np.random.default_rng(1)
LOGITS = RNG.normal(-2, 1.5, 5_000)
PROBABILITIES = 1 / (1 + np.exp(-LOGITS))
LABELS = (RNG.random(5_000) < PROBABILITIES).astype(np.float32)
WEIGHTS = RNG.random(5_000)


def accumulate(start: int, stop: int, bins: int = 1 << 14) -> Progressive:
    progressive = Progressive(bins)
    for at in range(start, stop, 128):
        rows = slice(at, min(at + 128, stop))
        progressive.add(LABELS[rows], PROBABILITIES[rows], WEIGHTS[rows])
    return progressive


def test_equals_the_figures_of_all_rows() -> None:
    result, exact = accumulate(0, 5_000).summary(), summarise(LABELS, PROBABILITIES, WEIGHTS)
    assert result.rows == exact.rows
    for figure in ("weight", "positives", "log_loss", "calibration", "normalised_entropy"):
        assert getattr(result, figure) == pytest.approx(getattr(exact, figure), rel=1e-9)


@pytest.mark.parametrize("bins", [2, 16, 256, 1 << 14])
def test_auc_is_within_its_stated_error(bins: int) -> None:
    progressive, exact = accumulate(0, 5_000, bins), summarise(LABELS, PROBABILITIES, WEIGHTS)
    assert abs(progressive.summary().auc - exact.auc) <= progressive.auc_error + 1e-12
    assert progressive.auc_error < 10 / bins


def test_parts_merge_into_the_whole() -> None:
    first, second = accumulate(0, 1_280), accumulate(1_280, 5_000)
    first.merge(second)
    assert first.summary().auc == pytest.approx(accumulate(0, 5_000).summary().auc, abs=1e-12)
    assert first.summary().rows == 5_000


def test_restoring_goes_on_bit_for_bit() -> None:
    whole, part = accumulate(0, 2_560), accumulate(0, 1_280)
    resumed = Progressive()
    resumed.restore({name: value.copy() for name, value in part.state().items()})
    part.add(LABELS, PROBABILITIES)  # the restored one is independent of where it came from
    for at in range(1_280, 2_560, 128):
        resumed.add(LABELS[at : at + 128], PROBABILITIES[at : at + 128], WEIGHTS[at : at + 128])
    assert resumed.summary() == whole.summary()


def test_nothing_seen_yet_is_undefined() -> None:
    summary = Progressive().summary()
    assert summary.rows == 0
    assert math.isnan(summary.auc)
    assert math.isnan(Progressive().auc_error)


def test_probabilities_of_zero_and_one_are_counted() -> None:
    progressive = Progressive()
    progressive.add([1, 0, 1], [1.0, 0.0, 0.0])
    assert progressive.summary().auc == 0.75
    assert math.isfinite(progressive.summary().log_loss)


def test_another_number_of_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="16384 bins, this accumulator 8"):
        Progressive(8).merge(Progressive())
    with pytest.raises(ValueError, match="at least 2"):
        Progressive(1)
