"""Figures of arms: computed on the same rows for all, None where undefined."""

import numpy as np
import numpy.typing as npt
import pytest

from recsys.evaluation.replay.arm_figures import arm_results, gain, windows
from recsys.evaluation.replay.arms import ReplayArm, frozen, online
from recsys.evaluation.replay.replay_result import ReplayResult
from recsys.evaluation.replay.scored_rows import ScoredRows
from recsys.evaluation.replay.training_pass import Scored
from tests.recsys.evaluation.replay.test_scored_rows import batch_of

Bools = npt.NDArray[np.bool_]


def rows_of(labels: list[int]) -> ScoredRows:
    return ScoredRows([batch_of([(time, [], label) for time, label in enumerate(labels)])], 0, len(labels) + 1)


def scored(arm: ReplayArm, scores: npt.ArrayLike, user: Bools | None = None, item: Bools | None = None) -> Scored:
    known = {kind: flags for kind, flags in (("user", user), ("item", item)) if flags is not None}
    return Scored(arm, np.asarray(scores, np.float32), known)


def noisy(rows: ScoredRows, strength: float, seed: int) -> npt.NDArray[np.float64]:
    logits = (rows.labels_R - 0.5) * strength + np.random.default_rng(seed).normal(size=len(rows))
    return np.asarray(1 / (1 + np.exp(-logits)), np.float64)


@pytest.mark.slow  # scikit-learn takes seconds to load
def test_interval_auc_is_the_row_weighted_mean_over_the_arms_own_intervals() -> None:
    from sklearn.metrics import roc_auc_score

    rows = rows_of(np.random.default_rng(0).integers(0, 2, 3000).tolist())
    weak, strong = noisy(rows, 0.2, 1), noisy(rows, 2.0, 2)
    arm = online("700ms", 0, rows.times_R)
    _, result = arm_results(rows, [scored(frozen(0), weak), scored(arm, strong)])

    parts = [slice(low, min(low + 700, 3000)) for low in range(0, 3000, 700)]
    lengths = [part.stop - part.start for part in parts]
    for got, scores in ((result.interval_auc, strong), (result.frozen_interval_auc, weak)):
        assert got is not None
        expected = [roc_auc_score(rows.labels_R[part], scores[part].astype(np.float32)) for part in parts]
        assert abs(got - np.average(expected, weights=lengths)) < 1e-6
    assert result.refreshes == 5


def test_windows_have_equal_rows_and_cover_all() -> None:
    rows = rows_of([0, 1] * 900)
    assert [(window.start, window.rows) for window in windows(rows)] == [(0, 600), (600, 600), (1200, 600)]


def test_slices_are_the_same_rows_in_every_arm() -> None:
    rows = rows_of([0, 1, 0, 1])
    user, item = np.array([True, True, False, False]), np.array([False] * 4)
    first, second = arm_results(
        rows,
        [
            scored(frozen(0), [0.1, 0.9, 0.5, 0.5], user, item),
            scored(ReplayArm("online", (0,)), [0.1, 0.9, 0.9, 0.1], ~user, ~item),
        ],
    )
    assert {name: figures["rows"] for name, figures in first.slices.items()} == {
        "known user": 2,
        "new user": 2,
        "known item": 0,
        "new item": 4,
    }
    assert [second.slices[name]["auc"] for name in ("known user", "new user")] == [1.0, 0.0]
    assert (second.known_users, second.known_items) == (0.5, 1.0)


def test_an_empty_slice_and_a_single_class_are_undefined_not_wrong() -> None:
    rows = rows_of([0, 0])
    nobody = np.zeros(2, np.bool_)
    (result,) = arm_results(rows, [scored(frozen(0), [0.2, 0.4], nobody, None)])
    assert result.all["auc"] is None
    assert result.all["calibration"] is None
    assert result.all["log_loss"] is not None
    assert result.slices["known user"]["rows"] == 0
    assert result.slices["known user"]["log_loss"] is None
    assert "known item" not in result.slices
    assert result.known_items is None
    assert (result.interval_auc, result.window_auc) == (None, [None])


def test_without_any_row_everything_is_undefined() -> None:
    rows = ScoredRows([], 0, 10)
    (result,) = arm_results(rows, [scored(frozen(0), [])])
    assert (result.all["rows"], result.all["auc"], result.window_auc, windows(rows)) == (0, None, [], [])


def test_the_frozen_arm_comes_first() -> None:
    with pytest.raises(ValueError, match="frozen"):
        arm_results(rows_of([0, 1]), [scored(ReplayArm("online", (0,)), [0.5, 0.5])])


def test_the_interval_of_a_gain_holds_its_mean_and_tells_a_real_one_from_noise() -> None:
    rng = np.random.default_rng(3)
    base = 0.6 + 0.05 * rng.normal(size=90)
    clear = gain("frozen", base + 0.01 + 0.01 * rng.normal(size=90), base)
    none = gain("frozen", base + 0.01 * rng.normal(size=90), base)
    assert 0 < (clear.low or 0) < (clear.auc or 0) < (clear.high or 0)
    assert (none.low or 0) < 0 < (none.high or 0)


def test_a_gain_leaves_out_undefined_windows() -> None:
    difference = gain("frozen", np.array([0.7, np.nan, 0.8]), np.array([0.6, 0.5, 0.6]))
    assert difference.auc == pytest.approx(0.15)
    assert gain("frozen", np.array([0.7, np.nan]), np.array([0.6, 0.5])).low is None
    assert gain("frozen", np.array([np.nan]), np.array([0.5])).auc is None


def test_a_result_survives_its_file_and_other_files_are_refused() -> None:
    rows = rows_of([0, 1, 1])
    arms = arm_results(rows, [scored(frozen(0), [0.2, 0.4, 0.4])])
    result = ReplayResult(0, 3, {"rows_scored": 3}, {"seed": 0}, windows(rows), arms)
    assert ReplayResult.from_json(result.to_json()) == result
    assert result.arm("frozen") is result.arms[0]
    with pytest.raises(KeyError, match="frozen"):
        result.arm("nobody")
    with pytest.raises(ValueError, match="not a result of `recsys replay`"):
        ReplayResult.from_json(b'{"arms": 3}')
    with pytest.raises(ValueError, match="format 9"):
        ReplayResult.from_json(result.to_json().replace(b'"format": 2', b'"format": 9'))
