"""Both engines keep the scorer's contract."""

from __future__ import annotations

from functools import cache

import pytest

from serving.model.scorer import OnnxScorer, OpenVinoScorer, Scorer
from tests.contracts.scorer import ScorerContract

pytestmark = pytest.mark.slow


of_openvino, of_onnxruntime = cache(OpenVinoScorer), cache(OnnxScorer)
"""A graph is compiled once for all tests."""


class TestOpenVino(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return of_openvino(graph)


class TestOnnxRuntime(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return of_onnxruntime(graph)
