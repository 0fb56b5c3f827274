"""Both engines keep the scorer's contract."""

from __future__ import annotations

import pytest

from serving.model.scorer import OnnxScorer, OpenVinoScorer, Scorer
from tests.contracts.scorer import ScorerContract

pytestmark = pytest.mark.slow


class TestOpenVino(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return OpenVinoScorer(graph)


class TestOnnxRuntime(ScorerContract):
    def make(self, graph: bytes) -> Scorer:
        return OnnxScorer(graph)
