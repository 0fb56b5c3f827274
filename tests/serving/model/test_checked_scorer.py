"""Scoring in bfloat16 while that is near float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from serving.model.autoint.lane_pairs import multiplies_pairs
from serving.model.checked_scorer import BOUNDS, CheckedScorer, load_checked, load_mixed
from serving.model.chunked_scorer import Floats, Scorer
from serving.model.scorer import load_scorer
from tests.contracts.scorer import Inputs, exported, request
from tests.serving.fakes import CoarseScorer, NanScorer, SumScorer

BOUND = BOUNDS["bfloat16"]
FIRST = 8


class Failing(SumScorer):
    def begin(self, candidates: int) -> None:
        raise RuntimeError(f"no room for {candidates}")


def some(seed: int = 0, candidates: int = 5) -> Inputs:
    return request(exported("fm", "item alone")[1], candidates, seed)


def asked(scorer: Scorer, times: int = FIRST, inputs: Callable[[int], Inputs] = some) -> Floats:
    """The last scores."""
    for number in range(times):
        scores_CT = scorer.score(*inputs(number))
    return scores_CT


def checked(reduced: Scorer | None, requests: int = FIRST) -> CheckedScorer:
    scorer = CheckedScorer(SumScorer(), reduced)
    asked(scorer, requests)
    scorer.check()
    return scorer


def exact(inputs: Inputs) -> Floats:
    return SumScorer().score(*inputs)


def test_what_is_near_is_used_and_its_error_stated() -> None:
    scorer = checked(CoarseScorer(0.02))
    assert scorer.precision.used == "bfloat16"
    assert scorer.precision.reason == ""
    assert scorer.precision.error == pytest.approx(0.02, rel=1e-3)
    np.testing.assert_array_equal(scorer.score(*some()), CoarseScorer(0.02).score(*some()))


@pytest.mark.parametrize("error", [1.1 * BOUND, -5.0])
def test_what_is_far_is_not_used(error: float) -> None:
    scorer = checked(CoarseScorer(error))
    assert scorer.precision.used == "float32"
    assert scorer.precision.error == pytest.approx(abs(error), rel=1e-2)
    assert "more than 0.1" in scorer.precision.reason
    np.testing.assert_array_equal(scorer.score(*some()), exact(some()))


@pytest.mark.parametrize(
    ("reduced", "reason"), [(Failing(), "no room for 5"), (NanScorer(), "nan"), (None, "too few requests")]
)
def test_what_cannot_score_is_not_used(reduced: Scorer | None, reason: str) -> None:
    scorer = checked(reduced)
    assert scorer.precision.used == "float32"
    assert reason in scorer.precision.reason
    np.testing.assert_array_equal(scorer.score(*some()), exact(some()))


def test_too_few_requests_say_nothing() -> None:
    scorer = checked(CoarseScorer(), FIRST - 1)
    assert (scorer.precision.used, scorer.precision.error, scorer.precision.pending) == ("float32", None, True)
    np.testing.assert_array_equal(scorer.score(*some()), exact(some()))


def test_a_new_graph_is_measured_on_the_requests_of_the_one_before() -> None:
    before, far = checked(CoarseScorer()), CheckedScorer(SumScorer(), CoarseScorer(1.0))
    far.score(*some())  # its trial
    far.follow(before)
    assert far.precision.error == pytest.approx(1.0, rel=1e-2)
    np.testing.assert_array_equal(far.score(*some()), exact(some()))
    near = CheckedScorer(SumScorer(), CoarseScorer())
    near.follow(far)
    assert near.precision.used == "bfloat16"


@pytest.mark.parametrize("before", [None, SumScorer()])
def test_without_one_before_a_trial_says_nothing(before: Scorer | None) -> None:
    scorer = CheckedScorer(SumScorer(), CoarseScorer())
    scorer.score(*some())
    scorer.follow(before)
    asked(scorer, FIRST - 1)
    scorer.check()
    assert scorer.precision.error is None
    asked(scorer, 1)
    scorer.check()
    assert scorer.precision.error is not None


def test_it_is_measured_again_when_requests_have_changed() -> None:
    class Overflowing(CoarseScorer):
        def squashed(self, total_C: Floats) -> Floats:
            return super().squashed(np.where(total_C > 5, -total_C, total_C))

    scorer = checked(Overflowing())
    np.testing.assert_array_equal(scorer.score(*some()), CoarseScorer().score(*some()))
    large = [np.full_like(array, 1) for array in some()]
    for _ in range(1000):
        scorer.score(*large)
    scorer.check()
    assert scorer.precision.used == "float32"
    np.testing.assert_array_equal(scorer.score(*large), SumScorer().score(*large))


@pytest.fixture
def graph() -> bytes:
    model, _, exporter = exported("fm", "item alone")
    return exporter.graph(model)


def requests(number: int) -> Inputs:
    return request(exported("fm", "item alone")[1], 20, number)


def test_a_processor_without_bfloat16_is_named(graph: bytes) -> None:
    scorer = load_checked(graph, "openvino", capabilities=lambda: ["FP32", "INT8"])
    scores_CT = asked(scorer, inputs=requests)
    scorer.check()
    assert scorer.precision.used == "float32"
    assert "processor" in scorer.precision.reason
    assert not scorer.precision.pending
    np.testing.assert_array_equal(scores_CT, load_scorer(graph, "openvino").score(*requests(FIRST - 1)))


def test_an_engine_without_bfloat16_is_named(graph: bytes) -> None:
    scorer = load_checked(graph, "onnxruntime", capabilities=lambda: ["FP32", "BF16"])
    asked(scorer, inputs=requests)
    scorer.check()
    assert "ONNX Runtime" in scorer.precision.reason


def test_on_a_processor_with_bfloat16_the_measured_error_holds(graph: bytes) -> None:
    """Whether this one has it: the engine then computes, or emulates, or keeps float32, and the measurement says so."""
    scorer = load_checked(graph, "openvino", capabilities=lambda: ["FP32", "BF16"])
    asked(scorer, inputs=requests)
    scorer.check()
    assert scorer.precision.error is not None
    near = scorer.precision.error <= BOUND
    assert scorer.precision.used == ("bfloat16" if near else "float32")
    np.testing.assert_allclose(
        scorer.score(*requests(0)), load_scorer(graph, "openvino").score(*requests(0)), atol=BOUND / 4
    )


@pytest.mark.slow
def test_the_kernel_mixes_where_the_processor_multiplies_in_bfloat16() -> None:
    model, inputs, exporter = exported("autoint", "every kind of field")
    scorer = load_mixed(exporter.graph(model))
    asked(scorer, inputs=lambda number: request(inputs, 20, number))
    scorer.check()
    said = scorer.precision
    assert scorer.engine == "numba"
    if not multiplies_pairs():
        assert (said.used, said.pending) == ("float32", False)
        assert "avx512_bf16" in said.reason
        return
    assert (said.used, said.reason) == ("mixed", "")
    assert said.error is not None
    assert 0 < said.error <= BOUNDS["mixed"]


def test_another_model_is_not_mixed(graph: bytes) -> None:
    scorer = load_mixed(graph)
    asked(scorer, inputs=requests)
    scorer.check()
    assert (scorer.engine, scorer.precision.used) == ("openvino", "float32")
    assert "only the kernel of AutoInt" in scorer.precision.reason
